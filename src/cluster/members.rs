//! Who comes and who leaves, told from what the membership was at the look before.

use std::collections::BTreeMap;

use tcpffee_raft::ids::NodeId;

use super::hosts::Hosts;

/// The membership at the last look: who votes.
#[derive(Debug, Default)]
pub(super) struct Members {
    known: Option<BTreeMap<NodeId, bool>>,
}

impl Members {
    /// What has changed since the look before, a line for each point. A node without a cluster has
    /// no membership.
    pub fn news(&mut self, voters: &[NodeId], learners: &[NodeId], hosts: &Hosts) -> Vec<String> {
        let voting = voters.iter().map(|&id| (id, true));
        let now: BTreeMap<NodeId, bool> = voting
            .chain(learners.iter().map(|&id| (id, false)))
            .collect();
        if self.known.as_ref() == Some(&now) || now.is_empty() {
            return Vec::new();
        }
        let Some(before) = self.known.replace(now.clone()) else {
            return vec![format!("members: {}", listed(&now, hosts))];
        };
        let mut lines = Vec::new();
        for (&id, &votes) in &now {
            let title = hosts.title(id);
            match (before.get(&id), votes) {
                (None, true) => lines.push(format!("{title} has joined")),
                (None, false) => lines.push(format!("{title} has joined and does not vote yet")),
                (Some(false), true) => lines.push(format!("{title} votes from now on")),
                (Some(true), false) => lines.push(format!("{title} votes no more")),
                _ => {}
            }
        }
        let gone = before.keys().filter(|id| !now.contains_key(id));
        lines.extend(gone.map(|&id| format!("{} belongs to the cluster no more", hosts.title(id))));
        lines
    }
}

fn listed(members: &BTreeMap<NodeId, bool>, hosts: &Hosts) -> String {
    let named = members.iter().map(|(&id, votes)| match votes {
        true => hosts.title(id),
        false => format!("{}, which does not vote yet", hosts.title(id)),
    });
    named.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::hosts::sample;

    #[test]
    fn comings_and_goings_are_told_with_hosts() {
        let (mut members, hosts) = (Members::default(), sample());
        let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let mut news =
            |voters: &[u64], learners: &[u64]| members.news(&ids(voters), &ids(learners), &hosts);
        assert!(news(&[], &[]).is_empty());
        let this = "this node (00:00:00:00:00:01)";
        let second = "00:00:00:00:00:02 (b.example)";
        let third = "00:00:00:00:00:03";
        assert_eq!(news(&[1, 2], &[]), [format!("members: {this}; {second}")]);
        assert!(news(&[1, 2], &[]).is_empty());
        assert_eq!(
            news(&[1, 2], &[3]),
            [format!("{third} has joined and does not vote yet")]
        );
        assert_eq!(
            news(&[2, 3], &[]),
            [
                format!("{third} votes from now on"),
                format!("{this} belongs to the cluster no more")
            ]
        );
        // Begun anew, it belongs to none for a while: that is no news of others.
        assert!(news(&[], &[]).is_empty() && news(&[2, 3], &[]).is_empty());
    }
}
