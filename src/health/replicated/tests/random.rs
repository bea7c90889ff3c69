//! Random logs: replicas that took snapshots and replicas that did not are equal, and no verdict
//! changes without a majority.

use bytes::Bytes;
use proptest::prelude::*;
use tcpffee_raft::ids::{Index, LogTime};
use tcpffee_raft::machine::{Applied, Event, StateMachine};

use super::*;
use crate::health::replicated::codec::encode_command;
use crate::health::replicated::{Minutes, VERSION, machine};

fn state() -> impl Strategy<Value = State> {
    prop_oneof![Just(Passing), Just(Failing)]
}

fn key() -> impl Strategy<Value = CheckKey> {
    (0u32..2, 0u64..3).prop_map(|(group, number)| CheckKey {
        group: GroupId(group),
        check: CheckId(number),
    })
}

fn ids() -> impl Strategy<Value = Vec<u64>> {
    prop::sample::subsequence(vec![1u64, 2, 3, 4, 5], 1..=5)
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    let declare = (
        1u64..6,
        0u64..2,
        prop::collection::vec((key(), state()), 0..5),
    );
    let change = (key(), prop::option::weighted(0.8, state()));
    let observe = (1u64..6, 0u64..2, prop::collection::vec(change, 0..3));
    prop_oneof![
        3 => declare.prop_map(|(node, boot, checks)| Command::Declare {
            from: NodeId(node),
            boot,
            checks,
        }),
        6 => observe.prop_map(|(node, boot, changes)| Command::Observe {
            from: NodeId(node),
            boot,
            changes,
        }),
        2 => ids().prop_map(|ids| Command::Alive { nodes: nodes(&ids) }),
    ]
}

/// A state as a random log leaves it.
pub(super) fn agreed() -> impl Strategy<Value = Agreed> {
    prop::collection::vec(step(), 0..30).prop_map(|steps| {
        let mut replica = Replica::new();
        for (at, step) in steps.iter().enumerate() {
            replica.take(at as u64 + 1, step);
        }
        Agreed::clone(&replica.minutes.agreed())
    })
}

#[derive(Clone, Debug)]
enum Step {
    Command(Command),
    Garbage(Vec<u8>),
    Members(Vec<u64>),
    Time,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => command().prop_map(Step::Command),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Step::Garbage),
        1 => ids().prop_map(Step::Members),
        1 => Just(Step::Time),
    ]
}

struct Replica {
    machine: Box<dyn StateMachine>,
    minutes: Minutes,
}

impl Replica {
    fn new() -> Replica {
        let minutes = Minutes::default();
        Replica {
            machine: machine(&minutes),
            minutes,
        }
    }

    fn take(&mut self, index: u64, step: &Step) -> Vec<Bytes> {
        let body;
        let members;
        let event = match step {
            Step::Command(command) => {
                body = encode_command(command);
                Event::Command {
                    version: VERSION,
                    body: &body,
                }
            }
            Step::Garbage(bytes) => Event::Command {
                version: VERSION,
                body: bytes,
            },
            Step::Members(ids) => {
                members = membership(ids);
                Event::Membership(&members)
            }
            Step::Time => Event::Time,
        };
        let applied = Applied {
            index: Index(index),
            time: LogTime(index),
            event,
        };
        let mut answers = Vec::new();
        self.machine.apply(&[applied], &mut answers);
        let is_command = matches!(step, Step::Command(_) | Step::Garbage(_));
        assert_eq!(answers.len(), usize::from(is_command));
        answers
    }

    /// Another replica, from a snapshot of this one.
    fn copied(&mut self) -> Replica {
        let mut source = self.machine.snapshot();
        let mut bytes = Vec::new();
        loop {
            let before = bytes.len();
            source.next_piece(&mut bytes).expect("it is in memory");
            if bytes.len() == before {
                break;
            }
        }
        let mut copy = Replica::new();
        copy.machine.restore(&mut &bytes[..]).expect("a state");
        copy
    }
}

/// The rules once more, as plainly as can be: a verdict that another one took the place of was voted
/// out by more than half of the alive nodes that have the check.
fn is_lawful(before: &Agreed, after: &Agreed) -> Result<(), TestCaseError> {
    for (key, state) in after.verdicts() {
        let votes: Vec<_> = after.votes(*key).collect();
        let having = votes
            .iter()
            .filter(|vote| after.alive().contains(&vote.node))
            .count();
        let saying = |state: State| {
            let counts = votes.iter().filter(|vote| vote.counts);
            counts.filter(|vote| vote.state == state).count()
        };
        match before.verdict(*key) {
            Some(old) if old == *state => {}
            Some(_) => prop_assert!(saying(*state) * 2 > having, "{key:?} has changed"),
            // Where nobody votes yet it is what the first one says.
            None => prop_assert!(!votes.is_empty(), "{key:?} is new and nobody has it"),
        }
        for other in [Passing, Failing] {
            if other != *state {
                prop_assert!(saying(other) * 2 <= having, "{key:?} should have changed");
            }
        }
    }
    for key in before.verdicts().keys() {
        let is_had = after.votes(*key).next().is_some();
        prop_assert_eq!(after.verdict(*key).is_some(), is_had, "{:?}", key);
    }
    prop_assert!(after.alive().is_subset(after.members()));
    prop_assert!(after.said.keys().all(|node| after.members().contains(node)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn replicas_are_equal_and_no_verdict_changes_without_a_majority(
        steps in prop::collection::vec(step(), 0..80),
        copies in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let (mut one, mut other) = (Replica::new(), Replica::new());
        let begin = Step::Members(vec![1, 2, 3, 4, 5]);
        for replica in [&mut one, &mut other] {
            replica.take(1, &begin);
        }
        for (at, step) in steps.iter().enumerate() {
            let index = at as u64 + 2;
            let before = one.minutes.agreed();
            prop_assert_eq!(one.take(index, step), other.take(index, step));
            let after = one.minutes.agreed();
            is_lawful(&before, &after)?;
            if copies.iter().any(|copy| copy.index(steps.len()) == at) {
                other = one.copied();
            }
            prop_assert_eq!(&after, &other.minutes.agreed());
        }
    }
}
