//! What this node knows of the keys that its own connections have: which entry each goes by, how
//! many are open, and what the log has been told of that.

use tcpffee_raft::ids::{Index, LogTime, NodeTime};

use crate::config::GroupId;
use crate::stick::hash::{KeyHasher, SHARDS};
use crate::stick::index::Index as HashIndex;
use crate::stick::{Answer, Key, KeyRef, StickRef, Ticket};

/// The entry that a record's connections go by.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Names this assignment in references: a later one of the same key has another.
    pub serial: u64,
    pub group: GroupId,
    /// The entry's version in the log; 0 where this node gave the group alone, without a leader.
    pub version: Index,
    /// When it expires, as the log last told this node.
    pub expires: LogTime,
    /// One connection of this node made it, and no other was given it: it may be moved.
    pub is_movable: bool,
    /// Its move is on its way, or that it was given up: whoever comes meanwhile has to ask.
    pub is_moving: bool,
    /// Established connections.
    pub open: u32,
    /// Connections that were given the entry and are still connecting.
    pub pending: u32,
    /// The latest that the log's time may have been at the last activity; 0: nothing was connected.
    pub activity: LogTime,
    /// The activity that the log was told of; it may not have heard it.
    pub sent: LogTime,
    /// The activity that the log knows of.
    pub told: LogTime,
    /// The log knows that nothing was connected on it yet, or does not know otherwise.
    pub is_provisional: bool,
    pub hold: Hold,
}

/// Whether the log holds the entry for this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    No,
    /// A change is on its way.
    Asked,
    Yes,
}

impl Entry {
    /// Whether nobody goes by it and the log knows all there is to know.
    fn is_over(&self) -> bool {
        // What was given alone is kept until it is offered, unless there is too much of it.
        let is_known = (self.version != ALONE || self.told == FOREVER) && !self.is_moving;
        let is_told = is_known && self.told >= self.activity;
        self.open == 0 && self.pending == 0 && self.hold == Hold::No && is_told
    }

    /// Whether this node gave the group alone.
    pub fn is_alone(&self) -> bool {
        self.version == ALONE
    }
}

/// Told, of an entry that is not going to be offered.
pub(super) const FOREVER: LogTime = LogTime(u64::MAX);

/// The version of entries that no log knows.
pub(super) const ALONE: Index = Index(0);

/// A question to the log that is under way, with who waits for its answer.
#[derive(Debug, Default)]
pub(super) struct Asking {
    pub waiters: Vec<Waiter>,
    /// The group that was proposed: counted in advance among its sticks.
    pub proposed: Option<GroupId>,
    /// It is to be asked again: the last answer was that it is too early to say.
    pub is_put_off: bool,
}

/// A connection that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub ticket: Ticket,
    pub port: u16,
    /// The group with which it has a place already.
    pub place: Option<GroupId>,
    /// When it waits no longer.
    pub until: NodeTime,
}

/// Which of a record's two questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// For the key.
    Key = 0,
    /// For the newest entry of the key's address.
    Latest = 1,
}

/// One key.
#[derive(Debug)]
pub(super) struct Record {
    pub key: Key,
    pub entry: Option<Entry>,
    pub asking: [Option<Asking>; 2],
    /// Waits in the shard's `due` list.
    pub is_due: bool,
}

impl Record {
    fn is_over(&self) -> bool {
        let is_asking = self.asking.iter().any(Option::is_some);
        !is_asking && !self.is_due && self.entry.as_ref().is_none_or(Entry::is_over)
    }
}

/// A part of the records, by address.
#[derive(Debug)]
pub(super) struct Shard {
    number: u32,
    index: HashIndex,
    hasher: KeyHasher,
    slots: Vec<Option<Record>>,
    free: Vec<u32>,
    /// Records that the log is to be told something of.
    pub due: Vec<u32>,
    /// Records with questions that were put off.
    pub put_off: Vec<(u32, Question)>,
    next_serial: u64,
}

impl Shard {
    pub fn new(number: u32, hasher: KeyHasher) -> Shard {
        Shard {
            number,
            index: HashIndex::new(),
            hasher,
            slots: Vec::new(),
            free: Vec::new(),
            due: Vec::new(),
            put_off: Vec::new(),
            next_serial: SHARDS as u64 + u64::from(number),
        }
    }

    /// The record of a key.
    pub fn find(&self, ip_hash: u64, key: KeyRef<'_>) -> Option<u32> {
        let hash = self.hasher.key(ip_hash, key);
        self.index.find(hash, |slot| {
            let record = self.slots[slot as usize].as_ref();
            record.is_some_and(|record| record.key.as_ref() == key)
        })
    }

    /// The record of a key, made where there is none.
    pub fn entry_of(&mut self, ip_hash: u64, key: KeyRef<'_>) -> u32 {
        if let Some(slot) = self.find(ip_hash, key) {
            return slot;
        }
        let record = Record {
            key: key.to_key(),
            entry: None,
            asking: [None, None],
            is_due: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(record);
                slot
            }
            None => {
                self.slots.push(Some(record));
                (self.slots.len() - 1) as u32 // connections are far fewer than that
            }
        };
        self.index.insert(self.hasher.key(ip_hash, key), slot);
        slot
    }

    pub fn get(&self, slot: u32) -> Option<&Record> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Record> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The entry behind a reference, where it still is the same assignment.
    pub fn current(&mut self, stick: StickRef) -> Option<&mut Entry> {
        let entry = self.get_mut(stick.slot)?.entry.as_mut()?;
        (entry.serial == stick.version).then_some(entry)
    }

    /// Has a record go by another entry from now on; connections of the one before go on and hold
    /// nothing.
    pub fn give(&mut self, slot: u32, group: GroupId, version: Index, expires: LogTime) {
        let serial = self.next_serial;
        self.next_serial += SHARDS as u64;
        if let Some(record) = self.get_mut(slot) {
            record.entry = Some(Entry {
                serial,
                group,
                version,
                expires,
                is_movable: false,
                is_moving: false,
                open: 0,
                pending: 0,
                activity: LogTime(0),
                sent: LogTime(0),
                told: LogTime(0),
                is_provisional: false,
                hold: Hold::No,
            });
        }
    }

    /// The answer for one more connection on the record's entry.
    pub fn answer(&mut self, slot: u32, created: bool) -> Option<Answer> {
        let shard = self.number;
        let entry = self.get_mut(slot)?.entry.as_mut()?;
        entry.pending += 1;
        Some(Answer {
            group: entry.group,
            stick: StickRef {
                shard,
                slot,
                version: entry.serial,
            },
            created,
        })
    }

    /// Notes that the log is to be told something of the record.
    pub fn note_due(&mut self, slot: u32) {
        if let Some(record) = self.get_mut(slot)
            && !record.is_due
        {
            record.is_due = true;
            self.due.push(slot);
        }
    }

    /// Forgets the record where nothing is left to be known of it.
    pub fn tidy(&mut self, slot: u32) {
        let Some(record) = self.get(slot).filter(|record| record.is_over()) else {
            return;
        };
        let key = record.key.as_ref();
        let hash = self.hasher.key(self.hasher.ip(key.ip), key);
        self.index.remove(hash, slot);
        self.slots[slot as usize] = None;
        self.free.push(slot);
    }

    /// All slots, those without a record included.
    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Records.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
