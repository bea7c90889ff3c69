//! Without a free ephemeral port no stick is moved and no target is blamed.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod support;

use std::io::Write;
use std::net::SocketAddr;

use support::client::{self, StreamEnd};
use support::wait::eventually_some;
use support::{Block, Fleet, Proxy, Settings, netns};

const PORT: u16 = 5280;

#[test]
fn a_socket_that_connects_to_itself_is_a_refused_connect() {
    meets_itself(None);
    meets_itself(Some("127.9.0.1"));
}

/// Connects to this host where nobody listens, from `bind_source` where it is given.
fn meets_itself(source: Option<&str>) {
    netns::in_new_namespace(|| {
        // With two ports to choose from, connects to one of them meet themselves half the time.
        netns::sysctl("net.ipv4.ip_local_port_range", "40000 40001");
        let block = Block::claim();
        let settings = Settings::new(&block).ports(&[PORT]).group_ports(
            0,
            &[(PORT, format!("{}:40000", source.unwrap_or("127.0.0.1")))],
        );
        let proxy = Proxy::start(&match source {
            Some(source) => settings.set("bind_source", source),
            None => settings,
        });
        for client in 0..40 {
            let from = SocketAddr::new(block.client(0), 10_000 + client);
            let stream = client::connect_from(from, block.listener(PORT), |_| Ok(()));
            if let Ok(stream) = stream {
                // A relay to itself would send this back.
                match (&stream).write_all(b"anybody there?") {
                    Ok(()) => assert_eq!(client::drain(&stream), (0, StreamEnd::Reset)),
                    Err(error) => assert!(client::is_reset(&error), "{error}"),
                }
            }
        }
        for session in proxy.log.wait_sessions(40, "all of them", |_| true) {
            assert!(
                ["connect_failed", "local_error", "no_port"].contains(&session.end.as_str()),
                "{session:?}"
            );
        }
    });
}

#[test]
fn exhausted_ephemeral_ports_move_no_stick_and_blame_no_target() {
    netns::in_new_namespace(|| {
        netns::sysctl("net.ipv4.ip_local_port_range", "40000 40999");
        let fleet = Fleet::new(2);
        let settings = fleet.settings.clone().set("balance", "round-robin");
        let proxy = Proxy::start(&settings);
        assert_eq!(fleet.served_by(0, PORT), "g0", "it fills the ports");
        assert_eq!(fleet.served_by(1, PORT), "g1", "the other group");
        assert_eq!(fleet.served_by(2, PORT), "g0", "a bystander");

        // Held connections to group 0 until its ports are used up.
        let mut held = Vec::new();
        let end = loop {
            assert!(held.len() < 1_100, "more connections than ports");
            // Bound below the range: the kernel keeps a bound port from connects of others.
            let from = SocketAddr::new(fleet.block.client(0), 10_000 + held.len() as u16);
            let stream = client::connect_from(from, fleet.listener(PORT), |_| Ok(()));
            match stream.and_then(|stream| Ok((client::read_line(&stream)?, stream))) {
                Ok((name, stream)) => {
                    assert_eq!(name, "g0");
                    held.push(stream);
                }
                Err(error) => break error,
            }
        };
        assert!(client::is_reset(&end), "{end}");
        assert!(held.len() > 900, "{} connections", held.len());
        let failed = proxy
            .log
            .wait_session("one in vain", |s| s.end == "no_port");
        assert_eq!(failed.group, Some(0));

        // A key that is with group 0 is not moved; nor is a new one whose turn is group 0.
        assert_eq!(fleet.served_by(3, PORT), "g1");
        for client in [2, 4] {
            let from = fleet.block.client(client);
            client::expect_reset(from, fleet.listener(PORT));
            let prefix = format!("{from}:");
            let failed = proxy.log.wait_session("the one in vain", |session| {
                session.client.starts_with(&prefix) && session.end == "no_port"
            });
            assert_eq!(failed.group, Some(0), "client {client}");
        }
        // Group 1 has ports of its own.
        assert_eq!(fleet.served_by(1, PORT), "g1");
        for session in proxy.log.sessions() {
            assert_ne!(session.end, "connect_failed", "a target was blamed");
        }

        // With ports free again everyone is where they were.
        held.into_iter().for_each(client::reset);
        for (client, group) in [(2, "g0"), (0, "g0"), (1, "g1")] {
            let name = eventually_some("a port is free", || fleet.ask(client, PORT).ok());
            assert_eq!(name, group, "client {client}");
        }
    });
}
