//! What has arrived: read only as fast as it is asked for, each connection in its turn.

use crate::ids::NodeId;
use crate::message::Envelope;
use crate::wire::ended::Ended;
use crate::wire::frame::{Frame, Kind};
use crate::wire::hello::Hello;
use crate::wire::reason::Reason;
use crate::wire::session::Event;
use crate::wire::{message, proposal};

use super::complaints::About;
use super::connection::{Connection, Failure, HANDSHAKE_READ_BYTES, Origin, Phase, Reading};
use super::peer::place;
use super::{Received, Transport};

/// What a look at a connection came to.
enum Look {
    /// This, and maybe more.
    Received(Received),
    /// Something that concerns the transport alone, and maybe more.
    Progress,
    /// Nothing more for now.
    Nothing,
    /// It has had its share of this turn.
    Rest,
}

impl Transport {
    /// What has arrived or changed; none where there is nothing more in this turn.
    pub fn received(&mut self) -> Option<Received> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let slot = self.ready.pop_front()?;
            match self.look(slot) {
                Ok(Look::Received(received)) => {
                    self.ready.push_back(slot);
                    return Some(received);
                }
                Ok(Look::Progress) => self.ready.push_back(slot),
                Ok(Look::Rest) => self.resting.push(slot),
                Ok(Look::Nothing) => {
                    if let Some(connection) = self.slots.get_mut(slot) {
                        connection.queued = false;
                    }
                }
                Err(failure) => {
                    if let Some(connection) = self.slots.get_mut(slot) {
                        connection.queued = false;
                    }
                    self.end(slot, failure);
                }
            }
        }
    }

    /// An event of the poll has come for a connection.
    pub(super) fn on_event(&mut self, slot: usize) {
        let Some(connection) = self.slots.get_mut(slot) else {
            return;
        };
        if matches!(connection.phase, Phase::Connecting { .. }) {
            self.on_connecting(slot);
        }
        let Some(connection) = self.slots.get_mut(slot) else {
            return;
        };
        if connection.readable && !connection.queued {
            connection.queued = true;
            self.ready.push_back(slot);
        }
    }

    /// A new turn: whoever had its share may be read again.
    pub(super) fn wake_resting(&mut self) {
        self.ready.extend(self.resting.drain(..));
        for slot in 0..self.slots.len() {
            if let Some(connection) = self.slots.get_mut(slot) {
                connection.turn_bytes = 0;
            }
        }
    }

    fn look(&mut self, slot: usize) -> Result<Look, Failure> {
        let Some(connection) = self.slots.get_mut(slot) else {
            return Ok(Look::Nothing);
        };
        if matches!(connection.phase, Phase::Farewell { .. }) {
            return self.read(slot);
        }
        match connection.session.next_event()? {
            Some(Event::Frame(frame)) => {
                connection.counters.received_messages += 1;
                return Ok(Look::Received(self.opened(slot, frame)?));
            }
            Some(Event::Presented(hello)) => {
                let admitted = self.lives_agree(&hello);
                self.on_presented(slot, admitted)?;
                return Ok(Look::Progress);
            }
            Some(Event::Open) => {
                self.on_open(slot)?;
                return Ok(Look::Progress);
            }
            None => {}
        }
        self.read(slot)
    }

    fn read(&mut self, slot: usize) -> Result<Look, Failure> {
        let Some(connection) = self.slots.get_mut(slot) else {
            return Ok(Look::Nothing);
        };
        if !connection.readable || matches!(connection.phase, Phase::Connecting { .. }) {
            return Ok(Look::Nothing);
        }
        if connection.turn_bytes >= self.limits.turn_bytes {
            return Ok(Look::Rest);
        }
        let most = match connection.phase {
            Phase::Open { .. } => self.buffer.len(),
            _ => HANDSHAKE_READ_BYTES,
        };
        match connection.read(&mut self.buffer[..most])? {
            Reading::Some(bytes) => {
                if !matches!(connection.phase, Phase::Farewell { .. }) {
                    connection.session.feed(&self.buffer[..bytes])?;
                }
                Ok(Look::Progress)
            }
            Reading::Nothing => Ok(Look::Nothing),
            Reading::HungUp => Err(Failure::HungUp),
        }
    }

    fn on_presented(&mut self, slot: usize, admitted: Result<(), Reason>) -> Result<(), Failure> {
        let Some(connection) = self.slots.get_mut(slot) else {
            return Ok(());
        };
        Ok(connection.session.admit(admitted)?)
    }

    /// Whether the life may be spoken with beside those that are connected.
    fn lives_agree(&self, hello: &Hello) -> Result<(), Reason> {
        let mut open = self.lives_of(hello.id).map(|(_, other)| other.incarnation);
        let alive = open.find(|alive| {
            let later =
                hello.incarnation.store == alive.store && hello.incarnation.start > alive.start;
            *alive != hello.incarnation && !later
        });
        match alive {
            None => Ok(()),
            Some(connected) => Err(Reason::Duplicate {
                id: hello.id,
                connected,
                refused: hello.incarnation,
            }),
        }
    }

    /// Open connections with a node, whoever began them.
    fn lives_of(&self, id: NodeId) -> impl Iterator<Item = (usize, &Hello)> {
        let open = self.slots.iter().filter(|(_, one)| one.is_open());
        let with = open.filter_map(|(slot, one)| Some((slot, one.session.peer()?)));
        with.filter(move |(_, hello)| hello.id == id)
    }

    /// Both sides take each other.
    fn on_open(&mut self, slot: usize) -> Result<(), Failure> {
        let Some(hello) = self.slots.get(slot).and_then(|one| one.session.peer()) else {
            return Ok(());
        };
        let hello = hello.clone();
        // Both may have become otherwise in between.
        self.lives_agree(&hello).map_err(Ended::RefusedHere)?;
        let before = self.lives_of(hello.id);
        let earlier = before.filter(|(_, other)| other.incarnation != hello.incarnation);
        for old in Vec::from_iter(earlier.map(|(old, _)| old)) {
            self.end(old, Failure::Replaced);
        }
        let Some(connection) = self.slots.get_mut(slot) else {
            return Ok(());
        };
        let purpose = connection.purpose();
        let origin = connection.origin;
        connection.phase = Phase::Open { since: self.now };
        let Some(peer) = self.peers.get_mut(&hello.id) else {
            return Err(Ended::RefusedHere(Reason::NotAPeer(hello.id)).into());
        };
        match origin {
            Origin::Dialled(_) => {
                peer.outgoing[place(purpose)].last_error = None;
                peer.outgoing[place(purpose)].key = 0;
                self.events.push_back(Received::PeerUp {
                    peer: hello.id,
                    incarnation: hello.incarnation,
                    cluster: hello.cluster,
                    purpose,
                });
            }
            Origin::Accepted(_) => {
                peer.incoming[place(purpose)].last_error = None;
                if let Some(old) = peer.incoming[place(purpose)].slot.replace(slot) {
                    self.end(old, Failure::Replaced);
                }
            }
        }
        let (group, peer) = (&hello.group, hello.id);
        let line = match origin {
            Origin::Dialled(_) => {
                format!("connected to {peer} for {purpose} of Raft group {group}")
            }
            Origin::Accepted(from) => {
                format!("{peer} at {from} has connected for {purpose} of Raft group {group}")
            }
        };
        let dialled = matches!(origin, Origin::Dialled(_));
        self.complain(
            About::Connected(peer, purpose, dialled),
            log::Level::Info,
            &line,
        );
        Ok(())
    }

    /// What a frame on an open connection says.
    fn opened(&self, slot: usize, frame: Frame) -> Result<Received, Failure> {
        let connection = self.slots.get(slot);
        let hello = connection.and_then(|one: &Connection| one.session.peer());
        let hello = hello.ok_or(Failure::HungUp)?;
        let (from, incarnation) = (hello.id, hello.incarnation);
        let kind = frame.kind;
        let malformed = |malformed| Failure::Ended(Ended::Malformed { kind, malformed });
        Ok(match kind {
            Kind::Forming => Received::Forming {
                from,
                incarnation,
                cluster: hello.cluster,
                message: crate::forming::Message::decode(frame.body).map_err(malformed)?,
            },
            Kind::Propose => Received::Propose {
                connection: self.slots.id(slot),
                from,
                incarnation,
                proposals: proposal::get_proposals(frame.body).map_err(malformed)?,
            },
            Kind::Answer => Received::Answers {
                from,
                answers: proposal::get_answers(frame.body).map_err(malformed)?,
            },
            _ => {
                let (term, message) = message::get(kind, frame.body).map_err(malformed)?;
                Received::Message(Envelope {
                    from,
                    incarnation,
                    to: self.local.id,
                    term,
                    message,
                })
            }
        })
    }
}
