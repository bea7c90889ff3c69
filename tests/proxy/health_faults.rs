//! Servers of every kind of bad will, a state file that cannot be used, a clock that jumps.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support;
use support::backend::Conn;
use support::health::{BlackHole, WARD_PORT, changes, http, story, wait_change};
use support::yardstick::Yardstick;
use support::{Backend, Block, Fleet, Proxy, Settings, Ward, eventually, netns, process};

const PORT: u16 = 5280;
const QUICK: &str = "interval = 0.2\ntimeout = 0.2\nfall = 1\nrise = 1";

/// A group whose checks meet `serve`, and the line of the log about its fall.
fn fall_of(serve: impl Fn(Conn) + Send + Sync + 'static) -> (Proxy, String) {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let address = fleet.block.backend(0);
    let _server = Backend::start("server", address, &[WARD_PORT], serve);
    let proxy = Proxy::start(&fleet.settings.clone().check(0, &http(QUICK)));
    let line = wait_change(&proxy, 0, 0, "Up -> Draining");
    (proxy, line)
}

fn read_request(mut stream: &std::net::TcpStream) {
    let mut bytes = [0; 4096];
    let _ = stream.read(&mut bytes);
}

#[test]
fn a_server_that_accepts_and_never_answers_falls() {
    let (_proxy, line) = fall_of(|conn| {
        let mut sink = Vec::new();
        let _ = (&*conn.stream).read_to_end(&mut sink);
    });
    assert!(line.ends_with("no answer within 0.2 s"), "{line}");
}

#[test]
fn a_server_that_answers_one_byte_a_second_falls() {
    let (_proxy, line) = fall_of(|conn| {
        for byte in b"HTTP/1.1 200 OK\r\n\r\n" {
            if (&*conn.stream).write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    assert!(line.ends_with("no answer within 0.2 s"), "{line}");
}

#[test]
fn a_server_with_ten_megabytes_of_headers_falls_and_costs_no_memory() {
    let (proxy, line) = fall_of(|conn| {
        read_request(&conn.stream);
        let _ = (&*conn.stream).write_all(b"HTTP/1.1 200 OK\r\n");
        let header = format!("X: {}\r\n", "y".repeat(10_000));
        for _ in 0..1_000 {
            if (&*conn.stream).write_all(header.as_bytes()).is_err() {
                return;
            }
        }
    });
    assert!(line.ends_with("headers larger than 64 KiB"), "{line}");
    assert!(process::peak_resident_bytes(proxy.pid()) < 40_000_000);
}

#[test]
fn a_server_that_redirects_falls_and_is_not_followed() {
    let block = Block::claim();
    let elsewhere = Ward::start_at(block.address(9, 1), 8088);
    let place = SocketAddr::new(block.address(9, 1).into(), 8088);
    let (_proxy, line) = fall_of(move |conn| {
        read_request(&conn.stream);
        let text =
            format!("HTTP/1.1 301 Moved\r\nLocation: http://{place}/\r\nContent-Length: 0\r\n\r\n");
        let _ = (&*conn.stream).write_all(text.as_bytes());
    });
    assert!(line.ends_with("answered 301, expected 200"), "{line}");
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn a_server_that_resets_or_closes_falls() {
    let (_proxy, line) = fall_of(|conn| {
        read_request(&conn.stream);
        let socket = socket2::SockRef::from(&*conn.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert!(line.ends_with("reset the connection"), "{line}");
    let (_proxy, line) = fall_of(|conn| read_request(&conn.stream));
    assert!(
        line.ends_with("closed the connection without an answer"),
        "{line}"
    );
}

#[test]
fn a_server_with_the_wrong_status_falls() {
    let (_proxy, line) = fall_of(|conn| {
        read_request(&conn.stream);
        let text = "HTTP/1.1 204 No Content\r\n\r\n";
        let _ = (&*conn.stream).write_all(text.as_bytes());
    });
    assert!(line.ends_with("answered 204, expected 200"), "{line}");
}

#[test]
fn a_server_whose_handshakes_hang_falls() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let place = SocketAddr::new(fleet.block.backend(0).into(), WARD_PORT);
    let _hole = BlackHole::open(place);
    let check = format!("port = {WARD_PORT}\n{QUICK}");
    let proxy = Proxy::start(&fleet.settings.clone().check(0, &check));
    let line = wait_change(&proxy, 0, 0, "Up -> Draining");
    assert!(line.ends_with("no connection within 0.2 s"), "{line}");
}

#[test]
fn a_server_that_flaps_at_every_check_changes_as_rise_and_fall_say() {
    for (fall, rise, expected_changes) in [(1, 1, 10), (2, 1, 0), (1, 2, 1)] {
        let fleet = Fleet::on_ports(1, &[PORT]);
        let ward = Ward::start(fleet.block.backend(0));
        ward.play(&"-+".repeat(5));
        let keys = format!("interval = 0.5\ntimeout = 0.5\nfall = {fall}\nrise = {rise}");
        let proxy = Proxy::start(&fleet.settings.clone().check(0, &http(&keys)));
        // After the script every check passes: with a rise of 2 the group comes back.
        let last = usize::from(rise == 2);
        eventually("the script is over", || ward.count() > 13);
        eventually("all is told", || {
            changes(&proxy, 0).len() >= expected_changes + last
        });
        assert_eq!(
            changes(&proxy, 0).len(),
            expected_changes + last,
            "{fall}, {rise}"
        );
    }
}

#[test]
fn a_name_that_does_not_resolve_fails_until_it_does() {
    // Names are looked up in a hosts file of this test's own.
    let block = Block::claim();
    let _echo = Backend::echo("g0", block.backend(0), &[PORT]);
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group_ports(0, &[(PORT, format!("late.tcpffee.test:{PORT}"))])
        .check(0, QUICK);
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let Some(proxy) = start_with_hosts(&settings, &hosts) else {
        support::skip("no mount namespace for a hosts file");
        return;
    };
    let line = wait_change(&proxy, 0, 0, "Up -> Draining");
    assert!(
        line.contains("at late.tcpffee.test:5280 has failed once"),
        "{line}"
    );
    assert!(line.ends_with("the name does not resolve"), "{line}");
    let entry = format!(
        "127.0.0.1 localhost\n{} late.tcpffee.test\n",
        block.backend(0)
    );
    fs::write(&hosts, entry).unwrap();
    wait_change(&proxy, 0, 0, "Draining -> Up");
    let from = block.client(0);
    eventually("it serves", || {
        support::client::ask(from, block.listener(PORT)).is_ok_and(|name| name == "g0")
    });
}

/// Starts the proxy where this file is `/etc/hosts`; `None` where that cannot be had.
fn start_with_hosts(settings: &Settings, hosts: &Path) -> Option<Proxy> {
    let probe = Command::new("unshare").args(["-m", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return None;
    }
    let script = format!(
        "mount --bind {} /etc/hosts && exec \"$0\" \"$@\"",
        hosts.display()
    );
    Some(
        Proxy::builder(settings)
            .wrapped(&["unshare", "-m", "sh", "-c", &script])
            .start(),
    )
}

#[test]
fn a_definition_edited_in_the_middle_of_a_fall_begins_its_count_anew() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let ward = Ward::start(fleet.block.backend(0));
    let slow = |fall: u32| {
        let keys = format!("interval = 0.3\ntimeout = 0.3\nfall = {fall}\nrise = 2");
        fleet.settings.clone().check(0, &http(&keys))
    };
    let builder = Proxy::builder(&slow(4)).env("RUST_LOG", "info,tcpffee::health=debug");
    let mut proxy = builder.start();
    ward.set_well(false);
    let failures = |proxy: &Proxy| proxy.log.text().matches("failed in ").count();
    eventually("two of four failures", || failures(&proxy) == 2);
    proxy.reload_ok(&slow(3));
    wait_change(&proxy, 0, 0, "Up -> Draining");
    let text = proxy.log.text();
    let (before, after) = text.split_once("configuration reloaded").unwrap();
    let failed = |text: &str| text.matches("failed in ").count();
    assert!((2..=3).contains(&failed(before)), "{text}");
    // One under way at the reload counts no more.
    assert!(failed(after) >= 3, "{text}");
    // Out by the old definition, out by the new one, until it has risen.
    proxy.reload_ok(&slow(2));
    assert_eq!(changes(&proxy, 0), ["Up -> Draining"]);
    ward.set_well(true);
    wait_change(&proxy, 0, 0, "Draining -> Up");
}

#[test]
fn a_thousand_dead_targets_hold_up_no_other_check() {
    netns::in_new_namespace(|| {
        // Nobody answers on this network: every handshake hangs.
        netns::ip("link add quiet0 type veth peer name quiet1").unwrap();
        for words in [
            "link set quiet0 up",
            "link set quiet1 up",
            "addr add 10.99.0.1/16 dev quiet0",
        ] {
            netns::ip(words).unwrap();
        }
        // Unanswered neighbour look-ups would fail after a while: these neighbours are "known".
        let block = Block::claim();
        let ward = Ward::start(block.backend(0));
        let _echo = Backend::echo("g0", block.backend(0), &[PORT]);
        let mut settings = Settings::new(&block)
            .ports(&[PORT])
            .group(0, block.backend(0))
            .check(0, &http("interval = 1\nfall = 1"));
        for dead in 0..1_000_u32 {
            let address = Ipv4Addr::from(0x0a63_0100 + dead);
            netns::ip(&format!(
                "neigh add {address} lladdr 02:00:00:00:00:01 dev quiet0"
            ))
            .unwrap();
            settings = settings
                .group(1 + dead, address)
                .check(1 + dead, "interval = 1");
        }
        let proxy = Proxy::start(&settings);
        let down = || proxy.log.text().matches(": Up -> Draining: ").count();
        eventually("all of them are out", || down() == 1_000);
        let (yardstick, first) = (Yardstick::begin(), ward.count());
        ward.wait_asked(10);
        let (late, asked) = (yardstick.lateness(), ward.asked());
        for pair in asked[first..].windows(2) {
            let gap = pair[1].duration_since(pair[0]);
            let off = gap.abs_diff(Duration::from_secs(1));
            assert!(
                off < Duration::from_millis(250) + 3 * late,
                "{gap:?} between checks of the living one, a thread that sleeps is {late:?} late"
            );
        }
        assert!(changes(&proxy, 0).is_empty());
        assert!(!proxy.log.text().contains("s late"), "{}", proxy.log.text());
        assert!(process::resident_bytes(proxy.pid()) < 150_000_000);
    });
}

#[test]
fn a_state_file_that_cannot_be_written_is_told_and_nothing_else_suffers() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let ward = Ward::start(fleet.block.backend(0));
    let mut proxy = Proxy::start(&fleet.settings.clone().check(0, &http(QUICK)));
    // A directory with something in it cannot be replaced by a file, not even by root.
    let path = proxy.state().health_path();
    fs::create_dir_all(path.join("in the way")).unwrap();
    ward.set_well(false);
    wait_change(&proxy, 0, 0, "Up -> Draining");
    let line = proxy
        .log
        .wait("the error", |line| line.contains("cannot save the states"));
    assert!(
        line.contains("[ERROR]") && line.contains(path.to_str().unwrap()),
        "{line}"
    );
    assert!(fleet.ask(0, PORT).is_err());
    ward.set_well(true);
    wait_change(&proxy, 0, 0, "Draining -> Up");
    assert_eq!(fleet.served_by(0, PORT), "g0");
    fs::remove_dir_all(&path).unwrap();
    ward.set_well(false);
    proxy.log.wait("its end", |line| {
        line.contains("are saved in") && line.contains("again")
    });
    eventually("the newest state is there", || {
        fs::read_to_string(&path).is_ok_and(|text| text.contains("\"state\":\"failing\""))
    });
    assert_eq!(proxy.stop(), 0);
}

#[test]
fn a_file_that_cannot_be_saved_at_the_end_is_told_by_the_exit() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let mut proxy = Proxy::start(&fleet.settings.clone().check(0, QUICK));
    fs::create_dir_all(proxy.state().health_path().join("in the way")).unwrap();
    let answer = proxy.subcommand(&["stop"]);
    assert_ne!(answer.code, 0);
    assert!(
        answer
            .text
            .contains("cannot save the states of health checks"),
        "{}",
        answer.text
    );
    proxy.wait_exit(support::PATIENCE);
}

#[test]
fn damaged_and_foreign_state_files_are_set_aside_and_the_proxy_starts() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let check = http("interval = 1\ntimeout = 1\nfall = 1\nrise = 1");
    let settings = fleet.settings.clone().check(0, &check);
    let ward = Ward::start(fleet.block.backend(0));
    ward.set_well(false);
    let mut proxy = Proxy::start(&settings);
    wait_change(&proxy, 0, 0, "Up -> Draining");
    assert_eq!(proxy.stop(), 0);
    ward.set_well(true);
    let path = proxy.state().health_path();
    let whole = fs::read_to_string(&path).unwrap();
    let damaged = [
        ("truncated", whole[..whole.len() / 2].to_owned(), "damaged"),
        ("empty", String::new(), "no file of health checks"),
        (
            "foreign",
            "[groups]\n".to_owned(),
            "no file of health checks",
        ),
        (
            "newer",
            whole.replacen("checks 1", "checks 7", 1),
            "version 7",
        ),
        ("edited", whole.replacen("failing", "passing", 1), "damaged"),
    ];
    for (what, text, why) in damaged {
        fs::write(&path, text).unwrap();
        proxy = proxy.start_again(&settings);
        let line = proxy.log.wait(what, |line| line.contains("set aside as"));
        assert!(
            line.contains("[ERROR]") && line.contains(why),
            "{what}: {line}"
        );
        assert!(story(&proxy, 0).is_empty(), "{what}: {}", proxy.log.text());
        assert_eq!(fleet.served_by(0, PORT), "g0");
        assert_eq!(proxy.stop(), 0);
    }
}

#[test]
fn two_processes_never_share_a_state_file() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::start(&fleet.settings);
    let path = proxy.state().health_path();
    let block = Block::claim();
    let other = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.backend(0));
    let builder =
        Proxy::builder(&other).env("TCPFFEE_HEALTHCHECK_SAVE_PATH", path.to_str().unwrap());
    let (code, text) = builder.expect_failure();
    assert_ne!(code, 0);
    assert!(
        text.contains(path.to_str().unwrap()) && text.contains("in use"),
        "{text}"
    );
}

#[test]
fn an_unwritable_folder_for_states_does_not_keep_the_proxy_from_starting() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let settings = fleet.settings.clone().check(0, QUICK);
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("file");
    fs::write(&in_the_way, "").unwrap();
    fs::set_permissions(&in_the_way, fs::Permissions::from_mode(0o400)).unwrap();
    let path = in_the_way.join("states");
    let proxy = Proxy::builder(&settings)
        .env("TCPFFEE_HEALTHCHECK_SAVE_PATH", path.to_str().unwrap())
        .start();
    let line = proxy
        .log
        .wait("the error", |line| line.contains("are kept without a lock"));
    assert!(
        line.contains("[ERROR]") && line.contains(in_the_way.to_str().unwrap()),
        "{line}"
    );
    assert_eq!(fleet.served_by(0, PORT), "g0");
}

#[test]
fn a_clock_set_back_changes_nothing() {
    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !Path::new(LIBRARY).exists() {
        support::skip(format_args!(
            "{LIBRARY} is missing: apt install libfaketime"
        ));
        return;
    }
    let fleet = Fleet::on_ports(1, &[PORT]);
    let ward = Ward::start(fleet.block.backend(0));
    let settings = fleet.settings.clone().check(0, &http(QUICK));
    let folder = tempfile::tempdir().unwrap();
    let offset = folder.path().join("offset");
    fs::write(&offset, "+0\n").unwrap();
    let proxy = Proxy::builder(&settings)
        .env("LD_PRELOAD", LIBRARY)
        .env("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    ward.wait_asked(3);
    let begun = Instant::now();
    fs::write(&offset, "-3650d\n").unwrap();
    let mark = proxy.log.mark();
    ward.set_well(false);
    let line = wait_change(&proxy, mark, 0, "Up -> Draining");
    let year = |line: &str| line[..4].parse::<u32>().unwrap();
    assert!(
        year(&line) + 9 <= year(&proxy.log.lines()[0]),
        "its clock has jumped: {line}"
    );
    ward.set_well(true);
    wait_change(&proxy, mark, 0, "Draining -> Up");
    fs::write(&offset, "+3650d\n").unwrap();
    ward.set_well(false);
    wait_change(&proxy, proxy.log.mark(), 0, "Up -> Draining");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let count = ward.count();
    ward.wait_asked(5);
    assert!(ward.count() >= count + 5);
}
