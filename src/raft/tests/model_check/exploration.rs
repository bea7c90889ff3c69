//! Where an exploration begins, what may happen in it, and how far it goes.

use std::sync::Arc;

use stateright::{Model, Property};
use tcpffee_raft::core::Role;

use crate::cluster::{Action, Cluster, Taken, is_beat};
use crate::node::{Disk, NODES};
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
    /// Then node 0 took a command that nobody else heard of, and node 1 was elected in term 3,
    /// with an entry that nobody else heard of: the second picture of the Raft paper's figure 8.
    Diverged,
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
        cluster.run_quietly(&[0]);
        cluster.forget();
        cluster.step(&Action::TimeOut(2));
        cluster.forget();
        elect(&mut cluster, 1, &[1, 2]);
        cluster.run_quietly(&[1]);
        cluster.forget();
        cluster
    }
}

/// Lets a node stand and lets these nodes talk until it leads.
fn elect(cluster: &mut Cluster, node: usize, among: &[usize]) {
    cluster.step(&Action::TimeOut(node));
    let leads = |cluster: &Cluster| cluster.nodes[node].core.role() == Role::Leader;
    cluster.run_until(among, leads);
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
            // Where no clock beats, what an election brings in heartbeats is lost.
            if most.beats > 0 || !is_beat(&envelope.message) {
                actions.push(Action::Deliver(Arc::clone(envelope)));
            }
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
                taken.time_outs[node] < most.time_outs[node],
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
