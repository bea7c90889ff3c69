//! Who is taken and who is not, and that both sides know why.

use std::collections::BTreeSet;

use super::talk::{
    OTHER, SECRET, Side, accepting, dialling, handshake, incarnation, local, secrets, talk,
};
use crate::codec::Malformed;
use crate::ids::{ClusterId, NodeId};
use crate::wire::Purpose;
use crate::wire::ended::Ended;
use crate::wire::frame::{Allowed, FrameError, FrameReader, Kind, put_frame};
use crate::wire::hello::{Hello, Local};
use crate::wire::reason::Reason;

fn assert_open(a: &Side, b: &Side) {
    assert_eq!((&a.ended, &b.ended), (&None, &None));
    assert!(a.open && b.open);
}

/// A node that differs from the usual one.
fn with(id: u64, change: impl FnOnce(&mut Local)) -> Local {
    let mut local = local(id);
    change(&mut local);
    local
}

#[test]
fn two_nodes_of_one_cluster_take_each_other_in_whatever_pieces_their_bytes_arrive() {
    for keys in [&[][..], &[SECRET]] {
        for purpose in [Purpose::Logs, Purpose::Proposals] {
            for piece in [1, 7, usize::MAX] {
                let node = |id| with(id, |local| local.secrets = secrets(keys));
                let mut a = dialling(node(1), 2, purpose);
                let mut b = accepting(node(2), purpose);
                talk(&mut a, &mut b, piece);
                assert_open(&a, &b);
                let known = |side: &Side| side.session.peer().map(|hello| hello.id);
                assert_eq!(known(&a), Some(NodeId(2)));
                assert_eq!(known(&b), Some(NodeId(1)));
                let life = b.session.peer().map(|hello| hello.incarnation);
                assert_eq!(life, Some(incarnation(1)));
            }
        }
    }
}

#[test]
fn a_node_without_a_cluster_talks_to_one_that_has_one_and_to_another_without() {
    let blank = |id| with(id, |local| local.cluster = None);
    let (a, b) = handshake(blank(1), 2, local(2));
    assert_open(&a, &b);
    let (a, b) = handshake(local(1), 2, blank(2));
    assert_open(&a, &b);
    let (a, b) = handshake(blank(1), 2, blank(2));
    assert_open(&a, &b);
}

/// Both sides know that the connection is refused, and at least one of them judged.
fn assert_refused(name: &str, a: &Side, b: &Side, is_it: impl Fn(&Reason) -> bool) {
    assert!(!a.open && !b.open, "{name}: open");
    for side in [a, b] {
        match &side.ended {
            Some(Ended::RefusedHere(reason) | Ended::RefusedThere(reason)) => {
                assert!(is_it(reason), "{name}: {reason}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn whoever_does_not_fit_is_refused_and_both_sides_learn_the_reason() {
    type Case = (&'static str, Local, Local, fn(&Reason) -> bool);
    let cases: Vec<Case> = vec![
        (
            "another group",
            with(1, |local| local.group = "health".into()),
            local(2),
            |reason| matches!(reason, Reason::Group { .. }),
        ),
        (
            "another cluster",
            with(1, |local| local.cluster = Some(ClusterId(78))),
            local(2),
            |reason| matches!(reason, Reason::Cluster { .. }),
        ),
        (
            "another agreement",
            with(1, |local| {
                local.agreement.hash = [8; 32];
                local.agreement.text = "key_type IP_WITH_FIRST_MESSAGE_SLICE".into();
            }),
            local(2),
            |reason| match reason {
                Reason::Agreement { refused, refusing } => {
                    // Whichever side judged: both texts are there.
                    let texts = BTreeSet::from([refused.as_str(), refusing.as_str()]);
                    texts == ["key_type IP", "key_type IP_WITH_FIRST_MESSAGE_SLICE"].into()
                }
                _ => false,
            },
        ),
        (
            "another node than the one that was dialled",
            local(1),
            local(3),
            |reason| {
                let (expected, found) = (NodeId(2), NodeId(3));
                *reason == Reason::WrongNode { expected, found }
            },
        ),
        (
            "no peer there",
            local(1),
            with(2, |local| local.peers = [NodeId(3)].into()),
            |reason| *reason == Reason::NotAPeer(NodeId(1)),
        ),
        (
            "no peer here",
            with(1, |local| local.peers = [NodeId(3)].into()),
            local(2),
            |reason| *reason == Reason::NotAPeer(NodeId(2)),
        ),
        (
            "its own id",
            local(2),
            with(2, |local| local.incarnation.boot = 5),
            |reason| *reason == Reason::SameId(NodeId(2)),
        ),
        ("itself", local(2), local(2), |reason| {
            *reason == Reason::Yourself
        }),
    ];
    for keys in [&[][..], &[SECRET]] {
        for (name, mut a, mut b, is_it) in cases.clone() {
            a.secrets = secrets(keys);
            b.secrets = secrets(keys);
            let (a, b) = handshake(a, 2, b);
            assert_refused(name, &a, &b, is_it);
        }
    }
}

#[test]
fn a_connection_for_something_else_than_the_socket_is_refused() {
    let mut a = dialling(local(1), 2, Purpose::Logs);
    let mut b = accepting(local(2), Purpose::Proposals);
    talk(&mut a, &mut b, usize::MAX);
    assert_refused("purpose", &a, &b, |reason| {
        matches!(reason, Reason::Purpose { .. })
    });
}

#[test]
fn a_second_life_that_the_owner_does_not_admit_learns_why() {
    for dialler_refuses in [false, true] {
        let mut a = dialling(local(1), 2, Purpose::Logs);
        let mut b = accepting(local(2), Purpose::Logs);
        let reason = Reason::Duplicate {
            id: NodeId(1),
            connected: incarnation(5),
            refused: incarnation(1),
        };
        let refusing = if dialler_refuses { &mut a } else { &mut b };
        refusing.admit = Err(reason.clone());
        talk(&mut a, &mut b, usize::MAX);
        assert_refused("duplicate", &a, &b, |said| *said == reason);
    }
}

#[test]
fn a_secret_on_one_side_only_or_another_one_is_refused_and_both_sides_know_it() {
    let node = |id, keys: &[&[u8]]| with(id, |local| local.secrets = secrets(keys));
    let ended = |a: Local, b: Local| {
        let (a, b) = handshake(a, 2, b);
        assert!(!a.open && !b.open);
        (a.ended, b.ended)
    };
    assert_eq!(
        ended(node(1, &[SECRET]), node(2, &[])),
        (Some(Ended::SecretOnlyHere), Some(Ended::SecretOnlyThere))
    );
    assert_eq!(
        ended(node(1, &[]), node(2, &[SECRET])),
        (Some(Ended::SecretOnlyThere), Some(Ended::SecretOnlyHere))
    );
    assert_eq!(
        ended(node(1, &[SECRET]), node(2, &[OTHER])),
        (Some(Ended::WrongSecret), Some(Ended::WrongSecret))
    );
}

#[test]
fn another_version_is_refused_and_both_sides_know_it() {
    let mut b = accepting(local(2), Purpose::Logs);
    b.hear(b"TCPFRF\x07\x05\x00\x00", usize::MAX);
    let newest = Ended::Version {
        lowest: 5,
        newest: 7,
    };
    assert_eq!(b.ended, Some(newest));
    // An old node, told so by a new one.
    let mut a = dialling(local(1), 2, Purpose::Logs);
    a.hear(b"TCPFRF\x07\x05\x00\x01", usize::MAX);
    assert!(matches!(a.ended, Some(Ended::Version { .. })));
    // A new one that still speaks the old version.
    let mut b = accepting(local(2), Purpose::Logs);
    b.hear(b"TCPFRF\x07\x01\x00\x00", usize::MAX);
    assert_eq!(b.ended, None);
}

#[test]
fn another_protocol_is_known_by_its_first_byte() {
    for hello in [
        &b"G"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"TCPFRX",
    ] {
        let mut b = accepting(local(2), Purpose::Logs);
        b.hear(hello, usize::MAX);
        assert!(matches!(b.ended, Some(Ended::NotOurs(_))), "{hello:?}");
        let mut a = dialling(local(1), 2, Purpose::Logs);
        a.hear(hello, usize::MAX);
        assert!(matches!(a.ended, Some(Ended::NotOurs(_))), "{hello:?}");
    }
}

#[test]
fn nothing_but_the_handshake_may_come_before_its_end() {
    let mut b = accepting(local(2), Purpose::Logs);
    b.hear(b"TCPFRF\x01\x01\x00\x00", usize::MAX);
    let mut frame = Vec::new();
    let put = put_frame(&mut frame, Kind::TimeoutNow, |out| out.extend([0; 8]));
    put.expect("it fits");
    b.hear(&frame, usize::MAX);
    let unexpected = FrameError::NotNow(Kind::TimeoutNow);
    assert_eq!(b.ended, Some(Ended::Frame(unexpected)));
}

#[test]
fn nobody_says_who_he_is_before_the_other_has_shown_the_secret() {
    let node = |id| with(id, |local| local.secrets = secrets(&[SECRET]));
    let mut b = accepting(node(2), Purpose::Logs);
    let mut a = dialling(node(1), 2, Purpose::Logs);
    let first = a.say();
    assert_eq!(first.len(), 10 + 48, "preamble and an ephemeral key");
    b.hear(&first, usize::MAX);
    assert_eq!(b.say().len(), 10 + 48);
}

#[test]
fn what_the_other_side_says_cannot_play_tricks_on_a_terminal() {
    let mut hello = local(1).hello(Purpose::Logs, NodeId(2));
    hello.group = "\x1b[2J\nfake line".into();
    let mut bytes = Vec::new();
    hello.put(&mut bytes);
    let read = Hello::get(bytes.into()).expect("it is read");
    assert_eq!(read.group, "\u{fffd}[2J\u{fffd}fake line");
}

#[test]
fn a_dialled_node_never_sends_messages_over_a_connection_for_logs() {
    let (mut a, _) = handshake(local(1), 2, local(2));
    let mut frame = Vec::new();
    let put = put_frame(&mut frame, Kind::TimeoutNow, |out| out.extend([0; 8]));
    put.expect("it fits");
    a.hear(&frame, usize::MAX);
    let unexpected = FrameError::NotNow(Kind::TimeoutNow);
    assert_eq!(a.ended, Some(Ended::Frame(unexpected)));
}

#[test]
fn readers_start_with_the_handshake_only() {
    let mut reader = FrameReader::new(Allowed::Handshake);
    let mut frame = Vec::new();
    put_frame(&mut frame, Kind::Welcome, |_| {}).expect("it fits");
    reader.feed(&frame);
    assert!(reader.next_frame().expect("a frame").is_some());
}

#[test]
fn a_refusal_with_something_behind_it_is_none() {
    let mut a = dialling(local(1), 2, Purpose::Logs);
    let mut b = accepting(local(2), Purpose::Logs);
    b.hear(&a.say(), usize::MAX);
    a.hear(&b.say(), usize::MAX);
    b.admit = Err(Reason::Yourself);
    b.hear(&a.say(), usize::MAX);
    let mut said = b.say();
    let mut reason = Vec::new();
    put_frame(&mut reason, Kind::Refused, |out| Reason::Yourself.put(out)).expect("it fits");
    assert!(said.ends_with(&reason));
    said.truncate(said.len() - reason.len());
    put_frame(&mut said, Kind::Refused, |out| {
        Reason::Yourself.put(out);
        out.push(0);
    })
    .expect("it fits");
    a.hear(&said, usize::MAX);
    assert_eq!(
        a.ended,
        Some(Ended::Malformed {
            kind: Kind::Refused,
            malformed: Malformed::Trailing(1)
        })
    );
}
