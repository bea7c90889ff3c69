//! What the nodes' files say.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::network;
use crate::support::Settings;

/// The ports that nodes listen on.
pub const PORTS: [u16; 2] = [5280, 5281];

/// The port of each node's statistics.
pub const STATISTICS: u16 = 2340;

/// The settings of all nodes, and who is of the cluster.
#[derive(Clone, Debug)]
pub struct Plan {
    settings: Settings,
    peers: Vec<usize>,
    macs: BTreeMap<usize, String>,
}

impl Plan {
    /// Groups 0, 1, … for nodes that run alone.
    pub fn alone(groups: u32) -> Plan {
        let settings = Settings::empty()
            .ports(&PORTS)
            .set("workers", 2)
            .set("expiration", 30)
            .set("no_quorum", "refuse");
        let plan = Plan {
            settings,
            peers: Vec::new(),
            macs: BTreeMap::new(),
        };
        (0..groups).fold(plan, |plan, group| {
            plan.with(|settings| settings.group(group, network::server(group)))
        })
    }

    /// The same for a cluster of these nodes.
    pub fn cluster(peers: &[usize], groups: u32) -> Plan {
        Plan::alone(groups).peers(peers)
    }

    /// With other nodes.
    pub fn peers(mut self, peers: &[usize]) -> Plan {
        self.peers = peers.to_vec();
        self
    }

    /// With another MAC address for a node than its interface has.
    pub fn mac(mut self, node: usize, mac: &str) -> Plan {
        self.macs.insert(node, mac.to_owned());
        self
    }

    /// With other settings.
    pub fn with(self, change: impl FnOnce(Settings) -> Settings) -> Plan {
        Plan {
            settings: change(self.settings),
            ..self
        }
    }

    /// With a top-level key.
    pub fn set(self, key: &str, value: impl Into<Value>) -> Plan {
        self.with(|settings| settings.set(key, value))
    }

    /// With a key of a group.
    pub fn group_set(self, group: u32, key: &str, value: impl Into<Value>) -> Plan {
        self.with(|settings| settings.group_set(group, key, value))
    }

    /// The file of one node.
    pub fn for_node(&self, node: usize) -> Settings {
        let own = network::address(node);
        let mut settings = self.settings.clone().bind(&[own.into()]);
        settings = settings.stats((own, STATISTICS).into());
        for (key, port) in [
            ("raft_healthchecks_logs_bind_socket", 2341),
            ("raft_stick_table_logs_bind_socket", 2342),
            ("raft_healthchecks_proposals_bind_socket", 2343),
            ("raft_stick_table_proposals_bind_socket", 2344),
        ] {
            settings = settings.set(key, format!("{own}:{port}"));
        }
        if self.peers.is_empty() {
            return settings;
        }
        let peers: Vec<Value> = self.peers.iter().map(|peer| self.entry(*peer)).collect();
        settings.set("peers", peers)
    }

    /// `expiration`, in seconds.
    pub fn expiration_seconds(&self) -> f64 {
        let table: Table = self.settings.text().parse().expect("it was written so");
        let value = &table["expiration"];
        let whole = || value.as_integer().map(|seconds| seconds as f64);
        value.as_float().or_else(whole).expect("it is a number")
    }

    fn entry(&self, peer: usize) -> Value {
        let usual = || network::mac(peer);
        let mac = self.macs.get(&peer).cloned().unwrap_or_else(usual);
        let mut entry = Table::new();
        entry.insert("host".to_owned(), network::address(peer).to_string().into());
        entry.insert("mac_address".to_owned(), mac.into());
        Value::Table(entry)
    }
}
