//! Commands on their way to the leader, and what became of them. Many travel in one frame.

use bytes::{BufMut, Bytes};

use crate::codec::{self, Malformed, finished};
use crate::entry::Command;
use crate::ids::NodeId;

use super::frame::{FrameError, Kind, MAX_BODY_BYTES, put_frame};

/// The longest text that a refusal carries, in bytes; what is longer is cut.
pub const MAX_REFUSAL_TEXT_BYTES: usize = 256;

/// The command was applied, but the answer was too large to travel.
pub const ANSWER_TOO_LARGE: u16 = u16::MAX;

/// Bodies of batches are closed at this many bytes, so that none delays what is more urgent.
pub const BATCH_BYTES: usize = 256 * 1024;

/// A command with the number that its answer will bear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Propose {
    /// Chosen by whoever asks; means something to it alone.
    pub id: u64,
    /// The command.
    pub command: Command,
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The number that it was asked with.
    pub id: u64,
    /// What.
    pub outcome: Outcome,
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was applied, with this answer of the state machine.
    Applied(Bytes),
    /// The node that was asked does not lead.
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<NodeId>,
    },
    /// It was not taken.
    Refused {
        /// Why, for programs; [`ANSWER_TOO_LARGE`] is the transport's own.
        code: u16,
        /// Why, for people; at most [`MAX_REFUSAL_TEXT_BYTES`].
        text: String,
    },
}

impl Propose {
    const HEADER_BYTES: usize = 4 + 8 + 42;

    /// Its encoded bytes.
    pub fn size_bytes(&self) -> usize {
        Self::HEADER_BYTES + self.command.body.len()
    }
}

impl Answer {
    const HEADER_BYTES: usize = 8 + 1 + 4;

    /// Its encoded bytes, at most.
    pub fn size_bytes(&self) -> usize {
        Self::HEADER_BYTES
            + match &self.outcome {
                Outcome::Applied(answer) => answer.len(),
                Outcome::NotLeader { .. } => 9,
                Outcome::Refused { text, .. } => 2 + text.len().min(MAX_REFUSAL_TEXT_BYTES),
            }
    }
}

/// Whether a proposal or an answer of this size can travel at all.
pub fn fits(size_bytes: usize) -> bool {
    const COUNT: usize = 4;
    size_bytes + COUNT <= MAX_BODY_BYTES
}

/// Appends a frame with the proposals.
///
/// # Errors
/// Where they are too large for one; [`split`] sees to that.
pub fn put_proposals(out: &mut Vec<u8>, proposals: &[Propose]) -> Result<(), FrameError> {
    put_frame(out, Kind::Propose, |out| {
        out.put_u32_le(proposals.len() as u32);
        for one in proposals {
            out.put_u32_le((one.size_bytes() - 4) as u32);
            out.put_u64_le(one.id);
            codec::put_command(out, &one.command);
        }
    })
}

/// Appends a frame with the answers.
///
/// # Errors
/// As [`put_proposals`].
pub fn put_answers(out: &mut Vec<u8>, answers: &[Answer]) -> Result<(), FrameError> {
    put_frame(out, Kind::Answer, |out| {
        out.put_u32_le(answers.len() as u32);
        for one in answers {
            out.put_u64_le(one.id);
            put_outcome(out, &one.outcome);
        }
    })
}

/// Splits what is to travel into runs of at most [`BATCH_BYTES`], or of one item that is larger;
/// each with its size in bytes.
pub fn split<T>(items: Vec<T>, size_bytes: impl Fn(&T) -> usize) -> Vec<(usize, Vec<T>)> {
    let total: usize = items.iter().map(&size_bytes).sum();
    if total <= BATCH_BYTES {
        return Vec::from_iter((!items.is_empty()).then_some((total, items)));
    }
    let mut runs: Vec<(usize, Vec<T>)> = Vec::new();
    for item in items {
        let size = size_bytes(&item);
        match runs.last_mut() {
            Some((bytes, run)) if *bytes + size <= BATCH_BYTES => {
                *bytes += size;
                run.push(item);
            }
            _ => runs.push((size, vec![item])),
        }
    }
    runs
}

/// Reads the proposals of a frame.
///
/// # Errors
/// Where the body holds something else.
pub fn get_proposals(mut body: Bytes) -> Result<Vec<Propose>, Malformed> {
    let most = body.len() / Propose::HEADER_BYTES;
    let count = codec::get_count(&mut body, most)?;
    let mut proposals = Vec::with_capacity(count);
    for _ in 0..count {
        let length = codec::get_u32(&mut body)? as usize;
        let mut one = codec::get_bytes(&mut body, length)?;
        proposals.push(Propose {
            id: codec::get_u64(&mut one)?,
            command: codec::get_command(one)?,
        });
    }
    finished(&body)?;
    Ok(proposals)
}

/// Reads the answers of a frame.
///
/// # Errors
/// Where the body holds something else.
pub fn get_answers(mut body: Bytes) -> Result<Vec<Answer>, Malformed> {
    const SHORTEST: usize = 8 + 1 + 1;
    let most = body.len() / SHORTEST;
    let count = codec::get_count(&mut body, most)?;
    let mut answers = Vec::with_capacity(count);
    for _ in 0..count {
        answers.push(Answer {
            id: codec::get_u64(&mut body)?,
            outcome: get_outcome(&mut body)?,
        });
    }
    finished(&body)?;
    Ok(answers)
}

fn put_outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Outcome::Applied(answer) => {
            out.put_u8(0);
            out.put_u32_le(answer.len() as u32);
            out.put_slice(answer);
        }
        Outcome::NotLeader { leader } => {
            out.put_u8(1);
            codec::put_option(out, leader.as_ref(), |out, leader| out.put_u64_le(leader.0));
        }
        Outcome::Refused { code, text } => {
            out.put_u8(2);
            out.put_u16_le(*code);
            put_text(out, text, MAX_REFUSAL_TEXT_BYTES);
        }
    }
}

fn get_outcome(body: &mut Bytes) -> Result<Outcome, Malformed> {
    Ok(match codec::get_u8(body)? {
        0 => {
            let length = codec::get_u32(body)? as usize;
            Outcome::Applied(codec::get_bytes(body, length)?)
        }
        1 => Outcome::NotLeader {
            leader: codec::get_option(body, |body| codec::get_u64(body).map(NodeId))?,
        },
        2 => Outcome::Refused {
            code: codec::get_u16(body)?,
            text: get_text(body, MAX_REFUSAL_TEXT_BYTES)?,
        },
        other => return Err(Malformed::UnknownKind(other)),
    })
}

/// Writes a text, cut to at most `most` bytes.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str, most: usize) {
    let text = cut(text, most);
    out.put_u16_le(text.len() as u16);
    out.put_slice(text.as_bytes());
}

/// The text's first `most` bytes, or a few less: whole characters.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Reads a text of at most `most` bytes. Whatever is not UTF-8 or could play tricks on a terminal
/// is replaced, and what is beyond the bound thereafter is cut: texts of others end up in the log.
pub(super) fn get_text(body: &mut Bytes, most: usize) -> Result<String, Malformed> {
    let length = usize::from(codec::get_u16(body)?);
    if length > most {
        return Err(Malformed::TooLong(length as u64));
    }
    let bytes = codec::get_bytes(body, length)?;
    let text = String::from_utf8_lossy(&bytes);
    let shown = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let shown: String = shown.collect();
    Ok(cut(&shown, most).to_owned())
}
