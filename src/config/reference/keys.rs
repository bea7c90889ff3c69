//! The rows of the reference.

use super::super::kind::{Kind, YEAR_MS};
use super::super::schema::{Balance, FallAction, HttpMethod, NoQuorum, OnDisabled, StickTableFull};
use super::super::words::{Words, names};
use super::{Absent, Key, TakesEffect};

const fn key(
    takes_effect: TakesEffect,
    pattern: &'static str,
    kind: Kind,
    default: Absent,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key {
        pattern,
        kind,
        default,
        example,
        takes_effect,
        about,
    }
}

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

const fn seconds(min_ms: u64, max_ms: u64) -> Kind {
    Kind::Seconds { min_ms, max_ms }
}

const fn other(name: &'static str, expected: &'static str) -> Kind {
    Kind::Other { name, expected }
}

const HOUR_MS: u64 = 3600 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;

const BALANCE: &[&str] = &names::<_, 4>(Balance::WORDS);
const STICK_TABLE_FULL: &[&str] = &names::<_, 2>(StickTableFull::WORDS);
const NO_QUORUM: &[&str] = &names::<_, 2>(NoQuorum::WORDS);
const ON_DISABLED: &[&str] = &names::<_, 2>(OnDisabled::WORDS);
const FALL_ACTION: &[&str] = &names::<_, 3>(FallAction::WORDS);
const HTTP_METHOD: &[&str] = &names::<_, 2>(HttpMethod::WORDS);
const SEND_PROXY: &[&str] = &["off", "v1", "v2"];

const SOCKET: Kind = other(
    "string",
    "a socket address such as \"127.0.0.1:2340\" or \"[::1]:2340\"",
);
const CLIENT_NETWORKS: Kind = other(
    "string or array",
    "a network such as \"192.0.2.0/24\", or a list of different ones (at most 4096)",
);
const PORT: Kind = integer(1, 65535);

use Absent::{Required, Toml, Words as InWords};
use TakesEffect::{Live, NewConnections, Restart};

/// Every key, in the order of the reference.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    // Listening
    key(Live, "bind_addr", other("string or array", "an IP address, or a list of different ones (at most 64)"),
        Toml("\"0.0.0.0\""), "[\"192.0.2.10\", \"2001:db8::10\"]",
        "Addresses to listen on. IPv6 listeners are IPv6-only where the list also holds an IPv4 address."),
    key(Live, "freebind", Kind::Bool, Toml("false"), "true",
        "Bind addresses that this host does not hold yet, such as a virtual IP address on a standby."),
    key(Live, "ports", other("array", "a list of ports from 1 to 65535 and ranges such as \"6000-6099\", each port once"),
        Required, "[5280, \"6000-6099\"]",
        "Ports to listen on."),
    key(Live, "listen_backlog", integer(1, 1_000_000), Toml("4096"), "1024",
        "Connections that may wait at each listener; the kernel's `net.core.somaxconn` bounds it too."),
    key(Restart, "workers", integer(1, 1024), InWords("one for each CPU"), "4",
        "Event-loop threads."),
    key(Live, "max_connections", integer(1, 10_000_000), InWords("from the descriptor limit"), "20000",
        "Connections at once, all workers together; those beyond it wait in the backlog."),
    key(Live, "max_buffered_bytes", integer(65_536, 1 << 50), Toml("268435456"), "1073741824",
        "Bytes held for slow receivers, all connections together; beyond it, reading waits. First messages and PROXY protocol headers, of which at most 4,096 bytes are held until their key is known, count but do not wait."),

    // Stickiness
    key(Live, "expiration", seconds(1, YEAR_MS), Required, "10",
        "How long a client stays with its group without activity. In a cluster at least 3 seconds."),
    key(Live, "balance", Kind::Choice(BALANCE), Toml("\"least-sticks\""), "\"hash\"",
        "How a new key gets its group, each policy honouring `groups.N.weight`."),
    key(Restart, "key_ipv6_prefix", integer(1, 128), Toml("128"), "64",
        "Bits of an IPv6 client address that make its key. The same on all nodes of a cluster."),
    key(NewConnections, "first_message_timeout", seconds(1, HOUR_MS), Toml("5"), "2",
        "How long to wait for the slice of the first message; then the key is the IP address alone."),
    key(NewConnections, "first_message_ports", other("array", "a list of listened ports and ranges such as \"6000-6099\", each port once"),
        InWords("all ports"), "[5280]",
        "Ports on which the slice is read; on the others the client's latest slice entry counts, else the IP address."),
    key(Live, "stick_table_max_entries", integer(1, 1_000_000_000), Toml("1000000"), "200000",
        "Entries that the stick table may hold."),
    key(Live, "stick_table_full", Kind::Choice(STICK_TABLE_FULL), Toml("\"refuse\""), "\"evict\"",
        "What a full table does with a new key: refuse it, or drop the entry closest to expiry that no connection holds; in a cluster only one in the last quarter of its life, by which no node answers any more, else the key is refused."),
    key(Live, "stick_table_save_interval", seconds(100, DAY_MS), Toml("10"), "60",
        "Time between full saves of the stick table; new entries are journalled in between."),

    // Time-outs
    key(NewConnections, "connect_timeout", seconds(1, HOUR_MS), Toml("5"), "2.5",
        "From the choice of a group, or the place that it gives (see groups.N.max_connections), to the connection with its target."),
    key(NewConnections, "idle_timeout", seconds(1, YEAR_MS), InWords("none"), "600",
        "Silence in both directions after which a connection is closed."),
    key(NewConnections, "half_closed_timeout", seconds(1, YEAR_MS), Toml("3600"), "60",
        "Silence that a connection with one direction ended may keep."),
    key(NewConnections, "tcp_keepalive", Kind::WholeSeconds { min: 1, max: 32_767 }, Toml("60"), "20",
        "N: first keep-alive probe after N seconds of silence, then every N/4, three probes, on both sides; a side that takes none of the bytes that wait for it for 2N seconds is given up as well (TCP_USER_TIMEOUT)."),
    key(Live, "shutdown_grace", seconds(0, DAY_MS), Toml("30"), "300",
        "What open connections get at SIGTERM before they are cut; 0 cuts them at once."),

    // Limits
    key(Live, "allow", CLIENT_NETWORKS, Toml("[]"), "[\"192.0.2.0/24\", \"2001:db8::/32\"]",
        "Networks whose clients are served; without any, everybody. New connections of all others are reset; open ones stay."),
    key(Live, "deny", CLIENT_NETWORKS, Toml("[]"), "\"198.51.100.0/24\"",
        "Networks whose new connections are reset, whatever `allow` says and whomever they speak for (`accept_proxy_from`); open ones stay."),
    key(Live, "max_connections_per_client", integer(1, 10_000_000), InWords("none"), "100",
        "Connections that one client may have at once; further ones are reset. A client is an address, of IPv6 `key_ipv6_prefix` bits of it. A lower bound cuts nobody."),
    key(Live, "max_new_connections_per_second_per_client", Kind::PerSecond { min_thousandths: 1, max_thousandths: 1_000_000_000 }, InWords("none"), "20",
        "New connections that one client may make in a second, after as many at once, but at least one; further ones are reset, and do not count."),
    key(NewConnections, "queue_timeout", seconds(1, HOUR_MS), Toml("5"), "2",
        "How long a connection waits for a place with its group, see `groups.N.max_connections`; then it is reset."),

    // What servers see of the client
    key(NewConnections, "accept_proxy_from", other("string or array", "a network such as \"10.0.0.0/8\", or a list of them (at most 256)"),
        Toml("[]"), "[\"10.0.0.0/8\", \"2001:db8::/32\"]",
        "Networks whose connections begin with a PROXY protocol header, version 1 or 2, which names the client. Without a valid one within 5 seconds a connection is reset. From anywhere else none is accepted: its bytes pass as they came. The same list on all nodes of a cluster: a node whose list differs from that of most nodes serves nobody (`end=barred`)."),
    key(Live, "transparent_listen", Kind::Bool, Toml("false"), "true",
        "Listeners also take connections to other hosts' addresses that the packet filter hands them (nftables' `tproxy`): docs/TRANSPARENT.md. Needs CAP_NET_ADMIN or CAP_NET_RAW."),
    key(NewConnections, "bind_source", other("string or array", "an IP address or a range such as \"10.0.0.2-10.0.0.9\", or a list of them (at most 64 addresses, each once)"),
        Toml("[]"), "\"10.0.0.2-10.0.0.9\"",
        "Addresses of this host that connections to the targets and health checks come from, used in turn: each has its own ports towards every target. Without any of a target's family the kernel chooses. A port stays in use towards its target for a minute after a connection that the proxy ended first, as it does where the client ended first (TIME_WAIT)."),

    // Groups
    key(NewConnections, "groups.N.portmap", other("string or table", "an IP address, a host name or \"unix:/path\", or a table of listened port = \"address:port\" or \"unix:/path\""),
        Required, "\"192.0.2.20\"",
        "Where the group's server is: one host or Unix socket for every listened port, or a target for each. A name that has several addresses stands for all of them: where one does not take a connection the next one is tried."),
    key(Live, "groups.N.name", other("string", "a name of 1 to 64 characters without control characters"),
        InWords("none"), "\"alder\"",
        "What logs and pages call the group, besides its id."),
    key(Live, "groups.N.weight", integer(1, 1_000_000), Toml("1"), "3",
        "The group's share of new keys, relative to the other groups'."),
    key(Live, "groups.N.drain", Kind::Bool, Toml("false"), "true",
        "Serve the keys that the group has, give it no new ones."),
    key(Live, "groups.N.disabled", Kind::Bool, Toml("false"), "true",
        "Serve none; its keys are assigned anew at their next connection."),
    key(Live, "groups.N.backup", Kind::Bool, Toml("false"), "true",
        "Give it new keys only while no other group is Up."),
    key(Live, "groups.N.slow_start", seconds(1, DAY_MS), InWords("none"), "60",
        "Time over which the group's share of new keys rises from almost nothing to that of its `weight`, by every `balance`, once it is Up again or has been added by a reload; not at the start of the program."),
    key(Live, "groups.N.on_disabled", Kind::Choice(ON_DISABLED), Toml("\"keep\""), "\"reset\"",
        "What happens to open connections when the group becomes Disabled."),
    key(Live, "groups.N.drain_timeout", seconds(1, YEAR_MS), InWords("none"), "3600",
        "Time after which a Draining group's connections are closed."),
    key(Live, "groups.N.max_connections", integer(1, 10_000_000), InWords("none"), "500",
        "Connections that the group may have at once through this node, those being made included. New keys prefer groups with room; whose group has none waits in its queue, at most 1,024 at a time, for up to `queue_timeout`. A lower bound cuts nobody. Connections are counted, not clients or sessions: leave room for all connections of the sessions that are to be served at once."),
    key(NewConnections, "groups.N.send_proxy", Kind::Choice(SEND_PROXY), Toml("\"off\""), "\"v2\"",
        "PROXY protocol header in front of every connection to the targets, health checks included but for those at a `port` of their own."),
    key(NewConnections, "groups.N.transparent", Kind::Bool, Toml("false"), "true",
        "Connect to the targets from the client's own address. Needs CAP_NET_ADMIN or CAP_NET_RAW, and routes that bring the targets' answers back: docs/TRANSPARENT.md. Of a name's addresses those of the client's IP family are used; a client whose address can be used towards none is given another group where its key is new, else reset. Not for Unix sockets. Health checks come from this host, from `bind_source` where it is given."),

    // Health checks
    key(Live, "groups.N.healthchecks[].fall", integer(1, 1000), Toml("3"), "2",
        "Failures in a row that make the check failing."),
    key(Live, "groups.N.healthchecks[].rise", integer(1, 1000), Toml("5"), "2",
        "Successes in a row that make it passing again."),
    key(Live, "groups.N.healthchecks[].fall_action", Kind::Choice(FALL_ACTION), Toml("\"Draining\""), "\"Disabled\"",
        "What a failing check makes of the whole group; `Up` only watches."),
    key(Live, "groups.N.healthchecks[].interval", seconds(10, DAY_MS), Toml("5"), "1",
        "Time between executions."),
    key(Live, "groups.N.healthchecks[].timeout", seconds(1, DAY_MS), InWords("half of `interval`"), "0.5",
        "What one execution may take before it counts as a failure; at most `interval`."),
    key(Live, "groups.N.healthchecks[].port", PORT, InWords("each target's own"), "8080",
        "Port to check in place of the targets' own. Not where a target is a Unix socket."),
    key(Live, "groups.N.healthchecks[].send_proxy", Kind::Choice(SEND_PROXY), InWords("that of the group; off where `port` is given"), "\"v1\"",
        "PROXY protocol header in front of the check."),
    key(Live, "groups.N.healthchecks[].http_target", other("string", "a path that begins with \"/\", with a query or not, other characters percent-encoded as in a URL"),
        Toml("\"/\""), "\"/health\"",
        "Path to ask for. Any `http_` key makes the check an HTTP check."),
    key(Live, "groups.N.healthchecks[].http_method", Kind::Choice(HTTP_METHOD), Toml("\"GET\""), "\"POST\"",
        "Method of the request."),
    key(Live, "groups.N.healthchecks[].http_headers", other("table", "a table of header name = \"value\""),
        Toml("{}"), "{ Content-Type = \"text/plain\" }",
        "Headers of the request."),
    key(Live, "groups.N.healthchecks[].http_body", other("string", "a string"),
        InWords("none"), "\"ping\"",
        "Body of the request."),
    key(Live, "groups.N.healthchecks[].http_status", integer(100, 599), Toml("200"), "204",
        "Status of a healthy server's answer."),

    // Statistics
    key(Restart, "stats_bind_socket", SOCKET, Toml("\"127.0.0.1:2340\""), "\"127.0.0.1:9100\"",
        "Where the statistics server listens. Whoever reaches it can read the whole stick table."),

    // Cluster
    key(Restart, "raft_healthchecks_logs_bind_socket", SOCKET, Toml("\"127.0.0.1:2341\""), "\"192.0.2.10:2341\"",
        "Raft messages of the health checks; every peer must reach it, nobody else should."),
    key(Restart, "raft_stick_table_logs_bind_socket", SOCKET, Toml("\"127.0.0.1:2342\""), "\"192.0.2.10:2342\"",
        "Raft messages of the stick table."),
    key(Restart, "raft_healthchecks_proposals_bind_socket", SOCKET, Toml("\"127.0.0.1:2343\""), "\"192.0.2.10:2343\"",
        "Proposals for the health checks."),
    key(Restart, "raft_stick_table_proposals_bind_socket", SOCKET, Toml("\"127.0.0.1:2344\""), "\"192.0.2.10:2344\"",
        "Proposals for the stick table."),
    key(Restart, "raft_heartbeat", seconds(1, 10_000), Toml("0.05"), "0.1",
        "Time between the heartbeats of a leader."),
    key(Restart, "raft_election_timeout", other("array", "the shortest and the longest time in seconds, such as [0.3, 0.6], each from 0.01 to 60"),
        Toml("[0.3, 0.6]"), "[0.5, 1]",
        "Silence of the leader after which a node stands for election, drawn anew each time; the shortest at least twice `raft_heartbeat`."),
    key(Live, "peers[].host", other("string", "an IP address or a host name"),
        Required, "\"proxy-a.example\"",
        "Where the other peers reach this one. The list holds every node, this one included. A lone node joins a cluster, and a node leaves it to run alone, by a restart."),
    key(Live, "peers[].mac_address", other("string", "a MAC address such as \"02:00:00:00:00:01\""),
        Required, "\"02:00:00:00:00:01\"",
        "MAC address of one of the peer's interfaces: its node id."),
    key(Live, "peers[].ports.healthchecks_logs", PORT, InWords("this node's own"), "12341",
        "The peer's port of `raft_healthchecks_logs_bind_socket`, where it differs."),
    key(Live, "peers[].ports.stick_table_logs", PORT, InWords("this node's own"), "12342",
        "The peer's port of `raft_stick_table_logs_bind_socket`, where it differs."),
    key(Live, "peers[].ports.healthchecks_proposals", PORT, InWords("this node's own"), "12343",
        "The peer's port of `raft_healthchecks_proposals_bind_socket`, where it differs."),
    key(Live, "peers[].ports.stick_table_proposals", PORT, InWords("this node's own"), "12344",
        "The peer's port of `raft_stick_table_proposals_bind_socket`, where it differs."),
    key(Live, "peer_secret_file", other("string", "the path of a file"),
        InWords("none"), "\"/etc/tcpffee/peer_secret\"",
        "File with the shared secret that authenticates and encrypts everything between peers, in a line of its own; with two lines both are accepted, and the first is used first: so it is replaced without a stop. Read again at each reload."),
    key(Live, "no_quorum", Kind::Choice(NO_QUORUM), Toml("\"assign\""), "\"refuse\"",
        "What a node does with clients while no leader answers: give new keys a group by rendezvous hash, or reset them."),
    key(Live, "no_quorum_after", seconds(100, HOUR_MS), Toml("3"), "5",
        "Silence of every leader after which `no_quorum` applies."),
];
