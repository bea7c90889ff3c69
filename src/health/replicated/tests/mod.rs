mod cluster; // drivers and councils in one process
mod language; // commands, answers and states as bytes
mod nodes; // what the nodes of a cluster make of it
mod random; // random logs
mod rules; // one rule each
mod sides; // what a node says, whom a leader counts, who has long been of another opinion

use std::collections::BTreeSet;
use std::sync::Arc;

use tcpffee_raft::ids::NodeId;
use tcpffee_raft::membership::{Member, Membership, Role};

use super::agreed::{Agreed, CheckKey};
use super::command::{Command, Outcome};
use crate::config::GroupId;
use crate::health::definition::CheckId;
use crate::health::streak::State;

use State::{Failing, Passing};

/// A check of group 1.
fn check(number: u64) -> CheckKey {
    CheckKey {
        group: GroupId(1),
        check: CheckId(number),
    }
}

fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn membership(ids: &[u64]) -> Membership {
    let member = Member {
        role: Role::Voter,
        life: None,
        statement: None,
    };
    Membership {
        members: nodes(ids)
            .into_iter()
            .map(|id| (id, member.clone()))
            .collect(),
        retired: Vec::new(),
    }
}

/// What nodes 1 to `count` say, all of them alive at first.
struct Log(Agreed);

/// Every node's process in these tests, where it does not matter.
const BOOT: u64 = 7;

impl Log {
    fn of(count: u64) -> Log {
        let ids: Vec<u64> = (1..=count).collect();
        let mut log = Log(Agreed::default());
        log.members(&ids);
        log.alive(&ids);
        log
    }

    fn members(&mut self, ids: &[u64]) {
        self.0.follow(&membership(ids));
    }

    fn alive(&mut self, ids: &[u64]) {
        let nodes = nodes(ids);
        assert_eq!(self.0.apply(Command::Alive { nodes }), Outcome::Done);
    }

    fn declare(&mut self, node: u64, checks: &[(CheckKey, State)]) {
        let checks = checks.to_vec();
        let from = NodeId(node);
        let boot = BOOT;
        let command = Command::Declare { from, boot, checks };
        assert_eq!(self.0.apply(command), Outcome::Done);
    }

    fn observe(&mut self, node: u64, key: CheckKey, state: State) -> Outcome {
        self.0.apply(Command::Observe {
            from: NodeId(node),
            boot: BOOT,
            changes: vec![(key, Some(state))],
        })
    }

    fn verdict(&self, key: CheckKey) -> Option<State> {
        self.0.verdict(key)
    }

    /// All nodes have check 1 and see it pass.
    fn all_passing(count: u64) -> Log {
        let mut log = Log::of(count);
        for node in 1..=count {
            log.declare(node, &[(check(1), Passing)]);
        }
        log
    }
}

/// That these share what they can, and are not merely equal.
fn is_same(one: &Agreed, other: &Agreed) -> bool {
    one == other && Arc::ptr_eq(&one.verdicts, &other.verdicts)
}
