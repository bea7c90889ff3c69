//! A worker's sessions, named by slot and generation, so that an event or answer meant for an
//! earlier occupant of a slot is recognised and dropped.

use mio::Token;

use super::session::Session;
use super::wheel::{Link, Links};

/// What a readiness event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The client's socket of a session.
    Client(SessionId),
    /// The target's socket of a session.
    Target(SessionId),
    /// A listener, by its number in the worker.
    Listener(u32),
    /// Another thread has something for this worker.
    Waker,
}

/// Names one session of one worker for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// Slot of the arena.
    pub slot: u32,
    /// Counts the slot's occupants, modulo 2³⁰.
    pub generation: u32,
}

const GENERATION_MASK: u32 = (1 << 30) - 1;

impl SessionId {
    /// As a number for a [`crate::stick::Ticket`].
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// From the number of a ticket.
    pub fn from_u64(number: u64) -> SessionId {
        SessionId {
            slot: number as u32,
            generation: (number >> 32) as u32 & GENERATION_MASK,
        }
    }
}

impl Subject {
    /// The token under which the event loop reports this subject.
    pub fn token(self) -> Token {
        let (kind, number) = match self {
            Subject::Client(id) => (0, id.to_u64()),
            Subject::Target(id) => (1, id.to_u64()),
            Subject::Listener(index) => (2, u64::from(index)),
            Subject::Waker => (3, 0),
        };
        Token((kind << 62 | number) as usize)
    }

    /// The subject of a token made by [`Subject::token`].
    pub fn of(token: Token) -> Subject {
        let number = token.0 as u64;
        match number >> 62 {
            0 => Subject::Client(SessionId::from_u64(number)),
            1 => Subject::Target(SessionId::from_u64(number)),
            2 => Subject::Listener(number as u32),
            _ => Subject::Waker,
        }
    }
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    session: Option<Session>,
}

/// The sessions of one worker.
#[derive(Debug, Default)]
pub struct Arena {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots emptied since the last [`Arena::recycle`].
    retired: Vec<u32>,
}

impl Arena {
    /// Puts a session into a free slot.
    pub fn insert(&mut self, session: Session) -> SessionId {
        if let Some(slot) = self.free.pop() {
            let place = &mut self.slots[slot as usize];
            place.session = Some(session);
            return SessionId {
                slot,
                generation: place.generation,
            };
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer sessions than descriptors");
        self.slots.push(Slot {
            generation: 0,
            session: Some(session),
        });
        SessionId {
            slot,
            generation: 0,
        }
    }

    /// The session of that name, if it still lives.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let place = self.slots.get_mut(id.slot as usize)?;
        (place.generation == id.generation)
            .then_some(place.session.as_mut())
            .flatten()
    }

    /// The name of the session in a slot that holds one.
    pub fn id_at(&self, slot: u32) -> Option<SessionId> {
        let place = self.slots.get(slot as usize)?;
        place.session.as_ref().map(|_| SessionId {
            slot,
            generation: place.generation,
        })
    }

    /// Takes a session out. Its slot stays empty until [`Arena::recycle`].
    pub fn remove(&mut self, id: SessionId) -> Option<Session> {
        let place = self.slots.get_mut(id.slot as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let session = place.session.take()?;
        place.generation = (place.generation + 1) & GENERATION_MASK;
        self.retired.push(id.slot);
        Some(session)
    }

    /// Lets emptied slots be used again; called after each batch of events.
    pub fn recycle(&mut self) {
        self.free.append(&mut self.retired);
    }

    /// Names of all sessions, in slot order.
    pub fn ids(&self) -> Vec<SessionId> {
        (0..self.slots.len() as u32)
            .filter_map(|slot| self.id_at(slot))
            .collect()
    }
}

impl Links for Arena {
    fn link(&mut self, index: u32) -> &mut Link {
        let session = self.slots[index as usize].session.as_mut();
        &mut session
            .expect("a timer is cancelled before its session goes")
            .timer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_their_subject() {
        let id = SessionId {
            slot: 0xFFFF_FFFE,
            generation: GENERATION_MASK,
        };
        for subject in [
            Subject::Client(id),
            Subject::Target(id),
            Subject::Listener(7),
            Subject::Waker,
        ] {
            assert_eq!(Subject::of(subject.token()), subject);
        }
        assert_eq!(SessionId::from_u64(id.to_u64()), id);
    }
}
