//! The encrypted channel: what it carries, and what gets nowhere.

use super::talk::{OTHER, SECRET, Side, accepting, dialling, local, secrets, talk};
use crate::wire::Purpose;
use crate::wire::ended::Ended;
use crate::wire::frame::{Kind, MAX_BODY_BYTES, put_frame};
use crate::wire::hello::Local;
use crate::wire::secrets::{MIN_SECRET_BYTES, SecretError, Secrets};
use crate::wire::session::Session;
use std::sync::Arc;

fn node(id: u64, keys: &[&[u8]]) -> Local {
    let mut local = local(id);
    local.secrets = secrets(keys);
    local
}

fn pair() -> (Side, Side) {
    let mut a = dialling(node(1, &[SECRET]), 2, Purpose::Logs);
    let mut b = accepting(node(2, &[SECRET]), Purpose::Logs);
    talk(&mut a, &mut b, usize::MAX);
    assert!(a.open && b.open);
    (a, b)
}

fn forming(side: &mut Side, body: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    let put = side.session.seal(&mut sealed, |out| {
        put_frame(out, Kind::Forming, |out| out.extend(body)).expect("it fits");
    });
    put.expect("it is encrypted");
    sealed
}

#[test]
fn a_frame_longer_than_a_noise_message_is_split_and_arrives_whole() {
    let (mut a, mut b) = pair();
    let mut sealed = Vec::new();
    let body: Vec<u8> = (0..MAX_BODY_BYTES).map(|at| (at % 251) as u8).collect();
    let put = a.session.seal(&mut sealed, |out| {
        put_frame(out, Kind::Append, |out| out.extend(&body)).expect("it fits");
    });
    put.expect("it is encrypted");
    b.hear(&sealed, 10_000);
    assert_eq!(b.frames.len(), 1);
    assert_eq!(b.frames[0].body, body);
}

#[test]
fn nothing_travels_in_the_clear() {
    let (mut a, mut b) = pair();
    let body = b"what nobody else is to read";
    let sealed = forming(&mut a, body);
    let holds = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|at| at == text);
    assert!(!holds(&sealed, body));
    assert!(!holds(&a.sent, b"stick"), "not even the group's name");
    b.hear(&sealed, usize::MAX);
    assert_eq!(b.frames[0].body, &body[..]);
}

#[test]
fn a_recorded_connection_that_is_played_again_gets_nowhere() {
    let (mut a, _) = pair();
    let frame = forming(&mut a, b"once");
    // All that the dialling side ever said, said again to the same node.
    let mut b = accepting(node(2, &[SECRET]), Purpose::Logs);
    b.hear(&a.sent, usize::MAX);
    b.hear(&frame, usize::MAX);
    assert!(!b.open);
    assert!(b.session.peer().is_none());
    assert!(matches!(b.ended, Some(Ended::Tampered(_))), "{:?}", b.ended);
    assert_eq!(b.say().len(), 10 + 48, "and learns nothing");
}

#[test]
fn an_answer_that_is_played_again_gets_nowhere() {
    let (_, b) = pair();
    let mut a = dialling(node(1, &[SECRET]), 2, Purpose::Logs);
    a.hear(&b.sent, usize::MAX);
    assert!(!a.open);
    assert!(matches!(a.ended, Some(Ended::Tampered(_))), "{:?}", a.ended);
}

#[test]
fn a_frame_that_is_played_twice_or_changed_or_left_out_ends_the_connection() {
    let (mut a, mut b) = pair();
    let first = forming(&mut a, b"first");
    b.hear(&first, usize::MAX);
    b.hear(&first, usize::MAX);
    assert_eq!(b.frames.len(), 1, "it is taken once");
    assert!(matches!(b.ended, Some(Ended::Tampered(_))));

    let (mut a, mut b) = pair();
    let mut changed = forming(&mut a, b"first");
    let last = changed.len() - 1;
    changed[last] ^= 1;
    b.hear(&changed, usize::MAX);
    assert!(b.frames.is_empty());
    assert!(matches!(b.ended, Some(Ended::Tampered(_))));

    let (mut a, mut b) = pair();
    forming(&mut a, b"left out");
    let second = forming(&mut a, b"second");
    b.hear(&second, usize::MAX);
    assert!(b.frames.is_empty());
    assert!(matches!(b.ended, Some(Ended::Tampered(_))));
}

#[test]
fn frames_of_one_connection_mean_nothing_on_another() {
    let (mut a, _) = pair();
    let (_, mut other) = pair();
    other.hear(&forming(&mut a, b"elsewhere"), usize::MAX);
    assert!(other.frames.is_empty());
    assert!(matches!(other.ended, Some(Ended::Tampered(_))));
}

#[test]
fn a_changed_preamble_is_noticed() {
    let mut a = dialling(node(1, &[SECRET]), 2, Purpose::Logs);
    let mut first = a.say();
    // The newest version that the dialling side speaks, made to look newer.
    first[6] += 1;
    let mut b = accepting(node(2, &[SECRET]), Purpose::Logs);
    b.hear(&first, usize::MAX);
    assert_eq!(b.ended, Some(Ended::WrongSecret));
}

#[test]
fn the_versions_in_the_unprotected_preamble_must_be_those_of_the_hello() {
    let mut a = dialling(node(1, &[SECRET]), 2, Purpose::Logs);
    let mut b = accepting(node(2, &[SECRET]), Purpose::Logs);
    b.hear(&a.say(), usize::MAX);
    let mut answer = b.say();
    answer[6] += 1;
    a.hear(&answer, usize::MAX);
    talk(&mut a, &mut b, usize::MAX);
    assert!(!a.open && !b.open);
    assert!(matches!(a.ended, Some(Ended::Tampered(_))), "{:?}", a.ended);
}

#[test]
fn a_node_with_a_secret_never_falls_back_to_the_clear() {
    let mut a = dialling(node(1, &[SECRET]), 2, Purpose::Logs);
    a.hear(b"TCPFRF\x01\x01\x00\x00", usize::MAX);
    assert_eq!(a.ended, Some(Ended::SecretOnlyHere));
}

#[test]
fn both_of_two_secrets_are_accepted_and_each_may_be_dialled_with() {
    let acceptor = node(2, &[OTHER, SECRET]);
    let dialler = Arc::new(node(1, &[SECRET, OTHER]));
    for key in dialler.secrets.keys() {
        let session = Session::dial(dialler.clone(), acceptor.id, Purpose::Logs, Some(key));
        let mut a = Side::new(session.expect("random numbers"));
        let mut b = accepting(acceptor.clone(), Purpose::Logs);
        talk(&mut a, &mut b, usize::MAX);
        assert!(a.open && b.open);
    }
}

#[test]
fn a_secret_counts_without_the_line_end_that_editors_add() {
    let plain = secrets(&[SECRET]);
    for end in ["\n", "\r\n", "\n\n"] {
        assert_eq!(plain, secrets(&[&[SECRET, end.as_bytes()].concat()]));
    }
    assert_ne!(plain, secrets(&[&[SECRET, b" "].concat()]));
}

#[test]
fn short_secrets_and_more_than_two_are_refused_and_none_is_ever_shown() {
    let short = [b'x'; MIN_SECRET_BYTES - 1];
    assert_eq!(
        Secrets::new(&[&short]),
        Err(SecretError::TooShort(MIN_SECRET_BYTES - 1))
    );
    assert_eq!(Secrets::new(&[b"\n"]), Err(SecretError::TooShort(0)));
    assert_eq!(
        Secrets::new(&[SECRET, OTHER, SECRET]),
        Err(SecretError::TooMany(3))
    );
    assert!(format!("{:?}", secrets(&[SECRET])).contains("Key(…)"));
}
