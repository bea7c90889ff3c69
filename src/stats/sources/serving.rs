//! What keeps a node of a cluster from serving as the cluster wants, in words.

use super::api;

/// Differences that are told one by one.
const MOST_NAMED: usize = 20;
/// What people call the Raft groups.
const NAMES: [&str; 2] = ["Raft of the stick table", "Raft of the health checks"];

/// Why the node must get no traffic; nothing for a lone node.
pub(super) fn reasons(raft: &api::Raft) -> Vec<String> {
    let mut reasons = Vec::new();
    let stick_table = raft.stick_table.as_ref();
    let trouble = stick_table.and_then(|group| group.trouble.as_ref());
    if let Some(node) = &raft.node
        && let Some(why) = node.barred.as_ref().filter(|why| Some(*why) != trouble)
    {
        reasons.push(format!("it may not serve: {why}"));
    }
    for (name, group) in groups(raft) {
        if let Some(trouble) = group.trouble.as_ref().filter(|_| !group.takes_part) {
            reasons.push(format!("{name}: {trouble}"));
        } else if group.cluster.is_none() {
            reasons.push(format!("{name}: {}", group.forming));
        }
    }
    if let (Some(node), Some(group)) = (&raft.node, stick_table) {
        reasons.extend(unled(node, group));
    }
    if let Some(group) = &raft.healthchecks
        && group.takes_part
        && group.cluster.is_some()
        && !group.has_lease
    {
        reasons.push(format!("{}: no leader has answered", NAMES[1]));
    }
    reasons
}

/// What an operator should look at.
pub(super) fn warnings(raft: &api::Raft) -> Vec<String> {
    let mut warnings = Vec::new();
    let node = raft.node.as_ref();
    let differences = node.map_or(&[][..], |node| &node.differences);
    warnings.extend(differences.iter().take(MOST_NAMED).cloned());
    if differences.len() > MOST_NAMED {
        let more = differences.len() - MOST_NAMED;
        warnings.push(format!(
            "this node's file differs in {more} more points from what is agreed on"
        ));
    }
    let barred = node.and_then(|node| node.barred.as_ref());
    for (name, group) in groups(raft) {
        if let Some(trouble) = group.trouble.as_ref().filter(|_| group.takes_part) {
            warnings.push(format!("{name}: {trouble}"));
        }
        let conflicts = group.conflicts.iter();
        let others = conflicts.filter(|conflict| Some(&conflict.reason) != barred);
        warnings.extend(others.map(|conflict| {
            let host = conflict.host.as_ref();
            let host = host.map(|host| format!(" ({host})")).unwrap_or_default();
            format!("{name}, {}{host}: {}", conflict.node, conflict.reason)
        }));
    }
    warnings
}

fn groups(raft: &api::Raft) -> impl Iterator<Item = (&'static str, &api::RaftGroup)> {
    let groups = [&raft.stick_table, &raft.healthchecks];
    let named = NAMES.into_iter().zip(groups);
    named.filter_map(|(name, group)| Some((name, group.as_ref()?)))
}

/// What the node lacks of a leader's answers.
fn unled(node: &api::ClusterNode, group: &api::RaftGroup) -> Option<String> {
    if node.quorum_lost {
        let policy = match node.no_quorum {
            api::NoQuorum::Assign => {
                "known clients go on, new ones are given groups by rendezvous hash \
                 (no_quorum = \"assign\")"
            }
            api::NoQuorum::Refuse => "clients are reset until one does (no_quorum = \"refuse\")",
        };
        let after = node.no_quorum_after_seconds;
        return Some(format!(
            "no leader of the stick table has answered for {after} s: {policy}"
        ));
    }
    if group.cluster.is_none() || !group.takes_part {
        return None; // that says it all
    }
    if !node.has_lease {
        let who = match group.role {
            api::RaftRole::Learner => "this node is joining",
            _ => "this node has no lease",
        };
        return Some(format!(
            "{who}: no leader of the stick table has let it answer from its own table lately; \
             clients wait"
        ));
    }
    (!node.stated).then(|| {
        "what this node's file states does not stand in the cluster's log yet: new clients wait"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use tcpffee_raft::core::Role;
    use tcpffee_raft::driver::{Conflict, Status, Trouble};
    use tcpffee_raft::forming::{self, Obstacle};
    use tcpffee_raft::ids::NodeId;

    use super::super::agreed::{self, tests::figures};
    use super::super::raft::group;
    use super::super::raft::tests::{NOW, hosts, leader};
    use super::*;
    use crate::config::NoQuorum;
    use crate::stick::replicated::Agreed;
    use crate::stick::replicated::node::NodeFigures;

    /// A node that nothing is wrong with.
    fn sound() -> Status {
        Status {
            conflicts: Default::default(),
            trouble: None,
            ..leader()
        }
    }

    fn raft(status: Status, figures: NodeFigures, differences: &[&str]) -> api::Raft {
        let differences: Vec<String> = differences.iter().map(|&line| line.to_owned()).collect();
        api::Raft {
            stick_table: Some(group(&status, 0, &hosts(), NOW)),
            healthchecks: None,
            node: Some(agreed::node(
                figures,
                &Agreed::default(),
                &differences,
                &hosts(),
            )),
        }
    }

    #[test]
    fn a_node_with_a_lease_serves() {
        let raft = raft(sound(), figures(), &[]);
        assert!(reasons(&raft).is_empty() && warnings(&raft).is_empty());
    }

    #[test]
    fn without_a_quorum_the_policy_is_told() {
        let mut lost = figures();
        (lost.has_lost_quorum, lost.has_lease) = (true, false);
        assert_eq!(
            reasons(&raft(sound(), lost.clone(), &[])),
            [
                "no leader of the stick table has answered for 3 s: known clients go on, new ones \
                 are given groups by rendezvous hash (no_quorum = \"assign\")"
            ]
        );
        lost.policy.no_quorum = NoQuorum::Refuse;
        let told = reasons(&raft(sound(), lost, &[]));
        assert!(told[0].ends_with("clients are reset until one does (no_quorum = \"refuse\")"));
    }

    #[test]
    fn a_node_that_joins_says_how_far_it_is() {
        let mut fresh = figures();
        (fresh.has_lease, fresh.is_stated) = (false, false);
        let forming = Status {
            cluster: None,
            forming: forming::State::Blocked(vec![Obstacle::Waiting(NodeId(2))]),
            ..sound()
        };
        assert_eq!(
            reasons(&raft(forming, fresh.clone(), &[])),
            ["Raft of the stick table: no cluster yet: waiting for peer 00:00:00:00:00:02"]
        );
        let learner = Status {
            role: Role::Learner,
            ..sound()
        };
        let told = reasons(&raft(learner, fresh.clone(), &[]));
        assert!(told[0].starts_with("this node is joining: "), "{told:?}");
        let told = reasons(&raft(sound(), fresh.clone(), &[]));
        assert!(told[0].starts_with("this node has no lease: "), "{told:?}");
        fresh.has_lease = true;
        let told = reasons(&raft(sound(), fresh, &[]));
        assert!(
            told[0].contains("does not stand in the cluster's log yet"),
            "{told:?}"
        );
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn a_node_that_may_not_serve_says_why_once() {
        let conflict = Conflict::Agreement {
            ours: "keys by IP".to_owned(),
            theirs: "keys by slice".to_owned(),
        };
        let mut barred = figures();
        barred.barred = Some(conflict.to_string());
        let apart = Status {
            conflicts: [(NodeId(2), conflict)].into(),
            ..sound()
        };
        let told = raft(apart, barred, &[]);
        assert_eq!(
            reasons(&told),
            [
                "it may not serve: what must be the same on all nodes differs: here keys by IP, \
                 there keys by slice"
            ]
        );
        assert!(warnings(&told).is_empty());
        let trouble = Trouble::Dismissed;
        let mut dismissed = figures();
        dismissed.barred = Some(trouble.to_string());
        let out = Status {
            trouble: Some(trouble),
            ..sound()
        };
        assert_eq!(
            reasons(&raft(out, dismissed, &[])),
            ["Raft of the stick table: the cluster has dismissed this node"]
        );
    }

    #[test]
    fn a_failed_disk_is_a_reason_and_a_failed_snapshot_a_warning() {
        let failed = |trouble| Status {
            trouble: Some(trouble),
            ..sound()
        };
        let disk = raft(failed(Trouble::Disk("no space".to_owned())), figures(), &[]);
        let told = reasons(&disk);
        assert!(
            told[0].contains("the log cannot be written: no space"),
            "{told:?}"
        );
        let snapshot = failed(Trouble::Snapshot("no space".to_owned()));
        let snapshot = raft(snapshot, figures(), &[]);
        assert!(reasons(&snapshot).is_empty());
        assert_eq!(
            warnings(&snapshot),
            ["Raft of the stick table: no snapshot can be taken: no space"]
        );
    }

    #[test]
    fn differing_files_and_conflicts_of_peers_are_warnings() {
        let apart = Status {
            conflicts: [(NodeId(2), Conflict::Secret)].into(),
            ..sound()
        };
        let told = raft(apart, figures(), &["expiration is 1 s in this node's file"]);
        assert!(reasons(&told).is_empty());
        assert_eq!(
            warnings(&told),
            [
                "expiration is 1 s in this node's file",
                "Raft of the stick table, 00:00:00:00:00:02 (b.example): the peer secrets differ: \
                 compare peer_secret_file on both",
            ]
        );
    }
}
