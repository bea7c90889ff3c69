//! The state machine of the simulated cluster: registers, with each command applied once.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tcpffee_raft::entry::{ClientId, Command, Entry, Payload};
use tcpffee_raft::ids::{Index, LogTime, NodeId, Position};
use tcpffee_raft::membership::Membership;
use tcpffee_raft::message::SnapshotMeta;

/// A fast hash that is the same in every run (FNV-1a over words).
#[derive(Clone)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

/// The hash of anything.
pub fn digest_of(value: &impl Hash) -> u64 {
    let mut digest = Digest::default();
    value.hash(&mut digest);
    digest.finish()
}

/// What a command was answered with: where it took effect, and what the register held before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effect {
    /// Where it took effect.
    pub index: Index,
    /// What the register held before.
    pub before: u64,
}

impl Effect {
    /// As an answer.
    pub fn to_bytes(self) -> Bytes {
        let mut out = BytesMut::with_capacity(16);
        out.put_u64_le(self.index.0);
        out.put_u64_le(self.before);
        out.freeze()
    }

    /// From an answer.
    pub fn from_bytes(mut bytes: Bytes) -> Effect {
        Effect {
            index: Index(bytes.get_u64_le()),
            before: bytes.get_u64_le(),
        }
    }
}

/// The state, a function of the log.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The last entry that was applied.
    pub last: Position,
    /// Its time.
    pub time: LogTime,
    /// The membership in force there.
    pub membership: Arc<Membership>,
    /// The entry that made it so.
    pub membership_index: Index,
    /// Everything that was applied, as one number.
    pub chain: u64,
    registers: BTreeMap<u8, u64>,
    sessions: BTreeMap<ClientId, Session>,
}

#[derive(Clone, Debug, Default)]
struct Session {
    /// All below this number are answered and never asked for again: what still comes was on
    /// its way for long.
    answered_below: u64,
    effects: BTreeMap<u64, Effect>,
}

/// Registers.
pub const REGISTERS: u64 = 16;

/// The body of a command that puts `value` into a register.
pub fn body(register: u8, value: u64, size_bytes: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(9 + size_bytes);
    out.put_u8(register);
    out.put_u64_le(value);
    out.put_bytes(0x5a, size_bytes);
    out.freeze()
}

impl Machine {
    /// Applies one entry. Says for a command what it is answered with, and whether it took
    /// effect just now.
    pub fn apply(&mut self, entry: &Entry) -> Option<(Effect, bool)> {
        let mut link = Digest::default();
        self.chain.hash(&mut link);
        entry.hash(&mut link);
        let effect = match &entry.payload {
            Payload::Empty | Payload::Time => None,
            Payload::Membership(membership) => {
                self.membership = membership.clone();
                self.membership_index = entry.index;
                None
            }
            Payload::Command(command) => self.command(entry.index, command),
        };
        if let Some((effect, _)) = effect {
            effect.before.hash(&mut link);
            effect.index.hash(&mut link);
        }
        self.last = entry.position();
        self.time = entry.time;
        self.chain = link.finish();
        effect
    }

    fn command(&mut self, index: Index, command: &Command) -> Option<(Effect, bool)> {
        let session = self.sessions.entry(command.client).or_default();
        if let Some(effect) = session.effects.get(&command.sequence) {
            return Some((*effect, false));
        }
        if command.sequence < session.answered_below {
            return None;
        }
        session.answered_below = session.answered_below.max(command.answered_below);
        let below = session.answered_below;
        session.effects.retain(|sequence, _| *sequence >= below);
        let mut body = command.body.clone();
        let register = body.get_u8();
        let value = body.get_u64_le();
        let before = self.registers.insert(register, value).unwrap_or(0);
        let effect = Effect { index, before };
        session.effects.insert(command.sequence, effect);
        Some((effect, true))
    }

    /// The state as bytes, without what a snapshot's head says.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u64_le(self.chain);
        out.put_u32_le(self.registers.len() as u32);
        for (register, value) in &self.registers {
            out.put_u8(*register);
            out.put_u64_le(*value);
        }
        out.put_u32_le(self.sessions.len() as u32);
        for (client, session) in &self.sessions {
            let effects = &session.effects;
            out.put_u64_le(client.node.0);
            out.put_u64_le(client.boot);
            out.put_u64_le(session.answered_below);
            out.put_u32_le(effects.len() as u32);
            for (sequence, effect) in effects {
                out.put_u64_le(*sequence);
                out.put_u64_le(effect.index.0);
                out.put_u64_le(effect.before);
            }
        }
        out.freeze()
    }

    /// The state that a snapshot holds.
    pub fn from_snapshot(meta: &SnapshotMeta, mut bytes: Bytes) -> Machine {
        let mut machine = Machine {
            last: meta.last,
            time: meta.time,
            membership: meta.membership.clone(),
            membership_index: meta.membership_index,
            chain: bytes.get_u64_le(),
            ..Machine::default()
        };
        for _ in 0..bytes.get_u32_le() {
            let register = bytes.get_u8();
            machine.registers.insert(register, bytes.get_u64_le());
        }
        for _ in 0..bytes.get_u32_le() {
            let client = ClientId {
                node: NodeId(bytes.get_u64_le()),
                boot: bytes.get_u64_le(),
            };
            let session = machine.sessions.entry(client).or_default();
            session.answered_below = bytes.get_u64_le();
            for _ in 0..bytes.get_u32_le() {
                let sequence = bytes.get_u64_le();
                let index = Index(bytes.get_u64_le());
                let before = bytes.get_u64_le();
                let effect = Effect { index, before };
                session.effects.insert(sequence, effect);
            }
        }
        machine
    }
}
