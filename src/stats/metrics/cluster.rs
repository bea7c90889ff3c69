//! How this node serves by the stick table that the cluster agrees on; a lone node has no series
//! here.

use super::figures::Figures;
use super::text::Text;
use crate::stats::api::{ClusterNode, NodeCounts};

/// A metric: its name, what it means, the value.
type Metric<T, V> = (&'static str, &'static str, fn(&T) -> V);

const FLAGS: [Metric<ClusterNode, bool>; 4] = [
    (
        "tcpffee_cluster_has_lease",
        "Whether this node may answer from its own copy of the stick table now.",
        |node| node.has_lease,
    ),
    (
        "tcpffee_cluster_stated",
        "Whether what this node's file states stands in the log.",
        |node| node.stated,
    ),
    (
        "tcpffee_cluster_quorum_lost",
        "Whether no leader has answered for no_quorum_after, so that clients are served by no_quorum.",
        |node| node.quorum_lost,
    ),
    (
        "tcpffee_cluster_barred",
        "Whether this node may not serve anybody; /api/v1/health says why.",
        |node| node.barred.is_some(),
    ),
];

const SIZES: [Metric<ClusterNode, u64>; 8] = [
    (
        "tcpffee_cluster_file_differences",
        "Points in which this node's file differs from what is agreed on, up to 101; /api/v1/raft lists them.",
        |node| node.differences.len() as u64,
    ),
    (
        "tcpffee_cluster_operations_waiting",
        "Operations that wait to be proposed.",
        |node| node.operations_waiting,
    ),
    (
        "tcpffee_cluster_batches_out",
        "Batches of operations that have no answer yet.",
        |node| node.batches_out,
    ),
    (
        "tcpffee_cluster_records",
        "Keys of which this node knows more than its copy of the stick table does.",
        |node| node.records,
    ),
    (
        "tcpffee_cluster_snapshot_held_bytes",
        "Bytes that a snapshot being read keeps of entries which have changed since it was taken.",
        |node| node.snapshot_held_bytes,
    ),
    (
        "tcpffee_cluster_groups",
        "Groups that are agreed on.",
        |node| node.agreed.groups_total,
    ),
    (
        "tcpffee_cluster_groups_taking_new",
        "Those of them that take new keys.",
        |node| node.agreed.groups_taking_new,
    ),
    (
        "tcpffee_cluster_fences",
        "Changes that every node is to know of before keys are assigned anew by them.",
        |node| node.agreed.fences,
    ),
];

const COUNTS: [Metric<NodeCounts, u64>; 12] = [
    (
        "tcpffee_cluster_waits_total",
        "Connections that waited for an answer of the log.",
        |counts| counts.waits,
    ),
    (
        "tcpffee_cluster_asks_total",
        "Questions put to the log.",
        |counts| counts.asks,
    ),
    (
        "tcpffee_cluster_alone_assignments_total",
        "Keys given a group without a leader (no_quorum).",
        |counts| counts.alone,
    ),
    (
        "tcpffee_cluster_alone_yielded_total",
        "Keys given a group without a leader that had been agreed otherwise meanwhile, and gave way.",
        |counts| counts.yielded,
    ),
    (
        "tcpffee_cluster_renewals_total",
        "Renewals of entries, acknowledged.",
        |counts| counts.renewals,
    ),
    (
        "tcpffee_cluster_holds_total",
        "Entries held for open connections, acknowledged.",
        |counts| counts.holds,
    ),
    (
        "tcpffee_cluster_releases_total",
        "Entries released, acknowledged.",
        |counts| counts.releases,
    ),
    (
        "tcpffee_cluster_entries_lost_total",
        "Entries that were gone when the log was told of them.",
        |counts| counts.lost,
    ),
    (
        "tcpffee_cluster_batches_total",
        "Batches of operations proposed.",
        |counts| counts.batches,
    ),
    (
        "tcpffee_cluster_operations_total",
        "Operations in them.",
        |counts| counts.operations,
    ),
    (
        "tcpffee_cluster_batch_failures_total",
        "Batches that got no answer.",
        |counts| counts.failures,
    ),
    (
        "tcpffee_cluster_quorum_losses_total",
        "Times that no leader answered any more for no_quorum_after.",
        |counts| counts.quorum_losses,
    ),
];

/// Writes how this node serves.
pub fn write(figures: &Figures, text: &mut Text) {
    let node = figures.rest.raft.node.as_ref();
    for (name, help, pick) in FLAGS {
        let mut family = text.gauge(name, help);
        if let Some(node) = node {
            family.flag(&[], pick(node));
        }
    }
    for (name, help, pick) in SIZES {
        let mut family = text.gauge(name, help);
        if let Some(node) = node {
            family.sample(&[], pick(node));
        }
    }
    for (name, help, pick) in COUNTS {
        let mut family = text.counter(name, help);
        if let Some(node) = node {
            family.sample(&[], pick(&node.counts));
        }
    }
    write_members(node, text);
    let mut family = text.histogram(
        "tcpffee_cluster_commit_duration_seconds",
        "How long batches of operations took from their proposal to their answer.",
    );
    if let Some(latency) = &figures.rest.commit_latency {
        family.durations(&[], latency);
    }
}

fn write_members(node: Option<&ClusterNode>, text: &mut Text) {
    let mut family = text.gauge(
        "tcpffee_cluster_member_present",
        "Whether what a node states counts for the status of groups: it has stated, and was not silent for long.",
    );
    let members = node.iter().flat_map(|node| &node.agreed.members);
    for member in members {
        family.flag(&[("member", &member.node)], member.present);
    }
}
