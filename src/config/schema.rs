//! The validated configuration, typed. Whoever holds a [`Config`] need not check it again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::kind;

/// Everything that the TOML file says, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Addresses to listen on, without repetition.
    pub bind_addrs: Vec<IpAddr>,
    /// Bind addresses that this host does not hold (yet).
    pub freebind: bool,
    /// Ports to listen on, ascending, without repetition, at least one.
    pub ports: Vec<u16>,
    /// Where the statistics server listens.
    pub stats_bind_socket: SocketAddr,
    /// The four sockets between peers.
    pub raft_sockets: RaftSockets,
    /// How long a stick outlives its last activity.
    pub expiration: Duration,
    /// Event-loop threads; `None`: one for each CPU.
    pub workers: Option<usize>,
    /// Backlog of each listener, in connections.
    pub listen_backlog: u32,
    /// How a new key gets its group.
    pub balance: Balance,
    /// From route decided to target connected.
    pub connect_timeout: Duration,
    /// Silence in both directions before a connection is closed; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Silence that a connection with one direction ended may keep.
    pub half_closed_timeout: Duration,
    /// First keep-alive probe after this long; whole seconds, 1 to 32,767.
    pub tcp_keepalive: Duration,
    /// Connections at once over all workers; `None`: from the descriptor limit.
    pub max_connections: Option<usize>,
    /// Bytes held for slow receivers, all connections together.
    pub max_buffered_bytes: u64,
    /// What open connections get at SIGTERM.
    pub shutdown_grace: Duration,
    /// How long to wait for the key slice.
    pub first_message_timeout: Duration,
    /// Ports on which the key slice is read; `None`: all.
    pub first_message_ports: Option<Vec<u16>>,
    /// Bits of an IPv6 address that make the key, 1 to 128.
    pub key_ipv6_prefix: u8,
    /// Entries the stick table may hold.
    pub stick_table_max_entries: usize,
    /// What a full stick table does with a new key.
    pub stick_table_full: StickTableFull,
    /// Between full saves of a lone node's stick table.
    pub stick_table_save_interval: Duration,
    /// What a node does while no leader answers.
    pub no_quorum: NoQuorum,
    /// How long without an answer before `no_quorum` applies.
    pub no_quorum_after: Duration,
    /// Between heartbeats of a Raft leader.
    pub raft_heartbeat: Duration,
    /// Shortest and longest election time-out.
    pub raft_election_timeout: (Duration, Duration),
    /// Networks whose clients are served; empty: all.
    pub allow: Vec<IpNetwork>,
    /// Networks whose clients are refused, whatever `allow` says.
    pub deny: Vec<IpNetwork>,
    /// Connections of one client at once; `None`: as many as it likes.
    pub max_connections_per_client: Option<u32>,
    /// New connections of one client; `None`: as fast as it likes.
    pub max_new_connections_per_second_per_client: Option<PerSecond>,
    /// How long a connection waits for a place with its group.
    pub queue_timeout: Duration,
    /// Networks whose connections begin with a PROXY protocol header.
    pub accept_proxy_from: Vec<IpNetwork>,
    /// Listeners take connections that were meant for other addresses.
    pub transparent_listen: bool,
    /// Addresses that connections to targets come from, without repetition; empty: the kernel
    /// chooses.
    pub bind_source: Vec<IpRange>,
    /// Shared secret between peers.
    pub peer_secret_file: Option<PathBuf>,
    /// Server groups, ascending by id, at least one.
    pub groups: Vec<GroupConfig>,
    /// Nodes of the cluster, this one included; empty: a lone node.
    pub peers: Vec<Peer>,
}

impl Config {
    /// Every address and port to listen on.
    pub fn listen_addresses(&self) -> Vec<SocketAddr> {
        let with_ports = |&ip: &IpAddr| {
            let ports = self.ports.iter();
            ports.map(move |&port| SocketAddr::new(ip, port))
        };
        self.bind_addrs.iter().flat_map(with_ports).collect()
    }

    /// Whether IPv6 listeners leave IPv4 alone: where IPv4 addresses are bound too.
    pub fn is_v6only(&self) -> bool {
        self.bind_addrs.iter().any(IpAddr::is_ipv4)
    }
}

/// Addresses of one family from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    /// The first.
    pub first: IpAddr,
    /// The last, not before the first.
    pub last: IpAddr,
}

impl IpRange {
    /// Every address of it, in order.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let first = bits(self.first);
        let is_v4 = self.first.is_ipv4();
        (0..self.count()).map(move |at| address(first + at, is_v4))
    }

    /// How many there are.
    pub fn count(self) -> u128 {
        (bits(self.last) - bits(self.first)).saturating_add(1)
    }

    /// Whether both have an address in common.
    pub fn overlaps(self, other: IpRange) -> bool {
        self.first.is_ipv4() == other.first.is_ipv4()
            && self.first <= other.last
            && other.first <= self.last
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(bits: u128, is_v4: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if is_v4 => IpAddr::V4(bits.into()),
        _ => IpAddr::V6(bits.into()),
    }
}

/// The id of a group, as in `[groups.N]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl std::fmt::Display for GroupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One `[groups.N]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupConfig {
    /// Unique, and the same throughout the life of the group.
    pub id: GroupId,
    /// What logs and pages call it, besides its id.
    pub name: Option<String>,
    /// The target for each *listened* port that the group serves.
    pub targets: BTreeMap<u16, TargetAddr>,
    /// Share of new keys, at least 1.
    pub weight: u32,
    /// Serve the keys it has, take no new ones.
    pub drain: bool,
    /// Serve none.
    pub disabled: bool,
    /// Take new keys only while no other group is Up.
    pub backup: bool,
    /// How long its share of new keys rises once it is Up again; `None`: it has it all at once.
    pub slow_start: Option<Duration>,
    /// What happens to open connections when the group becomes Disabled.
    pub on_disabled: OnDisabled,
    /// How long a Draining group's connections may stay; `None`: as long as they like.
    pub drain_timeout: Option<Duration>,
    /// Connections at once; `None`: as many as come.
    pub max_connections: Option<u64>,
    /// PROXY protocol header towards the target.
    pub send_proxy: Option<ProxyHeader>,
    /// The target sees the client's own address.
    pub transparent: bool,
    /// In file order.
    pub healthchecks: Vec<HealthCheck>,
}

/// Where a target is: as written, not resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetAddr {
    /// `ip:port`
    Socket(SocketAddr),
    /// `host:port`
    Name {
        /// The host name.
        host: String,
        /// The port.
        port: u16,
    },
    /// `unix:/path`
    Unix(UnixPath),
}

impl TargetAddr {
    /// The host, where `port` is the same port there. A Unix socket has no ports: it is the same
    /// for all of them.
    pub fn host_for(&self, port: u16) -> Option<String> {
        match self {
            TargetAddr::Socket(address) => {
                (address.port() == port).then(|| address.ip().to_string())
            }
            TargetAddr::Name { host, port: own } => (*own == port).then(|| host.clone()),
            TargetAddr::Unix(path) => Some(path.to_string()),
        }
    }
}

impl std::fmt::Display for TargetAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TargetAddr::Socket(address) => address.fmt(f),
            TargetAddr::Name { host, port } => write!(f, "{host}:{port}"),
            TargetAddr::Unix(path) => path.fmt(f),
        }
    }
}

/// The path of a Unix socket: absolute, with room in a socket address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnixPath(Arc<str>);

impl UnixPath {
    /// Bytes of a path at most: `sun_path` without its closing zero (unix(7)).
    pub const MAX_BYTES: usize = 107;

    /// The path in `unix:/path`. `None`: something else, or one that is too long, or has white
    /// space or control characters, which would tear the log's fields apart.
    pub fn parse(text: &str) -> Option<UnixPath> {
        let path = text.strip_prefix("unix:")?;
        let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
        let is_good = path.starts_with('/')
            && !path.ends_with('/')
            && path.len() <= UnixPath::MAX_BYTES
            && path.chars().all(is_plain);
        is_good.then(|| UnixPath(path.into()))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        Path::new(&*self.0)
    }
}

impl std::fmt::Display for UnixPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unix:{}", self.0)
    }
}

/// `balance`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The group with the fewest sticks for its weight.
    LeastSticks,
    /// The group with the fewest open connections for its weight.
    LeastConnections,
    /// Each group in turn, as often as its weight.
    RoundRobin,
    /// Weighted rendezvous hash of the key.
    Hash,
}

/// `stick_table_full`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StickTableFull {
    /// New keys are refused.
    Refuse,
    /// The entry closest to expiry that no connection holds gives way.
    Evict,
}

/// `no_quorum`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoQuorum {
    /// New keys get a group by rendezvous hash.
    Assign,
    /// New keys are reset.
    Refuse,
}

/// `groups.N.on_disabled`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisabled {
    /// Open connections stay.
    Keep,
    /// Open connections are reset.
    Reset,
}

/// `groups.N.send_proxy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Text header.
    V1,
    /// Binary header.
    V2,
}

/// An address block in CIDR notation. One of IPv4 addresses has an IPv4 address, however it was
/// written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    /// The network's address, host bits zero.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

impl IpNetwork {
    /// Whether all of another network is in it. An IPv4 network is in no IPv6 network, nor the
    /// reverse.
    pub fn covers(&self, other: &IpNetwork) -> bool {
        let common = match (self.address, other.address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u32::from(own) ^ u32::from(other)).leading_zeros()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (u128::from(own) ^ u128::from(other)).leading_zeros()
            }
            _ => return false,
        };
        self.prefix <= other.prefix && u32::from(self.prefix) <= common
    }
}

/// How often something may happen: at least a thousandth in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerSecond {
    thousandths: NonZeroU64,
}

impl PerSecond {
    /// So many thousandths in a second; nothing counts as one.
    pub fn from_thousandths(thousandths: u64) -> PerSecond {
        PerSecond {
            thousandths: NonZeroU64::new(thousandths).unwrap_or(NonZeroU64::MIN),
        }
    }

    /// From one time to the next, in nanoseconds.
    pub fn interval_ns(self) -> u64 {
        1_000_000_000_000 / self.thousandths
    }
}

impl std::fmt::Display for PerSecond {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&kind::thousandths(self.thousandths.get()))
    }
}

/// Sockets between peers, `raft_*_bind_socket`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftSockets {
    /// Raft messages of the health checks.
    pub healthchecks_logs: SocketAddr,
    /// Raft messages of the stick table.
    pub stick_table_logs: SocketAddr,
    /// Proposals for the health checks.
    pub healthchecks_proposals: SocketAddr,
    /// Proposals for the stick table.
    pub stick_table_proposals: SocketAddr,
}

/// One `[[groups.N.healthchecks]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// Failures in a row that make the check failing.
    pub fall: u32,
    /// Successes in a row that make it passing again.
    pub rise: u32,
    /// What a failing check makes of the group.
    pub fall_action: FallAction,
    /// Between executions.
    pub interval: Duration,
    /// What one execution may take; at most `interval`.
    pub timeout: Duration,
    /// Port to check in place of the targets' own.
    pub port: Option<u16>,
    /// PROXY protocol header in front of it.
    pub send_proxy: CheckHeader,
    /// An HTTP check where any `http_` key is given, a TCP connect otherwise.
    pub http: Option<HttpCheck>,
}

/// `groups.N.healthchecks[].send_proxy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckHeader {
    /// Not given: as in front of the group's connections, but none at a port of the check's own,
    /// where something else than the proxied service answers.
    AsConnections,
    /// As given; `None`: none.
    Given(Option<ProxyHeader>),
}

impl HealthCheck {
    /// The header in front of this check of a group whose connections begin with `of_group`.
    pub fn header(&self, of_group: Option<ProxyHeader>) -> Option<ProxyHeader> {
        match (self.send_proxy, self.port) {
            (CheckHeader::Given(header), _) => header,
            (CheckHeader::AsConnections, None) => of_group,
            (CheckHeader::AsConnections, Some(_)) => None,
        }
    }
}

/// `fall_action`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallAction {
    /// Take no new keys.
    Draining,
    /// Serve none.
    Disabled,
    /// Watched only.
    Up,
}

/// The `http_` keys of a health check.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpCheck {
    /// Path and query.
    pub target: String,
    /// Method.
    pub method: HttpMethod,
    /// Headers by name.
    pub headers: BTreeMap<String, String>,
    /// Request body.
    pub body: Option<String>,
    /// The status of a healthy server.
    pub status: u16,
}

/// `http_method`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// GET
    Get,
    /// POST
    Post,
}

/// One `[[peers]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Host name or address by which the other peers reach it.
    pub host: String,
    /// MAC address of one of its interfaces: its node id.
    pub mac_address: MacAddress,
    /// Ports that differ from this node's own.
    pub ports: PeerPorts,
}

/// The optional `ports` table of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerPorts {
    /// In place of the port of `raft_healthchecks_logs_bind_socket`.
    pub healthchecks_logs: Option<u16>,
    /// In place of the port of `raft_stick_table_logs_bind_socket`.
    pub stick_table_logs: Option<u16>,
    /// In place of the port of `raft_healthchecks_proposals_bind_socket`.
    pub healthchecks_proposals: Option<u16>,
    /// In place of the port of `raft_stick_table_proposals_bind_socket`.
    pub stick_table_proposals: Option<u16>,
}

/// Six bytes that identify an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// What makes a client's key: `TCPFFEE_KEY_TYPE` with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// `IP`
    Ip,
    /// `IP_WITH_FIRST_MESSAGE_SLICE`: bytes `start..end` of what the client sends first;
    /// `start < end <= 4096`.
    IpWithFirstMessageSlice {
        /// First byte, from 0.
        start: usize,
        /// One past the last byte.
        end: usize,
    },
}
