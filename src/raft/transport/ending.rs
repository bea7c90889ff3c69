//! Connections that are over: what is said, what is told, what is tried next.

use log::Level;

use crate::ids::NodeId;
use crate::wire::Purpose;
use crate::wire::ended::Ended;
use crate::wire::reason::Reason;

use super::complaints::About;
use super::connection::{Failure, Origin, Phase};
use super::peer::place;
use super::{Received, Transport};

/// Refusals that wait to be told; more are left out, for they come again.
const MAX_EVENTS: usize = 1024;

/// How long the other side has to read why it is not taken.
const FAREWELL_MS: u64 = 1_000;

impl Transport {
    /// Ends what has taken too long.
    pub(super) fn end_overdue(&mut self) {
        for slot in 0..self.slots.len() {
            let Some(connection) = self.slots.get(slot) else {
                continue;
            };
            if connection.until().is_none_or(|until| self.now < until) {
                continue;
            }
            let failure = match connection.phase {
                Phase::Connecting { .. } => Failure::ConnectTimeout(self.limits.handshake_ms),
                Phase::Handshake { .. } => Failure::HandshakeTimeout(self.limits.handshake_ms),
                Phase::Open { .. } | Phase::Farewell { .. } => Failure::HungUp,
            };
            self.end(slot, failure);
        }
    }

    /// Ends a connection, or lets it say why first.
    pub(super) fn end(&mut self, slot: usize, failure: Failure) {
        let Some(connection) = self.slots.get_mut(slot) else {
            return;
        };
        if matches!(connection.phase, Phase::Farewell { .. }) {
            self.close(slot);
            return;
        }
        let was_open_ms = match connection.phase {
            Phase::Open { since } => Some(self.now.since(since)),
            _ => None,
        };
        connection.lose();
        let origin = connection.origin;
        let purpose = connection.purpose();
        let peer = connection.peer();
        let farewell = matches!(
            (&failure, connection.phase),
            (Failure::Ended(_), Phase::Handshake { .. })
        );
        let another_secret = self.note(slot, origin, &failure);
        if another_secret {
            let line = "a peer does not know the first of the secrets: the second is tried";
            let peer = peer.unwrap_or(self.local.id);
            self.complain(About::Outgoing(peer, purpose), Level::Info, line);
        } else {
            self.tell(origin, purpose, peer, &failure, was_open_ms);
        }
        if farewell {
            self.bid_farewell(slot);
        } else {
            self.close(slot);
        }
    }

    /// Lets the other side read what was written before the connection is closed.
    fn bid_farewell(&mut self, slot: usize) {
        let until = self.now.plus(FAREWELL_MS);
        let Some(connection) = self.slots.get_mut(slot) else {
            return;
        };
        connection.phase = Phase::Farewell { until };
        self.write(slot);
        let Some(connection) = self.slots.get_mut(slot) else {
            return;
        };
        // The other side hangs up in turn; where it already has, reading says so.
        let hung_up = connection.stream.shutdown(std::net::Shutdown::Write);
        if hung_up.is_err() {
            self.close(slot);
            return;
        }
        if !connection.queued {
            connection.queued = true;
            self.resting.push(slot);
        }
    }

    fn close(&mut self, slot: usize) {
        if let Some(mut connection) = self.slots.take(slot) {
            // Closing the socket also ends the watch.
            let _ = self.registry.deregister(&mut connection.stream);
        }
        self.ready.retain(|ready| *ready != slot);
        self.resting.retain(|resting| *resting != slot);
    }

    /// What the connection's link has to remember. Whether another secret is tried at once.
    fn note(&mut self, slot: usize, origin: Origin, failure: &Failure) -> bool {
        let now = self.now;
        let keys = self.local.secrets.keys().len();
        let Some(connection) = self.slots.get_mut(slot) else {
            return false;
        };
        let counters = std::mem::take(&mut connection.counters);
        let open_ms = match connection.phase {
            Phase::Open { since } => now.since(since),
            _ => 0,
        };
        let purpose = connection.purpose();
        let peer = connection.peer();
        let Some(peer) = peer.and_then(|id| self.peers.get_mut(&id)) else {
            return false;
        };
        match origin {
            Origin::Dialled(_) => {
                let link = &mut peer.outgoing[place(purpose)];
                link.counters.add(&counters);
                link.last_error = Some(failure.to_string());
                link.down(now, open_ms, &self.limits, &mut self.random);
                matches!(failure, Failure::Ended(Ended::WrongSecret))
                    && link.try_next_key(keys, now)
            }
            Origin::Accepted(_) => {
                let link = &mut peer.incoming[place(purpose)];
                link.counters.add(&counters);
                link.last_error = Some(failure.to_string());
                if link.slot == Some(slot) {
                    link.slot = None;
                }
                false
            }
        }
    }

    /// Tells the log and the owner.
    fn tell(
        &mut self,
        origin: Origin,
        purpose: Purpose,
        peer: Option<NodeId>,
        failure: &Failure,
        was_open_ms: Option<u64>,
    ) {
        match (origin, was_open_ms) {
            (Origin::Accepted(_), None) => self.totals.turned_away += 1,
            (Origin::Dialled(peer), Some(_)) => {
                self.events.push_back(Received::PeerDown { peer, purpose });
            }
            _ => {}
        }
        if let Failure::Ended(ended) = failure
            && ended.is_refusal()
            && self.events.len() < MAX_EVENTS
        {
            let ended = ended.clone();
            self.events.push_back(Received::Refused {
                peer,
                purpose,
                ended,
            });
        }
        let group = &self.local.group;
        let (about, way) = match (origin, peer) {
            (Origin::Dialled(id), _) => {
                let address = self.peers.get(&id).map(|peer| peer.address.of(purpose));
                let address = address.map(|at| format!(" at {at}")).unwrap_or_default();
                (About::Outgoing(id, purpose), format!("to {id}{address}"))
            }
            (Origin::Accepted(from), Some(id)) if self.peers.contains_key(&id) => {
                (About::Incoming(id, purpose), format!("from {id} at {from}"))
            }
            (Origin::Accepted(from), _) => (About::Stranger(purpose), format!("from {from}")),
        };
        let state = match was_open_ms {
            Some(_) => "has ended",
            None => "did not come about",
        };
        let line =
            format!("connection {way} for {purpose} of Raft group {group} {state}: {failure}");
        self.complain(about, level(failure), &line);
    }

    pub(super) fn not_dialled(&mut self, id: NodeId, purpose: Purpose, failure: &Failure) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&id) {
            let link = &mut peer.outgoing[place(purpose)];
            link.last_error = Some(failure.to_string());
            link.down(now, 0, &self.limits, &mut self.random);
        }
        self.tell(Origin::Dialled(id), purpose, Some(id), failure, None);
    }

    /// Logs a fault, unless it was said a moment ago.
    pub(super) fn complain(&mut self, about: About, level: Level, line: &str) {
        if let Some(left_out) = self.complaints.admit(about, line, self.now) {
            log::log!(level, "{line}{left_out}");
        }
    }
}

fn level(failure: &Failure) -> Level {
    match failure {
        Failure::Renewed | Failure::Replaced => Level::Info,
        Failure::Ended(Ended::RefusedHere(reason) | Ended::RefusedThere(reason)) => match reason {
            Reason::SameId(_) | Reason::Duplicate { .. } | Reason::Agreement { .. } => Level::Error,
            _ => Level::Warn,
        },
        _ => Level::Warn,
    }
}
