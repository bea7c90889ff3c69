//! The model: what the table promises, computed the slow way.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::super::fixtures::*;
use super::{Asking, EXPIRATIONS_MS, GROUPS};
use crate::clock::Millis;
use crate::config::{Balance, GroupId, StickTableFull};
use crate::groups::{Groups, Status};
use crate::stick::{Answer, EntryView, Key, Refusal, Settings, Table};

/// A key of the model: number of the address, byte of the slice.
pub type PlainKey = (u32, Option<u8>);

/// One entry, as plainly as can be.
#[derive(Clone, Debug)]
pub struct Plain {
    pub group: u32,
    /// What it was assigned as: no two assignments have the same number.
    pub assignment: u64,
    pub connected_once: bool,
    pub shared: bool,
    pub lapsed: bool,
    pub open: usize,
    pub pending: usize,
    pub last_activity: u64,
    /// When it was routed last, by count of routes.
    pub routed: u64,
}

/// A connection of the history, with its answer and the assignment that the model gave it.
#[derive(Clone, Debug)]
pub struct Connection {
    pub key: Key,
    pub port: u16,
    pub answer: Answer,
    pub assignment: u64,
    pub tried: Vec<GroupId>,
}

pub struct World {
    pub cluster: Cluster,
    pub table: Table,
    pub statuses: BTreeMap<u32, Status>,
    pub settings: Settings,
    pub now: u64,
    pub entries: BTreeMap<PlainKey, Plain>,
    pub connecting: Vec<Connection>,
    pub established: Vec<Connection>,
    pub versions: HashSet<u64>,
    pub assignments: u64,
    pub routes: u64,
}

/// What the model expects of a route.
#[derive(Debug, PartialEq)]
pub enum Expected {
    Known(PlainKey),
    Anew(PlainKey),
    Refused(Refusal),
}

impl World {
    pub fn new() -> World {
        let cluster = Cluster::new();
        let settings = Settings {
            expiration: Duration::from_millis(EXPIRATIONS_MS[1]),
            max_entries: 6,
            full: StickTableFull::Evict,
            balance: Balance::LeastSticks,
        };
        World {
            table: cluster.table(settings),
            cluster,
            statuses: (1..=GROUPS).map(|id| (id, Status::Up)).collect(),
            settings,
            now: 1_000_000,
            entries: BTreeMap::new(),
            connecting: Vec::new(),
            established: Vec::new(),
            versions: HashSet::new(),
            assignments: 0,
            routes: 0,
        }
    }

    pub fn groups(&self) -> Groups {
        let wanted = self.statuses.iter().map(|(&id, &status)| {
            // Group 1 serves the other port too.
            let ports: &[u16] = if id == 1 {
                &[PORT, OTHER_PORT]
            } else {
                &[PORT]
            };
            up(id).status(status).ports(ports)
        });
        self.cluster.groups(wanted)
    }

    pub fn is_usable(&self, group: u32) -> bool {
        let status = self.statuses.get(&group);
        status.is_some_and(|status| status.is_usable())
    }

    pub fn serves(group: u32, port: u16) -> bool {
        port == PORT || group == 1
    }

    pub fn candidates(&self, port: u16, tried: &[GroupId]) -> Vec<u32> {
        let up = self.statuses.iter().filter(|(id, status)| {
            **status == Status::Up && World::serves(**id, port) && !tried.contains(&GroupId(**id))
        });
        up.map(|(&id, _)| id).collect()
    }

    /// Fewest sticks, lower id among equals.
    pub fn lightest(&self, port: u16, tried: &[GroupId]) -> Option<u32> {
        let sticks = |id: &u32| {
            self.entries
                .values()
                .filter(|entry| entry.group == *id)
                .count()
        };
        let candidates = self.candidates(port, tried);
        candidates.into_iter().min_by_key(|id| (sticks(id), *id))
    }

    pub fn expiration_ms(&self) -> u64 {
        u64::try_from(self.settings.expiration.as_millis()).unwrap()
    }

    pub fn is_valid(&self, entry: &Plain) -> bool {
        entry.open > 0 || (!entry.lapsed && self.now < entry.last_activity + self.expiration_ms())
    }

    /// The key whose entry answers.
    pub fn answering(&self, asking: Asking) -> PlainKey {
        match asking {
            Asking::Key(ip, slice) => (ip, slice),
            Asking::LatestOf(ip) => self
                .entries
                .iter()
                .filter(|((own, slice), _)| *own == ip && slice.is_some())
                .filter(|(_, entry)| self.is_valid(entry) && self.is_usable(entry.group))
                .max_by_key(|(_, entry)| entry.routed)
                .map_or((ip, None), |(key, _)| *key),
        }
    }

    pub fn expect_route(&self, asking: Asking, port: u16) -> Expected {
        let key = self.answering(asking);
        let known = self.entries.get(&key);
        if let Some(entry) = known
            && self.is_valid(entry)
            && self.is_usable(entry.group)
        {
            return if World::serves(entry.group, port) {
                Expected::Known(key)
            } else {
                Expected::Refused(Refusal::NoTarget)
            };
        }
        if self.lightest(port, &[]).is_none() {
            return Expected::Refused(Refusal::NoGroup);
        }
        if known.is_none() && self.entries.len() >= self.settings.max_entries {
            let Some(oldest) = self.gives_way() else {
                return Expected::Refused(Refusal::TableFull);
            };
            let evicts = self.settings.full == StickTableFull::Evict;
            if !evicts && self.is_valid(&self.entries[&oldest]) {
                return Expected::Refused(Refusal::TableFull);
            }
        }
        Expected::Anew(key)
    }

    /// Of the idle entries that no connection holds, one with the oldest activity.
    pub fn gives_way(&self) -> Option<PlainKey> {
        let unheld = self.entries.iter().filter(|(_, entry)| {
            entry.connected_once && !entry.lapsed && entry.open == 0 && entry.pending == 0
        });
        unheld
            .min_by_key(|(_, entry)| entry.last_activity)
            .map(|(key, _)| *key)
    }

    pub fn view(&self, key: &PlainKey) -> Option<EntryView> {
        self.table.get(owned(*key).as_ref(), Millis(self.now))
    }
}

pub fn owned((number, slice): PlainKey) -> Key {
    Key {
        ip: ip(number),
        slice: slice.map(|byte| Box::from([byte])),
    }
}
