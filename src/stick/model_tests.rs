//! Random histories of a table against a naive model of what it promises.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::clock::Millis;
use crate::config::{Balance, GroupId, StickTableFull};
use crate::groups::{Groups, Status};

use super::entry::State;
use super::fixtures::*;
use super::{
    AfterFailure, Answer, Ask, Client, Cursor, EntryView, Key, KeyRef, Refusal, Route, Settings,
    Stale, Sticks, Table,
};

const GROUPS: u32 = 3;
const ADDRESSES: u32 = 4;
const EXPIRATIONS_MS: [u64; 3] = [50, 200, 1000];

#[derive(Clone, Debug)]
enum Op {
    Route {
        client: Asking,
        port: u16,
    },
    /// Of the connections that are still connecting, this one (modulo their number)…
    Established(usize),
    Failed(usize),
    Abandoned(usize),
    /// Of the established ones.
    Closed(usize),
    Pass(u64),
    Sweep,
    SetStatus(u32, Option<Status>),
    SetExpiration(usize),
    SetBound(usize, bool),
}

#[derive(Clone, Copy, Debug)]
enum Asking {
    Key(u32, Option<u8>),
    LatestOf(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let asking = prop_oneof![
        3 => (0..ADDRESSES, prop::option::of(0..3u8)).prop_map(|(ip, slice)| Asking::Key(ip, slice)),
        1 => (0..ADDRESSES).prop_map(Asking::LatestOf),
    ];
    let port = prop_oneof![5 => Just(PORT), 1 => Just(OTHER_PORT)];
    let status = prop_oneof![
        Just(Some(Status::Up)),
        Just(Some(Status::Draining)),
        Just(Some(Status::Disabled)),
        Just(None),
    ];
    prop_oneof![
        10 => (asking, port).prop_map(|(client, port)| Op::Route { client, port }),
        6 => any::<usize>().prop_map(Op::Established),
        3 => any::<usize>().prop_map(Op::Failed),
        2 => any::<usize>().prop_map(Op::Abandoned),
        5 => any::<usize>().prop_map(Op::Closed),
        4 => (0..120u64).prop_map(Op::Pass),
        2 => Just(Op::Sweep),
        2 => (1..=GROUPS, status).prop_map(|(id, status)| Op::SetStatus(id, status)),
        1 => (0..EXPIRATIONS_MS.len()).prop_map(Op::SetExpiration),
        1 => (1..8usize, any::<bool>()).prop_map(|(max, evict)| Op::SetBound(max, evict)),
    ]
}

/// One entry, as plainly as can be.
#[derive(Clone, Debug)]
struct Plain {
    group: u32,
    /// What it was assigned as: no two assignments have the same number.
    assignment: u64,
    connected_once: bool,
    shared: bool,
    lapsed: bool,
    open: usize,
    pending: usize,
    last_activity: u64,
    /// When it was routed last, by count of routes.
    routed: u64,
}

/// A connection of the history, with its answer and the assignment that the model gave it.
#[derive(Clone, Debug)]
struct Connection {
    key: Key,
    port: u16,
    answer: Answer,
    assignment: u64,
    tried: Vec<GroupId>,
}

struct World {
    cluster: Cluster,
    table: Table,
    statuses: BTreeMap<u32, Status>,
    settings: Settings,
    now: u64,
    entries: BTreeMap<(u32, Option<u8>), Plain>,
    connecting: Vec<Connection>,
    established: Vec<Connection>,
    versions: HashSet<u64>,
    assignments: u64,
    routes: u64,
}

/// What the model expects of a route.
#[derive(Debug, PartialEq)]
enum Expected {
    Known((u32, Option<u8>)),
    Anew((u32, Option<u8>)),
    Refused(Refusal),
}

impl World {
    fn new() -> World {
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

    fn groups(&self) -> Groups {
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

    fn is_usable(&self, group: u32) -> bool {
        let status = self.statuses.get(&group);
        status.is_some_and(|status| status.is_usable())
    }

    fn serves(group: u32, port: u16) -> bool {
        port == PORT || group == 1
    }

    fn candidates(&self, port: u16, tried: &[GroupId]) -> Vec<u32> {
        let up = self.statuses.iter().filter(|(id, status)| {
            **status == Status::Up && World::serves(**id, port) && !tried.contains(&GroupId(**id))
        });
        up.map(|(&id, _)| id).collect()
    }

    /// Fewest sticks, lower id among equals.
    fn lightest(&self, port: u16, tried: &[GroupId]) -> Option<u32> {
        let sticks = |id: &u32| {
            self.entries
                .values()
                .filter(|entry| entry.group == *id)
                .count()
        };
        let candidates = self.candidates(port, tried);
        candidates.into_iter().min_by_key(|id| (sticks(id), *id))
    }

    fn expiration_ms(&self) -> u64 {
        u64::try_from(self.settings.expiration.as_millis()).unwrap()
    }

    fn is_valid(&self, entry: &Plain) -> bool {
        entry.open > 0 || (!entry.lapsed && self.now < entry.last_activity + self.expiration_ms())
    }

    /// The key whose entry answers.
    fn answering(&self, asking: Asking) -> (u32, Option<u8>) {
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

    fn expect_route(&self, asking: Asking, port: u16) -> Expected {
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
    fn gives_way(&self) -> Option<(u32, Option<u8>)> {
        let unheld = self.entries.iter().filter(|(_, entry)| {
            entry.connected_once && !entry.lapsed && entry.open == 0 && entry.pending == 0
        });
        unheld
            .min_by_key(|(_, entry)| entry.last_activity)
            .map(|(key, _)| *key)
    }

    fn route(&mut self, asking: Asking, port: u16) {
        let expected = self.expect_route(asking, port);
        let slice;
        let client = match asking {
            Asking::LatestOf(number) => Client::LatestOf(ip(number)),
            Asking::Key(number, byte) => {
                slice = byte.map(|byte| [byte]);
                Client::Key(KeyRef {
                    ip: ip(number),
                    slice: slice.as_ref().map(|slice| &slice[..]),
                })
            }
        };
        let groups = self.groups();
        let ask = Ask {
            client,
            port,
            ..ask(key(0), &groups, Millis(self.now))
        };
        let before = self.lightest(port, &[]);
        let route = self.table.route(&ask);
        self.routes += 1;
        match (expected, route) {
            (Expected::Refused(reason), Route::Refuse(found)) => assert_eq!(reason, found),
            (Expected::Known(key), Route::Group(answer)) => {
                assert!(!answer.created);
                let entry = self.entries.get_mut(&key).unwrap();
                assert_eq!(answer.group, GroupId(entry.group));
                entry.pending += 1;
                entry.shared = true;
                entry.routed = self.routes;
                let assignment = entry.assignment;
                self.connect(key, port, answer, assignment);
            }
            (Expected::Anew(key), Route::Group(answer)) => {
                assert!(answer.created);
                assert_eq!(Some(answer.group.0), before, "fewest sticks");
                let is_new = !self.entries.contains_key(&key);
                if is_new && self.entries.len() >= self.settings.max_entries {
                    self.find_who_gave_way();
                }
                self.assign(key, answer, self.routes);
                self.connect(key, port, answer, self.assignments);
            }
            (expected, route) => panic!("expected {expected:?}, got {route:?}"),
        }
    }

    /// Entries equally old may give way in any order: whichever the table took has to be one.
    fn find_who_gave_way(&mut self) {
        let oldest = self
            .gives_way()
            .expect("the route was expected to find one");
        let age = self.entries[&oldest].last_activity;
        let gone: Vec<(u32, Option<u8>)> = self
            .entries
            .keys()
            .filter(|key| self.view(key).is_none())
            .copied()
            .collect();
        assert_eq!(gone.len(), 1, "one entry gives way");
        let entry = self.entries.remove(&gone[0]).unwrap();
        assert_eq!(entry.last_activity, age, "the closest to expiry");
        assert!(
            entry.open == 0 && entry.pending == 0,
            "held by no connection"
        );
    }

    fn assign(&mut self, key: (u32, Option<u8>), answer: Answer, routed: u64) {
        self.assignments += 1;
        let assigned = Plain {
            group: answer.group.0,
            assignment: self.assignments,
            connected_once: false,
            shared: false,
            lapsed: false,
            open: 0,
            pending: 1,
            last_activity: self.now,
            routed,
        };
        self.entries.insert(key, assigned);
        let is_fresh = self.versions.insert(answer.stick.version);
        assert!(is_fresh, "versions are never used twice");
    }

    fn connect(&mut self, key: (u32, Option<u8>), port: u16, answer: Answer, assignment: u64) {
        self.connecting.push(Connection {
            key: owned(key),
            port,
            answer,
            assignment,
            tried: Vec::new(),
        });
    }

    /// The model's entry behind a connection, where it is still the same assignment.
    fn entry_of(&mut self, connection: &Connection) -> Option<(u32, Option<u8>)> {
        let found = self
            .entries
            .iter()
            .find(|(_, entry)| entry.assignment == connection.assignment);
        found.map(|(key, _)| *key)
    }

    fn establish(&mut self, connection: Connection) {
        let groups = self.groups();
        let result = self
            .table
            .established(connection.answer.stick, &groups, Millis(self.now));
        let Some(key) = self.entry_of(&connection) else {
            assert_eq!(result, Err(Stale));
            return;
        };
        if !self.is_usable(self.entries[&key].group) {
            assert_eq!(result, Err(Stale));
            self.give_up(key);
            return;
        }
        assert_eq!(result, Ok(()));
        let now = self.now;
        let entry = self.entries.get_mut(&key).unwrap();
        entry.pending -= 1;
        entry.open += 1;
        entry.connected_once = true;
        entry.lapsed = false;
        entry.last_activity = now;
        self.established.push(connection);
    }

    fn give_up(&mut self, key: (u32, Option<u8>)) {
        let entry = self.entries.get_mut(&key).unwrap();
        entry.pending -= 1;
        if entry.pending == 0 && (!entry.connected_once || entry.lapsed) {
            self.entries.remove(&key);
        }
    }

    fn fail(&mut self, mut connection: Connection) {
        connection.tried.push(connection.answer.group);
        let key = self.entry_of(&connection);
        let movable = key.filter(|key| {
            let entry = &self.entries[key];
            connection.answer.created && !entry.connected_once && !entry.shared
        });
        let target = movable.and_then(|_| self.lightest(connection.port, &connection.tried));
        let groups = self.groups();
        let ask = Ask {
            port: connection.port,
            ..ask(connection.key.as_ref(), &groups, Millis(self.now))
        };
        let after = self
            .table
            .connect_failed(&ask, connection.answer, &connection.tried);
        match (target, after) {
            (Some(group), AfterFailure::Moved(answer)) => {
                assert_eq!((answer.group, answer.created), (GroupId(group), true));
                let key = key.unwrap();
                let routed = self.entries[&key].routed;
                self.assign(key, answer, routed);
                connection.answer = answer;
                connection.assignment = self.assignments;
                self.connecting.push(connection);
            }
            (None, AfterFailure::Reset) => {
                if let Some(key) = key {
                    self.give_up(key);
                }
            }
            (target, after) => panic!("expected a move to {target:?}, got {after:?}"),
        }
    }

    fn abandon(&mut self, connection: &Connection) {
        let stick = connection.answer.stick;
        self.table.abandoned(stick, Millis(self.now));
        if let Some(key) = self.entry_of(connection) {
            self.give_up(key);
        }
    }

    fn close(&mut self, connection: &Connection) {
        let stick = connection.answer.stick;
        self.table.closed(stick, Millis(self.now));
        let now = self.now;
        if let Some(key) = self.entry_of(connection) {
            let entry = self.entries.get_mut(&key).unwrap();
            entry.open -= 1;
            entry.last_activity = now;
        }
    }

    fn sweep(&mut self) {
        self.table.sweep(Millis(self.now));
        let expired: Vec<(u32, Option<u8>)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.connected_once && !self.is_valid(entry))
            .map(|(key, _)| *key)
            .collect();
        for key in expired {
            if self.entries[&key].pending == 0 {
                self.entries.remove(&key);
            } else {
                self.entries.get_mut(&key).unwrap().lapsed = true;
            }
        }
    }

    fn view(&self, key: &(u32, Option<u8>)) -> Option<EntryView> {
        self.table.get(owned(*key).as_ref(), Millis(self.now))
    }

    fn apply(&mut self, op: Op) {
        let take = |list: &mut Vec<Connection>, at: usize| {
            (!list.is_empty()).then(|| list.swap_remove(at % list.len()))
        };
        match op {
            Op::Route { client, port } => self.route(client, port),
            Op::Established(at) => {
                if let Some(connection) = take(&mut self.connecting, at) {
                    self.establish(connection);
                }
            }
            Op::Failed(at) => {
                if let Some(connection) = take(&mut self.connecting, at) {
                    self.fail(connection);
                }
            }
            Op::Abandoned(at) => {
                if let Some(connection) = take(&mut self.connecting, at) {
                    self.abandon(&connection);
                }
            }
            Op::Closed(at) => {
                if let Some(connection) = take(&mut self.established, at) {
                    self.close(&connection);
                }
            }
            Op::Pass(ms) => self.now += ms,
            Op::Sweep => self.sweep(),
            Op::SetStatus(id, Some(status)) => {
                self.statuses.insert(id, status);
            }
            Op::SetStatus(id, None) => {
                self.statuses.remove(&id);
            }
            Op::SetExpiration(at) => {
                self.settings.expiration = Duration::from_millis(EXPIRATIONS_MS[at]);
                self.table.apply(self.settings);
            }
            Op::SetBound(max_entries, evict) => {
                self.settings.max_entries = max_entries;
                self.settings.full = if evict {
                    StickTableFull::Evict
                } else {
                    StickTableFull::Refuse
                };
                self.table.apply(self.settings);
            }
        }
    }

    fn check(&self) {
        self.check_entries();
        self.check_sticks();
        self.check_idle_lists();
    }

    /// The listing, the single views and the model agree.
    fn check_entries(&self) {
        let (listed, next) = self.table.page(Cursor::START, usize::MAX, Millis(self.now));
        assert_eq!(next, None);
        assert_eq!(listed.len(), self.entries.len());
        assert_eq!(self.table.counts().entries, listed.len() as u64);
        for (key, entry) in &self.entries {
            let view = self
                .view(key)
                .unwrap_or_else(|| panic!("{key:?} is missing"));
            assert!(listed.contains(&view));
            assert_eq!(view.group, GroupId(entry.group));
            assert_eq!(view.connections as usize, entry.open);
            assert_eq!(view.provisional, !entry.connected_once);
            let left = if entry.lapsed {
                0
            } else {
                (entry.last_activity + self.expiration_ms()).saturating_sub(self.now)
            };
            let left = (entry.open == 0).then(|| Duration::from_millis(left));
            assert_eq!(view.expires_in, left);
        }
    }

    /// Each group's counter is the number of entries that name it, groups that are gone too.
    fn check_sticks(&self) {
        for id in 1..=GROUPS {
            let entries = self.entries.values().filter(|entry| entry.group == id);
            assert_eq!(
                self.cluster.sticks(id),
                entries.count() as u64,
                "group {id}"
            );
        }
    }

    /// On the idle lists are the active entries without an open connection, in order.
    fn check_idle_lists(&self) {
        for cell in &self.table.shards {
            let shard = cell.lock();
            let mut at = shard.idle.first();
            let mut listed = 0;
            let mut before = Millis(0);
            while let Some(slot) = at {
                let entry = &shard.slab[slot];
                assert!(entry.state == State::Active && entry.open == 0);
                assert!(entry.last_activity >= before, "out of order");
                before = entry.last_activity;
                listed += 1;
                at = (entry.next != super::entry::NO_SLOT).then_some(entry.next);
            }
            let slots = (0..shard.slab.slots()).map(|slot| &shard.slab[slot]);
            let idle = slots.filter(|entry| entry.state == State::Active && entry.open == 0);
            assert_eq!(listed, idle.count());
        }
    }
}

fn owned((number, slice): (u32, Option<u8>)) -> Key {
    Key {
        ip: ip(number),
        slice: slice.map(|byte| Box::from([byte])),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_the_model_says(history in vec(op(), 1..200)) {
        let mut world = World::new();
        for op in history {
            world.apply(op);
            world.check();
        }
    }
}

/// Nothing is left over when all connections have ended and all has expired.
#[test]
fn threads_leave_a_table_in_order() {
    let cluster = Cluster::new();
    let table = Arc::new(cluster.table(Settings {
        max_entries: 500,
        full: StickTableFull::Evict,
        ..settings()
    }));
    let groups = cluster.groups([up(1), up(2), up(3)]);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (table, groups) = (&table, &groups);
            scope.spawn(move || {
                for number in 0..20_000u32 {
                    let random = number
                        .wrapping_mul(2_654_435_761)
                        .wrapping_add(thread << 20)
                        >> 7;
                    let now = second(u64::from(number / 1000));
                    let known = key(random % 1_000);
                    let Route::Group(answer) = table.route(&ask(known, groups, now)) else {
                        continue;
                    };
                    match random % 5 {
                        0 => table.abandoned(answer.stick, now),
                        1 => {
                            let tried = [answer.group];
                            let ask = ask(known, groups, now);
                            let after = table.connect_failed(&ask, answer, &tried);
                            if let AfterFailure::Moved(moved) = after {
                                table.abandoned(moved.stick, now);
                            }
                        }
                        _ => {
                            if table.established(answer.stick, groups, now).is_ok() {
                                table.closed(answer.stick, now);
                            }
                        }
                    }
                    if number % 500 == 0 {
                        table.sweep(now);
                    }
                }
            });
        }
    });
    let entries = table.counts().entries;
    assert!(entries <= 500);
    let sticks: u64 = (1..=3).map(|id| cluster.sticks(id)).sum();
    assert_eq!(sticks, entries);
    assert_eq!(table.sweep(second(10_000)), entries);
    assert_eq!((1..=3).map(|id| cluster.sticks(id)).sum::<u64>(), 0);
}
