//! A leader's side of snapshots: piece by piece, each when the one before has been answered.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{Index, NodeId, Position};
use crate::message::Message;
use crate::progress::{ChunkPhase, Flow};

use super::{ChunkRead, Core, State};

impl Core {
    /// A member needs what is no longer in the log: it gets the newest snapshot.
    pub(super) fn begin_shipping(&mut self, to: NodeId) {
        let Some(snapshot) = self.snapshot.clone() else {
            debug_assert!(false, "a log is only cut behind a snapshot");
            return;
        };
        let now = self.now;
        if let Some(progress) = self.progress_of(to) {
            progress.advanced = now;
            progress.flow = Flow::Snapshot {
                snapshot,
                offset: 0,
                phase: ChunkPhase::Reading,
            };
            self.read_chunk(to);
        }
    }

    /// Asks for the piece that a member needs next.
    fn read_chunk(&mut self, to: NodeId) {
        let length = self.settings.snapshot_chunk_bytes;
        if let Some(progress) = self.progress_of(to)
            && let Flow::Snapshot {
                snapshot,
                offset,
                phase,
            } = &mut progress.flow
        {
            *phase = ChunkPhase::Reading;
            let read = ChunkRead {
                to,
                snapshot: Arc::clone(snapshot),
                offset: *offset,
                length,
            };
            self.out.chunk_reads.push(read);
        }
    }

    /// A piece was read from disk.
    pub fn snapshot_chunk_read(&mut self, read: ChunkRead, data: Bytes) {
        let now = self.now;
        if self.is_silent() {
            return;
        }
        let Some(progress) = self.progress_of(read.to) else {
            return;
        };
        if let Flow::Snapshot {
            snapshot,
            offset,
            phase: phase @ ChunkPhase::Reading,
        } = &mut progress.flow
            && snapshot.last == read.snapshot.last
            && *offset == read.offset
        {
            *phase = ChunkPhase::Sent(now);
            let chunk = Message::SnapshotChunk {
                snapshot: read.snapshot,
                offset: read.offset,
                data,
            };
            self.post(read.to, self.term, chunk);
        }
    }

    pub(super) fn on_snapshot_progress(&mut self, from: NodeId, position: Position, held: u64) {
        let now = self.now;
        let Some(progress) = self.progress_of(from) else {
            return;
        };
        let Flow::Snapshot {
            snapshot,
            offset,
            phase: ChunkPhase::Sent(_),
        } = &mut progress.flow
        else {
            return;
        };
        if snapshot.last != position || held > snapshot.size_bytes {
            return;
        }
        let whole = held == snapshot.size_bytes && *offset == held;
        *offset = held;
        progress.advanced = now;
        if !whole {
            self.read_chunk(from);
        }
    }

    /// A piece could not be read or stored, or the whole has a wrong checksum: the sending
    /// begins anew with the newest snapshot; what has arrived here is void.
    pub fn snapshot_failed(&mut self, position: Position) {
        if self
            .receiving
            .as_ref()
            .is_some_and(|receiving| receiving.is_of(position))
        {
            self.receiving = None;
        }
        let now = self.now;
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        for progress in leading.progress.values_mut() {
            if let Flow::Snapshot {
                snapshot, phase, ..
            } = &mut progress.flow
                && snapshot.last == position
            {
                // Tried again when this has been waited for long enough.
                *phase = ChunkPhase::Sent(now);
            }
        }
    }

    /// Begins anew with the newest snapshot where an answer has not come for long. The receiver
    /// tells how much it has.
    pub(super) fn retry_shipping(&mut self) {
        let now = self.now;
        let patience = 2 * self.settings.election_max_ms;
        let Some(newest) = self.snapshot.clone() else {
            return;
        };
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        let mut again = Vec::new();
        for (id, progress) in &mut leading.progress {
            let alive = progress.heard_within(patience, now);
            let Flow::Snapshot {
                snapshot,
                offset,
                phase: ChunkPhase::Sent(at),
            } = &mut progress.flow
            else {
                continue;
            };
            if alive && now.since(*at) >= patience {
                if snapshot.last != newest.last {
                    *snapshot = Arc::clone(&newest);
                    *offset = 0;
                }
                again.push(*id);
            }
        }
        for id in again {
            self.read_chunk(id);
        }
    }

    /// Up to where the newest snapshot that is durable here reaches.
    pub fn newest_snapshot(&self) -> Option<Index> {
        self.snapshot.as_ref().map(|meta| meta.last.index)
    }

    /// The bytes of that snapshot.
    pub fn newest_snapshot_bytes(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|meta| meta.size_bytes)
    }
}
