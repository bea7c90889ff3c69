//! A million sticks in at most 100 MB. Alone in its process, so that the process's resident
//! memory is the table's.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tcpffee::clock::Millis;
use tcpffee::config::{Balance, GroupConfig, GroupId, OnDisabled, StickTableFull};
use tcpffee::groups::{Group, GroupRegistry, Groups, HealthStatus, Target};
use tcpffee::stick::{Ask, Client, ClientIp, KeyRef, Route, Settings, Sticks, Table, Ticket};

const PORT: u16 = 5280;

/// Resident memory of this process, in bytes.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("VmRSS is a number of KiB")
        * 1024
}

fn one_group(registry: &GroupRegistry) -> Groups {
    let config = GroupConfig {
        id: GroupId(1),
        name: None,
        targets: BTreeMap::new(),
        weight: 1,
        drain: false,
        disabled: false,
        backup: false,
        slow_start: None,
        on_disabled: OnDisabled::Keep,
        drain_timeout: None,
        max_connections: None,
        send_proxy: None,
        transparent: false,
        healthchecks: Vec::new(),
    };
    let target = Target::fixed(config.id, SocketAddr::from(([127, 0, 0, 1], 9)));
    let targets = BTreeMap::from([(PORT, target)]);
    let counters = registry.counters(config.id);
    let health = Arc::new(HealthStatus::up());
    Groups::new(vec![Group::new(&config, targets, counters, health)])
}

#[test]
fn a_million_ipv4_entries_take_at_most_100_mb() {
    let registry = Arc::new(GroupRegistry::new(1));
    let groups = one_group(&registry);
    let settings = Settings {
        expiration: Duration::from_secs(3600),
        max_entries: 1_000_000,
        full: StickTableFull::Refuse,
        balance: Balance::LeastSticks,
    };
    let before = resident_bytes();
    let table = Table::new(settings, registry);
    let now = Millis(1 << 40);
    for number in 0..1_000_000u32 {
        let ip = ClientIp::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | number)), 128);
        let ask = Ask {
            client: Client::Key(KeyRef { ip, slice: None }),
            port: PORT,
            groups: &groups,
            place: None,
            ticket: Ticket {
                worker: 0,
                token: 0,
            },
            now,
        };
        let Route::Group(answer) = table.route(&ask) else {
            panic!("no group for key {number}");
        };
        assert!(table.established(answer.stick, &groups, now).is_ok());
        if number % 2 == 0 {
            table.closed(answer.stick, now);
        }
    }
    assert_eq!(table.counts().entries, 1_000_000);
    let grown = resident_bytes() - before;
    println!("1,000,000 entries: {:.1} MB", grown as f64 / 1e6);
    assert!(grown <= 100_000_000, "{grown} bytes");
}
