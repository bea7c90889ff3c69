//! What goes wrong, and what operators ask for, at random moments.
//!
//! What may be lost is bounded by what the cluster promises to survive: at any time, in every
//! membership that any node may still go by, less than half of the voters have lost their disk
//! or had it replaced by an old copy. An old copy is put back only where it can be found out:
//! the record of a later life is committed, and no majority can be made of voters that do not
//! know it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tcpffee_raft::core::Change;
use tcpffee_raft::ids::NodeId;
use tcpffee_raft::membership::{Membership, Statement};

use super::coverage::Seen;
use super::disk::Image;
use super::history::Checked;
use super::network::Ways;
use super::plan::Fault;
use super::queue::Event;
use super::{VERSION, World};

/// Copies kept of a disk.
const MAX_IMAGES: usize = 4;

impl World {
    /// A fault of the plan, now and again later.
    pub(super) fn fault(&mut self, fault: Fault, mean_ms: u64) -> Checked {
        if self.calm_since_us.is_some() {
            return Ok(());
        }
        let after_us = self.rng.gap(mean_ms * 1000);
        self.later(after_us, Event::Fault { fault, mean_ms });
        let at = self.rng.below(self.nodes.len() as u64) as usize;
        self.say(|| format!("FAULT {fault:?} n{}", at + 1));
        match fault {
            Fault::Crash => {
                if self.nodes[at].live.is_some() {
                    self.crash(at);
                }
            }
            Fault::CrashAll => self.crash_all(),
            Fault::Cut => self.cut_in_two(),
            Fault::CutOneWay => self.cut_one_way(at),
            Fault::Isolate => {
                let ways = self.network.between(&BTreeSet::from([at]));
                self.see(Seen::Isolated);
                self.cut(ways);
            }
            Fault::Pause => self.pause(at),
            Fault::SlowDisk => {
                self.nodes[at].slowness = self.rng.between(5, 60);
                self.see(Seen::DiskSlow);
                let after_us = self.rng.gap(1_500_000);
                self.later(after_us, Event::DiskRecovers { node: at });
            }
            Fault::DiskFailure => self.fail_disk(at),
            Fault::Wipe => self.lose_disk(at),
            Fault::Image => {
                let node = &mut self.nodes[at];
                if node.images.len() == MAX_IMAGES {
                    node.images.remove(0);
                }
                let memberships = match &node.live {
                    Some(live) => &live.memberships,
                    None => &node.memberships,
                };
                let memberships = memberships.iter().map(|(_, it)| Arc::clone(it));
                let image = node.disk.image(memberships.collect());
                node.images.push(image);
            }
            Fault::Restore => self.restore_disk(at),
            Fault::Snapshot => self.takes_snapshot(at),
            Fault::Change => return self.change(at),
            Fault::Steer => return self.steer(),
            Fault::Transfer => return self.transfer(at),
            Fault::Break => {
                let (id, life) = (self.nodes[at].id, self.nodes[at].life);
                let peer = self.rng.below(self.nodes.len() as u64) as usize;
                let other = &self.nodes[peer];
                let (peer_id, peer_life) = (other.id, other.life);
                self.breaks(at, life, peer_id);
                self.breaks(peer, peer_life, id);
            }
        }
        Ok(())
    }

    fn breaks(&mut self, node: usize, life: u64, peer: NodeId) {
        let after_us = self.rng.below(50_000);
        self.later(after_us, Event::Unreachable { node, life, peer });
    }

    fn crash_all(&mut self) {
        self.see(Seen::AllCrashed);
        let power_loss = self.rng.percent(60);
        for at in 0..self.nodes.len() {
            if self.nodes[at].live.is_some() {
                self.stop(at, power_loss);
                let after_us = self.rng.gap(400_000);
                self.later(after_us, Event::Start { node: at });
            }
        }
    }

    fn cut(&mut self, ways: Ways) {
        for (from, to) in ways.clone() {
            if self.rng.percent(50) {
                let life = self.nodes[from].life;
                let peer = self.nodes[to].id;
                let after_us = self.rng.gap(200_000);
                let event = Event::Unreachable {
                    node: from,
                    life,
                    peer,
                };
                self.later(after_us, event);
            }
        }
        let cut = self.network.cut(ways);
        let after_us = self.rng.gap(1_500_000);
        self.later(after_us, Event::Mend { cut });
    }

    fn cut_in_two(&mut self) {
        let half: BTreeSet<usize> = (0..self.nodes.len())
            .filter(|_| self.rng.percent(50))
            .collect();
        let ways = self.network.between(&half);
        self.see(Seen::Cut);
        self.cut(ways);
    }

    fn cut_one_way(&mut self, at: usize) {
        let mut ways = Ways::new();
        let inward = self.rng.percent(50);
        for other in 0..self.nodes.len() {
            if other != at && self.rng.percent(60) {
                ways.push(match inward {
                    true => (other, at),
                    false => (at, other),
                });
            }
        }
        self.see(Seen::CutOneWay);
        self.cut(ways);
    }

    fn pause(&mut self, at: usize) {
        if self.nodes[at].paused || self.nodes[at].live.is_none() {
            return;
        }
        if self.nodes[at].leads() {
            self.see(Seen::LeaderPaused);
        }
        let after_us = self.rng.gap(1_500_000);
        if after_us > self.plan.settings.hit_lease_ms * 1000 {
            self.see(Seen::PausedBeyondLease);
        }
        self.nodes[at].paused = true;
        self.later(after_us, Event::Resume { node: at });
    }

    fn fail_disk(&mut self, at: usize) {
        if self.nodes[at].live.is_none() || self.nodes[at].paused {
            return;
        }
        self.nodes[at].disk.fail(&mut self.rng);
        // Somebody will see to it.
        let life = self.nodes[at].life;
        let after_us = 500_000 + self.rng.gap(1_500_000);
        self.later(after_us, Event::Repair { node: at, life });
    }

    /// The node with the failed disk is started again on the disk as it is.
    pub(super) fn repair(&mut self, at: usize, life: u64) -> Checked {
        if self.lives(at, life) {
            self.crash(at);
        }
        Ok(())
    }

    /// Whether the cluster still survives it when this node's disk is lost too.
    fn may_damage(&self, at: usize) -> bool {
        self.memberships_hold(&|membership| {
            let voters = membership.voters().count();
            let damaged = membership
                .voters()
                .filter_map(|id| self.node_at(id))
                .filter(|voter| *voter == at || self.nodes[*voter].damaged.is_some())
                .count();
            voters == 0 || 2 * damaged < voters
        })
    }

    fn lose_disk(&mut self, at: usize) {
        if !self.may_damage(at) {
            return;
        }
        self.see(Seen::Wiped);
        self.stop(at, true);
        self.wipe(at);
        let after_us = self.rng.gap(1_000_000);
        self.later(after_us, Event::Start { node: at });
    }

    /// Whether every majority, in every membership that any node may still go by, or whoever
    /// starts on the copy, would have a voter that knows of the later life: neither an old copy
    /// itself nor behind the record.
    fn would_be_found_out(&self, at: usize, image: &Image) -> bool {
        let is_deceivable = |voter: usize| {
            let node = &self.nodes[voter];
            match node.damaged {
                Some(Some(_)) => true,
                // An empty disk's votes do not count for anybody.
                Some(None) => voter == at,
                None => voter == at || !node.has_durably(self.history.membership_at),
            }
        };
        let found_out = |membership: &Membership| {
            let deceivable = membership
                .voters()
                .filter_map(|id| self.node_at(id))
                .filter(|voter| is_deceivable(*voter))
                .count();
            membership.members.is_empty() || deceivable < membership.majority()
        };
        self.memberships_hold(&found_out) && image.memberships.iter().all(|it| found_out(it))
    }

    /// Whether something holds for every membership that any node may still go by.
    fn memberships_hold(&self, holds: &dyn Fn(&Membership) -> bool) -> bool {
        holds(&self.history.membership)
            && self.nodes.iter().all(|node| match &node.live {
                Some(live) => live.memberships.iter().all(|(_, it)| holds(it)),
                None => node.memberships.iter().all(|(_, it)| holds(it)),
            })
    }

    /// Puts an old copy back, where it can be found out.
    fn restore_disk(&mut self, at: usize) {
        if self.nodes[at].images.is_empty() || !self.may_damage(at) {
            return;
        }
        let which = self.rng.below(self.nodes[at].images.len() as u64) as usize;
        let image = self.nodes[at].images[which].clone();
        let Some((store, starts)) = image.store else {
            return;
        };
        let membership = &self.history.membership;
        let id = self.nodes[at].id;
        let recorded = membership.members.get(&id).and_then(|member| member.life);
        let found_out = recorded
            .is_some_and(|life| life.incarnation.store != store || life.incarnation.start > starts);
        if !found_out {
            return;
        }
        if !self.would_be_found_out(at, &image) {
            return;
        }
        self.say(|| format!("n{} gets an old copy: store {store} start {starts}", at + 1));
        self.see(Seen::Restored);
        self.stop(at, true);
        let node = &mut self.nodes[at];
        node.damaged = Some(Some(store));
        node.loses();
        node.unsure.clear();
        node.copy = Some(image);
        let after_us = self.rng.gap(500_000);
        self.later(after_us, Event::Start { node: at });
    }

    /// An operator changes the membership, at whatever node leads.
    fn change(&mut self, at: usize) -> Checked {
        let leaders: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].leads() && !self.nodes[*node].paused)
            .collect();
        if leaders.is_empty() {
            return Ok(());
        }
        let leader = *self.rng.pick(&leaders);
        let node = self.nodes[at].id;
        let promote = self.rng.percent(70);
        let change = match self.rng.below(5) {
            0 | 1 => Change::AddLearner { node, promote },
            2 => Change::Promote(node),
            3 => Change::Demote(node),
            _ => Change::Remove(node),
        };
        if matches!(change, Change::Demote(_) | Change::Remove(_)) && !self.may_leave(leader, at) {
            return Ok(());
        }
        let done = self.gives(leader, |core| core.change_membership(change))?;
        if let Some(Err(_)) = done {
            self.see(Seen::ChangeRefused);
        }
        self.say(|| format!("n{} is asked for {change:?}: {done:?}", leader + 1));
        Ok(())
    }

    /// Whether enough voters with whole disks remain without it.
    fn may_leave(&self, leader: usize, at: usize) -> bool {
        let Some(live) = &self.nodes[leader].live else {
            return false;
        };
        let voters: Vec<usize> = live
            .core
            .membership()
            .voters()
            .filter_map(|id| self.node_at(id))
            .filter(|voter| *voter != at)
            .collect();
        let whole = voters
            .iter()
            .filter(|voter| self.nodes[**voter].damaged.is_none())
            .count();
        2 * whole > voters.len()
    }

    /// The peers in all configuration files become others.
    fn steer(&mut self) -> Checked {
        let mut peers: Vec<NodeId> = Vec::new();
        for at in 0..self.nodes.len() {
            if self.rng.percent(75) {
                peers.push(self.nodes[at].id);
            }
        }
        if peers.len() < 2 {
            return Ok(());
        }
        self.see(Seen::Steered);
        for at in 0..self.nodes.len() {
            self.states(at, peers.clone())?;
        }
        Ok(())
    }

    /// A node states these peers from now on.
    pub(super) fn states(&mut self, at: usize, peers: Vec<NodeId>) -> Checked {
        let statement = Statement {
            peers,
            version: VERSION,
        };
        self.nodes[at].statement = Some(statement.clone());
        match self.nodes[at].paused {
            true => Ok(()),
            false => self.input(at, |core| core.state(statement)),
        }
    }

    fn transfer(&mut self, at: usize) -> Checked {
        let to = self.nodes[at].id;
        for leader in 0..self.nodes.len() {
            if self.nodes[leader].leads() && !self.nodes[leader].paused {
                self.see(Seen::TransferAsked);
                self.input(leader, |core| core.transfer_leadership(to))?;
            }
        }
        Ok(())
    }
}
