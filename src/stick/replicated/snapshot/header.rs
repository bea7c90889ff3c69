//! What is agreed on, as bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tcpffee_raft::codec::MAX_NUMBER;
use tcpffee_raft::ids::{Index, LogTime, NodeId};
use tcpffee_raft::membership::MAX_MEMBERS;

use crate::stick::Counts;
use crate::stick::replicated::agreed::AgreedGroup;
use crate::stick::replicated::codec::{
    CommandError, Reader, get_full, get_index, get_statement, get_time, get_verdicts, put_full,
    put_statement, put_text, put_varint, put_verdicts,
};
use crate::stick::replicated::state::State;
use crate::stick::replicated::state::agreement::{Agreement, Group, Member, Settings, Unusable};

type Result<T> = std::result::Result<T, CommandError>;

/// No header is longer.
pub(in super::super) const MAX_HEADER_BYTES: u32 = 64 * 1024 * 1024;

/// Most groups, those included that are gone.
const MAX_GROUPS: usize = 1 << 20;

/// Bytes of the reason for a group's status.
const MAX_REASON_BYTES: usize = 1024;

/// What is agreed on, as it was saved.
#[derive(Debug)]
pub(super) struct Header {
    pub time: LogTime,
    pub index: Index,
    /// Of the last change of what is agreed on.
    pub changed_at: Index,
    pub counts: Counts,
    pub agreement: Agreement,
}

/// Appends that of a state, with its length before it.
pub(super) fn put_header(out: &mut Vec<u8>, state: &State) {
    let agreement = &state.agreement;
    put_parts(
        out,
        (state.time, state.index),
        &state.entries.counts,
        agreement,
    );
}

/// Appends that of a state before the log's first entry.
pub(in super::super) fn put_first_header(out: &mut Vec<u8>) {
    let at = (LogTime(0), Index(0));
    put_parts(out, at, &Counts::default(), &Agreement::default());
}

fn put_parts(
    out: &mut Vec<u8>,
    (time, index): (LogTime, Index),
    counts: &Counts,
    agreement: &Agreement,
) {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    put_varint(out, time.0);
    put_varint(out, index.0);
    put_varint(out, agreement.agreed.index.0);
    put_counts(out, counts);
    put_agreement(out, agreement);
    let length = (out.len() - begin - 4) as u32;
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
}

/// Reads what [`put_header`] wrote after the length.
pub(super) fn get_header(bytes: &[u8]) -> Result<Header> {
    let mut reader = Reader::new(bytes);
    let header = Header {
        time: get_time(&mut reader)?,
        index: get_index(&mut reader)?,
        changed_at: get_index(&mut reader)?,
        counts: get_counts(&mut reader)?,
        agreement: get_agreement(&mut reader)?,
    };
    reader.finish()?;
    Ok(header)
}

fn put_counts(out: &mut Vec<u8>, counts: &Counts) {
    put_varint(out, counts.assignments);
    put_varint(out, counts.reassignments);
    put_varint(out, counts.moves);
    put_varint(out, counts.expiries);
    put_varint(out, counts.evictions);
    put_varint(out, counts.refusals);
}

/// But for the entries, which are counted as they come.
fn get_counts(reader: &mut Reader<'_>) -> Result<Counts> {
    let mut count = || match reader.varint()? {
        count if count <= MAX_NUMBER => Ok(count),
        _ => Err(CommandError::OutOfRange),
    };
    Ok(Counts {
        entries: 0,
        hits: 0,
        assignments: count()?,
        reassignments: count()?,
        moves: count()?,
        expiries: count()?,
        evictions: count()?,
        refusals: count()?,
    })
}

fn put_agreement(out: &mut Vec<u8>, agreement: &Agreement) {
    out.push(agreement.told.into());
    put_option(out, agreement.settings.expiration_ms, put_varint);
    put_option(out, agreement.settings.max_entries, put_varint);
    put_option(out, agreement.settings.full, put_full);
    put_option(out, agreement.expiration_fence, |out, at| {
        put_varint(out, at.0);
    });
    put_varint(out, agreement.members.len() as u64);
    for (node, member) in &agreement.members {
        put_member(out, *node, member);
    }
    put_verdicts(out, &agreement.verdicts);
    put_varint(out, agreement.groups.len() as u64);
    for (id, group) in &agreement.groups {
        put_varint(out, id.0.into());
        put_group(out, group);
    }
}

fn get_agreement(reader: &mut Reader<'_>) -> Result<Agreement> {
    let told = reader.flag()?;
    let settings = Settings {
        expiration_ms: get_option(reader, |reader| reader.varint())?,
        max_entries: get_option(reader, |reader| reader.varint())?,
        full: get_option(reader, get_full)?,
    };
    let expiration_fence = get_option(reader, get_index)?;
    let mut members = BTreeMap::new();
    let mut slots = 0_u64;
    for _ in 0..reader.count(MAX_MEMBERS)? {
        let (node, member) = get_member(reader)?;
        let bit = 1 << member.slot;
        if slots & bit != 0 || members.insert(node, member).is_some() {
            return Err(CommandError::Disorder);
        }
        slots |= bit;
    }
    let verdicts = get_verdicts(reader)?;
    let mut groups = BTreeMap::new();
    for _ in 0..reader.count(MAX_GROUPS)? {
        let id = reader.group()?;
        if groups.insert(id, get_group(reader)?).is_some() {
            return Err(CommandError::Disorder);
        }
    }
    Ok(Agreement {
        told,
        members,
        verdicts,
        settings,
        expiration_fence,
        groups,
        agreed: Arc::default(),
    })
}

fn put_member(out: &mut Vec<u8>, node: NodeId, member: &Member) {
    out.extend_from_slice(&node.0.to_le_bytes());
    out.extend_from_slice(&member.boot.to_le_bytes());
    out.push(member.slot);
    out.push(member.voter.into());
    out.push(member.present.into());
    out.push(member.has_session.into());
    put_varint(out, member.session_ended_at.0);
    put_option(out, member.statement.as_deref(), |out, statement| {
        put_statement(out, statement);
    });
}

fn get_member(reader: &mut Reader<'_>) -> Result<(NodeId, Member)> {
    let node = NodeId(reader.u64()?);
    let member = Member {
        boot: reader.u64()?,
        slot: reader.u8()?,
        voter: reader.flag()?,
        present: reader.flag()?,
        has_session: reader.flag()?,
        session_ended_at: get_index(reader)?,
        statement: get_option(reader, get_statement)?.map(Arc::new),
    };
    match usize::from(member.slot) < MAX_MEMBERS {
        true => Ok((node, member)),
        false => Err(CommandError::OutOfRange),
    }
}

fn put_group(out: &mut Vec<u8>, group: &Group) {
    let agreed = &group.agreed;
    out.push(agreed.status as u8);
    out.push(agreed.takes_new.into());
    put_varint(out, agreed.weight.into());
    out.push(agreed.backup.into());
    put_text(out, &agreed.reason, MAX_REASON_BYTES);
    put_option(out, group.unusable, |out, unusable| {
        put_varint(out, unusable.since.0);
        out.push(unusable.passed.into());
    });
}

fn get_group(reader: &mut Reader<'_>) -> Result<Group> {
    let agreed = AgreedGroup {
        status: reader.status()?,
        takes_new: reader.flag()?,
        weight: reader.varint32()?,
        backup: reader.flag()?,
        reason: reader.text(MAX_REASON_BYTES)?,
    };
    let unusable = get_option(reader, |reader| {
        Ok(Unusable {
            since: get_index(reader)?,
            passed: reader.flag()?,
        })
    })?;
    if agreed.status.is_usable() != unusable.is_none() {
        return Err(CommandError::Disorder);
    }
    Ok(Group { agreed, unusable })
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put(out, value);
    }
}

fn get_option<T>(
    reader: &mut Reader<'_>,
    get: impl FnOnce(&mut Reader<'_>) -> Result<T>,
) -> Result<Option<T>> {
    match reader.flag()? {
        true => get(reader).map(Some),
        false => Ok(None),
    }
}
