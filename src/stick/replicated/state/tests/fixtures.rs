//! A log of its own for one state.

use std::collections::BTreeMap;
use std::sync::Arc;

use tcpffee_raft::ids::{Index, LogTime, NodeId};
use tcpffee_raft::machine::SnapshotSource;
use tcpffee_raft::membership::{Member, Membership, Role};

use crate::config::GroupId;
use crate::groups::{GroupRegistry, Status};
use crate::stick::replicated::agreed::AgreedGroup;
use crate::stick::replicated::codec::encode;
use crate::stick::replicated::command::*;
use crate::stick::replicated::replica::{Replica, Seen};
use crate::stick::replicated::state::State;
use crate::stick::{ClientIp, Key};

/// `expiration` of every statement here.
pub const EXPIRATION: u64 = 60_000;

pub const A: NodeId = NodeId(10);
pub const B: NodeId = NodeId(11);
pub const C: NodeId = NodeId(12);

/// A state with what its log is at.
pub struct Lab {
    pub state: State,
    pub registry: Arc<GroupRegistry>,
    pub index: u64,
    pub time: u64,
    pub boots: BTreeMap<NodeId, u64>,
}

impl Lab {
    /// Before the log's first entry.
    pub fn empty() -> Lab {
        let registry = Arc::new(GroupRegistry::new(1));
        Lab {
            state: State::new(Replica::new(Arc::clone(&registry))),
            registry,
            index: 0,
            time: 0,
            boots: BTreeMap::new(),
        }
    }

    /// Three voters that all state the groups 1, 2 and 3 as Up.
    pub fn new() -> Lab {
        let mut lab = Lab::empty();
        lab.membership(&[A, B, C]);
        for node in [A, B, C] {
            lab.states(node, &stating(&[1, 2, 3]));
        }
        lab
    }

    pub fn membership(&mut self, voters: &[NodeId]) {
        let member = |_| Member {
            role: Role::Voter,
            life: None,
            statement: None,
        };
        let members = voters.iter().map(|&node| (node, member(node)));
        self.take_membership(&Membership {
            members: members.collect(),
            retired: Vec::new(),
        });
    }

    pub fn take_membership(&mut self, membership: &Membership) {
        self.index += 1;
        let now = self.state.advance(Index(self.index), LogTime(self.time));
        self.state.membership(now, membership);
        self.state.settle(now);
        self.state.publish_applied();
    }

    /// Applies a batch of several operations.
    pub fn batch(&mut self, from: NodeId, boot: u64, ops: Vec<Op>) -> Vec<Outcome> {
        let written = encode(&Batch { from, boot, ops });
        let batch = Batch::decode(&written).expect("it was just written");
        let wanted = batch.ops.len();
        self.index += 1;
        let now = self.state.advance(Index(self.index), LogTime(self.time));
        let answer = self.state.batch(now, batch);
        self.state.settle(now);
        self.state.publish_applied();
        let read = Answer::decode(&answer.encode()).expect("it was just written");
        assert_eq!((read.index.0, read.outcomes.len()), (self.index, wanted));
        assert_eq!(read, answer);
        answer.outcomes
    }

    /// Applies one operation of a node's present process.
    pub fn op(&mut self, from: NodeId, op: Op) -> Outcome {
        let boot = self.boot(from);
        self.batch(from, boot, vec![op]).remove(0)
    }

    pub fn boot(&self, node: NodeId) -> u64 {
        self.boots.get(&node).copied().unwrap_or(1)
    }

    /// Time passes, as it does at an entry without a command.
    pub fn pass(&mut self, ms: u64) {
        self.index += 1;
        self.time += ms;
        let now = self.state.advance(Index(self.index), LogTime(self.time));
        self.state.settle(now);
        self.state.publish_applied();
    }

    pub fn states(&mut self, node: NodeId, statement: &Statement) -> Outcome {
        self.op(node, Op::State(statement.clone()))
    }

    pub fn assign(&mut self, node: NodeId, key: &Key, group: u32) -> Outcome {
        let client = Wanted::Key(key.clone());
        let group = Some(GroupId(group));
        self.op(node, Op::Assign { client, group })
    }

    /// The entry that a node is given.
    pub fn given(&mut self, node: NodeId, key: &Key, group: u32) -> Given {
        match self.assign(node, key, group) {
            Outcome::Entry(given) => given,
            other => panic!("{other:?} in place of an entry"),
        }
    }

    /// Asks for some keys, whatever comes of it.
    pub fn given_or_not(&mut self, node: NodeId, keys: u32) {
        for number in 0..keys {
            self.assign(node, &key(number), 1);
        }
    }

    pub fn hold(&mut self, node: NodeId, key: &Key, version: Index) -> Outcome {
        let key = key.clone();
        self.op(node, Op::Hold { key, version })
    }

    pub fn give_up(&mut self, node: NodeId, key: &Key, version: Index) -> Outcome {
        let key = key.clone();
        self.op(node, Op::GiveUp { key, version })
    }

    pub fn move_to(&mut self, node: NodeId, key: &Key, version: Index, to: u32) -> Outcome {
        let (key, to) = (key.clone(), GroupId(to));
        self.op(node, Op::Move { key, version, to })
    }

    pub fn renew(&mut self, node: NodeId, key: &Key, version: Index, activity: u64) -> Outcome {
        let (key, activity) = (key.clone(), LogTime(activity));
        self.op(
            node,
            Op::Renew {
                key,
                version,
                activity,
            },
        )
    }

    pub fn release(&mut self, node: NodeId, key: &Key, version: Index, activity: u64) -> Outcome {
        let (key, activity) = (key.clone(), LogTime(activity));
        self.op(
            node,
            Op::Release {
                key,
                version,
                activity,
            },
        )
    }

    pub fn remove(&mut self, key: &Key) -> Outcome {
        let key = key.clone();
        self.op(A, Op::Remove { key })
    }

    pub fn passed(&mut self) -> Outcome {
        let index = Index(self.index);
        self.op(A, Op::Passed(index))
    }

    /// The health checks find these groups Disabled, and all others Up.
    pub fn down(&mut self, groups: &[u32]) {
        let verdict = |&group| Verdict {
            group: GroupId(group),
            status: Status::Disabled,
            reason: "refused".to_owned(),
        };
        let verdicts = groups.iter().map(verdict).collect();
        self.op(A, Op::Verdicts(verdicts));
    }

    pub fn look(&self, key: &Key) -> Option<Seen> {
        self.state.entries.replica.look(key.as_ref())
    }

    /// When an entry expires; `u64::MAX` while it is held.
    pub fn expires(&self, key: &Key) -> u64 {
        self.look(key).expect("there is an entry").expires.0
    }

    pub fn group(&self, id: u32) -> AgreedGroup {
        self.state.agreed().groups[&GroupId(id)].clone()
    }

    pub fn fences(&self) -> Vec<u64> {
        let fences = &self.state.agreed().fences;
        fences.iter().map(|fence| fence.0).collect()
    }

    pub fn sticks(&self, group: u32) -> u64 {
        self.registry.counters(GroupId(group)).sticks()
    }
}

/// A statement of these groups, all Up.
pub fn stating(groups: &[u32]) -> Statement {
    let group = |&id| StatedGroup {
        id: GroupId(id),
        status: Status::Up,
        weight: 1,
        backup: false,
    };
    Statement {
        expiration_ms: EXPIRATION,
        max_entries: 1000,
        full: Full::Refuse,
        groups: groups.iter().map(group).collect(),
    }
}

pub fn ip(number: u32) -> ClientIp {
    ClientIp::new(std::net::Ipv4Addr::from(0x0a00_0000 + number).into(), 128)
}

pub fn key(number: u32) -> Key {
    Key {
        ip: ip(number),
        slice: None,
    }
}

pub fn sliced(number: u32, slice: &str) -> Key {
    Key {
        ip: ip(number),
        slice: Some(slice.as_bytes().into()),
    }
}

/// All bytes of a snapshot; nothing where another was begun meanwhile.
pub fn try_read(source: &mut dyn SnapshotSource) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        source.next_piece(&mut bytes).ok()?;
        if bytes.len() == before {
            return Some(bytes);
        }
    }
}
