//! `/api/v1/raft` and `/api/v1/peers`: how the nodes of the cluster stand.

use tcpffee_raft::core::{PeerView, Role};
use tcpffee_raft::driver::Status;
use tcpffee_raft::ids::NodeId;
use tcpffee_raft::transport::LinkState;

use super::{Sources, api};

impl Sources {
    /// The Raft groups of this node.
    pub fn raft(&self) -> api::Raft {
        let cluster = self.parts.cluster.as_ref();
        let checks = cluster.and_then(|cluster| cluster.healthchecks.as_ref());
        api::Raft {
            stick_table: cluster.map(|cluster| (cluster.stick_table)().into()),
            healthchecks: checks.map(|status| status().into()),
        }
    }
}

impl From<Status> for api::RaftGroup {
    fn from(status: Status) -> api::RaftGroup {
        let voters = status.voters.iter().map(|&id| (id, true));
        let learners = status.learners.iter().map(|&id| (id, false));
        let members = voters.chain(learners);
        api::RaftGroup {
            members: members
                .map(|(id, votes)| member(&status, id, votes))
                .collect(),
            cluster: status.cluster.map(|cluster| cluster.to_string()),
            forming: status.forming.to_string(),
            role: match status.role {
                Role::Leader => api::RaftRole::Leader,
                Role::Follower => api::RaftRole::Follower,
                Role::PreCandidate | Role::Candidate => api::RaftRole::Candidate,
                Role::Learner => api::RaftRole::Learner,
            },
            term: status.term.0,
            leader: status.leader.map(|leader| leader.to_string()),
            commit: status.commit.0,
            applied: status.applied.0,
            first: status.first.0,
            last: status.last.index.0,
            log_bytes: status.log_bytes as u64,
            has_lease: status.lease_until.is_some(),
            trouble: status.trouble.map(|trouble| trouble.to_string()),
        }
    }
}

fn member(status: &Status, id: NodeId, votes: bool) -> api::Member {
    let known = |member: &&PeerView| member.id == id;
    let progress = status.members.iter().find(known);
    let own = (id == status.node).then_some(status.last.index.0);
    let leads = status.role == Role::Leader;
    let matched = match progress {
        Some(member) => Some(member.matched.0),
        None => own.filter(|_| leads),
    };
    let peer = status.peers.iter().find(|peer| peer.id == id);
    let is_up = |state: &LinkState| matches!(state, LinkState::Connected { .. });
    let conflict = status.conflicts.get(&id);
    api::Member {
        node: id.to_string(),
        votes,
        connected: id == status.node
            || peer.is_some_and(|peer| {
                let links = peer.outgoing.iter().chain(&peer.incoming);
                links.into_iter().any(|link| is_up(&link.state))
            }),
        matched,
        lag: matched.map(|matched| status.last.index.0.saturating_sub(matched)),
        silent_seconds: progress
            .and_then(|member| member.silent_ms)
            .map(|silent_ms| silent_ms as f64 / 1_000.0),
        conflict: conflict.map(|conflict| conflict.to_string()),
    }
}

#[cfg(test)]
#[path = "raft_tests.rs"]
mod tests;
