//! Transparent proxying between three hosts, set up by the commands of docs/TRANSPARENT.md: a client,
//! the proxy's host, and a server that answers to whomever it has seen.
//!
//! | host | addresses |
//! | --- | --- |
//! | client | 198.51.100.2, 2001:db8:1::2 on `eth0` |
//! | proxy | 198.51.100.1, 2001:db8:1::1 on `lan0`; 192.0.2.1, 2001:db8:2::1 on `lan1` |
//! | server | 192.0.2.20, 2001:db8:2::20 on `eth0` |

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io;
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::support;
use support::host::Host;
use support::{Backend, Block, Proxy, Settings, client, guide, netns};

const GUIDE: &str = "TRANSPARENT.md";
const PORT: u16 = 5280;

/// An IPv4 and an IPv6 address, as the guide has them.
fn pair(v4: &str, v6: &str) -> [IpAddr; 2] {
    [v4.parse().unwrap(), v6.parse().unwrap()]
}

fn clients() -> [IpAddr; 2] {
    pair("198.51.100.2", "2001:db8:1::2")
}

fn proxies() -> [IpAddr; 2] {
    pair("198.51.100.1", "2001:db8:1::1")
}

fn servers() -> [IpAddr; 2] {
    pair("192.0.2.20", "2001:db8:2::20")
}

struct Network {
    client: Host,
    proxy: Host,
    server: Host,
}

impl Network {
    /// The hosts with their cables and addresses, and the routes of the guide on the server. Where
    /// this process may not make hosts, the test is skipped and there is none.
    fn new() -> Option<Network> {
        let hosts = || Ok::<_, String>([Host::new()?, Host::new()?, Host::new()?]);
        let [client, proxy, server] = match hosts() {
            Ok(hosts) => hosts,
            Err(reason) => {
                support::skip(format_args!("no hosts: {reason}"));
                return None;
            }
        };
        // Until an interface has looked for others with its link-local address it asks for no
        // neighbour from an address that is not its own, for a second or two.
        for host in [&client, &proxy, &server] {
            host.run(|| netns::sysctl("net.ipv6.conf.default.accept_dad", "0"));
        }
        let plug = |host: &Host, cable: &str, near: [&str; 2], far: [&str; 2]| {
            let namespace = host.namespace();
            proxy.ip(format!(
                "link add {cable} type veth peer name eth0 netns {namespace}"
            ));
            for (host, name, addresses) in [(&proxy, cable, near), (host, "eth0", far)] {
                host.ip(format!("link set {name} up"));
                host.ip(format!("address add {}/24 dev {name}", addresses[0]));
                host.ip(format!("address add {}/64 dev {name} nodad", addresses[1]));
            }
        };
        plug(
            &client,
            "lan0",
            ["198.51.100.1", "2001:db8:1::1"],
            ["198.51.100.2", "2001:db8:1::2"],
        );
        plug(
            &server,
            "lan1",
            ["192.0.2.1", "2001:db8:2::1"],
            ["192.0.2.20", "2001:db8:2::20"],
        );
        client.ip("route add default via 198.51.100.1");
        client.ip("-6 route add default via 2001:db8:1::1");
        let network = Network {
            client,
            proxy,
            server,
        };
        shell(&network.server, guide::block(GUIDE, "# on the server"));
        Some(network)
    }

    /// What the guide has done on the proxy's host for answers to arrive.
    fn answers_arrive(&self) {
        nft(&self.proxy, guide::block(GUIDE, "table inet tcpffee {"));
        shell(&self.proxy, guide::block(GUIDE, "# on the proxy's host"));
    }

    /// What the guide has done there for connections to the servers to be handed over.
    fn connections_are_handed_over(&self) {
        let rules = guide::block(GUIDE, "table inet tcpffee_listen {");
        nft(&self.proxy, rules);
    }

    /// An echo server at each of the server's addresses.
    fn serve(&self, port: u16) -> [Backend; 2] {
        self.server.run(move || {
            [("server4", 0), ("server6", 1)]
                .map(|(name, at)| Backend::echo(name, servers()[at], &[port]))
        })
    }

    fn start(&self, settings: &Settings) -> Proxy {
        let settings = settings.clone();
        self.proxy.run(move || Proxy::start(&settings))
    }

    fn greet(&self, from: IpAddr, to: SocketAddr) -> io::Result<(String, TcpStream)> {
        self.client.run(move || client::greet(from, to))
    }

    /// Whether a client's handshake with `to` succeeds in time.
    fn reaches(&self, to: SocketAddr) -> bool {
        self.client.run(move || {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP));
            let patience = Duration::from_millis(400);
            socket
                .unwrap()
                .connect_timeout(&to.into(), patience)
                .is_ok()
        })
    }
}

/// Runs a block of the guide on a host; it has to succeed.
fn shell(host: &Host, commands: String) {
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", &commands]);
    run(host, shell, commands);
}

/// Loads a block of the guide into a host's packet filter.
fn nft(host: &Host, rules: String) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "printf %s \"$0\" | nft -f -", &rules]);
    run(host, shell, rules);
}

fn run(host: &Host, mut command: Command, what: String) {
    let output = host.run(move || command.output().unwrap());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{what}");
}

/// A proxy on all addresses, with a group of its own for each family by port.
fn settings(block: &Block) -> Settings {
    Settings::new(block)
        .bind(&["0.0.0.0".parse().unwrap(), Ipv6Addr::UNSPECIFIED.into()])
        .set("connect_timeout", 0.5)
}

/// The last client that a server has seen.
fn last(backend: &Backend) -> IpAddr {
    backend.arrivals().last().unwrap().0.ip()
}

#[test]
fn the_server_sees_the_client_once_the_guides_rules_bring_its_answers_back() {
    let Some(network) = Network::new() else {
        return;
    };
    let block = Block::claim();
    let backends = network.serve(PORT);
    let [v4, v6] = servers().map(|ip| SocketAddr::new(ip, PORT).to_string());
    // Port 5280 leads to the server's IPv4 address, 5281 to its IPv6 address.
    let settings = settings(&block)
        .ports(&[PORT, 5281])
        .group_ports(0, &[(PORT, v4), (5281, v6)])
        .group_set(0, "transparent", true);
    let proxy = network.start(&settings);
    let ways = [(0, PORT), (1, 5281)];
    for (family, port) in ways {
        let to = SocketAddr::new(proxies()[family], port);
        network.greet(clients()[family], to).unwrap_err();
    }
    let lost = proxy.log.wait_sessions(2, "without the rules", |_| true);
    for session in &lost {
        assert_eq!(session.end, "connect_timeout", "{session:?}");
    }
    assert!(backends.iter().all(|backend| backend.open() == 0));

    network.answers_arrive();
    for (family, port) in ways {
        let backend = &backends[family];
        let to = SocketAddr::new(proxies()[family], port);
        let (name, stream) = network.greet(clients()[family], to).unwrap();
        assert_eq!(name, backend.name());
        assert_eq!(last(backend), clients()[family]);
        client::exchange(&stream, &[7; 100_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(client::read_to_end(&stream).unwrap().is_empty());
    }
    let ends = proxy.log.wait_sessions(4, "with them", |_| true);
    for session in &ends[2..] {
        assert_eq!(session.end, "client_finished", "{session:?}");
    }
}

#[test]
fn clients_that_no_other_host_can_answer_are_reset_or_go_to_a_group_that_takes_them() {
    let Some(network) = Network::new() else {
        return;
    };
    network.answers_arrive();
    for address in ["fe80::c", "fe80::d"] {
        network
            .client
            .ip(format!("address add {address}/64 dev eth0 nodad"));
    }
    network.proxy.ip("address add fe80::1/64 dev lan0 nodad");
    let [_, server] = network.serve(PORT);
    let beside = SocketAddr::new(proxies()[1], 7000);
    let _beside = network
        .proxy
        .run(move || Backend::echo("beside", beside.ip(), &[beside.port()]));
    let target = SocketAddr::new(servers()[1], PORT).to_string();
    // At an address of the proxy's own host, on another link than the client's.
    let across = SocketAddr::new("2001:db8:2::1".parse().unwrap(), 7000);
    let _across = network
        .proxy
        .run(move || Backend::echo("across", across.ip(), &[across.port()]));
    let block = Block::claim();
    // Port 5280 leads to two groups, 5281 to the transparent one alone, 5282 to another one.
    let settings = settings(&block)
        .ports(&[PORT, 5281, 5282])
        .group_ports(2, &[(5282, across.to_string())])
        .group_set(2, "transparent", true)
        .group_ports(0, &[(PORT, target.clone()), (5281, target.clone())])
        .group_set(0, "transparent", true)
        .group_ports(1, &[(PORT, beside.to_string())])
        .set("balance", "round-robin")
        .group_set(0, "weight", 100);
    let proxy = network.start(&settings);
    let here = IpAddr::from(Ipv6Addr::LOCALHOST);
    let ask_here = |port| {
        network
            .proxy
            .run(move || client::ask(here, SocketAddr::new(here, port)))
    };
    let ask_from = |own: &'static str, port: u16| {
        network.client.run(move || {
            let [from, to] = [(own, 0), ("fe80::1%eth0", port)]
                .map(|address| address.to_socket_addrs().unwrap().next().unwrap());
            let stream = client::connect_from(from, to, |_| Ok(()))?;
            client::read_line(&stream)
        })
    };
    let ask_on_link = |port| ask_from("fe80::c%eth0", port);
    for (client, ask) in [
        ("[::1]:", &ask_here as &dyn Fn(u16) -> io::Result<String>),
        ("[fe80::c%", &ask_on_link),
    ] {
        let reset = ask(5281).unwrap_err();
        assert!(client::is_reset(&reset), "{client}: {reset}");
        let session = proxy.log.wait_session("the one refused", |session| {
            session.client.starts_with(client) && session.port == 5281
        });
        assert_eq!(session.end, "not_transparent", "{client}");
        assert_eq!(ask(PORT).unwrap(), "beside", "{client}");
    }
    // From the address of a link the kernel knows no way to another one's.
    let reset = ask_from("fe80::d%eth0", 5282).unwrap_err();
    assert!(client::is_reset(&reset), "{reset}");
    let session = proxy.log.wait_session("across the links", |session| {
        session.client.starts_with("[fe80::d%") && session.port == 5282
    });
    assert_eq!(session.end, "not_transparent");
    let statistics = proxy.statistics();
    let metrics = network
        .proxy
        .run(move || support::http::get(statistics, "/metrics").text());
    for figure in [
        "tcpffee_stick_moves_total 2",
        &format!("tcpffee_target_connect_failures_total{{group=\"0\",target=\"{target}\"}} 0"),
        &format!("tcpffee_target_connect_failures_total{{group=\"2\",target=\"{across}\"}} 0"),
    ] {
        assert!(metrics.contains(&format!("{figure}\n")), "{metrics}");
    }
    proxy.log.wait("who, and where to", |line| {
        line.contains("is reset") && line.contains(&target) && line.contains("(transparent)")
    });
    // Nobody is blamed, and who can be answered is served.
    assert!(!proxy.log.text().contains("does not answer"));
    assert_eq!(server.accepted(), 0);
    let to = SocketAddr::new(proxies()[1], 5281);
    let (name, _) = network.greet(clients()[1], to).unwrap();
    assert_eq!(name, server.name());
}

#[test]
fn a_connection_to_the_servers_own_address_is_taken_and_served_by_the_listeners_port() {
    let Some(network) = Network::new() else {
        return;
    };
    network.answers_arrive();
    network.connections_are_handed_over();
    let block = Block::claim();
    let backends = network.serve(80);
    let [v4, v6] = servers().map(|ip| SocketAddr::new(ip, 80).to_string());
    let file = |target: String| {
        settings(&block)
            .ports(&[PORT])
            .set("transparent_listen", true)
            .group_ports(0, &[(PORT, target)])
            .group_set(0, "transparent", true)
    };
    let mut proxy = network.start(&file(v4));
    // Wherever a client wanted to go on the intercepted port: to the server itself, or elsewhere.
    for (family, target, elsewhere) in [
        (0, None, "203.0.113.9:80"),
        (1, Some(v6), "[2001:db8:9::9]:80"),
    ] {
        if let Some(target) = target {
            proxy.reload_ok(&file(target));
        }
        let backend = &backends[family];
        let server = SocketAddr::new(servers()[family], 80);
        for to in [server, elsewhere.parse().unwrap()] {
            let (name, stream) = network.greet(clients()[family], to).unwrap();
            assert_eq!(name, backend.name());
            assert_eq!(stream.peer_addr().unwrap(), to);
            assert_eq!(last(backend), clients()[family]);
            client::exchange(&stream, b"by way of the proxy").unwrap();
        }
    }
    let sessions = proxy.log.wait_sessions(4, "all", |_| true);
    assert!(sessions.iter().all(|session| session.port == PORT));
}

#[test]
fn a_reload_begins_and_ends_to_take_what_is_meant_for_others() {
    let Some(network) = Network::new() else {
        return;
    };
    network.answers_arrive();
    network.connections_are_handed_over();
    let block = Block::claim();
    let backends = network.serve(80);
    let target = SocketAddr::new(servers()[0], 80).to_string();
    let off = settings(&block)
        .ports(&[PORT])
        .group_ports(0, &[(PORT, target)])
        .group_set(0, "send_proxy", "v1");
    let on = off.clone().set("transparent_listen", true);
    let to: SocketAddr = "203.0.113.9:80".parse().unwrap();
    let mut proxy = network.start(&off);
    assert!(!network.reaches(to), "nothing is handed over yet");
    proxy.reload_ok(&on);
    // The server, which is not transparent here, is told where the client wanted to go.
    let (name, stream) = network.greet(clients()[0], to).unwrap();
    assert_eq!(name, backends[0].name());
    let told = client::read_line(&stream).unwrap();
    let port = stream.local_addr().unwrap().port();
    assert_eq!(
        told,
        format!("PROXY TCP4 198.51.100.2 203.0.113.9 {port} 80\r")
    );
    assert_eq!(last(&backends[0]), "192.0.2.1".parse::<IpAddr>().unwrap());
    proxy.reload_ok(&off);
    support::eventually("nothing is handed over any more", || !network.reaches(to));
    client::exchange(&stream, b"the open one goes on").unwrap();
}

#[test]
fn a_listener_that_takes_others_connections_binds_only_what_the_host_holds() {
    let Some(network) = Network::new() else {
        return;
    };
    let block = Block::claim();
    let settings = Settings::new(&block)
        .bind(&["203.0.113.77".parse().unwrap()])
        .set("transparent_listen", true)
        .group(0, block.backend(0));
    let builder = Proxy::builder(&settings);
    let (code, said) = network.proxy.run(move || builder.expect_failure());
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("does not hold that address"), "{said}");
}
