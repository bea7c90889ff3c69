//! Connections that are reset before a byte of them is relayed: each says why, one line in a while
//! for each reason.

use std::fmt::Display;

use crate::logging::RateLimit;

use super::End;
use super::arena::SessionId;
use super::worker::Worker;

/// One for each reason, so that a flood of one hides no other.
static LIMITS: [RateLimit; End::ALL.len()] = [const { RateLimit::new() }; End::ALL.len()];

impl Worker {
    /// Ends a session for a reason that the log is to tell.
    pub(super) fn refuse(&mut self, id: SessionId, end: End) {
        self.refuse_with(id, end, &"");
    }

    /// Ends a session for a reason that the log is to tell, with what is to be known besides.
    pub(super) fn refuse_with(&mut self, id: SessionId, end: End, detail: &dyn Display) {
        let now = self.now;
        if let Some(session) = self.arena.get_mut(id)
            && let Some(left_out) = LIMITS[end as usize].admit(now)
        {
            let (peer, port) = (session.peer, session.port);
            let why = end.explanation();
            log::warn!("{peer} on port {port} is reset: {why}{detail}{left_out}");
        }
        self.end(id, end);
    }
}
