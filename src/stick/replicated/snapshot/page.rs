//! Entries as bytes, page by page.

use tcpffee_raft::ids::{Index, LogTime};

use crate::stick::Key;
use crate::stick::replicated::codec::{
    CommandError, Reader, get_index, get_time, put_key, put_varint,
};
use crate::stick::replicated::replica::entry::{Entry, State};
use crate::stick::replicated::replica::shard::PAGE_SLOTS;

/// No page is longer.
pub(in super::super) const MAX_PAGE_BYTES: u32 = 8 * 1024 * 1024;

/// Appends the entries of a page with its length before them; nothing where it has none.
pub(in super::super) fn put_page(entries: &[Entry], out: &mut Vec<u8>) {
    let used = || entries.iter().filter(|entry| entry.state != State::Free);
    let count = used().count();
    if count == 0 {
        return;
    }
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    put_varint(out, count as u64);
    used().for_each(|entry| put_entry(out, entry));
    let length = (out.len() - begin - 4) as u32;
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_key(out, entry.key());
    out.push(match entry.state {
        State::Free => 0,
        State::Provisional => 1,
        State::Pinned => 2,
        State::Active => 3,
    });
    out.push(entry.maker);
    put_varint(out, entry.group.0.into());
    put_varint(out, entry.version.0);
    put_varint(out, entry.serial);
    put_varint(out, entry.expires.0);
    put_varint(out, entry.nodes);
    put_varint(out, entry.removed_at.0);
}

/// Reads the entries of a page. `members`: the bits that entries may have.
pub(super) fn get_page(bytes: &[u8], members: u64) -> Result<Vec<Entry>, CommandError> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(PAGE_SLOTS)?;
    let entries = (0..count)
        .map(|_| get_entry(&mut reader, members))
        .collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(entries)
}

fn get_entry(reader: &mut Reader<'_>, members: u64) -> Result<Entry, CommandError> {
    let Key { ip, slice } = reader.key()?;
    let state = match reader.u8()? {
        1 => State::Provisional,
        2 => State::Pinned,
        3 => State::Active,
        other => return Err(CommandError::UnknownKind(other)),
    };
    let maker = reader.u8()?;
    let entry = Entry {
        ip,
        slice,
        group: reader.group()?,
        version: get_index(reader)?,
        serial: reader.varint()?,
        expires: get_time(reader)?,
        nodes: reader.varint()?,
        removed_at: get_index(reader)?,
        state,
        maker,
        restored: 0,
    };
    let is_of_members = entry.nodes & !members == 0;
    let has_maker = u32::from(maker) < u64::BITS && entry.nodes & 1 << maker != 0;
    let is_possible = !entry.is_provisional() || has_maker;
    let expires_once = entry.expires < LogTime(u64::MAX) && entry.version < Index(u64::MAX);
    match is_of_members && is_possible && expires_once {
        true => Ok(entry),
        false => Err(CommandError::Disorder),
    }
}
