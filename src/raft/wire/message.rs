//! Messages of Raft as frames.
//!
//! A body begins with the term. Sender, receiver and the sender's life are known from the
//! connection.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use crate::codec::{self, Malformed, finished};
use crate::entry::{Entry, Payload};
use crate::ids::{NodeTime, Position, Term};
use crate::message::{
    LeaseGrant, MAX_APPEND_ENTRIES, MAX_APPEND_MEMBERSHIPS, Message, Refusal, SnapshotMeta,
};

use super::frame::{FrameError, Kind, put_frame};

type Result<T> = std::result::Result<T, Malformed>;

/// The shortest encoded entry: its length, place, term, time, kind.
const MIN_ENTRY_BYTES: usize = 4 + 8 + 8 + 8 + 1;

/// The kind of frame that carries the message.
pub fn kind_of(message: &Message) -> Kind {
    match message {
        Message::PreVote { .. } => Kind::PreVote,
        Message::PreVoteReply { .. } => Kind::PreVoteReply,
        Message::Vote { .. } => Kind::Vote,
        Message::VoteReply { .. } => Kind::VoteReply,
        Message::Append { .. } => Kind::Append,
        Message::Appended { .. } => Kind::Appended,
        Message::AppendRejected { .. } => Kind::AppendRejected,
        Message::Heartbeat { .. } => Kind::Heartbeat,
        Message::HeartbeatReply { .. } => Kind::HeartbeatReply,
        Message::TimeoutNow => Kind::TimeoutNow,
        Message::SnapshotChunk { .. } => Kind::SnapshotChunk,
        Message::SnapshotProgress { .. } => Kind::SnapshotProgress,
        Message::Refused(_) => Kind::NotListened,
    }
}

/// What the message counts in the bounds of queues: its encoded size, roughly.
pub fn size_bytes(message: &Message) -> usize {
    const FIXED: usize = 64;
    FIXED
        + match message {
            Message::Append { entries, .. } => {
                entries.iter().map(|entry| 4 + entry.size_bytes()).sum()
            }
            Message::SnapshotChunk { snapshot, data, .. } => {
                snapshot.membership.size_bytes() + data.len()
            }
            Message::HeartbeatReply {
                statement: Some(statement),
                ..
            } => statement.peers.len() * 8,
            _ => 0,
        }
}

/// Appends the message as a frame.
///
/// # Errors
/// Where it is larger than its kind may be.
pub fn put(
    out: &mut Vec<u8>,
    term: Term,
    message: &Message,
) -> std::result::Result<(), FrameError> {
    put_frame(out, kind_of(message), |out| {
        out.put_u64_le(term.0);
        put_body(out, message);
    })
}

fn put_body(out: &mut Vec<u8>, message: &Message) {
    match message {
        Message::PreVote { last } => codec::put_position(out, *last),
        Message::Vote { last, transfer } => {
            codec::put_position(out, *last);
            out.put_u8((*transfer).into());
        }
        Message::PreVoteReply { granted } | Message::VoteReply { granted } => {
            out.put_u8((*granted).into());
        }
        Message::Append {
            previous,
            commit,
            entries,
        } => {
            codec::put_position(out, *previous);
            out.put_u64_le(commit.0);
            out.put_u32_le(entries.len() as u32);
            for entry in entries {
                let start = out.len();
                out.put_u32_le(0);
                codec::put_entry(out, entry);
                let length = (out.len() - start - 4) as u32;
                out[start..start + 4].copy_from_slice(&length.to_le_bytes());
            }
        }
        Message::Appended { matched } => out.put_u64_le(matched.0),
        Message::AppendRejected { previous, hint } => {
            out.put_u64_le(previous.0);
            codec::put_position(out, *hint);
        }
        Message::Heartbeat {
            round,
            commit,
            time,
            lease,
        } => {
            out.put_u64_le(*round);
            out.put_u64_le(commit.0);
            out.put_u64_le(time.0);
            codec::put_option(out, lease.as_ref(), |out, lease| {
                out.put_u64_le(lease.stamp.0);
                out.put_u64_le(lease.time.0);
                out.put_u64_le(lease.commit.0);
            });
        }
        Message::HeartbeatReply {
            round,
            stamp,
            applied,
            statement,
        } => {
            out.put_u64_le(*round);
            out.put_u64_le(stamp.0);
            out.put_u64_le(applied.0);
            codec::put_option(out, statement.as_ref(), |mut out, statement| {
                codec::put_statement(&mut out, statement);
            });
        }
        Message::TimeoutNow => {}
        Message::SnapshotChunk {
            snapshot,
            offset,
            data,
        } => {
            codec::put_snapshot_meta(out, snapshot);
            out.put_u64_le(*offset);
            out.put_slice(data);
        }
        Message::SnapshotProgress { snapshot, offset } => {
            codec::put_position(out, *snapshot);
            out.put_u64_le(*offset);
        }
        Message::Refused(Refusal::NotAMember) => out.put_u8(0),
        Message::Refused(Refusal::StoreRetired(life)) => {
            out.put_u8(1);
            codec::put_incarnation(out, life);
        }
    }
}

/// Reads the message that a frame of the kind holds.
///
/// # Errors
/// Where the body is not such a message, holds numbers that contradict each other or the term, or
/// the kind is none of Raft's.
pub fn get(kind: Kind, mut body: Bytes) -> Result<(Term, Message)> {
    let term = codec::get_term(&mut body)?;
    let message = get_body(kind, &mut body)?;
    finished(&body)?;
    let sound = match &message {
        Message::Append {
            previous, entries, ..
        } => may_stand(term, *previous, entries),
        Message::SnapshotChunk { snapshot, .. } => may_be_of(term, snapshot),
        _ => true,
    };
    if !sound {
        return Err(Malformed::Disorder);
    }
    Ok((term, message))
}

fn get_body(kind: Kind, body: &mut Bytes) -> Result<Message> {
    Ok(match kind {
        Kind::PreVote => Message::PreVote {
            last: codec::get_position(body)?,
        },
        Kind::PreVoteReply => Message::PreVoteReply {
            granted: get_bool(body)?,
        },
        Kind::Vote => Message::Vote {
            last: codec::get_position(body)?,
            transfer: get_bool(body)?,
        },
        Kind::VoteReply => Message::VoteReply {
            granted: get_bool(body)?,
        },
        Kind::Append => Message::Append {
            previous: codec::get_position(body)?,
            commit: codec::get_index(body)?,
            entries: get_entries(body)?,
        },
        Kind::Appended => Message::Appended {
            matched: codec::get_index(body)?,
        },
        Kind::AppendRejected => Message::AppendRejected {
            previous: codec::get_index(body)?,
            hint: codec::get_position(body)?,
        },
        Kind::Heartbeat => Message::Heartbeat {
            round: codec::get_u64(body)?,
            commit: codec::get_index(body)?,
            time: codec::get_log_time(body)?,
            lease: codec::get_option(body, |body| {
                Ok(LeaseGrant {
                    stamp: NodeTime(codec::get_u64(body)?),
                    time: codec::get_log_time(body)?,
                    commit: codec::get_index(body)?,
                })
            })?,
        },
        Kind::HeartbeatReply => Message::HeartbeatReply {
            round: codec::get_u64(body)?,
            stamp: NodeTime(codec::get_u64(body)?),
            applied: codec::get_index(body)?,
            statement: codec::get_option(body, codec::get_statement)?,
        },
        Kind::TimeoutNow => Message::TimeoutNow,
        Kind::SnapshotChunk => Message::SnapshotChunk {
            snapshot: Arc::new(codec::get_snapshot_meta(body)?),
            offset: codec::get_u64(body)?,
            data: std::mem::take(body),
        },
        Kind::SnapshotProgress => Message::SnapshotProgress {
            snapshot: codec::get_position(body)?,
            offset: codec::get_u64(body)?,
        },
        Kind::NotListened => Message::Refused(match codec::get_u8(body)? {
            0 => Refusal::NotAMember,
            1 => Refusal::StoreRetired(codec::get_incarnation(body)?),
            other => return Err(Malformed::UnknownKind(other)),
        }),
        other => return Err(Malformed::UnknownKind(other as u8)),
    })
}

fn get_entries(body: &mut Bytes) -> Result<Vec<Entry>> {
    let most = MAX_APPEND_ENTRIES.min(body.len() / MIN_ENTRY_BYTES);
    let count = codec::get_count(body, most)?;
    let mut entries = Vec::with_capacity(count);
    let mut memberships = 0;
    for _ in 0..count {
        let length = codec::get_u32(body)? as usize;
        let entry = codec::get_entry(codec::get_bytes(body, length)?)?;
        memberships += usize::from(matches!(entry.payload, Payload::Membership(_)));
        if memberships > MAX_APPEND_MEMBERSHIPS {
            return Err(Malformed::TooLong(memberships as u64));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Whether entries may stand behind `previous` in the log of the term's leader: without gaps, and
/// neither terms nor times go back.
fn may_stand(term: Term, previous: Position, entries: &[Entry]) -> bool {
    let mut before = previous;
    let mut time = None;
    entries.iter().all(|entry| {
        let follows = entry.index == before.index.next()
            && entry.term >= before.term
            && Some(entry.time) >= time;
        before = entry.position();
        time = Some(entry.time);
        follows
    }) && before.term <= term
}

/// Whether the term's leader may have the snapshot.
fn may_be_of(term: Term, snapshot: &SnapshotMeta) -> bool {
    snapshot.last.term <= term && snapshot.membership_index <= snapshot.last.index
}

pub(super) fn get_bool(body: &mut Bytes) -> Result<bool> {
    match codec::get_u8(body)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Malformed::UnknownKind(other)),
    }
}
