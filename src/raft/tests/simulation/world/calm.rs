//! After the faults: does the cluster come to rest, whole and of one mind?

use tcpffee_raft::core::Role;
use tcpffee_raft::ids::{Index, NodeId};

use super::World;
use super::coverage::Seen;
use super::history::{Checked, Violation};
use super::queue::Event;

/// Within how many of the longest election time-outs after the last fault everything is whole:
/// there is a leader, the members are those that the configurations state, all of them vote, on
/// the stores that they now have, every command that a client waits for is answered, and all
/// logs and states are the same.
pub const REST_ELECTIONS: u64 = 20;

const LOOK_EVERY_US: u64 = 50_000;

impl World {
    /// From here on nothing goes wrong any more.
    pub(super) fn calms(&mut self) -> Checked {
        self.say(|| "CALM".into());
        self.calm_since_us = Some(self.now_us);
        self.network.calm();
        for at in 0..self.nodes.len() {
            self.nodes[at].slowness = 1;
            self.resume(at)?;
            if self.nodes[at].disk.is_to_fail() {
                self.stop(at, false);
            }
            self.later(0, Event::Start { node: at });
        }
        // All nodes, or those that founded the cluster.
        if self.rng.percent(50) {
            self.desired = self.nodes.iter().map(|node| node.id).collect();
        } else {
            self.desired = (1..=self.plan.founders as u64).map(NodeId).collect();
        }
        for at in 0..self.nodes.len() {
            self.states(at, self.desired.clone())?;
        }
        // Each client asks for one thing more.
        for client in 0..self.clients.len() {
            self.clients[client].begins(1);
            self.later(0, Event::ClientNext { client });
        }
        self.later(LOOK_EVERY_US, Event::Look);
        Ok(())
    }

    /// Has the world come to rest?
    pub(super) fn looks(&mut self) -> Checked {
        let since_us = self.calm_since_us.unwrap_or(self.now_us);
        let after_ms = (self.now_us - since_us) / 1000;
        let Some(lacks) = self.members_lack().or_else(|| self.states_lack()) else {
            self.rested_ms = Some(after_ms);
            self.see(Seen::Rested);
            return Ok(());
        };
        if after_ms > REST_ELECTIONS * self.plan.settings.election_max_ms {
            if self.overwhelmed {
                self.rested_ms = Some(0);
                return Ok(());
            }
            return Err(Violation {
                invariant: "after the faults the cluster becomes whole",
                detail: format!("{after_ms} ms later: {lacks}"),
            });
        }
        self.later(LOOK_EVERY_US, Event::Look);
        Ok(())
    }

    /// What the membership lacks.
    fn members_lack(&self) -> Option<String> {
        let Some(leader) = self
            .nodes
            .iter()
            .filter_map(|node| node.live.as_ref())
            .find(|live| live.core.role() == Role::Leader)
        else {
            return Some("no leader".into());
        };
        let (index, membership) = leader.core.in_force();
        if index > leader.core.commit() {
            return Some(format!("the membership at {index} is not committed"));
        }
        let members: Vec<NodeId> = membership.members.keys().copied().collect();
        if members != self.desired {
            return Some(format!("members are {members:?}, not {:?}", self.desired));
        }
        for (id, member) in &membership.members {
            let store = member.life.map(|life| life.incarnation.store);
            let is = self.node_at(*id).and_then(|at| self.nodes[at].store);
            if !membership.is_voter(*id) {
                return Some(format!("{id:?} does not vote: {member:?}, runs on {is:?}"));
            }
            if store != is {
                return Some(format!(
                    "{id:?} is on record with {store:?}, runs on {is:?}"
                ));
            }
        }
        None
    }

    /// What the members' logs and states lack.
    fn states_lack(&self) -> Option<String> {
        if self.clients.iter().any(super::clients::Client::waits) {
            return Some("a client waits for an answer".into());
        }
        let mut all: Option<(NodeId, Index, u64)> = None;
        for id in &self.desired {
            let at = self.node_at(*id)?;
            let node = &self.nodes[at];
            let Some(live) = &node.live else {
                return Some(format!("{id:?} is down"));
            };
            let (end, chain) = (live.machine.last.index, live.machine.chain);
            if live.log.last() != end || live.core.commit() != end {
                return Some(format!(
                    "{id:?} has a log up to {}, committed {}, applied {end}",
                    live.log.last(),
                    live.core.commit()
                ));
            }
            let this = (*id, end, chain);
            let first = all.get_or_insert(this);
            if (first.1, first.2) != (end, chain) {
                return Some(format!("{first:?} differs from {this:?}"));
            }
        }
        None
    }
}
