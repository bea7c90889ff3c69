//! Listeners: where, how many, and what stands in their way.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};
use support::client;
use support::{Backend, Block, Fleet, Proxy, Settings, eventually, netns, process};

const PORT: u16 = 5280;
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCALHOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn every_worker_has_a_listener_of_its_own_for_each_port_and_address() {
    let fleet = Fleet::new(1);
    let second = IpAddr::V4(fleet.block.address(0, 9));
    let settings = fleet
        .settings
        .clone()
        .bind(&[fleet.block.proxy().into(), second])
        .set("workers", 3);
    let proxy = Proxy::start(&settings);
    for port in support::settings::PORTS {
        for address in [fleet.block.proxy().into(), second] {
            let place = SocketAddr::new(address, port);
            assert_eq!(process::listeners(proxy.pid(), place), 3, "{place}");
            let name = client::ask(fleet.block.client(0), place).unwrap();
            assert_eq!(name, "g0");
        }
    }
}

#[test]
fn a_range_of_ports_is_listened_on() {
    let ports: Vec<u16> = (6000..=6029).chain([5280]).collect();
    let fleet = Fleet::on_ports(2, &ports);
    let written: Vec<toml::Value> = vec![5280.into(), "6000-6029".into()];
    let _proxy = Proxy::start(&fleet.settings.clone().set("ports", written));
    let names: Vec<String> = ports.iter().map(|port| fleet.served_by(0, *port)).collect();
    assert!(names.iter().all(|name| name == "g0"), "{names:?}");
}

#[test]
fn ipv6_is_served_to_ipv4_and_ipv6_targets() {
    let block = Block::claim();
    let port = block.port(0);
    let _four = Backend::echo("four", block.backend(0), &[7000]);
    let _six = Backend::echo("six", LOCALHOST_V6, &[block.port(1)]);
    let settings = Settings::new(&block)
        .bind(&[LOCALHOST_V6])
        .ports(&[port])
        .group_ports(0, &[(port, format!("{}:7000", block.backend(0)))])
        .group_ports(1, &[(port, format!("[::1]:{}", block.port(1)))])
        .group_set(0, "drain", true);
    let mut proxy = Proxy::start(&settings);
    let to = SocketAddr::new(LOCALHOST_V6, port);
    assert_eq!(client::ask(LOCALHOST_V6, to).unwrap(), "six");
    let other = settings
        .clone()
        .group_set(0, "drain", false)
        .group_set(1, "disabled", true);
    proxy.reload_ok(&other);
    assert_eq!(client::ask(LOCALHOST_V6, to).unwrap(), "four");
}

#[test]
fn both_wildcards_can_be_bound_side_by_side() {
    let block = Block::claim();
    let port = block.port(0);
    let _backend = Backend::echo("g0", block.backend(0), &[7000]);
    let settings = Settings::new(&block)
        .bind(&[Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()])
        .ports(&[port])
        .group_ports(0, &[(port, format!("{}:7000", block.backend(0)))]);
    let _proxy = Proxy::start(&settings);
    for ip in [LOCALHOST, LOCALHOST_V6] {
        assert_eq!(client::ask(ip, SocketAddr::new(ip, port)).unwrap(), "g0");
    }
}

#[test]
fn an_address_that_is_not_here_needs_freebind() {
    let fleet = Fleet::new(1);
    // TEST-NET-1 (RFC 5737): no host has it.
    let elsewhere: IpAddr = "192.0.2.77".parse().unwrap();
    let settings = fleet.settings.clone().bind(&[elsewhere]);
    let (code, log) = Proxy::builder(&settings).expect_failure();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("192.0.2.77:5280"), "{log}");
    let _proxy = Proxy::start(&settings.set("freebind", true));
}

#[test]
fn an_address_that_comes_later_is_served_with_freebind() {
    netns::in_new_namespace(|| {
        let fleet = Fleet::new(1);
        let elsewhere: IpAddr = "192.0.2.77".parse().unwrap();
        let settings = fleet
            .settings
            .clone()
            .bind(&[elsewhere])
            .set("freebind", true);
        let _proxy = Proxy::start(&settings);
        netns::ip("address add 192.0.2.77/32 dev lo").unwrap();
        let name = client::ask(elsewhere, SocketAddr::new(elsewhere, PORT)).unwrap();
        assert_eq!(name, "g0");
    });
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let fleet = Fleet::new(1);
    let _taken = TcpListener::bind(fleet.listener(5281)).unwrap();
    let (code, log) = Proxy::builder(&fleet.settings).expect_failure();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains(&fleet.listener(5281).to_string()), "{log}");
}

#[test]
fn a_port_shared_by_reuseport_counts_as_taken() {
    let fleet = Fleet::new(1);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&fleet.listener(5281).into()).unwrap();
    socket.listen(8).unwrap();
    let (code, log) = Proxy::builder(&fleet.settings).expect_failure();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains(&fleet.listener(5281).to_string()), "{log}");
}

#[test]
fn a_second_instance_on_the_same_ports_refuses_to_start_and_the_first_goes_on() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&fleet.settings);
    let (code, log) = Proxy::builder(&fleet.settings).expect_failure();
    assert_eq!(code, 3, "{log}");
    for client in 0..50 {
        assert_eq!(fleet.served_by(client, PORT), "g0");
    }
    assert_eq!(
        proxy.log.wait_sessions(50, "all clients", |_| true).len(),
        50
    );
}

#[test]
fn a_second_instance_on_the_same_state_refuses_to_start() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::start(&fleet.settings);
    let elsewhere = fleet
        .settings
        .clone()
        .bind(&[fleet.block.address(0, 9).into()])
        .stats(fleet.block.statistics(1));
    // The same PID file.
    let second = Proxy::builder(&elsewhere).state(proxy.state());
    let (code, log) = second.expect_failure();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains(&proxy.pid().to_string()), "{log}");
    // Another PID file, the same stick table.
    let path = proxy.state().stick_table_path();
    let path = path.to_str().unwrap();
    let second = Proxy::builder(&elsewhere).env("TCPFFEE_STICK_TABLE_SAVE_PATH", path);
    let (code, log) = second.expect_failure();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains(path), "{log}");
    assert_eq!(fleet.served_by(0, PORT), "g0");
}

#[test]
fn a_target_that_is_the_proxys_own_listener_is_never_connected_to() {
    let block = Block::claim();
    let port = block.port(0);
    let settings = Settings::new(&block)
        .bind(&[Ipv4Addr::UNSPECIFIED.into()])
        .ports(&[port])
        .group(0, Ipv4Addr::LOCALHOST);
    let proxy = Proxy::start(&settings);
    proxy.log.wait("a warning that names the target", |line| {
        line.contains("WARN") && line.contains(&format!("127.0.0.1:{port}"))
    });
    let before = proxy.settled_descriptors();
    let to = SocketAddr::new(LOCALHOST, port);
    let error = client::ask(block.client(0), to).unwrap_err();
    assert!(client::is_reset(&error), "{error}");
    let session = proxy.log.wait_session("the refused one", |_| true);
    assert_eq!((session.end.as_str(), session.target), ("no_group", None));
    eventually("its descriptor is closed", || proxy.descriptors() <= before);
    assert_eq!(proxy.log.sessions().len(), 1, "one client, one session");
}

#[test]
fn clients_of_a_group_that_is_the_proxy_itself_go_to_the_next() {
    let block = Block::claim();
    let _backend = Backend::echo("g1", block.backend(1), &[PORT]);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.proxy())
        .group(1, block.backend(1));
    let proxy = Proxy::start(&settings);
    for client in 0..20 {
        let name = client::ask(block.client(client), block.listener(PORT)).unwrap();
        assert_eq!(name, "g1");
    }
    assert_eq!(proxy.log.wait_sessions(20, "all", |_| true).len(), 20);
}

#[test]
fn the_split_of_descriptors_is_logged_at_start() {
    let fleet = Fleet::new(1);
    let proxy = Proxy::builder(&fleet.settings).descriptors(1000).start();
    proxy.log.wait("descriptors and their limit", |line| {
        line.contains("descriptors") && (line.contains("1000") || line.contains("1,000"))
    });
}
