//! `/api/v1/peers`: the nodes of the cluster, one by one.

use std::collections::{BTreeMap, BTreeSet};

use tcpffee_raft::driver::{Status, boot_time};
use tcpffee_raft::ids::{NodeId, NodeTime};

use super::{Sources, api, raft};
use crate::cluster::hosts;
use crate::stick::replicated::Agreed;

/// The hosts of the configured peers, this node included.
pub(super) type Hosts = BTreeMap<NodeId, String>;

impl Sources {
    /// The nodes of the cluster.
    pub fn peers(&self) -> api::Peers {
        let Some(cluster) = &self.parts.cluster else {
            return api::Peers { peers: Vec::new() };
        };
        peers(
            &(cluster.stick_table.status)(),
            &(cluster.healthchecks.status)(),
            &cluster.node.replica().agreed_ref(),
            &self.hosts(),
            boot_time(),
        )
    }

    /// The hosts of the peers that the configuration in force names.
    pub(super) fn hosts(&self) -> Hosts {
        hosts::by_id(&self.parts.proxy.generation().config.peers)
    }
}

fn peers(
    sticks: &Status,
    checks: &Status,
    agreed: &Agreed,
    hosts: &Hosts,
    now: NodeTime,
) -> api::Peers {
    let members = |status: &Status| [status.voters.clone(), status.learners.clone()].concat();
    let mut ids: BTreeSet<NodeId> = hosts.keys().copied().collect();
    ids.extend(members(sticks));
    ids.extend(members(checks));
    let peer = |id: NodeId| {
        let stick_table = raft::member(sticks, id, hosts, now);
        let healthchecks = raft::member(checks, id, hosts, now);
        let both = || [&stick_table, &healthchecks].into_iter();
        let stated = agreed.members.get(&id);
        let connected = both().any(|member| member.connected);
        let version = both().find_map(|member| member.version);
        let conflict = both().find_map(|member| member.conflict.clone());
        api::Peer {
            node: id.to_string(),
            host: hosts.get(&id).cloned(),
            own: id == sticks.node,
            configured: hosts.contains_key(&id),
            connected,
            version,
            conflict,
            present: stated.is_some_and(|member| member.present),
            has_session: stated.is_some_and(|member| member.has_session),
            stick_table,
            healthchecks,
        }
    };
    api::Peers {
        peers: ids.into_iter().map(peer).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::raft::tests::{NOW, hosts, leader};
    use super::*;

    #[test]
    fn configured_peers_and_members_are_listed_once_each() {
        let mut hosts = hosts();
        hosts.insert(NodeId(8), "h.example".to_owned());
        let checks = Status {
            learners: vec![NodeId(9)],
            ..leader()
        };
        let told = peers(&leader(), &checks, &Agreed::default(), &hosts, NOW).peers;
        let ids: Vec<&str> = told.iter().map(|peer| peer.node.as_str()).collect();
        let expected = [1, 2, 3, 8, 9].map(|id| format!("00:00:00:00:00:0{id}"));
        assert_eq!(ids, expected);
        let [own, second, third, eighth, ninth] = &told[..] else {
            panic!("{told:?}");
        };
        assert!(own.own && own.connected && own.configured && !own.present);
        assert_eq!(own.host.as_deref(), Some("a.example"));
        assert_eq!(second.version, Some(1));
        assert!(!third.connected && third.conflict.is_some() && !third.configured);
        let of_sticks = &eighth.stick_table;
        assert!(!of_sticks.belongs && eighth.configured);
        let of_checks = &ninth.healthchecks;
        assert!(of_checks.belongs && !of_checks.votes && ninth.host.is_none());
    }
}
