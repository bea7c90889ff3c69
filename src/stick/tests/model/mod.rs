//! Random histories of a table against a naive model of what it promises.

mod invariants;
mod steps;
mod world;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::fixtures::*;
use crate::config::StickTableFull;
use crate::groups::Status;

use world::{Connection, World};

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
    Remove(u32, Option<u8>),
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
        1 => (0..ADDRESSES, prop::option::of(0..3u8)).prop_map(|(ip, slice)| Op::Remove(ip, slice)),
        2 => (1..=GROUPS, status).prop_map(|(id, status)| Op::SetStatus(id, status)),
        1 => (0..EXPIRATIONS_MS.len()).prop_map(Op::SetExpiration),
        1 => (1..8usize, any::<bool>()).prop_map(|(max, evict)| Op::SetBound(max, evict)),
    ]
}

impl World {
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
            Op::Remove(ip, slice) => self.remove((ip, slice)),
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
