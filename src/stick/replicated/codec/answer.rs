//! What became of a batch, as bytes.

use bytes::{BufMut, Bytes};

use super::reader::{Reader, put_bytes, put_varint};
use super::{CommandError, MAX_OPS, get_index, get_time};
use crate::stick::replicated::command::{Answer, Given, Outcome};

type Result<T> = std::result::Result<T, CommandError>;

/// Flags of an entry that was given.
const SLICE: u8 = 1;
const CREATED: u8 = 2;
const PROVISIONAL: u8 = 4;

impl Answer {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(16 + self.outcomes.len() * 16);
        put_varint(&mut out, self.index.0);
        put_varint(&mut out, self.outcomes.len() as u64);
        for outcome in &self.outcomes {
            match outcome {
                Outcome::Done => out.put_u8(0),
                Outcome::Stale => out.put_u8(1),
                Outcome::NotUp => out.put_u8(2),
                Outcome::Full => out.put_u8(3),
                Outcome::Fenced => out.put_u8(4),
                Outcome::Entry(given) => {
                    out.put_u8(5);
                    put_given(&mut out, given);
                }
            }
        }
        out.into()
    }

    /// Reads what [`Answer::encode`] wrote.
    ///
    /// # Errors
    /// Where the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Answer> {
        let mut reader = Reader::new(bytes);
        let index = get_index(&mut reader)?;
        let count = reader.count(MAX_OPS)?;
        let outcomes = (0..count)
            .map(|_| get_outcome(&mut reader))
            .collect::<Result<_>>()?;
        reader.finish()?;
        Ok(Answer { index, outcomes })
    }
}

fn get_outcome(reader: &mut Reader<'_>) -> Result<Outcome> {
    Ok(match reader.u8()? {
        0 => Outcome::Done,
        1 => Outcome::Stale,
        2 => Outcome::NotUp,
        3 => Outcome::Full,
        4 => Outcome::Fenced,
        5 => Outcome::Entry(get_given(reader)?),
        other => return Err(CommandError::UnknownKind(other)),
    })
}

fn put_given(out: &mut Vec<u8>, given: &Given) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let slice = flag(given.slice.is_some(), SLICE);
    let created = flag(given.created, CREATED);
    out.put_u8(slice | created | flag(given.provisional, PROVISIONAL));
    put_varint(out, given.group.0.into());
    put_varint(out, given.version.0);
    put_varint(out, given.expires.0);
    if let Some(slice) = &given.slice {
        put_bytes(out, slice);
    }
}

fn get_given(reader: &mut Reader<'_>) -> Result<Given> {
    let flags = reader.u8()?;
    if flags & !(SLICE | CREATED | PROVISIONAL) != 0 {
        return Err(CommandError::UnknownKind(flags));
    }
    let group = reader.group()?;
    let version = get_index(reader)?;
    let expires = get_time(reader)?;
    let slice = match flags & SLICE != 0 {
        true => Some(reader.slice()?),
        false => None,
    };
    Ok(Given {
        slice,
        group,
        version,
        expires,
        created: flags & CREATED != 0,
        provisional: flags & PROVISIONAL != 0,
    })
}
