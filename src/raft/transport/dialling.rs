//! Peers that are called, again and again until they answer.

use crate::ids::NodeId;
use crate::wire::Purpose;
use crate::wire::session::Session;

use super::connection::{Connection, Failure, Origin, Phase};
use super::peer::{PURPOSES, Peer, place};
use super::sockets::{self, Connected};
use super::{PeerAddress, Transport};

impl Transport {
    /// Dials whoever is due.
    pub(super) fn dial(&mut self) {
        let now = self.now;
        let due = self.peers.values().flat_map(|peer| {
            let due = |purpose: &Purpose| {
                let link = &peer.outgoing[place(*purpose)];
                link.slot.is_none() && link.dial_at <= now
            };
            let id = peer.address.id;
            PURPOSES
                .into_iter()
                .filter(due)
                .map(move |purpose| (id, purpose))
        });
        for (id, purpose) in Vec::from_iter(due) {
            let dialled = self.dial_one(id, purpose);
            let Some(peer) = self.peers.get_mut(&id) else {
                continue;
            };
            match dialled {
                Ok(slot) => peer.outgoing[place(purpose)].slot = Some(slot),
                Err(failure) => self.not_dialled(id, purpose, &failure),
            }
        }
    }

    fn dial_one(&mut self, id: NodeId, purpose: Purpose) -> Result<usize, Failure> {
        let peer = self.peers.get(&id).ok_or(Failure::Renewed)?;
        let key = self
            .local
            .secrets
            .keys()
            .get(peer.outgoing[place(purpose)].key);
        let address = peer.address.of(purpose);
        let session = Session::dial(self.local.clone(), id, purpose, key)?;
        let stream = sockets::dial(address, &self.limits)?;
        let phase = Phase::Connecting {
            until: self.now.plus(self.limits.handshake_ms),
        };
        let origin = Origin::Dialled(id);
        let connection = Connection::new(stream, session, origin, phase, &self.limits);
        Ok(self.watch(connection)?)
    }

    /// The kernel has something to say about a socket that is connecting.
    pub(super) fn on_connecting(&mut self, slot: usize) {
        let Some(connection) = self.slots.get_mut(slot) else {
            return;
        };
        match sockets::connected(&connection.stream) {
            Connected::Yes => {
                let until = self.now.plus(self.limits.handshake_ms);
                connection.phase = Phase::Handshake { until };
            }
            Connected::NotYet => connection.writable = false,
            Connected::Failed(error) => self.end(slot, Failure::Io(error)),
        }
    }

    /// A peer has moved, or not.
    pub(super) fn move_peer(&mut self, id: NodeId, address: PeerAddress) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut peer.address, address);
        let moved = PURPOSES.map(|one| before.of(one) != address.of(one));
        let links = peer.outgoing.iter_mut().zip(moved);
        let old: Vec<usize> = links
            .filter_map(|(link, moved)| link.slot.filter(|_| moved))
            .collect();
        for slot in old {
            self.end(slot, Failure::Renewed);
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        for (link, moved) in peer.outgoing.iter_mut().zip(moved) {
            if moved {
                link.renew(now);
            }
        }
    }

    /// A peer is one no longer.
    pub(super) fn drop_peer(&mut self, id: NodeId) {
        for slot in self.slots.numbers() {
            if self.slots.get(slot).and_then(Connection::peer) == Some(id) {
                self.end(slot, Failure::Renewed);
            }
        }
        self.peers.remove(&id);
        self.complaints.forget(id);
    }

    /// The connection that goes to the peer for that purpose, where it is open.
    pub(super) fn outgoing(&mut self, id: NodeId, purpose: Purpose) -> Option<&mut Connection> {
        let slot = self.peers.get(&id)?.outgoing[place(purpose)].slot?;
        self.slots.get_mut(slot).filter(|one| one.is_open())
    }

    pub(super) fn peer_mut(&mut self, id: NodeId) -> Option<&mut Peer> {
        self.peers.get_mut(&id)
    }
}
