//! One operation as bytes: its kind, then its parts.

use bytes::BufMut;
use tcpffee_raft::ids::NodeId;

use super::reader::{Reader, put_ip, put_key, put_maybe_group, put_varint};
use super::statement::{get_statement, get_verdicts, put_statement, put_verdicts};
use super::{CommandError, get_index, get_time};
use crate::stick::KeyRef;
use crate::stick::replicated::command::{Op, Wanted};

type Result<T> = std::result::Result<T, CommandError>;

pub(super) fn put_op(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Assign {
            client: Wanted::Key(key),
            group,
        } => {
            put_named(out, 0, key.as_ref());
            put_maybe_group(out, *group);
        }
        Op::Assign {
            client: Wanted::LatestOf(ip),
            group,
        } => {
            out.put_u8(1);
            put_ip(out, *ip);
            put_maybe_group(out, *group);
        }
        Op::Move { key, version, to } => {
            put_named(out, 2, key.as_ref());
            put_varint(out, version.0);
            put_varint(out, to.0.into());
        }
        Op::GiveUp { key, version } => {
            put_named(out, 3, key.as_ref());
            put_varint(out, version.0);
        }
        Op::Hold { key, version } => {
            put_named(out, 4, key.as_ref());
            put_varint(out, version.0);
        }
        Op::Renew {
            key,
            version,
            activity,
        } => {
            put_named(out, 5, key.as_ref());
            put_varint(out, version.0);
            put_varint(out, activity.0);
        }
        Op::Release {
            key,
            version,
            activity,
        } => {
            put_named(out, 6, key.as_ref());
            put_varint(out, version.0);
            put_varint(out, activity.0);
        }
        Op::Remove { key } => put_named(out, 7, key.as_ref()),
        Op::State(statement) => {
            out.put_u8(8);
            put_statement(out, statement);
        }
        Op::EndSession { node, boot } => {
            out.put_u8(9);
            out.put_u64_le(node.0);
            out.put_u64_le(*boot);
        }
        Op::Absent { node } => {
            out.put_u8(10);
            out.put_u64_le(node.0);
        }
        Op::Verdicts(verdicts) => {
            out.put_u8(11);
            put_verdicts(out, verdicts);
        }
        Op::Passed(index) => {
            out.put_u8(12);
            put_varint(out, index.0);
        }
    }
}

fn put_named(out: &mut Vec<u8>, kind: u8, key: KeyRef<'_>) {
    out.put_u8(kind);
    put_key(out, key);
}

pub(super) fn get_op(reader: &mut Reader<'_>) -> Result<Op> {
    Ok(match reader.u8()? {
        0 => Op::Assign {
            client: Wanted::Key(reader.key()?),
            group: reader.maybe_group()?,
        },
        1 => Op::Assign {
            client: Wanted::LatestOf(reader.ip()?),
            group: reader.maybe_group()?,
        },
        2 => Op::Move {
            key: reader.key()?,
            version: get_index(reader)?,
            to: reader.group()?,
        },
        3 => Op::GiveUp {
            key: reader.key()?,
            version: get_index(reader)?,
        },
        4 => Op::Hold {
            key: reader.key()?,
            version: get_index(reader)?,
        },
        5 => Op::Renew {
            key: reader.key()?,
            version: get_index(reader)?,
            activity: get_time(reader)?,
        },
        6 => Op::Release {
            key: reader.key()?,
            version: get_index(reader)?,
            activity: get_time(reader)?,
        },
        7 => Op::Remove { key: reader.key()? },
        8 => Op::State(get_statement(reader)?),
        9 => Op::EndSession {
            node: NodeId(reader.u64()?),
            boot: reader.u64()?,
        },
        10 => Op::Absent {
            node: NodeId(reader.u64()?),
        },
        11 => Op::Verdicts(get_verdicts(reader)?),
        12 => Op::Passed(get_index(reader)?),
        other => return Err(CommandError::UnknownKind(other)),
    })
}
