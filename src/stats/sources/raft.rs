//! `/api/v1/raft`: how the Raft groups of this node stand.

use tcpffee_raft::core::{PeerView, Role};
use tcpffee_raft::driver::{Status, Trouble, boot_time};
use tcpffee_raft::ids::{NodeId, NodeTime};
use tcpffee_raft::transport::{self, LinkStatus, PeerStatus};
use tcpffee_raft::wire::Purpose;

use super::peers::Hosts;
use super::{Sources, agreed, api};
use crate::cluster::ObservedRaft;

impl Sources {
    /// The Raft groups of this node, and how it serves.
    pub fn raft(&self) -> api::Raft {
        let Some(cluster) = &self.parts.cluster else {
            return api::Raft {
                stick_table: None,
                healthchecks: None,
                node: None,
            };
        };
        let hosts = self.hosts();
        let told = |observed: &ObservedRaft| {
            let status = (observed.status)();
            group(&status, observed.leader_changes(), &hosts, boot_time())
        };
        api::Raft {
            stick_table: Some(told(&cluster.stick_table)),
            healthchecks: Some(told(&cluster.healthchecks)),
            node: Some(agreed::node(
                cluster.node.figures(),
                &cluster.node.replica().agreed_ref(),
                &(cluster.differences)(),
                &hosts,
            )),
        }
    }
}

/// How one Raft group stands at this time of the node's clock.
pub(super) fn group(
    status: &Status,
    leader_changes: u64,
    hosts: &Hosts,
    now: NodeTime,
) -> api::RaftGroup {
    let members = status.voters.iter().chain(&status.learners);
    let conflicts = status.conflicts.iter();
    let entries = (status.last.index.0 + 1).saturating_sub(status.first.0);
    api::RaftGroup {
        cluster: status.cluster.map(|cluster| cluster.to_string()),
        forming: status.forming.to_string(),
        role: role(status.role),
        term: status.term.0,
        leader: status.leader.map(|leader| leader.to_string()),
        leader_changes,
        life: status.incarnation.to_string(),
        commit: status.commit.0,
        applied: status.applied.0,
        persisted: status.persisted.0,
        first: status.first.0,
        last: status.last.index.0,
        log_entries: entries,
        log_bytes: status.log_bytes as u64,
        time_seconds: in_seconds(status.time.0),
        version: status.version,
        snapshot: status.snapshot.map(|index| index.0),
        snapshot_bytes: status.snapshot_bytes,
        has_lease: status.lease_until.is_some(),
        takes_part: matches!(status.trouble, None | Some(Trouble::Snapshot(_))),
        trouble: status.trouble.as_ref().map(ToString::to_string),
        proposals_waiting: status.proposals_waiting as u64,
        proposals_at_leader: status.proposals_at_desk as u64,
        counts: counts(status),
        conflicts: conflicts
            .map(|(&id, why)| api::Conflict {
                node: id.to_string(),
                host: hosts.get(&id).cloned(),
                reason: why.to_string(),
            })
            .collect(),
        members: members.map(|&id| member(status, id, hosts, now)).collect(),
    }
}

fn role(role: Role) -> api::RaftRole {
    match role {
        Role::Leader => api::RaftRole::Leader,
        Role::Follower => api::RaftRole::Follower,
        Role::PreCandidate | Role::Candidate => api::RaftRole::Candidate,
        Role::Learner => api::RaftRole::Learner,
    }
}

fn counts(status: &Status) -> api::RaftCounts {
    let (counters, proposals) = (&status.counters, &status.proposals);
    api::RaftCounts {
        elections_won: counters.elections_won,
        messages_received: counters.messages_received,
        messages_sent: counters.messages_sent,
        syncs: counters.syncs,
        entries_applied: counters.entries_applied,
        appends_dropped: counters.appends_dropped,
        snapshots_taken: counters.snapshots_taken,
        snapshots_failed: counters.snapshots_failed,
        snapshots_restored: counters.snapshots_restored,
        proposed: proposals.proposed,
        answered: proposals.answered,
        sent_again: proposals.sent_again,
        unanswered: proposals.timed_out + proposals.busy + proposals.refused,
    }
}

/// How a node stands in the group, member or not.
pub(super) fn member(status: &Status, id: NodeId, hosts: &Hosts, now: NodeTime) -> api::Member {
    let known = |member: &&PeerView| member.id == id;
    let progress = status.members.iter().find(known);
    let own = id == status.node;
    // A leader knows itself best.
    let leads = own && status.role == Role::Leader;
    let of_own = |value: u64| leads.then_some(value);
    let matched = progress.map(|member| member.matched.0);
    let matched = matched.or(of_own(status.last.index.0));
    let peer = status.peers.iter().find(|peer| peer.id == id);
    let links = peer.map(|peer| links(peer, now)).unwrap_or_default();
    let is_open = |link: &api::Link| link.state == api::LinkState::Connected;
    let votes = status.voters.contains(&id);
    let conflict = status.conflicts.get(&id);
    api::Member {
        node: id.to_string(),
        host: hosts.get(&id).cloned(),
        own,
        belongs: votes || status.learners.contains(&id),
        votes,
        connected: own || links.iter().any(is_open),
        matched,
        applied: progress
            .map(|member| member.applied.0)
            .or(of_own(status.applied.0)),
        lag: matched.map(|matched| status.last.index.0.saturating_sub(matched)),
        flow: progress.and_then(|member| flow(member.flow)),
        snapshot_bytes: progress.and_then(|member| member.snapshot_bytes),
        silent_seconds: progress.and_then(|member| member.silent_ms).map(in_seconds),
        life: progress
            .and_then(|member| member.life)
            .or(own.then_some(status.incarnation))
            .map(|life| life.to_string()),
        version: status.versions.get(&id).copied(),
        links,
        conflict: conflict.map(|conflict| conflict.to_string()),
    }
}

fn flow(word: &str) -> Option<api::RaftFlow> {
    Some(match word {
        "probe" => api::RaftFlow::Probe,
        "replicate" => api::RaftFlow::Replicate,
        "snapshot" => api::RaftFlow::Snapshot,
        _ => return None,
    })
}

fn links(peer: &PeerStatus, now: NodeTime) -> Vec<api::Link> {
    let outgoing = peer.outgoing.iter().zip(peer.addresses);
    let outgoing = outgoing.map(|(link, address)| {
        let direction = api::LinkDirection::Outgoing;
        shown(link, direction, Some(address.to_string()), now)
    });
    let incoming = peer.incoming.iter();
    let incoming = incoming.map(|link| shown(link, api::LinkDirection::Incoming, None, now));
    outgoing.chain(incoming).collect()
}

fn shown(
    link: &LinkStatus,
    direction: api::LinkDirection,
    address: Option<String>,
    now: NodeTime,
) -> api::Link {
    let (state, since) = match link.state {
        transport::LinkState::Down { .. } => (api::LinkState::Down, None),
        transport::LinkState::Connecting => (api::LinkState::Connecting, None),
        transport::LinkState::Connected { since, .. } => (api::LinkState::Connected, Some(since)),
    };
    api::Link {
        purpose: match link.purpose {
            Purpose::Logs => api::LinkPurpose::Logs,
            Purpose::Proposals => api::LinkPurpose::Proposals,
        },
        direction,
        address,
        state,
        open_seconds: since.map(|since| in_seconds(now.since(since))),
        last_error: link.last_error.clone(),
        sent_bytes: link.counters.sent_bytes,
        received_bytes: link.counters.received_bytes,
        dropped_messages: link.counters.dropped_messages,
    }
}

fn in_seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1_000.0
}

#[cfg(test)]
#[path = "raft_tests.rs"]
pub(super) mod tests;
