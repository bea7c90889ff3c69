//! The table against a model that never forgets, and its bounds one by one.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::ids::NodeId;

fn client(number: u64) -> ClientId {
    ClientId {
        node: NodeId(number),
        boot: number * 7,
    }
}

fn command(of: u64, sequence: u64, issued: u64) -> Command {
    Command {
        client: client(of),
        sequence,
        answered_below: 0,
        issued: LogTime(issued),
        version: 1,
        body: Bytes::new(),
    }
}

/// Admits and, where fresh, answers with the sequence.
fn apply(sessions: &mut Sessions, time: u64, command: &Command) -> Admission {
    let admission = sessions.admit(LogTime(time), command);
    if admission == Admission::Fresh {
        let answer = Bytes::from(command.sequence.to_string());
        sessions.answered(command.client, command.sequence, &answer);
    }
    admission
}

fn saved_and_restored(sessions: &Sessions) -> Sessions {
    let mut bytes = Vec::new();
    sessions.encode(&mut bytes);
    assert!(bytes.len() as u64 <= MAX_ENCODED_BYTES);
    Sessions::decode(bytes.into()).expect("what was written is read")
}

#[test]
fn a_retry_is_answered_and_not_applied() {
    let mut sessions = Sessions::default();
    assert_eq!(apply(&mut sessions, 5, &command(1, 1, 0)), Admission::Fresh);
    assert_eq!(
        apply(&mut sessions, 9, &command(1, 1, 0)),
        Admission::Duplicate(Bytes::from("1"))
    );
    assert_eq!(apply(&mut sessions, 9, &command(2, 1, 0)), Admission::Fresh);
}

#[test]
fn a_copy_within_the_same_batch_waits_for_the_answer() {
    let mut sessions = Sessions::default();
    let twice = command(1, 1, 0);
    assert_eq!(sessions.admit(LogTime(0), &twice), Admission::Fresh);
    assert_eq!(sessions.admit(LogTime(0), &twice), Admission::Unfinished);
    assert!(!sessions.is_finished());
    sessions.answered(twice.client, 1, &Bytes::from("x"));
    assert!(sessions.is_finished());
    assert_eq!(
        sessions.admit(LogTime(0), &twice),
        Admission::Duplicate(Bytes::from("x"))
    );
}

#[test]
fn what_the_client_has_the_answer_of_is_stale() {
    let mut sessions = Sessions::default();
    for sequence in 1..=3 {
        apply(&mut sessions, 0, &command(1, sequence, 0));
    }
    let mut next = command(1, 4, 0);
    next.answered_below = 3;
    apply(&mut sessions, 0, &next);
    assert_eq!(sessions.kept_bytes(), 2);
    assert_eq!(
        apply(&mut sessions, 0, &command(1, 2, 0)),
        Admission::Refused(Refusal::Stale)
    );
    assert_eq!(
        apply(&mut sessions, 0, &command(1, 3, 0)),
        Admission::Duplicate(Bytes::from("3"))
    );
}

#[test]
fn the_window_is_1024_sequences_wide() {
    let mut sessions = Sessions::default();
    apply(&mut sessions, 0, &command(1, 1, 0));
    apply(&mut sessions, 0, &command(1, WINDOW, 0));
    assert_eq!(
        apply(&mut sessions, 0, &command(1, 1, 0)),
        Admission::Duplicate(Bytes::from("1"))
    );
    apply(&mut sessions, 0, &command(1, WINDOW + 1, 0));
    for sequence in [0, 1] {
        assert_eq!(
            apply(&mut sessions, 0, &command(1, sequence, 0)),
            Admission::Refused(Refusal::BelowWindow)
        );
    }
    assert_eq!(apply(&mut sessions, 0, &command(1, 2, 0)), Admission::Fresh);
    apply(&mut sessions, 0, &command(1, u64::MAX, 0));
    assert_eq!(sessions.kept_bytes(), u64::MAX.to_string().len());
}

#[test]
fn an_old_command_is_refused_whether_its_client_is_known_or_not() {
    let mut sessions = Sessions::default();
    let first = command(1, 1, 100);
    apply(&mut sessions, 100, &first);
    let last = 100 + LIFETIME_MS;
    assert!(matches!(
        apply(&mut sessions, last, &first),
        Admission::Duplicate(_)
    ));
    assert_eq!(
        apply(&mut sessions, last + 1, &first),
        Admission::Refused(Refusal::Expired)
    );
    assert_eq!(sessions.clients(), 0, "the session has ended with it");
    assert_eq!(
        apply(&mut sessions, last + 1, &command(2, 1, 100)),
        Admission::Refused(Refusal::Expired)
    );
}

#[test]
fn a_command_of_the_far_future_is_refused() {
    let mut sessions = Sessions::default();
    assert_eq!(
        apply(&mut sessions, 0, &command(1, 1, LIFETIME_MS + 1)),
        Admission::Refused(Refusal::IssuedAhead)
    );
}

#[test]
fn no_more_than_1024_clients_until_one_has_ended() {
    let mut sessions = Sessions::default();
    for number in 0..MAX_CLIENTS as u64 {
        assert_eq!(
            apply(&mut sessions, number, &command(number, 1, number)),
            Admission::Fresh
        );
    }
    let time = MAX_CLIENTS as u64;
    let late = command(9_999, 1, time);
    assert_eq!(
        apply(&mut sessions, time, &late),
        Admission::Refused(Refusal::TooManyClients)
    );
    assert_eq!(
        apply(&mut sessions, LIFETIME_MS + 1, &late),
        Admission::Fresh
    );
}

#[test]
fn long_answers_go_first_come_first_gone_and_are_never_applied_again() {
    let mut sessions = Sessions::default();
    let long = Bytes::from(vec![7; MAX_ANSWER_BYTES]);
    for sequence in 1..=5 {
        let command = command(1, sequence, 0);
        assert_eq!(sessions.admit(LogTime(0), &command), Admission::Fresh);
        sessions.answered(command.client, sequence, &long);
    }
    assert_eq!(sessions.kept_bytes(), MAX_CLIENT_ANSWERS_BYTES);
    assert_eq!(
        apply(&mut sessions, 0, &command(1, 1, 0)),
        Admission::Refused(Refusal::AnswerGone)
    );
    assert!(matches!(
        apply(&mut sessions, 0, &command(1, 2, 0)),
        Admission::Duplicate(_)
    ));
    for of in 2..40 {
        for sequence in 1..=4 {
            sessions.admit(LogTime(0), &command(of, sequence, 0));
            sessions.answered(client(of), sequence, &long);
        }
    }
    assert_eq!(sessions.kept_bytes(), MAX_ANSWERS_BYTES);
    assert_eq!(
        apply(&mut sessions, 0, &command(1, 2, 0)),
        Admission::Refused(Refusal::AnswerGone)
    );
    assert_eq!(saved_and_restored(&sessions), sessions);
}

#[test]
fn an_answer_beyond_the_bound_is_not_kept() {
    let mut sessions = Sessions::default();
    let command = command(1, 1, 0);
    sessions.admit(LogTime(0), &command);
    sessions.answered(
        command.client,
        1,
        &Bytes::from(vec![0; MAX_ANSWER_BYTES + 1]),
    );
    assert_eq!(
        apply(&mut sessions, 0, &command),
        Admission::Refused(Refusal::AnswerGone)
    );
}

#[test]
fn damaged_bytes_are_refused() {
    let mut sessions = Sessions::default();
    for sequence in 1..=3 {
        apply(&mut sessions, 0, &command(1, sequence, 0));
        apply(&mut sessions, 0, &command(2, sequence, 0));
    }
    let mut bytes = Vec::new();
    sessions.encode(&mut bytes);
    for cut in 0..bytes.len() {
        assert!(Sessions::decode(Bytes::copy_from_slice(&bytes[..cut])).is_err());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Sessions::decode(longer.into()).is_err());
    bytes[0] = 9;
    assert_eq!(
        Sessions::decode(bytes.into()),
        Err(SessionsError::Format(9))
    );
}

/// What a client does: each step a new command or a copy of an earlier one, at a later time.
#[derive(Clone, Debug)]
enum Step {
    New { client: u64, skip: u64, old: u64 },
    Copy { which: prop::sample::Index },
    Restart,
    Pass { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u64, prop_oneof![3 => Just(0_u64), 1 => 0..1_500_u64], 0..LIFETIME_MS / 2)
            .prop_map(|(client, skip, old)| Step::New { client, skip, old }),
        4 => any::<prop::sample::Index>().prop_map(|which| Step::Copy { which }),
        1 => Just(Step::Restart),
        1 => prop_oneof![0..1_000_u64, 0..LIFETIME_MS * 2].prop_map(|ms| Step::Pass { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is copied, reordered, delayed, saved and restored: never applied twice; a copy of
    /// what was applied is answered with the first answer or refused; a young command that no
    /// window has passed is applied at its first coming.
    #[test]
    fn never_applied_twice(steps in prop::collection::vec(step(), 1..200)) {
        let mut sessions = Sessions::default();
        let mut time = 0_u64;
        let mut made: Vec<Command> = Vec::new();
        let mut next: BTreeMap<u64, u64> = BTreeMap::new();
        let mut applied: BTreeMap<(ClientId, u64), Bytes> = BTreeMap::new();
        let mut highest: BTreeMap<ClientId, u64> = BTreeMap::new();
        for step in steps {
            let command = match step {
                Step::New { client, skip, old } => {
                    let sequence = next.entry(client).or_insert(1);
                    *sequence += skip;
                    let mut new = command(client, *sequence, time.saturating_sub(old));
                    new.answered_below = sequence.saturating_sub(skip / 2 + 700);
                    *sequence += 1;
                    made.push(new.clone());
                    // Some first stand in the log after commands that were made later.
                    if old % 5 == 0 { continue } else { new }
                }
                Step::Copy { which } if !made.is_empty() => which.get(&made).clone(),
                Step::Copy { .. } => continue,
                Step::Restart => {
                    let restored = saved_and_restored(&sessions);
                    prop_assert_eq!(&restored, &sessions);
                    sessions = restored;
                    continue;
                }
                Step::Pass { ms } => {
                    time += ms;
                    sessions.advance(LogTime(time));
                    continue;
                }
            };
            let key = (command.client, command.sequence);
            let top = highest.entry(command.client).or_insert(0);
            match sessions.admit(LogTime(time), &command) {
                Admission::Fresh => {
                    let answer = Bytes::from(format!("{time}"));
                    sessions.answered(command.client, command.sequence, &answer);
                    prop_assert!(applied.insert(key, answer).is_none(), "applied twice");
                    *top = (*top).max(command.sequence);
                }
                Admission::Duplicate(answer) => prop_assert_eq!(applied.get(&key), Some(&answer)),
                Admission::Unfinished => prop_assert!(false, "nothing is unfinished here"),
                Admission::Refused(_) => {
                    let young = time - command.issued.0 <= LIFETIME_MS;
                    let answerable = made
                        .iter()
                        .filter(|other| other.client == command.client)
                        .all(|other| other.answered_below <= command.sequence);
                    let within = command.sequence + WINDOW > *top;
                    prop_assert!(!(young && answerable && within), "refused without need");
                }
            }
        }
    }
}
