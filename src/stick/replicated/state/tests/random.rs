//! Random logs, against the naive model; restored from snapshots along the way.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use tcpffee_raft::ids::{Index, LogTime, NodeId};
use tcpffee_raft::machine::SnapshotSource;

use super::fixtures::*;
use super::model::{Entry, Kind, Model};
use crate::config::GroupId;
use crate::groups::Status;
use crate::stick::Key;
use crate::stick::hash::SHARDS;
use crate::stick::replicated::command::*;
use crate::stick::replicated::replica::entry;
use crate::stick::replicated::snapshot::digest;
use crate::stick::replicated::state::State;

const NODES: [NodeId; 4] = [A, B, C, NodeId(13)];

/// What happens next. An operation on an entry names its present version, unless `wrong`.
#[derive(Clone, Debug)]
enum Step {
    Ops(usize, u64, Vec<Act>),
    Pass(u64),
    Members(u8),
    /// Another replica takes this one's state, and goes on beside it.
    Restore,
    /// The other replica falls behind, until it takes this one's state again.
    Lag,
    /// A snapshot is begun, and the one begun before is read.
    Mark,
}

#[derive(Clone, Debug)]
enum Act {
    Assign(u8, Option<u32>),
    Latest(u8, Option<u32>),
    Named(u8, u8, bool, u64, u32),
    Remove(u8),
    State(Statement),
    End(usize, u64),
    Absent(usize),
    Verdicts(Vec<(u32, u8)>),
    Passed(u64),
}

fn key_of(number: u8) -> Key {
    let ip = u32::from(number / 3);
    match number % 3 {
        0 => key(ip),
        1 => sliced(ip, "x"),
        _ => sliced(ip, "y"),
    }
}

fn status(number: u8) -> Status {
    [Status::Up, Status::Draining, Status::Disabled][usize::from(number % 3)]
}

fn statements() -> impl Strategy<Value = Statement> {
    let groups =
        prop::collection::btree_map(1_u32..5, prop_oneof![6 => Just(0_u8), 1 => 0_u8..3], 1..5);
    let expiration = prop_oneof![4 => Just(1000_u64), 1 => Just(300_u64), 1 => Just(2500_u64)];
    (groups, expiration, 2_u64..9, any::<bool>()).prop_map(
        |(groups, expiration_ms, most, evict)| {
            let group = |(id, number)| StatedGroup {
                id: GroupId(id),
                status: status(number),
                weight: 1,
                backup: false,
            };
            Statement {
                expiration_ms,
                max_entries: most,
                full: if evict { Full::Evict } else { Full::Refuse },
                groups: groups.into_iter().map(group).collect(),
            }
        },
    )
}

fn acts() -> impl Strategy<Value = Act> {
    let group = || prop::option::weighted(0.9, 1_u32..5);
    prop_oneof![
        12 => (0_u8..9, group()).prop_map(|(key, group)| Act::Assign(key, group)),
        4 => (0_u8..9, group()).prop_map(|(key, group)| Act::Latest(key, group)),
        20 => (0_u8..5, 0_u8..9, prop::bool::weighted(0.1), 0_u64..5000, 1_u32..5)
            .prop_map(|(op, key, wrong, activity, to)| Act::Named(op, key, wrong, activity, to)),
        1 => (0_u8..9).prop_map(Act::Remove),
        2 => statements().prop_map(Act::State),
        1 => (0_usize..4, 1_u64..3).prop_map(|(node, boot)| Act::End(node, boot)),
        1 => (0_usize..4).prop_map(Act::Absent),
        1 => prop::collection::vec((1_u32..5, 0_u8..3), 0..3).prop_map(Act::Verdicts),
        3 => (0_u64..20).prop_map(Act::Passed),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ops = (0_usize..4, prop_oneof![5 => Just(1_u64), 1 => Just(2)]);
    let ops = (ops, prop::collection::vec(acts(), 1..4));
    let step = prop_oneof![
        16 => ops.prop_map(|((node, boot), acts)| Step::Ops(node, boot, acts)),
        4 => (0_u64..700).prop_map(Step::Pass),
        1 => (1_u8..16).prop_map(Step::Members),
        1 => Just(Step::Restore),
        1 => Just(Step::Lag),
        1 => Just(Step::Mark),
    ];
    prop::collection::vec(step, 1..120)
}

impl Act {
    fn op(&self, model: &Model, index: u64) -> Op {
        let version = |key: &Key, wrong: bool| {
            let entry = model.entries.iter().find(|entry| entry.key == *key);
            Index(entry.map_or(1, |entry| entry.version) + u64::from(wrong))
        };
        match self {
            Act::Assign(number, group) => Op::Assign {
                client: Wanted::Key(key_of(*number)),
                group: group.map(GroupId),
            },
            Act::Latest(number, group) => Op::Assign {
                client: Wanted::LatestOf(key_of(*number).ip),
                group: group.map(GroupId),
            },
            &Act::Named(op, number, wrong, activity, to) => {
                let key = key_of(number);
                let version = version(&key, wrong);
                let activity = LogTime(activity);
                match op {
                    0 => Op::Move {
                        key,
                        version,
                        to: GroupId(to),
                    },
                    1 => Op::GiveUp { key, version },
                    2 => Op::Hold { key, version },
                    3 => Op::Renew {
                        key,
                        version,
                        activity,
                    },
                    _ => Op::Release {
                        key,
                        version,
                        activity,
                    },
                }
            }
            Act::Remove(number) => Op::Remove {
                key: key_of(*number),
            },
            Act::State(statement) => Op::State(statement.clone()),
            &Act::End(node, boot) => Op::EndSession {
                node: NODES[node],
                boot,
            },
            &Act::Absent(node) => Op::Absent { node: NODES[node] },
            Act::Verdicts(verdicts) => {
                let verdict = |&(group, number): &(u32, u8)| Verdict {
                    group: GroupId(group),
                    status: status(number),
                    reason: format!("check {number}"),
                };
                Op::Verdicts(verdicts.iter().map(verdict).collect())
            }
            &Act::Passed(back) => Op::Passed(Index(index.saturating_sub(back))),
        }
    }
}

/// The entries as the model has them.
fn entries_of(state: &State) -> Vec<Entry> {
    let replica = &state.entries.replica;
    let mut entries = Vec::new();
    for shard in 0..SHARDS {
        let shard = replica.lock(shard);
        for slot in 0..shard.slots() {
            let entry = shard.entry(slot);
            let kind = match entry.state {
                entry::State::Free => continue,
                entry::State::Provisional => Kind::Provisional,
                entry::State::Pinned => Kind::Pinned,
                entry::State::Active => Kind::Active,
            };
            let bits = (0..64).filter(|bit| entry.nodes & 1 << bit != 0);
            entries.push(Entry {
                key: entry.owned_key(),
                group: entry.group.0,
                version: entry.version.0,
                serial: entry.serial,
                expires: entry.expires.0,
                nodes: bits.map(|bit| replica.members.node(bit)).collect(),
                kind,
                maker: (kind != Kind::Active).then(|| replica.members.node(entry.maker)),
                removed_at: entry.removed_at.0,
            });
        }
    }
    entries.sort_by_key(|entry| entry.serial);
    entries
}

/// What must be so of every state.
fn check(lab: &Lab, model: &Model) {
    let state = &lab.state;
    let mut expected = model.entries.clone();
    expected.sort_by_key(|entry| entry.serial);
    assert_eq!(entries_of(state), expected);
    for id in 1..5 {
        let takes_new = state.agreed().takes_new(GroupId(id));
        assert_eq!(takes_new, model.takes_new(id), "group {id}");
        let of_group = expected.iter().filter(|entry| entry.group == id).count() as u64;
        assert_eq!(lab.sticks(id), of_group);
        assert_eq!(state.entries.of_group(GroupId(id)), of_group);
    }
    assert_eq!(state.entries.counts.entries, expected.len() as u64);
    let removals: BTreeSet<u64> = state.entries.removals().map(|index| index.0).collect();
    let fences: BTreeSet<u64> = lab.fences().into_iter().collect();
    assert!(removals.is_subset(&fences));
    for entry in &expected {
        let seen = lab.look(&entry.key).expect("it is found");
        assert_eq!(seen.version.0, entry.version);
        assert_eq!(seen.made_by, entry.maker);
    }
    assert!(lab.look(&key(77)).is_none());
    let published = state.entries.replica.agreed();
    assert!(Arc::ptr_eq(&published, state.agreed()));
}

fn restored_from(lab: &Lab, bytes: &[u8]) -> Lab {
    let mut other = Lab::empty();
    other
        .state
        .restore(&mut &bytes[..])
        .expect("it was just written");
    other.index = lab.index;
    other.time = lab.time;
    other
}

fn run(steps: Vec<Step>) {
    let mut lab = Lab::empty();
    let mut model = Model::default();
    let mut twin: Option<Lab> = None;
    let mut marked: Option<(Box<dyn SnapshotSource>, Vec<u8>)> = None;
    lab.membership(&NODES[..3]);
    model.membership(1, &NODES[..3]);
    for node in &NODES[..3] {
        let index = lab.index + 1;
        let op = Op::State(stating(&[1, 2, 3, 4]));
        model.op(index, *node, 1, &op);
        lab.op(*node, op);
    }
    let mut lags = false;
    for step in steps {
        let twin_follows = !lags;
        match step {
            Step::Ops(node, boot, acts) => {
                let from = NODES[node];
                let index = lab.index + 1;
                model.advance(lab.time);
                let (mut ops, mut expected) = (Vec::new(), Vec::new());
                for act in acts {
                    let op = act.op(&model, index);
                    expected.push(model.op(index, from, boot, &op));
                    ops.push(op);
                }
                assert_eq!(lab.batch(from, boot, ops.clone()), expected, "{ops:?}");
                if let Some(twin) = twin.as_mut().filter(|_| twin_follows) {
                    assert_eq!(twin.batch(from, boot, ops), expected);
                }
            }
            Step::Pass(ms) => {
                lab.pass(ms);
                model.advance(lab.time);
                if let Some(twin) = twin.as_mut().filter(|_| twin_follows) {
                    twin.pass(ms);
                }
            }
            Step::Members(mask) => {
                let nodes: Vec<NodeId> = (0..4)
                    .filter(|bit| mask & 1 << bit != 0)
                    .map(|bit| NODES[bit])
                    .collect();
                lab.membership(&nodes);
                model.advance(lab.time);
                model.membership(lab.index, &nodes);
                if let Some(twin) = twin.as_mut().filter(|_| twin_follows) {
                    twin.membership(&nodes);
                }
            }
            Step::Restore => {
                let bytes = try_read(&mut *lab.state.snapshot()).expect("it is the latest");
                match &mut twin {
                    None => twin = Some(restored_from(&lab, &bytes)),
                    // In place, over whatever it has.
                    Some(twin) => {
                        twin.state.restore(&mut &bytes[..]).expect("it is a state");
                        (twin.index, twin.time) = (lab.index, lab.time);
                    }
                }
                lags = false;
            }
            Step::Lag => lags = true,
            Step::Mark => {
                // What was marked is read only now, and is what it was nevertheless.
                if let Some((mut source, was)) = marked.take()
                    && let Some(bytes) = try_read(&mut *source)
                {
                    let back = restored_from(&lab, &bytes);
                    assert_eq!(digest(&back.state), was);
                }
                assert_eq!(lab.state.entries.replica.snapshot_bytes(), 0);
                marked = Some((lab.state.snapshot(), digest(&lab.state)));
            }
        }
        check(&lab, &model);
        if let Some(twin) = twin.as_ref().filter(|_| !lags) {
            check(twin, &model);
            assert_eq!(digest(&twin.state), digest(&lab.state));
            assert_eq!(twin.state.agreed(), lab.state.agreed());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_log_has_the_outcome_that_the_rules_say_on_every_replica(steps in steps()) {
        run(steps);
    }
}
