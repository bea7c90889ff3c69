//! What peers say, taken in.

use super::node::Node;
use crate::message::Envelope;
use crate::store::files::Files;
use crate::transport::Received;
use crate::wire::Purpose;
use crate::wire::ended::Ended;
use crate::wire::reason::Reason;

impl<F: Files> Node<F> {
    pub(super) fn take_messages(&mut self) {
        while let Some(received) = self.transport.received() {
            match received {
                Received::Message(envelope) => self.take_message(envelope),
                Received::Forming {
                    from,
                    incarnation,
                    message,
                    ..
                } => self.forming.receive(from, incarnation, message),
                Received::Propose {
                    connection,
                    proposals,
                    ..
                } => self.take_commands(connection, proposals),
                Received::Answers { from, answers } => self.take_answers(from, answers),
                Received::PeerUp {
                    peer,
                    incarnation,
                    cluster,
                    purpose: Purpose::Logs,
                } => {
                    match cluster {
                        Some(cluster) => self.clusters.insert(peer, cluster),
                        None => self.clusters.remove(&peer),
                    };
                    self.agrees(peer);
                    self.forming.peer_up(peer, incarnation);
                    self.life.core.reachable(peer);
                }
                Received::PeerDown {
                    peer,
                    purpose: Purpose::Logs,
                } => {
                    self.clusters.remove(&peer);
                    self.forming.peer_down(peer);
                    self.life.core.unreachable(peer);
                }
                // What was on its way is lost with the old one, or waits for the new one.
                Received::PeerUp {
                    peer,
                    purpose: Purpose::Proposals,
                    ..
                }
                | Received::PeerDown {
                    peer,
                    purpose: Purpose::Proposals,
                } => self.client.disconnected(peer),
                Received::Refused {
                    peer: Some(peer),
                    ended,
                    ..
                } => {
                    if let Some(Reason::Cluster { refused, refusing }) = reason(&ended) {
                        let own = self.joined;
                        let theirs = if own == Some(*refused) {
                            refusing
                        } else {
                            refused
                        };
                        self.forming.peer_belongs(peer, *theirs);
                    }
                    self.refused(peer, &ended);
                }
                // A stranger, for the transport's log alone.
                Received::Refused { peer: None, .. } => {}
            }
        }
    }

    /// A message of Raft. While this node belongs to no cluster, it listens only to peers whose
    /// cluster it knows: it may come to belong to it by what they say.
    fn take_message(&mut self, envelope: Envelope) {
        let mut theirs = None;
        if self.joined.is_none() {
            theirs = self.clusters.get(&envelope.from).copied();
            if !theirs.is_some_and(|cluster| self.forming.may_join(cluster)) {
                return;
            }
        }
        self.counters.messages_received += 1;
        self.life.core.receive(envelope);
        let core = &self.life.core;
        let taken_in = !core.is_blank() || core.is_receiving();
        if taken_in && self.joined.is_none() && self.joining.is_none() {
            self.joining = theirs;
        }
    }
}

fn reason(ended: &Ended) -> Option<&Reason> {
    match ended {
        Ended::RefusedHere(reason) | Ended::RefusedThere(reason) => Some(reason),
        _ => None,
    }
}
