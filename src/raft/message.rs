//! What nodes of one Raft group say to each other.

use bytes::Bytes;

use crate::entry::{Entry, Payload};
use crate::ids::{Incarnation, Index, LogTime, NodeId, NodeTime, Position, Term};
use crate::membership::{Membership, Statement};
use std::sync::Arc;

/// Entries in one append, at most. In memory an entry takes some 110 bytes beside its body, on the
/// wire as few as 29.
pub const MAX_APPEND_ENTRIES: usize = 8192;

/// Memberships in one append, at most. In memory the smallest one takes some 1.5 KB, on the wire
/// 48 bytes.
pub const MAX_APPEND_MEMBERSHIPS: usize = 8;

/// A message with its way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Envelope {
    /// Who says it.
    pub from: NodeId,
    /// The life in which it is said. The transport knows it from the handshake; it does not
    /// travel with each message.
    pub incarnation: Incarnation,
    /// To whom.
    pub to: NodeId,
    /// The sender's term; of a pre-vote and its granting, the term that an election would have.
    pub term: Term,
    /// What.
    pub message: Message,
}

/// What is said.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// Would you vote for me? Asked before an election disturbs anybody (thesis, section 9.6).
    PreVote {
        /// The end of the asker's log.
        last: Position,
    },
    /// The answer.
    PreVoteReply {
        /// Whether the vote would be given.
        granted: bool,
    },
    /// Vote for me.
    Vote {
        /// The end of the asker's log.
        last: Position,
        /// The leader itself asked for this election: to be heard although it lives.
        transfer: bool,
    },
    /// The answer.
    VoteReply {
        /// Whether the vote is given.
        granted: bool,
    },
    /// Entries of the leader's log.
    Append {
        /// What stands before the first of them in the leader's log.
        previous: Position,
        /// Up to where the leader knows the log to be committed.
        commit: Index,
        /// In order, without a gap; at most [`MAX_APPEND_ENTRIES`], and of these
        /// [`MAX_APPEND_MEMBERSHIPS`] with a membership; empty to ask whether the logs agree at `previous`.
        entries: Vec<Entry>,
    },
    /// Up to here the follower's log agrees with the leader's, and is durable.
    Appended {
        /// The last entry that agrees.
        matched: Index,
    },
    /// The follower's log does not hold what stands before the entries.
    AppendRejected {
        /// The place asked for.
        previous: Index,
        /// The last place in the follower's log that may agree, with its term: where the leader
        /// is to look next.
        hint: Position,
    },
    /// The leader lives.
    Heartbeat {
        /// Numbers the leader's rounds within its term.
        round: u64,
        /// Up to where the receiver, as far as the leader knows its log, may commit.
        commit: Index,
        /// The leader's log time: what a proposer of commands takes for "now".
        time: LogTime,
        /// What the receiver may rely on.
        lease: Option<LeaseGrant>,
    },
    /// The answer.
    HeartbeatReply {
        /// The round.
        round: u64,
        /// The answering node's clock when it answered, in a form that only that life can read.
        stamp: NodeTime,
        /// Up to where it has applied.
        applied: Index,
        /// What its configuration states, where the log says otherwise.
        statement: Option<Statement>,
    },
    /// Stand for election at once: the leader hands over to you.
    TimeoutNow,
    /// A piece of a snapshot.
    SnapshotChunk {
        /// The snapshot.
        snapshot: Arc<SnapshotMeta>,
        /// Where the piece begins in the snapshot's bytes.
        offset: u64,
        /// The piece.
        data: Bytes,
    },
    /// The answer: go on there; at the snapshot's end it says that all has arrived, not that it
    /// is in force ([`Message::Appended`] says that).
    SnapshotProgress {
        /// The snapshot's place in the log.
        snapshot: Position,
        /// Bytes that are safe with the receiver.
        offset: u64,
    },
    /// You are not, or no longer, one of us.
    Refused(Refusal),
}

/// Why a node is not listened to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// It is not a member.
    NotAMember,
    /// This life runs on a store that has lost what it promised: restored from a copy, or
    /// replaced since.
    StoreRetired(Incarnation),
}

/// What a node needs to answer from its own copy of the state (see `lease`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct LeaseGrant {
    /// The receiver's own clock, echoed as it came: the leader led at some moment after it.
    pub stamp: NodeTime,
    /// The log time at that moment.
    pub time: LogTime,
    /// What was committed at that moment.
    pub commit: Index,
}

/// What a snapshot stands for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SnapshotMeta {
    /// The last entry that it includes.
    pub last: Position,
    /// That entry's time.
    pub time: LogTime,
    /// The membership in force there.
    pub membership: Arc<Membership>,
    /// The entry that made it so.
    pub membership_index: Index,
    /// Bytes of the state.
    pub size_bytes: u64,
    /// CRC-32 of these bytes.
    pub checksum: u32,
}

/// How many of the entries, from the first on, one append may hold.
pub(crate) fn most_in_one_append(entries: &[Entry]) -> usize {
    let is_membership = |entry: &Entry| matches!(entry.payload, Payload::Membership(_));
    let mut memberships = 0;
    entries
        .iter()
        .take(MAX_APPEND_ENTRIES)
        .take_while(|entry| {
            memberships += usize::from(is_membership(entry));
            memberships <= MAX_APPEND_MEMBERSHIPS
        })
        .count()
}
