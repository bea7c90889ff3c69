//! What can be said, made from bytes of any kind: mostly of few nodes and checks, so that they vote
//! on the same.

use tcpffee_raft::ids::{Index, NodeId};
use tcpffee_raft::membership::{Member, Membership, Role};
use tcpffee_raft::wire::exercise::{Damage, Source};

use crate::config::GroupId;
use crate::health::definition::CheckId;
use crate::health::replicated::agreed::CheckKey;
use crate::health::replicated::command::{Answer, Command, Outcome};
use crate::health::streak::State;

/// Makes what can be said.
pub(super) struct Made<'a> {
    pub source: Source<'a>,
}

impl<'a> Made<'a> {
    pub fn new(bytes: &'a [u8]) -> Made<'a> {
        Made {
            source: Source::new(bytes),
        }
    }

    pub fn damage(&mut self) -> Damage<'a> {
        self.source.damage()
    }

    pub fn command(&mut self) -> Command {
        match self.source.byte() % 8 {
            0 | 1 => Command::Declare {
                from: self.node(),
                boot: self.boot(),
                checks: self.checks(Self::state),
            },
            2 => Command::Alive {
                nodes: self.nodes(),
            },
            _ => Command::Observe {
                from: self.node(),
                boot: self.boot(),
                changes: self.checks(|it| match it.source.byte() % 4 {
                    0 => None,
                    _ => Some(it.state()),
                }),
            },
        }
    }

    pub fn answer(&mut self) -> Answer {
        Answer {
            index: Index(self.source.long()),
            outcome: match self.source.byte() % 4 {
                0 => Outcome::Done,
                1 => Outcome::NoSession,
                2 => Outcome::TooMany,
                _ => Outcome::Malformed,
            },
        }
    }

    pub fn membership(&mut self) -> Membership {
        let member = Member {
            role: Role::Voter,
            life: None,
            statement: None,
        };
        let nodes = self.nodes::<Vec<_>>().into_iter();
        Membership {
            members: nodes.map(|node| (node, member.clone())).collect(),
            retired: Vec::new(),
        }
    }

    /// Some of the nodes 0 to 7.
    fn nodes<T: FromIterator<NodeId>>(&mut self) -> T {
        let nodes = self.source.byte();
        let ids = (0..8).filter(|node| nodes >> node & 1 == 1);
        ids.map(NodeId).collect()
    }

    /// Checks, each once, in their order, as they are written.
    fn checks<T>(&mut self, mut of: impl FnMut(&mut Self) -> T) -> Vec<(CheckKey, T)> {
        let count = self.source.byte() % 7;
        let mut checks: Vec<_> = (0..count).map(|_| (self.key(), of(self))).collect();
        checks.sort_by_key(|(key, _)| *key);
        checks.dedup_by_key(|(key, _)| *key);
        checks
    }

    fn key(&mut self) -> CheckKey {
        match self.source.byte() {
            255 => CheckKey {
                group: GroupId(self.source.short().into()),
                check: CheckId(self.source.long()),
            },
            byte => CheckKey {
                group: GroupId(u32::from(byte / 4 % 2)),
                check: CheckId(u64::from(byte % 4)),
            },
        }
    }

    fn state(&mut self) -> State {
        match self.source.bool() {
            true => State::Passing,
            false => State::Failing,
        }
    }

    fn node(&mut self) -> NodeId {
        match self.source.byte() {
            255 => NodeId(self.source.long()),
            byte => NodeId(u64::from(byte % 8)),
        }
    }

    fn boot(&mut self) -> u64 {
        match self.source.byte() {
            255 => self.source.long(),
            byte => u64::from(byte / 128),
        }
    }
}
