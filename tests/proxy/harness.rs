//! The test harness itself: a client, a backend and nothing between them.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::process::Command;

use crate::support;
use support::client::{self, StreamEnd};
use support::{Backend, Block, Session, bulk, netns};

#[test]
fn two_blocks_do_not_share_addresses() {
    let (one, other) = (Block::claim(), Block::claim());
    assert_ne!(one.proxy(), other.proxy());
}

#[test]
fn a_test_that_may_not_do_what_it_needs_is_skipped_and_fails_where_all_must_run() {
    if !rustix::process::geteuid().is_root() {
        return support::skip("only root can give up what these tests need");
    }
    let without_privileges = [
        "--bounding-set=-sys_admin,-net_admin,-net_raw",
        "--inh-caps=-sys_admin,-net_admin,-net_raw",
    ];
    for test in [
        "admission::an_ipv6_client_is_as_many_bits_as_keys_have",
        "transparent::the_server_sees_the_clients_address_and_a_port_of_the_kernels_choice",
        "transparent_routes::a_reload_begins_and_ends_to_take_what_is_meant_for_others",
    ] {
        let run = |prepare: fn(&mut Command) -> &mut Command| {
            let mut command = Command::new("setpriv");
            command
                .args(without_privileges)
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", test, "--nocapture"]);
            prepare(&mut command).output().unwrap()
        };
        let left_out = run(|command| command.env_remove("TESTS_NEED_PROGRAMS"));
        let said = String::from_utf8_lossy(&left_out.stdout);
        assert!(left_out.status.success(), "{test}: {left_out:?}");
        assert!(said.contains("SKIPPED: no "), "{test}: {said}");
        assert!(said.contains("1 passed"), "{test}: {said}");
        let failed = run(|command| command.env("TESTS_NEED_PROGRAMS", "1"));
        assert!(!failed.status.success(), "{test}: {failed:?}");
        assert!(
            String::from_utf8_lossy(&failed.stdout).contains("1 failed"),
            "{test}: {failed:?}"
        );
    }
}

#[test]
fn an_echo_backend_says_its_name_and_echoes() {
    let block = Block::claim();
    let backend = Backend::echo("alder", block.backend(0), &[5280, 5281]);
    let to = SocketAddr::new(block.backend(0).into(), 5281);
    let (name, stream) = client::greet(block.client(7), to).unwrap();
    assert_eq!(name, "alder");
    client::exchange(&stream, b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client::drain(&stream), (0, StreamEnd::Finished));
    assert_eq!(backend.accepted(), 1);
    assert_eq!(backend.arrivals()[0].0.ip(), block.client(7));
}

#[test]
fn a_stopped_backend_refuses_and_a_reset_is_seen() {
    let block = Block::claim();
    let mut backend = Backend::start("birch", block.backend(0), &[5280], |conn| {
        assert_eq!(client::drain(&conn.stream), (0, StreamEnd::Reset));
    });
    let to = SocketAddr::new(block.backend(0).into(), 5280);
    client::reset(client::connect(block.client(0), to).unwrap());
    support::eventually("the connection is over", || {
        backend.accepted() == 1 && backend.open() == 0
    });
    backend.stop_listening();
    assert!(client::connect(block.client(0), to).is_err());
}

#[test]
fn a_wrong_byte_in_a_stream_is_found() {
    let block = Block::claim();
    let _backend = Backend::start("cedar", block.backend(0), &[5280], |conn| {
        let mut pattern = bulk::Pattern::new(3);
        let mut bytes = pattern.take(1000).to_vec();
        bytes[500] ^= 1;
        let _ = (&*conn.stream).write_all(&bytes);
    });
    let to = SocketAddr::new(block.backend(0).into(), 5280);
    let stream = client::connect(block.client(0), to).unwrap();
    let outcome = std::panic::catch_unwind(|| bulk::receive_to_end(&stream, 3));
    let panic = outcome.unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("wrong byte at 500"), "{message}");
}

#[test]
fn a_namespace_has_its_own_port_range() {
    let here = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    netns::in_new_namespace(|| netns::sysctl("net.ipv4.ip_local_port_range", "40000 40999"));
    let after = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    assert_eq!(here, after);
}

#[test]
fn a_session_line_is_read() {
    let line = "2026-01-01T00:00:00.000Z INFO tcpffee::session client=127.1.2.3:40000 \
                key=127.1.2.3 port=5280 group=- target=- in=0 out=12 queued_ms=2 connect_ms=- \
                duration_ms=3 end=no_group";
    let session = Session::parse(line).unwrap();
    assert_eq!((session.group, session.bytes_out), (None, 12));
    assert_eq!((session.queued_ms, session.connect_ms), (2, None));
    assert_eq!(session.end, "no_group");
}
