//! Groups, keys and asks for the tests of this folder.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::Millis;
use crate::config::{Balance, GroupConfig, GroupId, OnDisabled, StickTableFull};
use crate::groups::{Group, GroupRegistry, Groups, HealthStatus, Status, Target};

use crate::stick::{
    Answer, Ask, Client, ClientIp, KeyRef, Refusal, Route, Settings, Sticks, Table, Ticket,
};

/// The port that every group serves unless a test says otherwise.
pub const PORT: u16 = 5280;

/// A port that no group serves unless a test says otherwise.
pub const OTHER_PORT: u16 = 5281;

/// Builds groups of successive generations over one registry.
pub struct Cluster {
    pub registry: Arc<GroupRegistry>,
}

/// One group as a test wants it.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub id: u32,
    pub status: Status,
    pub weight: u32,
    pub backup: bool,
    pub ports: Vec<u16>,
}

/// A group that is Up, of weight 1, on [`PORT`].
pub fn up(id: u32) -> Wanted {
    Wanted {
        id,
        status: Status::Up,
        weight: 1,
        backup: false,
        ports: vec![PORT],
    }
}

impl Wanted {
    pub fn status(mut self, status: Status) -> Wanted {
        self.status = status;
        self
    }

    pub fn weight(mut self, weight: u32) -> Wanted {
        self.weight = weight;
        self
    }

    pub fn backup(mut self) -> Wanted {
        self.backup = true;
        self
    }

    pub fn ports(mut self, ports: &[u16]) -> Wanted {
        self.ports = ports.to_vec();
        self
    }
}

impl Cluster {
    pub fn new() -> Cluster {
        Cluster {
            registry: Arc::new(GroupRegistry::new(1)),
        }
    }

    pub fn groups(&self, wanted: impl IntoIterator<Item = Wanted>) -> Groups {
        Groups::new(wanted.into_iter().map(|group| self.group(&group)).collect())
    }

    fn group(&self, wanted: &Wanted) -> Group {
        let config = GroupConfig {
            id: GroupId(wanted.id),
            name: None,
            targets: BTreeMap::new(),
            weight: wanted.weight,
            drain: wanted.status == Status::Draining,
            disabled: wanted.status == Status::Disabled,
            backup: wanted.backup,
            slow_start: None,
            on_disabled: OnDisabled::Keep,
            drain_timeout: None,
            max_connections: None,
            send_proxy: None,
            transparent: false,
            healthchecks: Vec::new(),
        };
        let address = |port| Target::fixed(config.id, SocketAddr::from(([127, 0, 0, 1], port)));
        let targets = wanted.ports.iter().map(|&port| (port, address(port)));
        Group::new(
            &config,
            targets.collect(),
            self.registry.counters(config.id),
            Arc::new(HealthStatus::up()),
        )
    }

    pub fn sticks(&self, id: u32) -> u64 {
        self.registry
            .counters(GroupId(id))
            .sticks
            .load(Ordering::Relaxed)
    }

    pub fn table(&self, settings: Settings) -> Table {
        Table::new(settings, Arc::clone(&self.registry))
    }
}

/// Ten seconds, plenty of room, least sticks.
pub fn settings() -> Settings {
    Settings {
        expiration: Duration::from_secs(10),
        max_entries: 1_000_000,
        full: StickTableFull::Refuse,
        balance: Balance::LeastSticks,
    }
}

/// The address 10.x.y.z of this number.
pub fn ip(number: u32) -> ClientIp {
    let address = Ipv4Addr::from_bits(0x0a00_0000 | number);
    ClientIp::new(IpAddr::V4(address), 128)
}

/// The key of that address alone.
pub fn key(number: u32) -> KeyRef<'static> {
    KeyRef {
        ip: ip(number),
        slice: None,
    }
}

/// The key of that address and a slice.
pub fn slice_key(number: u32, slice: &[u8]) -> KeyRef<'_> {
    KeyRef {
        ip: ip(number),
        slice: Some(slice),
    }
}

/// A second of the tests' time.
pub fn second(number: u64) -> Millis {
    Millis(1_000_000 + number * 1000)
}

/// A key's ask on [`PORT`].
pub fn ask<'a>(key: KeyRef<'a>, groups: &'a Groups, now: Millis) -> Ask<'a> {
    Ask {
        client: Client::Key(key),
        port: PORT,
        groups,
        place: None,
        ticket: Ticket {
            worker: 0,
            token: 0,
        },
        now,
    }
}

/// The group that a key is answered with.
#[track_caller]
pub fn route(table: &Table, key: KeyRef<'_>, groups: &Groups, now: Millis) -> Answer {
    group_of(table.route(&ask(key, groups, now)))
}

#[track_caller]
pub fn group_of(route: Route) -> Answer {
    match route {
        Route::Group(answer) => answer,
        other => panic!("expected a group, got {other:?}"),
    }
}

/// Why an ask is refused.
#[track_caller]
pub fn refusal(table: &Table, ask: &Ask<'_>) -> Refusal {
    match table.route(ask) {
        Route::Refuse(refusal) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Routes a key, connects and closes: an active, idle entry.
#[track_caller]
pub fn visit(table: &Table, key: KeyRef<'_>, groups: &Groups, now: Millis) -> Answer {
    let answer = route(table, key, groups, now);
    assert_eq!(table.established(answer.stick, groups, now), Ok(()));
    table.closed(answer.stick, now);
    answer
}
