//! Commands, answers and states as bytes: little-endian, without padding.
//!
//! Readers believe no length: it is compared with its bound and with what is left before anything is
//! allocated. What is out of order or there twice is malformed too, so that no two byte strings mean
//! the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use tcpffee_raft::ids::{Index, NodeId};

use crate::config::GroupId;
use crate::health::definition::CheckId;
use crate::health::streak::State;

use super::agreed::{Agreed, CheckKey, Said};
use super::command::{Answer, Command, MAX_CHECKS, MAX_CHECKS_OF_NODE, MAX_NODES, Outcome};

/// The version of a snapshot's bytes.
const STATE_VERSION: u16 = 1;
/// Bytes of one check with a state.
const CHECK_BYTES: usize = 4 + 8 + 1;
/// Bytes of the largest state: what every node may say, the verdicts on all of it, and heads.
pub(super) const MAX_STATE_BYTES: usize =
    MAX_NODES * (2 * MAX_CHECKS_OF_NODE * CHECK_BYTES + 64) + 64;

const DECLARE: u8 = 1;
const OBSERVE: u8 = 2;
const ALIVE: u8 = 3;

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the bytes end too early")]
    Truncated,
    #[error("unknown kind {0}")]
    UnknownKind(u8),
    #[error("unknown version {0}")]
    UnknownVersion(u16),
    #[error("{0} of something of which there are fewer")]
    TooMany(u32),
    #[error("something is out of order, or there twice")]
    Disorder,
    #[error("{0} bytes too many")]
    Trailing(usize),
}

type Result<T> = std::result::Result<T, Malformed>;

/// A command's body; what it lists is brought in order.
pub(super) fn encode_command(command: &Command) -> Bytes {
    let mut out = Vec::new();
    match command {
        Command::Declare { from, boot, checks } => {
            out.put_u8(DECLARE);
            put_speaker(&mut out, *from, *boot);
            let checks: BTreeMap<_, _> = checks.iter().copied().collect();
            put_checks(&mut out, &checks);
        }
        Command::Observe {
            from,
            boot,
            changes,
        } => {
            out.put_u8(OBSERVE);
            put_speaker(&mut out, *from, *boot);
            let changes: BTreeMap<_, _> = changes.iter().copied().collect();
            put_count(&mut out, changes.len());
            for (key, state) in changes {
                put_key(&mut out, key);
                out.put_u8(state.map_or(NONE, state_byte));
            }
        }
        Command::Alive { nodes } => {
            out.put_u8(ALIVE);
            put_nodes(&mut out, nodes);
        }
    }
    out.into()
}

/// Reads a command's body.
pub(super) fn decode_command(body: &[u8]) -> Result<Command> {
    let mut reader = Reader(body);
    let command = match reader.u8()? {
        DECLARE => Command::Declare {
            from: NodeId(reader.u64()?),
            boot: reader.u64()?,
            checks: reader.checks(MAX_CHECKS, CHECK_BYTES, state_of)?,
        },
        OBSERVE => Command::Observe {
            from: NodeId(reader.u64()?),
            boot: reader.u64()?,
            changes: reader.checks(MAX_CHECKS, CHECK_BYTES, |byte| match byte {
                NONE => Ok(None),
                byte => state_of(byte).map(Some),
            })?,
        },
        ALIVE => Command::Alive {
            nodes: reader.nodes()?,
        },
        other => return Err(Malformed::UnknownKind(other)),
    };
    reader.finish()?;
    Ok(command)
}

/// An answer as it travels.
pub(super) fn encode_answer(answer: Answer) -> Bytes {
    let mut out = Vec::with_capacity(9);
    out.put_u64_le(answer.index.0);
    out.put_u8(match answer.outcome {
        Outcome::Done => 0,
        Outcome::NoSession => 1,
        Outcome::TooMany => 2,
        Outcome::Malformed => 3,
    });
    out.into()
}

/// Reads an answer.
pub(super) fn decode_answer(bytes: &[u8]) -> Result<Answer> {
    let mut reader = Reader(bytes);
    let answer = Answer {
        index: Index(reader.u64()?),
        outcome: match reader.u8()? {
            0 => Outcome::Done,
            1 => Outcome::NoSession,
            2 => Outcome::TooMany,
            3 => Outcome::Malformed,
            other => return Err(Malformed::UnknownKind(other)),
        },
    };
    reader.finish()?;
    Ok(answer)
}

/// A state as a snapshot holds it.
pub(super) fn encode_state(agreed: &Agreed) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u16_le(STATE_VERSION);
    out.put_u64_le(agreed.index.0);
    put_nodes(&mut out, &agreed.members);
    put_nodes(&mut out, &agreed.alive);
    put_count(&mut out, agreed.said.len());
    for (node, said) in &agreed.said {
        put_speaker(&mut out, *node, said.boot);
        out.put_u8(said.in_session.into());
        put_checks(&mut out, &said.checks);
    }
    put_checks(&mut out, &agreed.verdicts);
    out
}

/// Reads a state.
pub(super) fn decode_state(bytes: &[u8]) -> Result<Agreed> {
    let mut reader = Reader(bytes);
    match reader.u16()? {
        STATE_VERSION => {}
        other => return Err(Malformed::UnknownVersion(other)),
    }
    let index = Index(reader.u64()?);
    let members = reader.nodes()?;
    let alive = reader.nodes()?;
    let mut said = BTreeMap::new();
    for _ in 0..reader.count(MAX_NODES, 1)? {
        let node = NodeId(reader.u64()?);
        if said.last_key_value().is_some_and(|(last, _)| *last >= node) {
            return Err(Malformed::Disorder);
        }
        let one = Said {
            boot: reader.u64()?,
            in_session: match reader.u8()? {
                0 => false,
                1 => true,
                other => return Err(Malformed::UnknownKind(other)),
            },
            checks: reader.map(MAX_CHECKS_OF_NODE)?,
        };
        said.insert(node, Arc::new(one));
    }
    let verdicts = Arc::new(reader.map(MAX_NODES * MAX_CHECKS_OF_NODE)?);
    reader.finish()?;
    Ok(Agreed {
        index,
        members,
        alive,
        said,
        verdicts,
    })
}

const NONE: u8 = 2;

fn state_byte(state: State) -> u8 {
    match state {
        State::Passing => 0,
        State::Failing => 1,
    }
}

fn state_of(byte: u8) -> Result<State> {
    match byte {
        0 => Ok(State::Passing),
        1 => Ok(State::Failing),
        other => Err(Malformed::UnknownKind(other)),
    }
}

fn put_speaker(out: &mut Vec<u8>, from: NodeId, boot: u64) {
    out.put_u64_le(from.0);
    out.put_u64_le(boot);
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32_le(u32::try_from(count).expect("far fewer than that are kept"));
}

fn put_key(out: &mut Vec<u8>, key: CheckKey) {
    out.put_u32_le(key.group.0);
    out.put_u64_le(key.check.0);
}

fn put_checks(out: &mut Vec<u8>, checks: &BTreeMap<CheckKey, State>) {
    put_count(out, checks.len());
    for (key, state) in checks {
        put_key(out, *key);
        out.put_u8(state_byte(*state));
    }
}

fn put_nodes(out: &mut Vec<u8>, nodes: &BTreeSet<NodeId>) {
    put_count(out, nodes.len());
    for node in nodes {
        out.put_u64_le(node.0);
    }
}

/// Bytes that are still to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things that take so many bytes each.
    fn count(&mut self, most: usize, bytes_each: usize) -> Result<usize> {
        let count = self.u32()?;
        if count as usize > most {
            return Err(Malformed::TooMany(count));
        }
        match count as usize * bytes_each > self.0.len() {
            true => Err(Malformed::Truncated),
            false => Ok(count as usize),
        }
    }

    /// Checks, ascending, each with what its byte means.
    fn checks<T>(
        &mut self,
        most: usize,
        bytes_each: usize,
        mean: impl Fn(u8) -> Result<T>,
    ) -> Result<Vec<(CheckKey, T)>> {
        let count = self.count(most, bytes_each)?;
        let mut checks: Vec<(CheckKey, T)> = Vec::with_capacity(count);
        for _ in 0..count {
            let key = CheckKey {
                group: GroupId(self.u32()?),
                check: CheckId(self.u64()?),
            };
            if checks.last().is_some_and(|(last, _)| *last >= key) {
                return Err(Malformed::Disorder);
            }
            checks.push((key, mean(self.u8()?)?));
        }
        Ok(checks)
    }

    fn map(&mut self, most: usize) -> Result<BTreeMap<CheckKey, State>> {
        let checks = self.checks(most, CHECK_BYTES, state_of)?;
        Ok(checks.into_iter().collect())
    }

    fn nodes(&mut self) -> Result<BTreeSet<NodeId>> {
        let mut nodes = BTreeSet::new();
        for _ in 0..self.count(MAX_NODES, 8)? {
            let node = NodeId(self.u64()?);
            if nodes.last().is_some_and(|last| *last >= node) {
                return Err(Malformed::Disorder);
            }
            nodes.insert(node);
        }
        Ok(nodes)
    }

    fn finish(self) -> Result<()> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(Malformed::Trailing(left)),
        }
    }
}
