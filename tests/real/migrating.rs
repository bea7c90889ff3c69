//! The files of docs/MIGRATING.md, before and after, and what the guide says about them. Three
//! nodes with `peers` are in `tests/cluster/migrating.rs`.
//!
//! Everything is on the loopback interface of a network namespace, at the guide's own addresses.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod change_over;
mod haproxy;
mod nginx;
mod old; // the balancers that people come from
mod original;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use crate::real;
use crate::support::netns::{in_new_namespace, ip};
use crate::support::proxy::State;
use crate::support::wait::{eventually_some, holds_within};
use crate::support::{Backend, Proxy, client, eventually, guide, http};

/// The balancer, before and after.
const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The servers by name; dogwood comes later.
const SERVERS: [&str; 4] = ["alder", "birch", "cedar", "dogwood"];
/// The ports of the servers.
const PORTS: [u16; 3] = [5280, 5281, 5282];
/// The clients that most tests look at.
const CLIENTS: u32 = 12;
/// From here on nobody has been a client before.
const NEWCOMERS: u32 = 1_000;
const STATISTICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2340);

/// A file of the guide.
fn block(first_line: &str) -> String {
    guide::block("MIGRATING.md", first_line)
}

/// Where a server is.
fn place(server: &str) -> Ipv4Addr {
    let at = SERVERS.iter().position(|name| *name == server).unwrap();
    Ipv4Addr::new(10, 77, 0, 100 + u8::try_from(at).unwrap())
}

/// Runs `body` where the guide's addresses are, once these programs are there.
fn in_guide(programs: &[(&str, &str)], body: impl FnOnce() + Send) {
    if !real::has_all(programs) {
        return;
    }
    in_new_namespace(|| {
        let own = std::iter::once(BALANCER).chain(SERVERS.map(place));
        for address in own {
            ip(&format!("address add {address}/32 dev lo")).unwrap();
        }
        ip("route add local 10.78.0.0/16 dev lo").unwrap();
        body();
    });
}

/// A server that says its name.
fn server(name: &str) -> Backend {
    Backend::echo(name, place(name), &PORTS)
}

/// The three servers of the guide.
fn servers() -> Vec<Backend> {
    SERVERS[..3].iter().map(|name| server(name)).collect()
}

/// tcpffee with a file of the guide, about which `tcpffee check` has nothing to say.
fn tcpffee(first_line: &str) -> Proxy {
    tcpffee_with(&block(first_line), &State::new())
}

/// The same with a file made from one of the guide, on these saves.
fn tcpffee_with(text: &str, state: &State) -> Proxy {
    let proxy = Proxy::builder_from_text(text).state(state).start();
    let answer = proxy.subcommand(&["check"]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert!(answer.text.ends_with("no warnings\n"), "{}", answer.text);
    proxy
}

fn address(client: u32) -> IpAddr {
    (u32::from(Ipv4Addr::new(10, 78, 0, 1)) + client)
        .to_be_bytes()
        .into()
}

/// The server that a client gets on a port; none where nobody serves it.
fn ask(client: u32, port: u16) -> Option<String> {
    client::ask(address(client), (BALANCER, port).into()).ok()
}

/// The server of a client, the same on all these ports.
fn server_of(client: u32, ports: &[u16]) -> String {
    let asked = ports.iter().map(|port| {
        ask(client, *port).unwrap_or_else(|| panic!("nobody serves client {client} on {port}"))
    });
    let mut found: BTreeSet<String> = asked.collect();
    assert_eq!(found.len(), 1, "client {client} on {ports:?}");
    found.pop_first().unwrap()
}

/// The servers of the first clients, each the same on all these ports.
fn servers_of(clients: u32, ports: &[u16]) -> Vec<String> {
    (0..clients)
        .map(|client| server_of(client, ports))
        .collect()
}

/// A connection that is open, and the client's server.
fn open(client: u32, port: u16) -> (String, TcpStream) {
    client::greet(address(client), (BALANCER, port).into()).unwrap()
}

/// A client whose open connection is at this server.
fn open_at(server: &str, port: u16) -> (u32, TcpStream) {
    let at = |client| {
        let (name, stream) = open(client, port);
        (name == server).then_some((client, stream))
    };
    (0..200).find_map(at).expect("every server has clients")
}

/// One client has one server on all these ports, and each server has clients.
fn assert_spread(ports: &[u16]) {
    let found: BTreeSet<String> = servers_of(60, ports).into_iter().collect();
    assert_eq!(found.len(), 3, "{found:?}");
}

/// Alder's clients stay when it drains, and it gets no new ones.
fn assert_drains(ports: &[u16], drain: impl FnOnce()) {
    let before = servers_of(CLIENTS, ports);
    assert!(before.iter().any(|name| name == "alder"), "{before:?}");
    drain();
    assert_eq!(servers_of(CLIENTS, ports), before);
    for newcomer in NEWCOMERS..NEWCOMERS + CLIENTS {
        assert_ne!(server_of(newcomer, ports), "alder");
    }
}

/// Alder's clients go elsewhere when it is gone; nobody else moves.
fn assert_leaves(servers: &mut [Backend], ports: &[u16]) -> Vec<String> {
    let before = servers_of(CLIENTS, ports);
    assert!(before.iter().any(|name| name == "alder"), "{before:?}");
    servers[0].stop_listening();
    servers[0].cut();
    let clients = (0..CLIENTS).zip(&before);
    for (client, _) in clients.filter(|(_, name)| *name == "alder") {
        eventually("a client of alder goes elsewhere", || {
            ask(client, ports[0]).is_some_and(|name| name != "alder")
        });
    }
    let after = servers_of(CLIENTS, ports);
    for (was, is) in before.iter().zip(&after) {
        assert!(was == is || was == "alder", "from {was} to {is}");
    }
    after
}

/// The same, and they stay there when it is back.
fn assert_leaves_for_good(servers: &mut [Backend], ports: &[u16]) {
    let after = assert_leaves(servers, ports);
    servers[0] = server("alder");
    let mut newcomers = NEWCOMERS..NEWCOMERS + 60_000;
    eventually("alder gets new clients", || {
        let newcomer = newcomers.next().expect("within a minute");
        ask(newcomer, ports[0]).is_some_and(|name| name == "alder")
    });
    assert_eq!(servers_of(CLIENTS, ports), after);
}
