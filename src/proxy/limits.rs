//! Whether a client is let in: asked once for each connection, as soon as the address of its client
//! is known and before a byte of it is read. Whoever is to name its client by a header must not be
//! among `deny` itself.
//!
//! What holds is the configuration in force, on whichever listener the client has come. With nothing
//! limited a connection pays for a few comparisons, and takes no lock.

use super::End;
use super::arena::SessionId;
use super::worker::Worker;

impl Worker {
    /// Judges a session by the address of its client; false where that ended it.
    pub(super) fn admit_client(&mut self, id: SessionId) -> bool {
        let Err(end) = self.judge_client(id) else {
            return true;
        };
        match end {
            End::Denied => self.deny(id),
            _ => self.refuse(id, end),
        }
        false
    }

    fn deny(&mut self, id: SessionId) {
        let ip = self.session(id).peer.ip();
        let by = match self.generation.access.denies(ip) {
            true => " (it is in deny)",
            false => " (it is not in allow)",
        };
        self.refuse_with(id, End::Denied, &by);
    }

    /// Judges a session whose header is to name its client by where it comes from: nobody can speak
    /// for others who is denied. Nothing else is asked of it, as it is no client. False where that
    /// ended the session.
    pub(super) fn admit_balancer(&mut self, id: SessionId) -> bool {
        let ip = self.session(id).peer.ip();
        if self.generation.access.denies(ip) {
            self.deny(id);
            return false;
        }
        true
    }

    /// What speaks against a session's client. From here on the session counts in its client's.
    fn judge_client(&mut self, id: SessionId) -> Result<(), End> {
        let Some(session) = self.arena.get_mut(id) else {
            return Ok(());
        };
        if !self.generation.access.admits(session.peer.ip()) {
            return Err(End::Denied);
        }
        let config = &self.generation.config;
        if let Some(max) = config.max_connections_per_client {
            let client = session.client_ip();
            if !self.shared.clients.enter(client, max) {
                return Err(End::ClientConnections);
            }
            session.counted_client = Some(client);
        }
        if let Some(rate) = config.max_new_connections_per_second_per_client {
            let client = session.client_ip();
            if !self.shared.client_rates.take(client, rate, self.now) {
                return Err(End::ClientRate);
            }
        }
        Ok(())
    }

    /// Counts the sessions that were let in while connections were not counted by client.
    pub(super) fn count_clients_in(&mut self) {
        for id in self.arena.ids() {
            if let Some(session) = self.arena.get_mut(id)
                && session.is_client_known()
                && session.counted_client.is_none()
            {
                let client = session.client_ip();
                self.shared.clients.count_in(client);
                session.counted_client = Some(client);
            }
        }
    }

    /// A session ends: it counts no longer.
    pub(super) fn release_client(&mut self, id: SessionId) {
        let counted = self
            .arena
            .get_mut(id)
            .and_then(|session| session.counted_client.take());
        if let Some(client) = counted {
            self.shared.clients.leave(client);
        }
    }
}
