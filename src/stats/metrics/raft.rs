//! How the nodes of the cluster stand; a lone node has no series here.

use super::figures::Figures;
use super::text::{Labels, Text};
use crate::stats::api::{Member, RaftGroup, RaftRole};

/// The words for what a node can be.
const ROLES: [(RaftRole, &str); 4] = [
    (RaftRole::Leader, "leader"),
    (RaftRole::Follower, "follower"),
    (RaftRole::Candidate, "candidate"),
    (RaftRole::Learner, "learner"),
];

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
            "Whether something keeps this node out of the cluster; /api/v1/raft says what.",
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
    let values: [Metric<u64>; 4] = [
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
    ];
    for (name, help, pick) in values {
        let mut family = text.gauge(name, help);
        for (raft, group) in groups {
            family.sample(&[("raft", raft)], pick(group));
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
}

fn each_member(groups: &[(&str, &RaftGroup)], mut write: impl FnMut(Labels<'_>, &Member)) {
    for (raft, group) in groups {
        for member in &group.members {
            write(&[("raft", raft), ("member", &member.node)], member);
        }
    }
}
