//! Where this node's file differs from what the cluster has agreed on.

use std::fmt;
use std::time::Duration;

use tcpffee_raft::ids::NodeId;

use super::hosts::Hosts;
use crate::config::GroupId;
use crate::stick::replicated::command::{Full, StatedGroup, Statement};
use crate::stick::replicated::{Agreed, AgreedGroup};

/// Points that are told; the rest is counted.
const MAX_DIFFERENCES: usize = 100;

/// Where this node's file differs from what is agreed on, a line for each point; of very many the
/// first ones, and how many more there are.
pub(super) fn differences(agreed: &Agreed, own: NodeId, hosts: &Hosts) -> Vec<String> {
    let Some(member) = agreed.members.get(&own) else {
        return Vec::new();
    };
    let stated = &member.statement;
    let mut lines = settings_apart(agreed, stated);
    for (&id, group) in &agreed.groups {
        match stated_group(stated, id) {
            None if group.status.is_usable() => lines.push(format!(
                "group {id} is not in this node's file, and is in others'"
            )),
            Some(own) => lines.extend(group_apart(own, group)),
            None => {}
        }
    }
    for (&node, other) in agreed.members.iter().filter(|(_, other)| other.present) {
        let groups = stated.groups.iter();
        let missing = groups.filter(|group| stated_group(&other.statement, group.id).is_none());
        lines.extend(missing.map(|group| {
            format!(
                "group {} is not in the file of {}: it takes no new clients",
                group.id,
                hosts.title(node)
            )
        }));
    }
    let more = lines.len().saturating_sub(MAX_DIFFERENCES);
    lines.truncate(MAX_DIFFERENCES);
    if more > 0 {
        lines.push(format!("{more} more differences"));
    }
    lines
}

/// Statements have their groups ascending by id.
fn stated_group(stated: &Statement, id: GroupId) -> Option<&StatedGroup> {
    let found = stated.groups.binary_search_by_key(&id, |group| group.id);
    found.ok().and_then(|at| stated.groups.get(at))
}

fn settings_apart(agreed: &Agreed, stated: &Statement) -> Vec<String> {
    let seconds = |ms: u64| format!("{} s", Duration::from_millis(ms).as_secs_f64());
    let full = |full: Full| match full {
        Full::Refuse => "refuse".to_owned(),
        Full::Evict => "evict".to_owned(),
    };
    let settings = [
        (
            "expiration",
            seconds(stated.expiration_ms),
            seconds(agreed.expiration_ms),
        ),
        (
            "stick_table_max_entries",
            stated.max_entries.to_string(),
            agreed.max_entries.to_string(),
        ),
        ("stick_table_full", full(stated.full), full(agreed.full)),
    ];
    let apart = settings
        .into_iter()
        .filter(|(_, here, there)| here != there);
    apart
        .map(|(key, here, there)| apart_line(key, &here, &there))
        .collect()
}

fn group_apart(own: &StatedGroup, agreed: &AgreedGroup) -> Vec<String> {
    let key = |name: &str| format!("groups.{}.{name}", own.id);
    let mut lines = Vec::new();
    if own.weight != agreed.weight {
        lines.push(apart_line(&key("weight"), &own.weight, &agreed.weight));
    }
    if own.backup != agreed.backup {
        lines.push(apart_line(&key("backup"), &own.backup, &agreed.backup));
    }
    lines
}

fn apart_line(key: &str, here: &dyn fmt::Display, there: &dyn fmt::Display) -> String {
    format!("{key} is {here} in this node's file; the cluster has agreed on {there}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tcpffee_raft::ids::Index;

    use super::*;
    use crate::cluster::hosts::sample;
    use crate::groups::Status;
    use crate::stick::replicated::AgreedMember;

    fn group(id: u32, weight: u32) -> StatedGroup {
        StatedGroup {
            id: GroupId(id),
            status: Status::Up,
            weight,
            backup: id == 3,
        }
    }

    fn member(expiration_ms: u64, groups: Vec<StatedGroup>) -> AgreedMember {
        AgreedMember {
            boot: 1,
            present: true,
            session_ended_at: Index(0),
            has_session: true,
            statement: Arc::new(Statement {
                expiration_ms,
                max_entries: 100,
                full: Full::Refuse,
                groups,
            }),
        }
    }

    fn agreed(own: AgreedMember, other: AgreedMember) -> Agreed {
        let agreed_group = |group: &StatedGroup| AgreedGroup {
            status: group.status,
            takes_new: true,
            weight: group.weight,
            backup: false,
            reason: String::new(),
        };
        let groups = other.statement.groups.iter();
        Agreed {
            expiration_ms: other.statement.expiration_ms,
            max_entries: 100,
            groups: groups
                .map(|group| (group.id, agreed_group(group)))
                .collect(),
            members: BTreeMap::from([(NodeId(1), own), (NodeId(2), other)]),
            ..Agreed::default()
        }
    }

    #[test]
    fn each_point_in_which_a_file_differs_is_told() {
        let same = member(60_000, vec![group(1, 1)]);
        let agreed_on = agreed(same.clone(), same);
        assert!(differences(&agreed_on, NodeId(1), &sample()).is_empty());
        let own = member(2_500, vec![group(1, 1), group(3, 1), group(4, 1)]);
        let other = member(60_000, vec![group(1, 2), group(2, 1), group(3, 1)]);
        assert_eq!(
            differences(&agreed(own, other), NodeId(1), &sample()),
            [
                "expiration is 2.5 s in this node's file; the cluster has agreed on 60 s",
                "groups.1.weight is 1 in this node's file; the cluster has agreed on 2",
                "group 2 is not in this node's file, and is in others'",
                "groups.3.backup is true in this node's file; the cluster has agreed on false",
                "group 4 is not in the file of 00:00:00:00:00:02 (b.example): it takes no new \
                 clients",
            ]
        );
    }

    #[test]
    fn of_very_many_differences_the_first_are_told() {
        let own = member(60_000, Vec::new());
        let other = member(60_000, (0..500).map(|id| group(id, 1)).collect());
        let lines = differences(&agreed(own, other), NodeId(1), &sample());
        assert_eq!(lines.len(), MAX_DIFFERENCES + 1);
        assert_eq!(lines[MAX_DIFFERENCES], "400 more differences");
    }
}
