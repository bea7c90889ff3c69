//! The configuration that a test writes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use toml::{Table, Value};

use super::Block;

/// The ports that most tests listen on.
pub const PORTS: [u16; 3] = [5280, 5281, 5282];

/// A configuration under construction; cloned and changed for a reload.
#[derive(Clone, Debug)]
pub struct Settings {
    table: Table,
}

impl Settings {
    /// No key at all.
    pub fn empty() -> Settings {
        Settings {
            table: Table::new(),
        }
    }

    /// Two workers on [`PORTS`] of the block's proxy address, an expiration of 60 s, no groups.
    pub fn new(block: &Block) -> Settings {
        let proxy = block.proxy();
        let mut settings = Settings::empty()
            .bind(&[IpAddr::V4(proxy)])
            .ports(&PORTS)
            .set("expiration", 60)
            .set("workers", 2);
        // Every socket stays within the test's own addresses.
        for (key, port) in [
            ("raft_healthchecks_logs_bind_socket", 2341),
            ("raft_stick_table_logs_bind_socket", 2342),
            ("raft_healthchecks_proposals_bind_socket", 2343),
            ("raft_stick_table_proposals_bind_socket", 2344),
        ] {
            settings = settings.set(key, format!("{}:{port}", block.address(0, 2)));
        }
        settings.stats(block.statistics(0))
    }

    /// Where statistics are served: of two proxies of one block at once, each needs its own.
    pub fn stats(self, address: SocketAddr) -> Settings {
        self.set("stats_bind_socket", address.to_string())
    }

    /// The bind addresses.
    pub fn bind(self, addresses: &[IpAddr]) -> Settings {
        let list: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        self.set("bind_addr", list)
    }

    /// The listened ports.
    pub fn ports(self, ports: &[u16]) -> Settings {
        let list: Vec<u32> = ports.iter().copied().map(u32::from).collect();
        self.set("ports", list)
    }

    /// A key at the top level.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Settings {
        self.table.insert(key.to_owned(), value.into());
        self
    }

    /// A top-level key taken out.
    pub fn unset(mut self, key: &str) -> Settings {
        self.table.remove(key);
        self
    }

    /// A group whose server answers on every port at one address.
    pub fn group(self, id: u32, address: Ipv4Addr) -> Settings {
        self.group_set(id, "portmap", address.to_string())
    }

    /// A group with its own target for each port.
    pub fn group_ports(self, id: u32, portmap: &[(u16, String)]) -> Settings {
        let table: Table = portmap
            .iter()
            .map(|(port, target)| (port.to_string(), Value::from(target.as_str())))
            .collect();
        self.group_set(id, "portmap", table)
    }

    /// A key of a group, which is made where it is not there yet.
    pub fn group_set(mut self, id: u32, key: &str, value: impl Into<Value>) -> Settings {
        let groups = subtable(&mut self.table, "groups");
        subtable(groups, &id.to_string()).insert(key.to_owned(), value.into());
        self
    }

    /// A health check more for a group: its keys in TOML.
    pub fn check(mut self, id: u32, keys: &str) -> Settings {
        let check: Table = keys.parse().expect("the keys of a check are TOML");
        let groups = subtable(&mut self.table, "groups");
        let checks = subtable(groups, &id.to_string())
            .entry("healthchecks")
            .or_insert_with(|| Value::Array(Vec::new()));
        let checks = checks.as_array_mut().expect("only arrays are put there");
        checks.push(Value::Table(check));
        self
    }

    /// A group's health checks taken out.
    pub fn without_checks(mut self, id: u32) -> Settings {
        let groups = subtable(&mut self.table, "groups");
        subtable(groups, &id.to_string()).remove("healthchecks");
        self
    }

    /// A group taken out.
    pub fn without_group(mut self, id: u32) -> Settings {
        subtable(&mut self.table, "groups").remove(&id.to_string());
        self
    }

    /// The file's text.
    pub fn text(&self) -> String {
        toml::to_string(&self.table).expect("a table of plain values can be written")
    }
}

fn subtable<'a>(table: &'a mut Table, key: &str) -> &'a mut Table {
    table
        .entry(key.to_owned())
        .or_insert_with(|| Value::Table(Table::new()))
        .as_table_mut()
        .expect("only tables are put there")
}
