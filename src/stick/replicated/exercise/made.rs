//! What can be said, made from bytes of any kind: mostly of few clients, nodes and groups, so that
//! operations meet the entries of others.

use std::collections::VecDeque;

use tcpffee_raft::codec::MAX_NUMBER;
use tcpffee_raft::ids::{Index, LogTime, NodeId};
use tcpffee_raft::membership::{Member, Membership, Role};
use tcpffee_raft::wire::exercise::{Damage, Source};

use crate::config::GroupId;
use crate::groups::Status;
use crate::stick::replicated::command::{
    Answer, Batch, Full, Given, MAX_REASON_BYTES, Op, Outcome, StatedGroup, Statement, Verdict,
    Wanted,
};
use crate::stick::{ClientIp, Key};

/// Makes what can be said at one place of the log after the other.
pub(super) struct Made<'a> {
    pub source: Source<'a>,
    /// The latest place in the log, and the time there.
    pub index: u64,
    pub time: u64,
    /// Entries that were given lately, by key and version.
    known: VecDeque<(Key, Index)>,
}

/// Entries that are remembered.
const MAX_KNOWN: usize = 8;

impl<'a> Made<'a> {
    /// At the beginning of the log.
    pub fn new(bytes: &'a [u8]) -> Made<'a> {
        Made {
            source: Source::new(bytes),
            index: 0,
            time: 0,
            known: VecDeque::new(),
        }
    }

    pub fn damage(&mut self) -> Damage<'a> {
        self.source.damage()
    }

    pub fn batch(&mut self) -> Batch {
        let (from, boot) = (self.node(), self.boot());
        let count = self.source.byte() % 9;
        let ops = (0..count).map(|_| self.op()).collect();
        Batch { from, boot, ops }
    }

    pub fn answer(&mut self) -> Answer {
        let index = self.version();
        let count = self.source.byte() % 9;
        let outcomes = (0..count).map(|_| self.outcome()).collect();
        Answer { index, outcomes }
    }

    /// Remembers what was given, for operations that name it.
    pub fn learn(&mut self, batch: &Batch, answer: &Answer) {
        for (op, outcome) in batch.ops.iter().zip(&answer.outcomes) {
            let (Op::Move { key, .. }
            | Op::Assign {
                client: Wanted::Key(key),
                ..
            }) = op
            else {
                continue;
            };
            if let Outcome::Entry(given) = outcome {
                self.known.truncate(MAX_KNOWN - 1);
                self.known.push_front((key.clone(), given.version));
            }
        }
    }

    /// Who belongs to the cluster, mostly nodes 0 and 1 among others; now and then more than there are slots for, which no log has.
    pub fn membership(&mut self) -> Membership {
        let (voters, learners, many) = self.source.array::<3>().into();
        let mut members: Vec<(NodeId, Role)> = Vec::new();
        let voters = if many < 230 { voters | 3 } else { voters };
        for node in 0..8_u64 {
            let role = match (voters >> node & 1, learners >> node & 1) {
                (0, 0) => continue,
                (1, _) => Role::Voter,
                _ => Role::Learner { promote: true },
            };
            members.push((NodeId(node), role));
        }
        if many >= 250 {
            members.extend((10..74).map(|node| (NodeId(node), Role::Voter)));
        }
        let member = |role| Member {
            role,
            life: None,
            statement: None,
        };
        let members = members.into_iter();
        Membership {
            members: members.map(|(node, role)| (node, member(role))).collect(),
            retired: Vec::new(),
        }
    }

    /// A process of a node states what it mostly states: groups that take new keys.
    pub fn usual_statement(&mut self, node: u64) -> Batch {
        let group = |id| StatedGroup {
            id: GroupId(id),
            status: Status::Up,
            weight: 1,
            backup: false,
        };
        let statement = Statement {
            expiration_ms: 400,
            max_entries: 1 + u64::from(self.source.byte() % 8),
            full: self.full(),
            groups: (1..=4).map(group).collect(),
        };
        Batch {
            from: NodeId(node),
            boot: 0,
            ops: vec![Op::State(statement)],
        }
    }

    fn op(&mut self) -> Op {
        match self.source.byte() % 24 {
            0..=4 => Op::Assign {
                client: Wanted::Key(self.key()),
                group: self.maybe_group(),
            },
            5 => Op::Assign {
                client: Wanted::LatestOf(self.ip()),
                group: self.maybe_group(),
            },
            6 => {
                let (key, version) = self.named();
                let to = self.group();
                Op::Move { key, version, to }
            }
            7 => {
                let (key, version) = self.named();
                Op::GiveUp { key, version }
            }
            8 | 9 => {
                let (key, version) = self.named();
                Op::Hold { key, version }
            }
            10 => {
                let (key, version) = self.named();
                let activity = self.activity();
                Op::Renew {
                    key,
                    version,
                    activity,
                }
            }
            11 | 12 => {
                let (key, version) = self.named();
                let activity = self.activity();
                Op::Release {
                    key,
                    version,
                    activity,
                }
            }
            13 => Op::Remove { key: self.key() },
            14 => Op::State(self.statement()),
            16 => Op::EndSession {
                node: self.node(),
                boot: self.boot(),
            },
            17 => Op::Absent { node: self.node() },
            15 | 18 => Op::Verdicts(self.list(Self::verdict)),
            _ => Op::Passed(self.version()),
        }
    }

    /// An entry, mostly one that was given lately.
    fn named(&mut self) -> (Key, Index) {
        let which = self.source.byte();
        let latest = usize::from(which / 8) % self.known.len().max(1);
        match self.known.get(latest) {
            Some(known) if which < 224 => known.clone(),
            _ => (self.key(), self.version()),
        }
    }

    fn outcome(&mut self) -> Outcome {
        match self.source.byte() % 8 {
            0 => Outcome::Done,
            1 => Outcome::Stale,
            2 => Outcome::NotUp,
            3 => Outcome::Full,
            4 => Outcome::Fenced,
            _ => Outcome::Entry(Given {
                slice: self.slice(),
                group: self.group(),
                version: self.version(),
                expires: self.activity(),
                created: self.source.bool(),
                provisional: self.source.bool(),
            }),
        }
    }

    fn statement(&mut self) -> Statement {
        let expiration_ms = self.number().saturating_mul(16);
        let max_entries = self.number();
        let full = self.full();
        let mut groups = match self.source.byte() {
            0..=199 => (1..=4).map(|id| self.stated(GroupId(id))).collect(),
            _ => self.list(|it| {
                let id = it.group();
                it.stated(id)
            }),
        };
        groups.sort_by_key(|group| group.id);
        groups.dedup_by_key(|group| group.id);
        Statement {
            expiration_ms,
            max_entries,
            full,
            groups,
        }
    }

    fn stated(&mut self, id: GroupId) -> StatedGroup {
        StatedGroup {
            id,
            status: self.status(),
            weight: u32::from(self.source.byte()),
            backup: self.source.byte() >= 250,
        }
    }

    fn verdict(&mut self) -> Verdict {
        let (group, status) = (self.group(), self.status());
        let most = match self.source.byte() {
            255 => MAX_REASON_BYTES,
            _ => 2,
        };
        Verdict::new(group, status, &self.source.text(most))
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.source.byte() % 6;
        (0..count).map(|_| item(self)).collect()
    }

    fn full(&mut self) -> Full {
        match self.source.bool() {
            false => Full::Refuse,
            true => Full::Evict,
        }
    }

    fn status(&mut self) -> Status {
        match self.source.byte() {
            216..=228 => Status::Draining,
            229.. => Status::Disabled,
            _ => Status::Up,
        }
    }

    fn node(&mut self) -> NodeId {
        match self.source.byte() {
            255 => NodeId(self.source.long()),
            byte @ 224.. => NodeId(u64::from(byte % 8)),
            byte => NodeId(u64::from(byte % 2)),
        }
    }

    fn boot(&mut self) -> u64 {
        match self.source.byte() {
            255 => self.source.long(),
            byte => u64::from(byte / 224),
        }
    }

    fn group(&mut self) -> GroupId {
        match self.source.byte() {
            255 => GroupId(self.source.long() as u32),
            byte => GroupId(u32::from(byte % 5)),
        }
    }

    fn maybe_group(&mut self) -> Option<GroupId> {
        let group = self.group();
        (group != GroupId(0)).then_some(group)
    }

    fn ip(&mut self) -> ClientIp {
        let byte = self.source.byte();
        match byte {
            0..=191 => ClientIp::new(std::net::Ipv4Addr::new(10, 0, 0, byte % 4).into(), 128),
            192..=247 => ClientIp::from_octets([byte; 16]),
            _ => ClientIp::from_octets(self.source.array()),
        }
    }

    fn slice(&mut self) -> Option<Box<[u8]>> {
        match self.source.byte() {
            0..=159 => None,
            byte @ 160..=247 => Some(Box::from([byte % 4])),
            _ => Some(Box::from(self.source.slice(usize::MAX))),
        }
    }

    fn key(&mut self) -> Key {
        let (ip, slice) = (self.ip(), self.slice());
        Key { ip, slice }
    }

    /// A place in the log, mostly a late one.
    fn version(&mut self) -> Index {
        match self.source.byte() {
            255 => Index(self.source.long()),
            byte => Index(self.index.saturating_sub(u64::from(byte % 16))),
        }
    }

    /// A time, mostly about now.
    fn activity(&mut self) -> LogTime {
        match self.source.byte() {
            255 => LogTime(self.source.long()),
            byte => LogTime((self.time + 10).saturating_sub(u64::from(byte) * 10)),
        }
    }

    fn number(&mut self) -> u64 {
        match self.source.byte() {
            255 => self.source.long(),
            byte @ 200.. => u64::from(byte) * 1000,
            byte => u64::from(byte),
        }
    }

    /// The log goes on by an entry; now and then by one of much later.
    pub fn go_on(&mut self) {
        let (steps, ms) = match self.source.byte() {
            255 => (u64::from(self.source.short()) + 1, self.source.long() / 8),
            byte @ 240.. => (2, u64::from(byte) * 100),
            byte => (1, u64::from(byte % 8) * 10),
        };
        self.index += steps;
        self.time = self.time.saturating_add(ms).min(MAX_NUMBER);
    }
}
