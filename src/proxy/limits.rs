//! Whether a client is let in: asked once for each connection, as soon as the address of its client
//! is known and before a byte of it is read.

use crate::clock::Millis;
use crate::logging::RateLimit;

use super::End;
use super::arena::SessionId;
use super::session::Session;
use super::worker::Worker;

static DENIED: RateLimit = RateLimit::new();

impl Worker {
    /// Judges a session by the address of its client; false where that ended it.
    pub(super) fn admit_client(&mut self, id: SessionId) -> bool {
        let Some(session) = self.arena.get_mut(id) else {
            return false;
        };
        let Err(end) = session.judge_client() else {
            return true;
        };
        session.log_refusal(end, self.now);
        self.end(id, end);
        false
    }
}

impl Session {
    /// What speaks against its client.
    fn judge_client(&self) -> Result<(), End> {
        if !self.generation.access.admits(self.peer.ip()) {
            return Err(End::Denied);
        }
        Ok(())
    }

    /// One line in a while for each of the reasons.
    fn log_refusal(&self, end: End, now: Millis) {
        let limit = match end {
            End::Denied => &DENIED,
            _ => return,
        };
        if let Some(left_out) = limit.admit(now) {
            let (peer, port) = (self.peer, self.port);
            let why = end.explanation();
            log::warn!("{peer} on port {port} is reset: {why}{left_out}");
        }
    }
}
