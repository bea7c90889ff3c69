//! Where an exploration begins, what may happen in it, and how far it goes.

use stateright::{Model, Property};
use tcpffee_raft::core::Role;
use tcpffee_raft::message::Message;

use crate::cluster::{Action, Cluster, Taken};
use crate::node::{Disk, NODES, holds_command};
use crate::properties::{self, Sight};

/// One exploration: every order of the steps that it allows, up to a depth.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// In words, for the report.
    pub name: &'static str,
    /// Where it begins.
    pub start: Start,
    /// What the disks are like.
    pub disk: Disk,
    /// How often each step may be taken.
    pub most: Taken,
    /// What it must come by.
    pub sights: &'static [Sight],
    /// Steps from the start.
    pub depth: usize,
    /// Steps from the start in a long run.
    pub long_depth: usize,
}

/// A state that real steps lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// A cluster has been formed.
    Formed,
    /// Node 0 leads term 2, all logs are equal, nothing is in flight.
    Led,
    /// Then node 0 committed a command with node 1, which does not know so yet, and took another
    /// that nobody else heard of.
    HalfCommitted,
    /// From `Led`, node 0 took a command that nobody else heard of and crashed, and node 1 was
    /// elected in term 3, with an entry that nobody else heard of: the second picture of the Raft
    /// paper's figure 8, with three nodes.
    Diverged,
    /// Then node 0 was elected in term 4 by node 2, which holds that command now, but nothing of
    /// term 4 yet: the third picture. The command is on a majority and may still be lost: nodes 1
    /// and 2 have heard no leader for a while.
    Reelected,
}

impl Start {
    fn cluster(self, disk: Disk) -> Cluster {
        let mut cluster = Cluster::formed(disk);
        if self == Start::Formed {
            return cluster;
        }
        elect(&mut cluster, 0, &[0, 1, 2]);
        cluster.run_quietly(&[0, 1, 2]);
        // The heartbeat tells everybody what is committed.
        cluster.step(&Action::Beat(0));
        cluster.run_quietly(&[0, 1, 2]);
        cluster.forget();
        if self == Start::Led {
            return cluster;
        }
        cluster.step(&Action::Propose(0));
        if self == Start::HalfCommitted {
            cluster.run_until(&[0, 1], |cluster| {
                !cluster.nodes[0].applied_commands().is_empty()
            });
            cluster.forget();
            cluster.step(&Action::Propose(0));
            cluster.run_quietly(&[0]);
            cluster.forget();
            return cluster;
        }
        cluster.run_quietly(&[0]);
        cluster.step(&Action::Crash(0));
        cluster.step(&Action::TimeOut(2));
        cluster.forget();
        elect(&mut cluster, 1, &[1, 2]);
        cluster.run_quietly(&[1]);
        cluster.forget();
        if self == Start::Diverged {
            return cluster;
        }
        // The first try only tells it of term 3.
        cluster.step(&Action::TimeOut(0));
        cluster.run_quietly(&[0, 2]);
        elect(&mut cluster, 0, &[0, 2]);
        cluster.run_until(&[0, 2], |cluster| {
            let core = &cluster.nodes[2].core;
            core.persisted_index() == core.last().index && holds_command(&cluster.nodes[2])
        });
        // Node 2 hears no leader for a while; node 1 leads no longer, and has asked node 2 for a
        // vote and so heard of term 4.
        cluster.step(&Action::TimeOut(2));
        cluster.step(&Action::TimeOut(1));
        cluster.step(&Action::TimeOut(1));
        cluster.run_quietly(&[1, 2]);
        // That node 2 holds the command is on its way; the rest of that election is lost.
        cluster
            .network
            .retain(|envelope| matches!(envelope.message, Message::Appended { .. }));
        cluster.taken = Taken::default();
        cluster
    }

    /// A node that holds a command which may get lost.
    pub fn holder(self) -> Option<usize> {
        match self {
            Start::Formed | Start::Led => None,
            Start::HalfCommitted | Start::Diverged => Some(0),
            Start::Reelected => Some(2),
        }
    }
}

/// Lets a node stand and lets these nodes talk until it leads.
fn elect(cluster: &mut Cluster, node: usize, among: &[usize]) {
    cluster.step(&Action::TimeOut(node));
    let leads = |cluster: &Cluster| cluster.nodes[node].core.role() == Role::Leader;
    cluster.run_until(among, leads);
}

impl Exploration {
    /// Nodes that are alike at the start stand in a fixed order for the first time: any other way
    /// is one of these with the nodes' names changed.
    fn is_first_to(&self, node: usize, taken: &Taken) -> bool {
        let stood = |node: usize| taken.time_outs[node] > 0;
        match self.start {
            Start::Formed => node == 0 || stood(0),
            Start::Led => node != 2 || stood(1),
            Start::HalfCommitted | Start::Diverged | Start::Reelected => true,
        }
    }
}

impl Model for Exploration {
    type State = Cluster;
    type Action = Action;

    fn init_states(&self) -> Vec<Cluster> {
        vec![self.start.cluster(self.disk)]
    }

    fn actions(&self, cluster: &Cluster, actions: &mut Vec<Action>) {
        let (taken, most) = (&cluster.taken, &self.most);
        for envelope in &cluster.network {
            actions.push(Action::Deliver(envelope.clone()));
        }
        for node in 0..NODES {
            let leads = cluster.nodes[node].core.role() == Role::Leader;
            let mut may = |allowed: bool, action: Action| {
                if allowed {
                    actions.push(action);
                }
            };
            may(cluster.nodes[node].is_writing(), Action::Persist(node));
            may(
                taken.time_outs[node] < most.time_outs[node] && self.is_first_to(node, taken),
                Action::TimeOut(node),
            );
            may(leads && taken.beats < most.beats, Action::Beat(node));
            may(
                leads && taken.proposals < most.proposals,
                Action::Propose(node),
            );
            may(taken.crashes < most.crashes, Action::Crash(node));
            for to in (0..NODES).filter(|to| *to != node) {
                may(
                    leads && taken.transfers < most.transfers,
                    Action::Transfer(node, to),
                );
            }
        }
    }

    fn next_state(&self, cluster: &Cluster, action: Action) -> Option<Cluster> {
        cluster.after(&action)
    }

    fn properties(&self) -> Vec<Property<Exploration>> {
        let mut all = properties::always();
        all.extend(self.sights.iter().map(|sight| sight.property()));
        all
    }
}
