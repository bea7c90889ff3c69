//! What a session counts, in the cells of its port and its group, from accept to end.

use super::End;
use super::session::Session;
use super::traffic::{GroupCell, SESSION_BOUNDS_US};
use super::worker::Worker;

impl Worker {
    /// Counts the end of a session that has just been taken out.
    pub(super) fn count_end(&self, session: &Session, end: End) {
        session.port_cell.closed.add(1);
        let Some(cell) = session.group_cell else {
            return self.counters().ended(end).add(1);
        };
        cell.ended(end).add(1);
        if session.connected.is_some() {
            let took = self.now.since(session.accepted);
            cell.session_time.note(SESSION_BOUNDS_US, took);
        }
    }
}

impl Session {
    /// From now on it counts in this group's cell.
    pub(super) fn count_in(&mut self, cell: &'static GroupCell) {
        let had = self.group_cell.replace(cell);
        // One that asks again, and is given the same group, is no further connection.
        if had.is_none_or(|had| !std::ptr::eq(had, cell)) {
            cell.connections.add(1);
        }
    }

    /// Counts what has moved since both directions stood at `before`; returns whether anything has.
    pub(super) fn count_bytes(&self, before: (u64, u64)) -> bool {
        let moved_in = self.inward.bytes - before.0;
        let moved_out = self.outward.bytes - before.1;
        if let Some(cell) = self.group_cell {
            cell.bytes_in.add(moved_in);
            cell.bytes_out.add(moved_out);
        }
        moved_in + moved_out > 0
    }
}
