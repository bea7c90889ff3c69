//! Client, desk of leaders and sessions together, over a network that loses and reorders.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;

use proptest::prelude::*;

use super::*;
use crate::sessions::{Admission, Sessions};

#[derive(Clone, Debug)]
enum Step {
    Propose {
        within_ms: u64,
    },
    /// A copy on its way comes into the log, or is lost.
    Deliver {
        which: prop::sample::Index,
        lost: bool,
    },
    /// An answer on its way arrives, or is lost.
    Answer {
        which: prop::sample::Index,
        lost: bool,
    },
    Lead(u64),
    Nobody,
    Disconnect(u64),
    SayNotLeader {
        which: prop::sample::Index,
        hint: Option<u64>,
    },
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let which = || any::<prop::sample::Index>();
    prop_oneof![
        4 => (50..5_000_u64).prop_map(|within_ms| Step::Propose { within_ms }),
        6 => (which(), prop::bool::weighted(0.2))
            .prop_map(|(which, lost)| Step::Deliver { which, lost }),
        6 => (which(), prop::bool::weighted(0.2))
            .prop_map(|(which, lost)| Step::Answer { which, lost }),
        1 => (1..4_u64).prop_map(Step::Lead),
        1 => Just(Step::Nobody),
        1 => (1..4_u64).prop_map(Step::Disconnect),
        1 => (which(), prop::option::of(1..4_u64))
            .prop_map(|(which, hint)| Step::SayNotLeader { which, hint }),
        3 => (0..700_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

fn route(node: u64) -> Route {
    if node == 1 {
        Route::Here
    } else {
        Route::Peer(NodeId(node))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is lost, doubled and reordered: no command is applied twice; an answer is that of
    /// its own command; and what is said to be certainly not applied never is.
    #[test]
    fn a_command_is_applied_once_at_most_and_answered_with_its_own_answer(
        steps in prop::collection::vec(step(), 1..300)
    ) {
        let limits = Limits {
            max_waiting: 8,
            max_waiting_bytes: 64,
            max_command_bytes: 100,
            pause_ms: 50,
            resend_ms: 500,
        };
        let id = ClientId { node: NodeId(1), boot: 9 };
        let mut client = Client::new(id, limits);
        let mut sessions = Sessions::default();
        let (sender, results) = channel::<(u64, Result<Bytes, ProposalError>)>();
        let mut now = NodeTime(0);
        let mut made = 0;
        let mut flying: Vec<(Route, Command)> = Vec::new();
        let mut answers: Vec<(Route, u64, Reply)> = Vec::new();
        let mut applied: BTreeMap<u64, u32> = BTreeMap::new();
        let mut into_log = |command: &Command, time: NodeTime| {
            let number = u64::from_le_bytes(command.body[..8].try_into().unwrap());
            match sessions.admit(LogTime(time.0), command) {
                Admission::Fresh => {
                    let answer = command.body.clone();
                    sessions.answered(command.client, command.sequence, &answer);
                    (Reply::Applied(answer), Some(number))
                }
                Admission::Duplicate(answer) => (Reply::Applied(answer), None),
                Admission::Refused(refusal) => (Reply::Refused(Code::Session(refusal)), None),
                Admission::Unfinished => unreachable!("each is finished at once"),
            }
        };
        for step in steps {
            match step {
                Step::Propose { within_ms } => {
                    made += 1_u64;
                    let (number, sender) = (made, sender.clone());
                    client.propose(
                        Bytes::copy_from_slice(&number.to_le_bytes()),
                        1,
                        now.plus(within_ms),
                        Box::new(move |result| sender.send((number, result)).unwrap()),
                    );
                }
                Step::Deliver { which, lost } if !flying.is_empty() => {
                    let (to, command) = flying.swap_remove(which.index(flying.len()));
                    if !lost {
                        let (reply, fresh) = into_log(&command, now);
                        if let Some(number) = fresh {
                            *applied.entry(number).or_default() += 1;
                        }
                        answers.push((to, command.sequence, reply));
                    }
                }
                Step::Answer { which, lost } if !answers.is_empty() => {
                    let (from, sequence, reply) = answers.swap_remove(which.index(answers.len()));
                    if !lost {
                        client.replied(from, sequence, reply, now);
                    }
                }
                // The copy may be in that node's log all the same.
                Step::SayNotLeader { which, hint } if !flying.is_empty() => {
                    let (to, command) = &flying[which.index(flying.len())];
                    let reply = Reply::NotLeader { leader: hint.map(NodeId) };
                    client.replied(*to, command.sequence, reply, now);
                }
                Step::Lead(node) => client.take_route(route(node)),
                Step::Nobody => client.take_route(Route::Nowhere),
                Step::Disconnect(node) => client.disconnected(NodeId(node)),
                Step::Pass { ms } => {
                    now = now.plus(ms);
                    client.tick(now);
                }
                Step::Deliver { .. } | Step::Answer { .. } | Step::SayNotLeader { .. } => {}
            }
            let mut commands = Vec::new();
            client.outgoing(now, LogTime(now.0), &mut commands);
            let to = client.route();
            flying.extend(commands.into_iter().map(|command| (to, command)));
        }
        // Whatever is still on its way comes into the log in the end.
        for (_, command) in flying {
            if let (_, Some(number)) = into_log(&command, now) {
                *applied.entry(number).or_default() += 1;
            }
        }
        client.stop(ProposalError::Stopped);
        let mut told = 0;
        for (number, result) in results.try_iter() {
            told += 1;
            let times = applied.get(&number).copied().unwrap_or(0);
            prop_assert!(times <= 1, "applied {times} times");
            match result {
                Ok(answer) => {
                    prop_assert_eq!(times, 1);
                    prop_assert_eq!(&answer[..], &number.to_le_bytes()[..]);
                }
                Err(error) if error.is_certain() => prop_assert_eq!(times, 0),
                Err(_) => {}
            }
        }
        prop_assert_eq!(told, made, "each proposer is told once");
    }
}
