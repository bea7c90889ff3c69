//! Connections by number. A number is given again, a token never: an event that was on its way
//! when its connection was closed finds nobody.

use mio::Token;

use super::connection::Connection;

/// Tokens before those of connections: the two listeners'.
pub(super) const LISTENERS: usize = 2;

const SLOT_BITS: u32 = 20;
const SLOT_MASK: usize = (1 << SLOT_BITS) - 1;

/// One connection of one transport, for answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub(super) usize);

#[derive(Debug, Default)]
struct Slot {
    generation: usize,
    connection: Option<Connection>,
}

/// Connections by number.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

impl Slots {
    /// The number for the next connection.
    pub fn reserve(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        })
    }

    /// Gives a reserved number back.
    pub fn release(&mut self, slot: usize) {
        self.slots[slot].generation += 1;
        self.free.push(slot);
    }

    pub fn put(&mut self, slot: usize, connection: Connection) {
        self.slots[slot].connection = Some(connection);
    }

    pub fn take(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.slots.get_mut(slot)?.connection.take()?;
        self.release(slot);
        Some(connection)
    }

    pub fn get(&self, slot: usize) -> Option<&Connection> {
        self.slots.get(slot)?.connection.as_ref()
    }

    pub fn get_mut(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.connection.as_mut()
    }

    /// What tells the slot's present connection from all others.
    pub fn id(&self, slot: usize) -> ConnectionId {
        ConnectionId(slot | self.slots[slot].generation << SLOT_BITS)
    }

    /// The slot of a connection that is still there.
    pub fn find(&self, id: ConnectionId) -> Option<usize> {
        let slot = id.0 & SLOT_MASK;
        let known = self.slots.get(slot)?;
        (known.generation == id.0 >> SLOT_BITS && known.connection.is_some()).then_some(slot)
    }

    pub fn token(&self, slot: usize, base: usize) -> Token {
        Token(base + LISTENERS + self.id(slot).0)
    }

    /// All that are taken.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Connection)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| Some((at, slot.connection.as_ref()?)))
    }

    /// The numbers of all that are taken.
    pub fn numbers(&self) -> Vec<usize> {
        self.iter().map(|(slot, _)| slot).collect()
    }

    /// How many numbers there are, taken or not.
    pub fn len(&self) -> usize {
        self.slots.len()
    }
}
