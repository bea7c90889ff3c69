//! Any message that can be said.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::codec::MAX_NUMBER;
use crate::entry::{ClientId, Command, Entry, Payload};
use crate::ids::{
    ClusterId, Incarnation, Index, LogTime, NodeId, NodeTime, Position, StoreId, Term,
};
use crate::membership::{Member, Membership, RecordedLife, Role, Statement};
use crate::message::{LeaseGrant, Message, Refusal, SnapshotMeta};
use crate::wire::Purpose;
use crate::wire::hello::{Agreement, Hello};
use crate::wire::proposal::{Answer, Outcome, Propose};
use crate::wire::reason::Reason;

pub fn node() -> impl Strategy<Value = NodeId> {
    any::<u64>().prop_map(NodeId)
}

/// A term, index or time.
pub fn number() -> impl Strategy<Value = u64> {
    0..=MAX_NUMBER
}

pub fn index() -> impl Strategy<Value = Index> {
    number().prop_map(Index)
}

pub fn position() -> impl Strategy<Value = Position> {
    (number(), index()).prop_map(|(term, index)| Position {
        term: Term(term),
        index,
    })
}

pub fn incarnation() -> impl Strategy<Value = Incarnation> {
    (any::<u128>(), any::<u64>(), any::<u64>()).prop_map(|(store, start, boot)| Incarnation {
        store: StoreId(store),
        start,
        boot,
    })
}

pub fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn statement() -> impl Strategy<Value = Statement> {
    (vec(node(), 0..65), any::<u16>()).prop_map(|(peers, version)| Statement { peers, version })
}

fn member() -> impl Strategy<Value = Member> {
    let role = prop_oneof![
        Just(Role::Voter),
        any::<bool>().prop_map(|promote| Role::Learner { promote }),
    ];
    let life = (incarnation(), index()).prop_map(|(incarnation, recorded_at)| RecordedLife {
        incarnation,
        recorded_at,
    });
    (role, option::of(life), option::of(statement())).prop_map(|(role, life, statement)| Member {
        role,
        life,
        statement,
    })
}

pub fn membership() -> impl Strategy<Value = Arc<Membership>> {
    let retired = vec(any::<u128>().prop_map(StoreId), 0..20);
    (btree_map(node(), member(), 0..9), retired)
        .prop_map(|(members, retired)| Arc::new(Membership { members, retired }))
}

pub fn command() -> impl Strategy<Value = Command> {
    let client = (node(), any::<u64>()).prop_map(|(node, boot)| ClientId { node, boot });
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u16>());
    (client, numbers, bytes(200)).prop_map(|(client, numbers, body)| Command {
        client,
        sequence: numbers.0,
        answered_below: numbers.1,
        issued: LogTime(numbers.2),
        version: numbers.3,
        body,
    })
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Empty),
        Just(Payload::Time),
        membership().prop_map(Payload::Membership),
        command().prop_map(Payload::Command),
    ]
}

/// Entries that follow one another and this place, to be sent in a term at or after this one.
fn append() -> impl Strategy<Value = Message> {
    let steps = vec((any::<u8>(), any::<u32>(), payload()), 0..9);
    let previous = (0..=MAX_NUMBER / 2, 0..=MAX_NUMBER / 2);
    (previous, index(), steps).prop_map(|((term, index), commit, steps)| {
        let previous = Position {
            term: Term(term),
            index: Index(index),
        };
        let (mut at, mut time) = (previous, 0);
        let entries = steps.into_iter().map(|(terms, ms, payload)| {
            at.index = at.index.next();
            at.term.0 += u64::from(terms);
            time += u64::from(ms);
            Entry {
                index: at.index,
                term: at.term,
                time: LogTime(time),
                payload,
            }
        });
        Message::Append {
            previous,
            commit,
            entries: entries.collect(),
        }
    })
}

fn snapshot() -> impl Strategy<Value = Arc<SnapshotMeta>> {
    let numbers = (number(), any::<u64>(), any::<u32>());
    (position(), membership(), index(), numbers).prop_map(
        |(last, membership, membership_index, numbers)| {
            Arc::new(SnapshotMeta {
                last,
                time: LogTime(numbers.0),
                membership,
                membership_index: membership_index.min(last.index),
                size_bytes: numbers.1,
                checksum: numbers.2,
            })
        },
    )
}

fn lease() -> impl Strategy<Value = LeaseGrant> {
    (any::<u64>(), number(), index()).prop_map(|(stamp, time, commit)| LeaseGrant {
        stamp: NodeTime(stamp),
        time: LogTime(time),
        commit,
    })
}

pub fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        position().prop_map(|last| Message::PreVote { last }),
        any::<bool>().prop_map(|granted| Message::PreVoteReply { granted }),
        (position(), any::<bool>()).prop_map(|(last, transfer)| Message::Vote { last, transfer }),
        any::<bool>().prop_map(|granted| Message::VoteReply { granted }),
        append(),
        index().prop_map(|matched| Message::Appended { matched }),
        (index(), position())
            .prop_map(|(previous, hint)| Message::AppendRejected { previous, hint }),
        (any::<u64>(), index(), number(), option::of(lease())).prop_map(
            |(round, commit, time, lease)| Message::Heartbeat {
                round,
                commit,
                time: LogTime(time),
                lease,
            }
        ),
        (any::<u64>(), any::<u64>(), index(), option::of(statement())).prop_map(
            |(round, stamp, applied, statement)| Message::HeartbeatReply {
                round,
                stamp: NodeTime(stamp),
                applied,
                statement,
            }
        ),
        Just(Message::TimeoutNow),
        (snapshot(), any::<u64>(), bytes(500)).prop_map(|(snapshot, offset, data)| {
            Message::SnapshotChunk {
                snapshot,
                offset,
                data,
            }
        }),
        (position(), any::<u64>())
            .prop_map(|(snapshot, offset)| Message::SnapshotProgress { snapshot, offset }),
        Just(Message::Refused(Refusal::NotAMember)),
        incarnation().prop_map(|life| Message::Refused(Refusal::StoreRetired(life))),
    ]
}

pub fn propose() -> impl Strategy<Value = Propose> {
    (any::<u64>(), command()).prop_map(|(id, command)| Propose { id, command })
}

pub fn answer() -> impl Strategy<Value = Answer> {
    let outcome = prop_oneof![
        bytes(200).prop_map(Outcome::Applied),
        option::of(node()).prop_map(|leader| Outcome::NotLeader { leader }),
        (any::<u16>(), text(60)).prop_map(|(code, text)| Outcome::Refused { code, text }),
    ];
    (any::<u64>(), outcome).prop_map(|(id, outcome)| Answer { id, outcome })
}

/// Text of at most that many characters of up to 4 bytes, none of them a control character.
fn text(most: usize) -> impl Strategy<Value = String> {
    vec("\\PC", 0..most).prop_map(|characters| characters.concat())
}

fn purpose() -> impl Strategy<Value = Purpose> {
    prop_oneof![Just(Purpose::Logs), Just(Purpose::Proposals)]
}

pub fn hello() -> impl Strategy<Value = Hello> {
    let agreement =
        (any::<[u8; 32]>(), text(120)).prop_map(|(hash, text)| Agreement { hash, text });
    let numbers = (any::<u8>(), any::<u8>(), option::of(any::<u128>()));
    let who = (node(), incarnation(), node());
    (purpose(), text(15), agreement, numbers, who).prop_map(
        |(purpose, group, agreement, numbers, who)| Hello {
            version: numbers.0,
            lowest: numbers.1,
            purpose,
            group,
            cluster: numbers.2.map(ClusterId),
            id: who.0,
            incarnation: who.1,
            agreement,
            expected: who.2,
        },
    )
}

pub fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        (purpose(), purpose())
            .prop_map(|(refused, refusing)| Reason::Purpose { refused, refusing }),
        (text(15), text(15)).prop_map(|(refused, refusing)| Reason::Group { refused, refusing }),
        (any::<u128>(), any::<u128>()).prop_map(|(refused, refusing)| Reason::Cluster {
            refused: ClusterId(refused),
            refusing: ClusterId(refusing),
        }),
        (text(120), text(120))
            .prop_map(|(refused, refusing)| Reason::Agreement { refused, refusing }),
        (node(), node()).prop_map(|(expected, found)| Reason::WrongNode { expected, found }),
        Just(Reason::Yourself),
        node().prop_map(Reason::SameId),
        (node(), incarnation(), incarnation()).prop_map(|(id, connected, refused)| {
            Reason::Duplicate {
                id,
                connected,
                refused,
            }
        }),
        node().prop_map(Reason::NotAPeer),
    ]
}
