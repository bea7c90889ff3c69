//! How entries and memberships are written as bytes, on disk and on the wire alike.
//!
//! Little-endian, without padding. Readers never trust a length: it is checked against what is
//! left before anything is allocated.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use crate::durable::HardState;
use crate::entry::{ClientId, Command, Entry, Payload};
use crate::ids::{Incarnation, Index, LogTime, NodeId, Position, StoreId, Term};
use crate::membership::{
    MAX_MEMBERS, MAX_RETIRED, Member, Membership, RecordedLife, Role, Statement,
};
use crate::message::SnapshotMeta;

/// Bytes that are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("the bytes end too early")]
    Truncated,
    /// A tag that is none of the known ones.
    #[error("unknown kind {0}")]
    UnknownKind(u8),
    /// A count or length beyond its bound.
    #[error("a length of {0} is beyond its bound")]
    TooLong(u64),
    /// A term, index or time beyond [`MAX_NUMBER`].
    #[error("{0} is no term, index or time: it is beyond its bound")]
    OutOfRange(u64),
    /// Numbers that cannot stand beside each other.
    #[error("terms, indexes or times that contradict each other")]
    Disorder,
    /// Bytes are left over.
    #[error("{0} bytes too many")]
    Trailing(usize),
}

type Result<T> = std::result::Result<T, Malformed>;

/// The greatest term, index or time that is believed. Counted one by one none ever gets there,
/// and whoever goes on from it does not overflow.
pub const MAX_NUMBER: u64 = u64::MAX / 2;

/// Refuses bytes that are left over.
pub fn finished(bytes: &Bytes) -> Result<()> {
    match bytes.len() {
        0 => Ok(()),
        left => Err(Malformed::Trailing(left)),
    }
}

macro_rules! get {
    ($name:ident, $kind:ty, $method:ident) => {
        pub(crate) fn $name(bytes: &mut Bytes) -> Result<$kind> {
            bytes.$method().map_err(|_| Malformed::Truncated)
        }
    };
}

get!(get_u8, u8, try_get_u8);
get!(get_u16, u16, try_get_u16_le);
get!(get_u32, u32, try_get_u32_le);
get!(get_u64, u64, try_get_u64_le);
get!(get_u128, u128, try_get_u128_le);

/// Takes `length` bytes without copying them.
pub(crate) fn get_bytes(bytes: &mut Bytes, length: usize) -> Result<Bytes> {
    if bytes.len() < length {
        return Err(Malformed::Truncated);
    }
    Ok(bytes.split_to(length))
}

/// Takes a count of at most `most`.
pub(crate) fn get_count(bytes: &mut Bytes, most: usize) -> Result<usize> {
    let count = get_u32(bytes)?;
    if count as usize > most {
        return Err(Malformed::TooLong(count.into()));
    }
    Ok(count as usize)
}

fn get_number(bytes: &mut Bytes) -> Result<u64> {
    match get_u64(bytes)? {
        number if number <= MAX_NUMBER => Ok(number),
        beyond => Err(Malformed::OutOfRange(beyond)),
    }
}

pub(crate) fn get_term(bytes: &mut Bytes) -> Result<Term> {
    get_number(bytes).map(Term)
}

pub(crate) fn get_index(bytes: &mut Bytes) -> Result<Index> {
    get_number(bytes).map(Index)
}

pub(crate) fn get_log_time(bytes: &mut Bytes) -> Result<LogTime> {
    get_number(bytes).map(LogTime)
}

pub(crate) fn put_position(out: &mut impl BufMut, position: Position) {
    out.put_u64_le(position.term.0);
    out.put_u64_le(position.index.0);
}

pub(crate) fn get_position(bytes: &mut Bytes) -> Result<Position> {
    Ok(Position {
        term: get_term(bytes)?,
        index: get_index(bytes)?,
    })
}

pub(crate) fn put_incarnation(out: &mut impl BufMut, incarnation: &Incarnation) {
    out.put_u128_le(incarnation.store.0);
    out.put_u64_le(incarnation.start);
    out.put_u64_le(incarnation.boot);
}

pub(crate) fn get_incarnation(bytes: &mut Bytes) -> Result<Incarnation> {
    Ok(Incarnation {
        store: StoreId(get_u128(bytes)?),
        start: get_u64(bytes)?,
        boot: get_u64(bytes)?,
    })
}

pub(crate) fn put_option<T>(
    out: &mut impl BufMut,
    value: Option<&T>,
    put: impl FnOnce(&mut dyn BufMut, &T),
) {
    out.put_u8(value.is_some().into());
    if let Some(value) = value {
        put(out, value);
    }
}

pub(crate) fn get_option<T>(
    bytes: &mut Bytes,
    get: impl FnOnce(&mut Bytes) -> Result<T>,
) -> Result<Option<T>> {
    match get_u8(bytes)? {
        0 => Ok(None),
        1 => get(bytes).map(Some),
        other => Err(Malformed::UnknownKind(other)),
    }
}

pub(crate) fn put_statement(out: &mut impl BufMut, statement: &Statement) {
    out.put_u16_le(statement.version);
    out.put_u32_le(statement.peers.len() as u32);
    for peer in &statement.peers {
        out.put_u64_le(peer.0);
    }
}

pub(crate) fn get_statement(bytes: &mut Bytes) -> Result<Statement> {
    let version = get_u16(bytes)?;
    let count = get_count(bytes, MAX_MEMBERS)?;
    let peers = (0..count)
        .map(|_| get_u64(bytes).map(NodeId))
        .collect::<Result<_>>()?;
    Ok(Statement { peers, version })
}

pub(crate) fn put_membership(out: &mut impl BufMut, membership: &Membership) {
    out.put_u32_le(membership.members.len() as u32);
    for (id, member) in &membership.members {
        out.put_u64_le(id.0);
        out.put_u8(match member.role {
            Role::Voter => 0,
            Role::Learner { promote: false } => 1,
            Role::Learner { promote: true } => 2,
        });
        put_option(out, member.life.as_ref(), |mut out, life| {
            put_incarnation(&mut out, &life.incarnation);
            out.put_u64_le(life.recorded_at.0);
        });
        put_option(out, member.statement.as_ref(), |mut out, statement| {
            put_statement(&mut out, statement);
        });
    }
    out.put_u32_le(membership.retired.len() as u32);
    for store in &membership.retired {
        out.put_u128_le(store.0);
    }
}

pub(crate) fn get_membership(bytes: &mut Bytes) -> Result<Membership> {
    let count = get_count(bytes, MAX_MEMBERS)?;
    let mut members = BTreeMap::new();
    for _ in 0..count {
        let id = NodeId(get_u64(bytes)?);
        let role = match get_u8(bytes)? {
            0 => Role::Voter,
            1 => Role::Learner { promote: false },
            2 => Role::Learner { promote: true },
            other => return Err(Malformed::UnknownKind(other)),
        };
        let life = get_option(bytes, |bytes| {
            Ok(RecordedLife {
                incarnation: get_incarnation(bytes)?,
                recorded_at: get_index(bytes)?,
            })
        })?;
        let statement = get_option(bytes, get_statement)?;
        members.insert(
            id,
            Member {
                role,
                life,
                statement,
            },
        );
    }
    let count = get_count(bytes, MAX_RETIRED)?;
    let retired = (0..count)
        .map(|_| get_u128(bytes).map(StoreId))
        .collect::<Result<_>>()?;
    Ok(Membership { members, retired })
}

/// Writes an entry. Its payload reaches to the end of whatever frames it: the frame's length
/// must be known to the reader.
pub(crate) fn put_entry(out: &mut impl BufMut, entry: &Entry) {
    out.put_u64_le(entry.index.0);
    out.put_u64_le(entry.term.0);
    out.put_u64_le(entry.time.0);
    match &entry.payload {
        Payload::Empty => out.put_u8(0),
        Payload::Time => out.put_u8(1),
        Payload::Membership(membership) => {
            out.put_u8(2);
            put_membership(out, membership);
        }
        Payload::Command(command) => {
            out.put_u8(3);
            put_command(out, command);
        }
    }
}

/// Reads an entry and, for a command, its body to the end of the bytes.
pub(crate) fn get_entry(mut bytes: Bytes) -> Result<Entry> {
    let index = get_index(&mut bytes)?;
    let term = get_term(&mut bytes)?;
    let time = get_log_time(&mut bytes)?;
    let payload = match get_u8(&mut bytes)? {
        0 => Payload::Empty,
        1 => Payload::Time,
        2 => Payload::Membership(Arc::new(get_membership(&mut bytes)?)),
        3 => Payload::Command(get_command(std::mem::take(&mut bytes))?),
        other => return Err(Malformed::UnknownKind(other)),
    };
    finished(&bytes)?;
    Ok(Entry {
        index,
        term,
        time,
        payload,
    })
}

/// Writes a command; its body reaches to the end of its frame.
pub(crate) fn put_command(out: &mut impl BufMut, command: &Command) {
    out.put_u64_le(command.client.node.0);
    out.put_u64_le(command.client.boot);
    out.put_u64_le(command.sequence);
    out.put_u64_le(command.answered_below);
    out.put_u64_le(command.issued.0);
    out.put_u16_le(command.version);
    out.put_slice(&command.body);
}

/// Reads a command; what is left is its body.
pub(crate) fn get_command(mut bytes: Bytes) -> Result<Command> {
    Ok(Command {
        client: ClientId {
            node: NodeId(get_u64(&mut bytes)?),
            boot: get_u64(&mut bytes)?,
        },
        sequence: get_u64(&mut bytes)?,
        answered_below: get_u64(&mut bytes)?,
        issued: LogTime(get_u64(&mut bytes)?),
        version: get_u16(&mut bytes)?,
        body: bytes,
    })
}

pub(crate) fn put_hard_state(out: &mut impl BufMut, state: &HardState) {
    out.put_u64_le(state.term.0);
    put_option(out, state.vote.as_ref(), |out, vote| out.put_u64_le(vote.0));
    out.put_u64_le(state.commit.0);
}

pub(crate) fn get_hard_state(bytes: &mut Bytes) -> Result<HardState> {
    Ok(HardState {
        term: get_term(bytes)?,
        vote: get_option(bytes, |bytes| get_u64(bytes).map(NodeId))?,
        commit: get_index(bytes)?,
    })
}

pub(crate) fn put_snapshot_meta(out: &mut impl BufMut, meta: &SnapshotMeta) {
    put_position(out, meta.last);
    out.put_u64_le(meta.time.0);
    put_membership(out, &meta.membership);
    out.put_u64_le(meta.membership_index.0);
    out.put_u64_le(meta.size_bytes);
    out.put_u32_le(meta.checksum);
}

pub(crate) fn get_snapshot_meta(bytes: &mut Bytes) -> Result<SnapshotMeta> {
    Ok(SnapshotMeta {
        last: get_position(bytes)?,
        time: get_log_time(bytes)?,
        membership: Arc::new(get_membership(bytes)?),
        membership_index: get_index(bytes)?,
        size_bytes: get_u64(bytes)?,
        checksum: get_u32(bytes)?,
    })
}
