//! Whom this node speaks to: the peers that its file names, and those that it named before and
//! that the cluster has not let go yet. One node's shorter list cuts nobody off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tcpffee_raft::driver::Handle;
use tcpffee_raft::ids::NodeId;
use tcpffee_raft::transport::PeerAddress;

use super::addresses;
use super::start::Group;
use crate::config::Config;
use crate::resolve::Names;

/// The peers of both Raft groups.
pub(super) struct Peerage {
    names: Arc<Names>,
    groups: [(Group, Handle, Mutex<Known>); 2],
}

#[derive(Default)]
struct Known {
    /// Where each peer was last, by any file of this process.
    addresses: BTreeMap<NodeId, PeerAddress>,
    /// What the Raft group was told.
    told: Vec<PeerAddress>,
}

impl Peerage {
    /// Of a configuration that the Raft groups have been started with.
    pub fn new(names: Arc<Names>, sticks: Handle, checks: Handle) -> Peerage {
        Peerage {
            names,
            groups: [
                (Group::StickTable, sticks, Mutex::default()),
                (Group::HealthChecks, checks, Mutex::default()),
            ],
        }
    }

    /// Has the Raft groups know where the peers of a configuration are, and the members besides.
    pub fn refresh(&self, config: &Config) {
        for (group, handle, known) in &self.groups {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let mut peers = addresses::of(*group, config, &self.names);
            let of_file = peers.iter().map(|peer| (peer.id, *peer));
            known.addresses.extend(of_file);
            let status = handle.status();
            let members = status.voters.iter().chain(&status.learners);
            let left_out = members.filter(|&&id| peers.iter().all(|peer| peer.id != id));
            let left_out: Vec<PeerAddress> = left_out
                .filter_map(|id| known.addresses.get(id).copied())
                .collect();
            peers.extend(left_out);
            peers.sort_unstable_by_key(|peer| peer.id);
            if known.told != peers {
                known.told.clone_from(&peers);
                handle.set_peers(peers);
            }
        }
    }
}
