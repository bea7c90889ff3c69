//! Messages that no leader sends are refused before the core sees them.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{MAX_NUMBER, Malformed};
use crate::entry::{Entry, Payload};
use crate::ids::{Index, LogTime, Position, Term};
use crate::membership::Membership;
use crate::message::{MAX_APPEND_ENTRIES, MAX_APPEND_MEMBERSHIPS, Message, SnapshotMeta};
use crate::wire::frame::HEAD_BYTES;
use crate::wire::message;

fn read(term: u64, said: &Message) -> Result<(Term, Message), Malformed> {
    let mut bytes = Vec::new();
    message::put(&mut bytes, Term(term), said).expect("it fits");
    message::get(
        message::kind_of(said),
        Bytes::from(bytes).slice(HEAD_BYTES..),
    )
}

fn at(index: u64, term: u64) -> Position {
    Position {
        term: Term(term),
        index: Index(index),
    }
}

fn entry(index: u64, term: u64, time: u64) -> Entry {
    Entry {
        index: Index(index),
        term: Term(term),
        time: LogTime(time),
        payload: Payload::Empty,
    }
}

fn append(previous: Position, entries: Vec<Entry>) -> Message {
    Message::Append {
        previous,
        commit: Index(0),
        entries,
    }
}

#[test]
fn entries_that_cannot_stand_behind_one_another_are_refused() {
    let sound = append(at(3, 2), vec![entry(4, 2, 5), entry(5, 4, 5)]);
    assert_eq!(read(4, &sound), Ok((Term(4), sound)));
    for (what, previous, entries) in [
        ("a gap before", at(3, 2), vec![entry(5, 2, 5)]),
        (
            "a gap within",
            at(3, 2),
            vec![entry(4, 2, 5), entry(6, 2, 5)],
        ),
        ("one twice", at(3, 2), vec![entry(4, 2, 5), entry(4, 2, 5)]),
        ("terms back", at(3, 2), vec![entry(4, 1, 5)]),
        ("time back", at(3, 2), vec![entry(4, 2, 5), entry(5, 2, 4)]),
        ("beyond the term", at(3, 2), vec![entry(4, 5, 5)]),
        ("behind a later term", at(3, 5), Vec::new()),
    ] {
        let said = append(previous, entries);
        assert_eq!(read(4, &said), Err(Malformed::Disorder), "{what}");
    }
}

#[test]
fn numbers_near_the_end_of_counting_are_refused() {
    let beyond = MAX_NUMBER + 1;
    let vote = |term, index| Message::Vote {
        last: at(index, term),
        transfer: false,
    };
    assert!(read(MAX_NUMBER, &vote(MAX_NUMBER, MAX_NUMBER)).is_ok());
    for (term, said) in [
        (beyond, Message::TimeoutNow),
        (u64::MAX, Message::TimeoutNow),
        (1, vote(beyond, 1)),
        (1, vote(1, u64::MAX)),
        (1, append(at(0, 0), vec![entry(1, 1, beyond)])),
    ] {
        let refused = read(term, &said);
        assert!(
            matches!(refused, Err(Malformed::OutOfRange(_))),
            "{said:?}: {refused:?}"
        );
    }
}

#[test]
fn a_snapshot_of_a_later_term_or_with_a_later_membership_is_refused() {
    let chunk = |last, membership_index| Message::SnapshotChunk {
        snapshot: Arc::new(SnapshotMeta {
            last,
            time: LogTime(0),
            membership: Arc::default(),
            membership_index: Index(membership_index),
            size_bytes: 1,
            checksum: 0,
        }),
        offset: 0,
        data: Bytes::from_static(b"x"),
    };
    assert!(read(4, &chunk(at(9, 4), 9)).is_ok());
    assert_eq!(read(4, &chunk(at(9, 5), 9)), Err(Malformed::Disorder));
    assert_eq!(read(4, &chunk(at(9, 4), 10)), Err(Malformed::Disorder));
}

#[test]
fn an_append_holds_no_more_entries_and_memberships_than_it_may() {
    let of = |count: usize, payload: &Payload| {
        let entries = (1..=count as u64).map(|index| Entry {
            payload: payload.clone(),
            ..entry(index, 1, 0)
        });
        append(at(0, 0), entries.collect())
    };
    let membership = Payload::Membership(Arc::new(Membership::default()));
    for (most, payload) in [
        (MAX_APPEND_ENTRIES, &Payload::Empty),
        (MAX_APPEND_MEMBERSHIPS, &membership),
    ] {
        assert!(read(1, &of(most, payload)).is_ok());
        assert_eq!(
            read(1, &of(most + 1, payload)),
            Err(Malformed::TooLong(most as u64 + 1))
        );
    }
}
