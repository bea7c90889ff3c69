//! What nodes and health checks say of groups, as bytes.

use bytes::BufMut;

use super::reader::{Reader, put_text, put_varint};
use super::{CommandError, MAX_GROUPS};
use crate::stick::replicated::command::{Full, MAX_REASON_BYTES, StatedGroup, Statement, Verdict};

type Result<T> = std::result::Result<T, CommandError>;

pub(in super::super) fn put_full(out: &mut Vec<u8>, full: Full) {
    out.put_u8(match full {
        Full::Refuse => 0,
        Full::Evict => 1,
    });
}

pub(in super::super) fn get_full(reader: &mut Reader<'_>) -> Result<Full> {
    match reader.flag()? {
        false => Ok(Full::Refuse),
        true => Ok(Full::Evict),
    }
}

pub(in super::super) fn put_statement(out: &mut Vec<u8>, statement: &Statement) {
    put_varint(out, statement.expiration_ms);
    put_varint(out, statement.max_entries);
    put_full(out, statement.full);
    put_varint(out, statement.groups.len() as u64);
    for group in &statement.groups {
        put_varint(out, group.id.0.into());
        out.put_u8(group.status as u8);
        put_varint(out, group.weight.into());
        out.put_u8(group.backup.into());
    }
}

pub(in super::super) fn get_statement(reader: &mut Reader<'_>) -> Result<Statement> {
    let expiration_ms = reader.varint()?;
    let max_entries = reader.varint()?;
    let full = get_full(reader)?;
    let count = reader.count(MAX_GROUPS)?;
    let groups: Vec<StatedGroup> = (0..count)
        .map(|_| {
            Ok(StatedGroup {
                id: reader.group()?,
                status: reader.status()?,
                weight: reader.varint32()?,
                backup: reader.flag()?,
            })
        })
        .collect::<Result<_>>()?;
    if !groups.is_sorted_by(|one, next| one.id < next.id) {
        return Err(CommandError::Disorder);
    }
    Ok(Statement {
        expiration_ms,
        max_entries,
        full,
        groups,
    })
}

pub(in super::super) fn put_verdicts(out: &mut Vec<u8>, verdicts: &[Verdict]) {
    put_varint(out, verdicts.len() as u64);
    for verdict in verdicts {
        put_varint(out, verdict.group.0.into());
        out.put_u8(verdict.status as u8);
        put_text(out, &verdict.reason, MAX_REASON_BYTES);
    }
}

pub(in super::super) fn get_verdicts(reader: &mut Reader<'_>) -> Result<Vec<Verdict>> {
    let count = reader.count(MAX_GROUPS)?;
    (0..count)
        .map(|_| {
            Ok(Verdict {
                group: reader.group()?,
                status: reader.status()?,
                reason: reader.text(MAX_REASON_BYTES)?,
            })
        })
        .collect()
}
