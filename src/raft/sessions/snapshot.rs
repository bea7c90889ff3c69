//! The sessions as bytes, for snapshots: a version, then everything in order.
//!
//! Read as bytes from outside are: each number is checked against its bound and against the
//! others, so that what is restored is a state that [`super::Sessions`] itself could have come to.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};

use super::{
    Kept, LIFETIME_MS, MAX_ANSWER_BYTES, MAX_ANSWERS_BYTES, MAX_CLIENT_ANSWERS_BYTES, MAX_CLIENTS,
    Session, Sessions, WINDOW, expired,
};
use crate::codec::{self, Malformed, get_bytes, get_count, get_u8, get_u16, get_u64};
use crate::entry::ClientId;
use crate::ids::{LogTime, NodeId};

/// The layout below.
const FORMAT: u16 = 1;

/// No encoding is longer.
pub const MAX_ENCODED_BYTES: u64 =
    64 + MAX_ANSWERS_BYTES as u64 + MAX_CLIENTS as u64 * (64 + WINDOW * 32);

/// Why bytes are not sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SessionsError {
    /// Written by another version.
    #[error("sessions in format {0}, this version reads format {FORMAT}")]
    Format(u16),
    /// The bytes themselves are wrong.
    #[error("sessions that cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// They contradict themselves.
    #[error("sessions that contradict themselves: {0}")]
    Contradiction(&'static str),
}

impl Sessions {
    /// Appends them to `out`.
    ///
    /// # Panics
    /// Where an admitted command has no answer yet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.is_finished(), "sessions saved amid a batch");
        out.put_u16_le(FORMAT);
        out.put_u64_le(self.time.0);
        out.put_u64_le(self.next_order);
        out.put_u32_le(self.clients.len() as u32);
        for (client, session) in &self.clients {
            out.put_u64_le(client.node.0);
            out.put_u64_le(client.boot);
            session.encode(out);
        }
    }

    /// Reads what [`Sessions::encode`] wrote.
    ///
    /// # Errors
    /// Where the bytes are something else.
    pub fn decode(mut bytes: Bytes) -> Result<Sessions, SessionsError> {
        let bytes = &mut bytes;
        let format = get_u16(bytes)?;
        if format != FORMAT {
            return Err(SessionsError::Format(format));
        }
        let mut sessions = Sessions {
            time: LogTime(get_u64(bytes)?),
            next_order: get_u64(bytes)?,
            ..Sessions::default()
        };
        for _ in 0..get_count(bytes, MAX_CLIENTS)? {
            let client = ClientId {
                node: NodeId(get_u64(bytes)?),
                boot: get_u64(bytes)?,
            };
            let session = Session::decode(bytes)?;
            sessions.take_in(client, session)?;
        }
        codec::finished(bytes)?;
        check(
            sessions.kept_bytes <= MAX_ANSWERS_BYTES,
            "more answers than are kept",
        )?;
        Ok(sessions)
    }

    fn take_in(&mut self, client: ClientId, session: Session) -> Result<(), SessionsError> {
        let ascending = self
            .clients
            .last_key_value()
            .is_none_or(|(last, _)| *last < client);
        check(ascending, "clients out of order")?;
        let alive = !expired(self.time, session.newest_issued)
            && session.newest_issued.0 <= self.time.0.saturating_add(LIFETIME_MS);
        check(alive, "a session outside its lifetime")?;
        self.ends.insert((session.newest_issued, client));
        self.kept_bytes += session.kept_bytes;
        for (sequence, kept) in &session.applied {
            if let Kept::Answer { order, .. } = kept {
                check(*order < self.next_order, "an answer of the future")?;
                let earlier = self.kept.insert(*order, (client, *sequence));
                check(earlier.is_none(), "two answers at one place")?;
            }
        }
        self.clients.insert(client, session);
        Ok(())
    }
}

impl Session {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.newest_issued.0);
        out.put_u64_le(self.highest);
        out.put_u64_le(self.answered_below);
        out.put_u32_le(self.applied.len() as u32);
        for (sequence, kept) in &self.applied {
            out.put_u64_le(*sequence);
            match kept {
                Kept::Answer { order, answer } => {
                    out.put_u8(1);
                    out.put_u64_le(*order);
                    out.put_u32_le(answer.len() as u32);
                    out.put_slice(answer);
                }
                Kept::Gone | Kept::Unfinished => out.put_u8(0),
            }
        }
    }

    fn decode(bytes: &mut Bytes) -> Result<Session, SessionsError> {
        let mut session = Session {
            newest_issued: LogTime(get_u64(bytes)?),
            highest: get_u64(bytes)?,
            answered_below: get_u64(bytes)?,
            applied: BTreeMap::new(),
            kept_bytes: 0,
        };
        for _ in 0..get_count(bytes, WINDOW as usize)? {
            let sequence = get_u64(bytes)?;
            let ascending = session
                .applied
                .last_key_value()
                .is_none_or(|(last, _)| *last < sequence);
            let within = sequence >= session.window_from()
                && sequence >= session.answered_below
                && sequence <= session.highest;
            check(ascending && within, "a sequence out of place")?;
            let kept = match get_u8(bytes)? {
                0 => Kept::Gone,
                1 => {
                    let order = get_u64(bytes)?;
                    let length = get_count(bytes, MAX_ANSWER_BYTES)?;
                    // A copy: a slice would keep all bytes of the encoding alive.
                    let answer = Bytes::copy_from_slice(&get_bytes(bytes, length)?);
                    session.kept_bytes += answer.len();
                    Kept::Answer { order, answer }
                }
                other => return Err(Malformed::UnknownKind(other).into()),
            };
            session.applied.insert(sequence, kept);
        }
        check(
            session.kept_bytes <= MAX_CLIENT_ANSWERS_BYTES,
            "more answers of one client than are kept",
        )?;
        Ok(session)
    }
}

fn check(holds: bool, what: &'static str) -> Result<(), SessionsError> {
    if holds {
        Ok(())
    } else {
        Err(SessionsError::Contradiction(what))
    }
}
