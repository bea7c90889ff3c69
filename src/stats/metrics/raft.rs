//! How the Raft groups of this node stand; a lone node has no series here.

use super::figures::Figures;
use super::text::{Labels, Text};
use crate::stats::api::{Member, RaftCounts, RaftGroup, RaftRole};

/// The words for what a node can be.
const ROLES: [(RaftRole, &str); 4] = [
    (RaftRole::Leader, "leader"),
    (RaftRole::Follower, "follower"),
    (RaftRole::Candidate, "candidate"),
    (RaftRole::Learner, "learner"),
];

/// What becomes of snapshots.
const SNAPSHOTS: [Outcome; 3] = [
    ("taken", |counts| counts.snapshots_taken),
    ("failed", |counts| counts.snapshots_failed),
    ("restored", |counts| counts.snapshots_restored),
];

/// What may become of something: its word, and how often it did.
type Outcome = (&'static str, fn(&RaftCounts) -> u64);

/// A metric with one value for each Raft group: its name, what it means, the value.
type Metric<T> = (&'static str, &'static str, fn(&RaftGroup) -> T);

/// Writes the Raft groups' metrics.
pub fn write(figures: &Figures, text: &mut Text) {
    let raft = &figures.rest.raft;
    let named = [
        ("stick_table", &raft.stick_table),
        ("healthchecks", &raft.healthchecks),
    ];
    let groups: Vec<(&str, &RaftGroup)> = named
        .into_iter()
        .filter_map(|(name, group)| Some((name, group.as_ref()?)))
        .collect();
    write_roles(&groups, text);
    write_progress(&groups, text);
    write_counts(&groups, text);
    write_queues(&groups, text);
    write_members(&groups, text);
}

fn write_roles(groups: &[(&str, &RaftGroup)], text: &mut Text) {
    let mut family = text.gauge(
        "tcpffee_raft_role",
        "1 for what this node is in a Raft group, 0 for what it is not.",
    );
    for (raft, group) in groups {
        for (role, word) in ROLES {
            family.flag(&[("raft", raft), ("role", word)], group.role == role);
        }
    }
    let flags: [Metric<bool>; 3] = [
        (
            "tcpffee_raft_has_leader",
            "Whether this node knows who leads.",
            |group| group.leader.is_some(),
        ),
        (
            "tcpffee_raft_has_lease",
            "Whether this node may answer from its own table now.",
            |group| group.has_lease,
        ),
        (
            "tcpffee_raft_trouble",
            "Whether something keeps this node out of the cluster, or it lacks something; /api/v1/raft says what.",
            |group| group.trouble.is_some(),
        ),
    ];
    for (name, help, pick) in flags {
        let mut family = text.gauge(name, help);
        for (raft, group) in groups {
            family.flag(&[("raft", raft)], pick(group));
        }
    }
}

fn write_progress(groups: &[(&str, &RaftGroup)], text: &mut Text) {
    let values: [Metric<u64>; 8] = [
        (
            "tcpffee_raft_term",
            "The newest term that this node knows.",
            |group| group.term,
        ),
        (
            "tcpffee_raft_commit_index",
            "The index up to which the log is committed, as far as this node knows.",
            |group| group.commit,
        ),
        (
            "tcpffee_raft_applied_index",
            "The index up to which this node has applied.",
            |group| group.applied,
        ),
        (
            "tcpffee_raft_log_bytes",
            "Bytes of the log in memory.",
            |group| group.log_bytes,
        ),
        ("tcpffee_raft_log_entries", "Entries of the log.", |group| {
            group.log_entries
        }),
        (
            "tcpffee_raft_snapshot_bytes",
            "Bytes of the newest snapshot; 0 where there is none.",
            |group| group.snapshot_bytes.unwrap_or(0),
        ),
        (
            "tcpffee_raft_command_version",
            "The newest version of commands that all members understand.",
            |group| group.version.into(),
        ),
        (
            "tcpffee_raft_conflicts",
            "Nodes that do not take each other as this node knows; /api/v1/raft says why.",
            |group| group.conflicts.len() as u64,
        ),
    ];
    for (name, help, pick) in values {
        let mut family = text.gauge(name, help);
        for (raft, group) in groups {
            family.sample(&[("raft", raft)], pick(group));
        }
    }
}

fn write_counts(groups: &[(&str, &RaftGroup)], text: &mut Text) {
    let counts: [Metric<u64>; 6] = [
        (
            "tcpffee_raft_leader_changes_total",
            "Leaders that this node has come to know, one after the other.",
            |group| group.leader_changes,
        ),
        (
            "tcpffee_raft_elections_won_total",
            "Elections that this node won.",
            |group| group.counts.elections_won,
        ),
        (
            "tcpffee_raft_log_syncs_total",
            "Times that the log was synced.",
            |group| group.counts.syncs,
        ),
        (
            "tcpffee_raft_entries_applied_total",
            "Entries that this node has applied.",
            |group| group.counts.entries_applied,
        ),
        (
            "tcpffee_raft_proposals_total",
            "Commands that this node asked for.",
            |group| group.counts.proposed,
        ),
        (
            "tcpffee_raft_proposals_unanswered_total",
            "Those of them that got no answer: too late, not taken, or refused.",
            |group| group.counts.unanswered,
        ),
    ];
    for (name, help, pick) in counts {
        let mut family = text.counter(name, help);
        for (raft, group) in groups {
            family.sample(&[("raft", raft)], pick(group));
        }
    }
    let mut family = text.counter(
        "tcpffee_raft_snapshots_total",
        "Snapshots of its own state that this node took, or failed to take, and those of a leader that it put in force.",
    );
    for (raft, group) in groups {
        for (outcome, pick) in SNAPSHOTS {
            family.sample(&[("raft", raft), ("outcome", outcome)], pick(&group.counts));
        }
    }
}

fn write_queues(groups: &[(&str, &RaftGroup)], text: &mut Text) {
    let mut family = text.gauge(
        "tcpffee_raft_proposals_waiting",
        "Proposals that wait: of this node to be sent, and of any node for the log while this node leads.",
    );
    for (raft, group) in groups {
        let queues = [
            ("to_send", group.proposals_waiting),
            ("at_leader", group.proposals_at_leader),
        ];
        for (queue, length) in queues {
            family.sample(&[("raft", raft), ("queue", queue)], length);
        }
    }
}

fn write_members(groups: &[(&str, &RaftGroup)], text: &mut Text) {
    let mut family = text.gauge(
        "tcpffee_raft_member_connected",
        "Whether a connection to a node is open; 1 for this node.",
    );
    each_member(groups, |labels, member| {
        family.flag(labels, member.connected)
    });
    let mut family = text.gauge(
        "tcpffee_raft_member_lag_entries",
        "Entries that a node lacks, counted from the leader's last one; only the leader knows.",
    );
    each_member(groups, |labels, member| {
        if let Some(lag) = member.lag {
            family.sample(labels, lag);
        }
    });
    let mut family = text.gauge(
        "tcpffee_raft_member_silent_seconds",
        "Seconds since a node was last heard; only the leader knows.",
    );
    each_member(groups, |labels, member| {
        if let Some(silent_seconds) = member.silent_seconds {
            family.sample(labels, silent_seconds);
        }
    });
    let mut family = text.gauge(
        "tcpffee_raft_member_snapshot_bytes",
        "Bytes that have arrived of a snapshot that a node is being sent; only the leader knows.",
    );
    each_member(groups, |labels, member| {
        if let Some(bytes) = member.snapshot_bytes {
            family.sample(labels, bytes);
        }
    });
}

fn each_member(groups: &[(&str, &RaftGroup)], mut write: impl FnMut(Labels<'_>, &Member)) {
    for (raft, group) in groups {
        for member in &group.members {
            write(&[("raft", raft), ("member", &member.node)], member);
        }
    }
}
