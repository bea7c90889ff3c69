//! What is to be sent.

use bytes::Bytes;

use crate::ids::NodeId;
use crate::message::Envelope;
use crate::wire::frame::{MAX_BODY_BYTES, MAX_FORMING_BYTES};
use crate::wire::proposal::{
    ANSWER_TOO_LARGE, Answer, MAX_REFUSAL_TEXT_BYTES, Outcome, Propose, fits, split,
};

use super::Transport;
use super::connection::{Connection, Failure};
use super::outbox::Outgoing;
use super::peer::place;
use super::slots::ConnectionId;

/// Why something was not sent. It may be sent again later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// There is no connection.
    #[error("there is no connection with {0}")]
    NotConnected(NodeId),
    /// The connection is gone.
    #[error("the connection that the proposals came over is gone")]
    ConnectionGone,
    /// Too much waits. Of several, those before may have been taken.
    #[error("too much waits to be sent already")]
    Full,
    /// It never fits into a frame.
    #[error("{bytes} bytes, of at most {most} in one frame")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// Their bound.
        most: usize,
    },
}

impl Transport {
    /// Sends a message of Raft with the next [`Transport::flush`]. Dropped and counted where
    /// there is no connection or no room.
    pub fn send(&mut self, envelope: Envelope) {
        let outgoing = Outgoing::Message(envelope.term, envelope.message);
        // Raft sends again whatever still matters.
        let _ = self.push(envelope.to, outgoing);
    }

    /// Sends a message about forming a cluster, of at most 64 KiB.
    ///
    /// # Errors
    /// Where it cannot be sent now, or never.
    pub fn send_forming(&mut self, to: NodeId, body: Bytes) -> Result<(), SendError> {
        if body.len() > MAX_FORMING_BYTES {
            return Err(SendError::TooLarge {
                bytes: body.len(),
                most: MAX_FORMING_BYTES,
            });
        }
        self.push(to, Outgoing::Forming(body))
    }

    /// Sends proposals to a node that is thought to lead. Answers come as
    /// [`super::Received::Answers`], or never: not after [`super::Received::PeerDown`].
    ///
    /// # Errors
    /// Where they cannot be sent now; where one never can, none is.
    pub fn propose(&mut self, to: NodeId, proposals: Vec<Propose>) -> Result<(), SendError> {
        let too_large = proposals
            .iter()
            .map(Propose::size_bytes)
            .find(|size| !fits(*size));
        if let Some(bytes) = too_large {
            return Err(SendError::TooLarge {
                bytes,
                most: MAX_BODY_BYTES,
            });
        }
        for (_, run) in split(proposals, Propose::size_bytes) {
            self.push(to, Outgoing::Proposals(run))?;
        }
        Ok(())
    }

    /// Answers proposals over the connection that they came over. An answer that is too large to
    /// travel becomes a refusal with [`ANSWER_TOO_LARGE`].
    ///
    /// # Errors
    /// Where the connection is gone, or full of answers that nobody takes.
    pub fn answer(&mut self, to: ConnectionId, answers: Vec<Answer>) -> Result<(), SendError> {
        let slot = self.slots.find(to);
        let connection = slot.and_then(|slot| self.slots.get_mut(slot));
        let Some(connection) = connection.filter(|one| one.is_open()) else {
            return Err(SendError::ConnectionGone);
        };
        let answers = answers.into_iter().map(travelling).collect();
        for (_, run) in split(answers, Answer::size_bytes) {
            let pushed = connection.push(Outgoing::Answers(run));
            pushed.map_err(|_| SendError::Full)?;
        }
        Ok(())
    }

    fn push(&mut self, to: NodeId, outgoing: Outgoing) -> Result<(), SendError> {
        let purpose = outgoing.purpose();
        let count = outgoing.count();
        if let Some(connection) = self.outgoing(to, purpose) {
            return connection.push(outgoing).map_err(|_| SendError::Full);
        }
        if let Some(peer) = self.peer_mut(to) {
            peer.outgoing[place(purpose)].counters.dropped_messages += count;
        }
        Err(SendError::NotConnected(to))
    }

    /// Writes what waits, as far as the kernel takes it: at most 1 MiB for each connection, the
    /// rest with the next turn.
    pub fn flush(&mut self) {
        for slot in 0..self.slots.len() {
            if self.slots.get(slot).is_some_and(Connection::wants_to_write) {
                self.write(slot);
            }
        }
    }

    /// Writes what one connection has.
    pub(super) fn write(&mut self, slot: usize) {
        let written = self.slots.get_mut(slot).map(Connection::write);
        if let Some(Err(failure)) = written {
            self.end(slot, failure);
        }
    }

    /// Writes once more before a connection is closed from this side.
    pub(super) fn last_words(&mut self, slot: usize) {
        if let Some(connection) = self.slots.get_mut(slot).filter(|one| one.is_open()) {
            match connection.write() {
                Ok(()) | Err(Failure::HungUp) => {}
                Err(error) => log::debug!("the end of a connection was lost: {error}"),
            }
        }
    }
}

fn travelling(answer: Answer) -> Answer {
    let bytes = answer.size_bytes();
    if fits(bytes) {
        return answer;
    }
    let mut text = format!("it was applied, but its answer of {bytes} bytes cannot travel");
    text.truncate(MAX_REFUSAL_TEXT_BYTES);
    let code = ANSWER_TOO_LARGE;
    Answer {
        id: answer.id,
        outcome: Outcome::Refused { code, text },
    }
}
