//! How this node serves by the stick table that is agreed on, and what that is.

use tcpffee_raft::ids::Index;

use super::groups::shown_status;
use super::peers::Hosts;
use super::{api, seconds};
use crate::config;
use crate::histogram::Histogram;
use crate::stick::replicated::Agreed;
use crate::stick::replicated::command::Full;
use crate::stick::replicated::node::{NodeCounts, NodeFigures};

/// Agreed groups that are listed; the rest is counted.
const MOST_GROUPS: usize = 200;

/// How the node serves.
pub(super) fn node(
    figures: NodeFigures,
    agreed: &Agreed,
    differences: &[String],
    hosts: &Hosts,
) -> api::ClusterNode {
    let after = std::time::Duration::from_millis(figures.policy.no_quorum_after_ms);
    api::ClusterNode {
        has_lease: figures.has_lease,
        stated: figures.is_stated,
        quorum_lost: figures.has_lost_quorum,
        no_quorum: match figures.policy.no_quorum {
            config::NoQuorum::Assign => api::NoQuorum::Assign,
            config::NoQuorum::Refuse => api::NoQuorum::Refuse,
        },
        no_quorum_after_seconds: seconds(after),
        barred: figures.barred,
        operations_waiting: figures.operations_waiting,
        batches_out: figures.batches_out,
        records: figures.records,
        snapshot_held_bytes: figures.snapshot_held_bytes,
        counts: counts(&figures.counts),
        commit_latency: latency(&figures.latency),
        differences: differences.to_vec(),
        agreed: shown(agreed, hosts),
    }
}

fn counts(counts: &NodeCounts) -> api::NodeCounts {
    api::NodeCounts {
        hits: counts.hits,
        waits: counts.waits,
        asks: counts.asks,
        refusals: counts.refusals,
        alone: counts.alone,
        yielded: counts.yielded,
        renewals: counts.renewals,
        holds: counts.holds,
        releases: counts.releases,
        lost: counts.lost,
        batches: counts.batches,
        operations: counts.operations,
        failures: counts.failures,
        quorum_losses: counts.quorum_losses,
    }
}

fn latency(histogram: &Histogram) -> api::Latency {
    api::Latency {
        count: histogram.count(),
        p50_seconds: histogram.quantile(0.5),
        p99_seconds: histogram.quantile(0.99),
    }
}

fn shown(agreed: &Agreed, hosts: &Hosts) -> api::Agreed {
    let taking_new = agreed.groups.values().filter(|group| group.takes_new);
    let all = agreed.groups.iter().map(|(id, group)| api::AgreedGroup {
        id: id.0,
        status: shown_status(group.status),
        takes_new: group.takes_new,
        weight: group.weight,
        backup: group.backup,
        reason: group.reason.clone(),
    });
    let mut groups: Vec<api::AgreedGroup> = all.collect();
    if groups.len() > MOST_GROUPS {
        groups.sort_by_key(|group| group.takes_new);
        groups.truncate(MOST_GROUPS);
    }
    let members = agreed.members.iter().map(|(id, member)| api::AgreedMember {
        node: id.to_string(),
        host: hosts.get(id).cloned(),
        boot: format!("{:016x}", member.boot),
        present: member.present,
        has_session: member.has_session,
        session_ended_at: match member.session_ended_at {
            Index(0) => None,
            Index(index) => Some(index),
        },
    });
    api::Agreed {
        index: agreed.index.0,
        expiration_seconds: agreed.expiration_ms as f64 / 1_000.0,
        max_entries: agreed.max_entries,
        full: match agreed.full {
            Full::Refuse => "refuse",
            Full::Evict => "evict",
        }
        .to_owned(),
        groups_total: agreed.groups.len() as u64,
        groups_taking_new: taking_new.count() as u64,
        groups_left_out: (agreed.groups.len() - groups.len()) as u64,
        groups,
        members: members.collect(),
        fences: agreed.fences.len() as u64,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tcpffee_raft::ids::NodeId;

    use super::*;
    use crate::config::{Balance, GroupId, NoQuorum};
    use crate::groups::Status;
    use crate::stick::replicated::node::Policy;
    use crate::stick::replicated::{AgreedGroup, AgreedMember};

    fn agreed(groups: u32) -> Agreed {
        let group = |id: u32| AgreedGroup {
            status: if id == groups {
                Status::Draining
            } else {
                Status::Up
            },
            takes_new: id != groups,
            weight: 1,
            backup: false,
            reason: if id == groups {
                "drain = true".to_owned()
            } else {
                String::new()
            },
        };
        let member = AgreedMember {
            boot: 0xab,
            present: true,
            session_ended_at: Index(0),
            has_session: true,
            statement: Arc::default(),
        };
        Agreed {
            index: Index(7),
            expiration_ms: 2_500,
            max_entries: 100,
            full: Full::Evict,
            groups: (1..=groups).map(|id| (GroupId(id), group(id))).collect(),
            members: BTreeMap::from([(NodeId(2), member)]),
            fences: vec![Index(3)],
            ..Agreed::default()
        }
    }

    /// A node that serves, with every figure another one.
    pub(in super::super) fn figures() -> NodeFigures {
        let mut latency = Histogram::new(&[1_000, 10_000]);
        latency.add([98, 2, 0], 100_000);
        NodeFigures {
            has_lease: true,
            is_stated: true,
            has_lost_quorum: false,
            barred: None,
            policy: Policy {
                balance: Balance::LeastSticks,
                no_quorum: NoQuorum::Assign,
                no_quorum_after_ms: 3_000,
                connect_timeout_ms: 5_000,
                max_entries: 100,
            },
            operations_waiting: 1,
            batches_out: 2,
            records: 3,
            snapshot_held_bytes: 4,
            counts: NodeCounts {
                alone: 5,
                ..NodeCounts::default()
            },
            latency,
        }
    }

    #[test]
    fn a_node_tells_how_it_serves_and_what_is_agreed_on() {
        let hosts = BTreeMap::from([(NodeId(2), "b.example".to_owned())]);
        let told = node(figures(), &agreed(2), &["apart".to_owned()], &hosts);
        assert!(told.has_lease && told.stated && !told.quorum_lost);
        assert_eq!((told.records, told.counts.alone), (3, 5));
        let p99 = told.commit_latency.p99_seconds.unwrap();
        assert!((p99 - 0.005_5).abs() < 1e-9, "{p99}");
        assert_eq!(told.differences, ["apart"]);
        let agreed = told.agreed;
        assert_eq!((agreed.index, agreed.expiration_seconds), (7, 2.5));
        assert_eq!((agreed.full.as_str(), agreed.fences), ("evict", 1));
        assert_eq!((agreed.groups_total, agreed.groups_taking_new), (2, 1));
        assert_eq!(agreed.groups[1].reason, "drain = true");
        let [member] = &agreed.members[..] else {
            panic!("{:?}", agreed.members);
        };
        assert_eq!(member.host.as_deref(), Some("b.example"));
        assert!(member.boot.ends_with("00ab") && member.session_ended_at.is_none());
    }

    #[test]
    fn of_very_many_groups_those_are_listed_that_take_no_new_keys() {
        let told = shown(&agreed(1_000), &BTreeMap::new());
        assert_eq!((told.groups.len(), told.groups_left_out), (200, 800));
        assert_eq!((told.groups[0].id, told.groups[1].id), (1_000, 1));
    }
}
