//! A service manager is told when clients are let in, how reloads and the stop come along, and
//! whether every loop turns.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::ErrorKind;
use std::net::{Shutdown, TcpListener};
use std::time::{Duration, Instant};

use crate::support;
use rustix::process::Signal;
use support::frozen::Frozen;
use support::manager::{Manager, Word};
use support::proxy::Builder;
use support::{Fleet, PATIENCE, Proxy, Settings, Traffic, client, http, process};

const PORT: u16 = 5280;

fn start(manager: &Manager, builder: Builder) -> Proxy {
    let mut proxy = manager.manages(builder).launch();
    proxy.wait_ready();
    manager.wait("READY", |word| word.has("READY"));
    proxy
}

/// A proxy that must show every loop turning within `seconds`.
fn watched(manager: &Manager, builder: Builder, seconds: u64) -> Proxy {
    let usec = (seconds * 1_000_000).to_string();
    start(manager, builder.env("WATCHDOG_USEC", &usec))
}

fn manager_of(settings: &Settings) -> (Manager, Builder) {
    let builder = Proxy::builder(settings);
    let manager = Manager::at(&builder.state_path("notify"));
    (manager, builder)
}

#[test]
fn ready_is_said_when_clients_statistics_and_commands_are_answered() {
    let fleet = Fleet::new(1);
    for round in 0..4 {
        let builder = Proxy::builder(&fleet.settings);
        let manager = match round % 2 {
            0 => Manager::at(&builder.state_path("notify")),
            _ => Manager::named(&format!("tcpffee-test-{}-{round}", std::process::id())),
        };
        let proxy = manager.manages(builder).launch();
        let ready = manager.wait("READY", |word| word.has("READY"));
        // At once, without another try.
        assert_eq!(fleet.served_by(0, PORT), "g0");
        assert_eq!(http::get(proxy.statistics(), "/api/v1/").status, 200);
        let status = proxy.subcommand(&["status"]);
        assert_eq!(status.code, 0, "{}", status.text);
        assert!(ready.status().contains(" ready: node "), "{ready:?}");
        let words = manager.words();
        let before = words.iter().take_while(|word| !word.has("READY"));
        let before: Vec<&Word> = before.collect();
        let restoring = |word: &&&Word| word.status() == "starting: restoring the stick table";
        let restoring = before.iter().find(restoring).expect("the start's steps");
        assert_eq!(restoring.get("EXTEND_TIMEOUT_USEC"), Some("15000000"));
        assert_eq!(words.iter().filter(|word| word.has("READY")).count(), 1);
        // Nobody has asked for it.
        assert!(!words.iter().any(|word| word.has("WATCHDOG")));
        let threads = process::thread_names(proxy.pid());
        assert!(!threads.iter().any(|name| name == "watchdog"));
    }
}

#[test]
fn a_start_that_fails_says_why_and_never_that_it_is_ready() {
    let fleet = Fleet::new(1);
    let _taken = TcpListener::bind(fleet.listener(PORT)).unwrap();
    let broken = fleet.settings.clone().set("ports", "many");
    for (settings, why) in [
        (&fleet.settings, "5280"),
        (&broken, "the configuration has errors"),
    ] {
        let (manager, builder) = manager_of(settings);
        let (code, text) = manager.manages(builder).expect_failure();
        assert_ne!(code, 0, "{text}");
        let failed = manager.wait("the reason", |word| {
            word.status().starts_with("cannot start: ")
        });
        assert!(failed.status().contains(why), "{failed:?}");
        assert!(!manager.words().iter().any(|word| word.has("READY")));
    }
}

#[test]
fn a_reload_is_told_from_its_beginning_to_its_end_whatever_comes_of_it() {
    let fleet = Fleet::new(1);
    let (manager, builder) = manager_of(&fleet.settings);
    let mut proxy = start(&manager, builder);
    let ended = |mark: usize| {
        let ready = manager.wait_after(mark, "READY", |word| word.has("READY"));
        let words = manager.words();
        let begun = &words[mark];
        assert_eq!(begun.get("RELOADING"), Some("1"), "{words:?}");
        assert!(begun.get("MONOTONIC_USEC").unwrap().parse::<u64>().unwrap() > 0);
        assert_eq!(begun.status(), "reloading the configuration");
        assert!(words[mark + 1].has("READY"), "{words:?}");
        ready.status().to_owned()
    };
    let mark = manager.mark();
    proxy.reload_ok(&fleet.settings.clone().set("expiration", 50));
    // Before the command has ended.
    assert!(manager.words().last().unwrap().has("READY"));
    assert_eq!(
        ended(mark),
        "configuration reloaded: 1 change, generation 2"
    );
    let mark = manager.mark();
    let refused = proxy.reload(&fleet.settings.clone().set("workers", 3));
    assert_ne!(refused.code, 0);
    let status = ended(mark);
    let summary = "reload refused; the running configuration stays as it is: ";
    assert!(status.starts_with(summary), "{status}");
    assert!(status.contains("workers"), "{status}");
    assert_eq!(fleet.served_by(0, PORT), "g0");
    let mark = manager.mark();
    proxy.write_config(&fleet.settings.clone().set("expiration", 40).text());
    proxy.signal(Signal::HUP);
    assert_eq!(
        ended(mark),
        "configuration reloaded: 1 change, generation 3"
    );
}

#[test]
fn a_stop_gets_more_time_as_long_as_connections_are_open() {
    let fleet = Fleet::new(1);
    let (manager, builder) = manager_of(&fleet.settings.clone().set("shutdown_grace", 300));
    let mut proxy = start(&manager, builder);
    let open = |number: u32| client::greet(fleet.block.client(number), fleet.listener(PORT));
    let (stays, leaves) = (open(0).unwrap().1, open(1).unwrap().1);
    let mark = manager.mark();
    proxy.signal(Signal::TERM);
    let stopping = manager.wait_after(mark, "STOPPING", |word| word.has("STOPPING"));
    assert!(
        stopping
            .status()
            .starts_with("stopping: up to 300 s for 2 open connections")
    );
    let drains = |word: &Word, open: &str| {
        word.get("EXTEND_TIMEOUT_USEC") == Some("15000000")
            && word
                .status()
                .starts_with(&format!("stopping: {open}, cut in "))
    };
    manager.wait_after(mark, "two are open", |word| {
        drains(word, "2 open connections")
    });
    leaves.shutdown(Shutdown::Write).unwrap();
    client::drain(&leaves);
    let one = |word: &Word| drains(word, "1 open connection");
    manager.wait_after(mark, "one is left", one);
    support::eventually("it goes on", || {
        manager.words().iter().filter(|w| one(w)).count() >= 4
    });
    client::exchange(&stays, b"still here").unwrap();
    stays.shutdown(Shutdown::Write).unwrap();
    client::drain(&stays);
    assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0));
    let last = manager.wait("the end", |word| {
        word.status() == "stopped: every connection had ended"
    });
    let words = manager.words();
    assert_eq!(words.last().unwrap().text, last.text);
    let saving = |word: &Word| word.status() == "stopping: saving the stick table";
    assert!(
        words
            .iter()
            .any(|word| saving(word) && word.has("EXTEND_TIMEOUT_USEC"))
    );
    // Once a second is enough for everybody.
    let drained: Vec<&Word> = words.iter().filter(|word| one(word)).collect();
    let (first, last) = (drained.first().unwrap(), drained.last().unwrap());
    let seconds = (last.at - first.at).as_secs_f64();
    assert!(drained.len() as f64 <= seconds + 3.0, "{drained:?}");
}

#[test]
fn no_more_time_is_asked_for_beyond_the_grace() {
    let fleet = Fleet::new(1);
    let (manager, builder) = manager_of(&fleet.settings.clone().set("shutdown_grace", 2));
    let mut proxy = start(&manager, builder);
    let (_, open) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    proxy.signal(Signal::TERM);
    client::drain(&open);
    proxy.wait_exit(PATIENCE);
    let last = manager.wait("the end", |word| word.status().starts_with("stopped: "));
    assert_eq!(last.status(), "stopped: 1 connection cut");
    let words = manager.words();
    let drains = |word: &&Word| {
        word.status()
            .starts_with("stopping: 1 open connection, cut in ")
    };
    let drained = words.iter().filter(drains).count();
    assert!((1..=3).contains(&drained), "{words:?}");
    assert!(
        words
            .iter()
            .any(|word| word.status() == "stopping: cutting connections")
    );
}

/// The times of so many more words of the watchdog.
fn fed(manager: &Manager, count: usize) -> Vec<Instant> {
    let mark = manager.mark();
    let times = || {
        let words = manager.words();
        let fed = words[mark..].iter().filter(|word| word.has("WATCHDOG"));
        fed.map(|word| word.at).collect::<Vec<_>>()
    };
    support::eventually("the watchdog is fed", || times().len() >= count);
    times()
}

#[test]
fn the_watchdog_is_fed_twice_in_its_time_idle_and_under_load() {
    const SECONDS: u64 = 8;
    let fleet = Fleet::new(2);
    let (manager, builder) = manager_of(&fleet.settings);
    let proxy = watched(&manager, builder, SECONDS);
    let in_time = |times: &[Instant]| {
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(gap <= Duration::from_secs(SECONDS / 2), "{gap:?}");
        }
    };
    in_time(&fed(&manager, 3));
    let mut traffic = Traffic::new();
    for number in 0..4 {
        traffic.long(fleet.block.client(number), fleet.listener(PORT));
        traffic.short(fleet.block.client(number + 4), fleet.listener(PORT));
    }
    in_time(&fed(&manager, 3));
    traffic.finish();
    drop(proxy);
}

#[test]
fn a_watchdog_for_another_process_is_not_fed() {
    let fleet = Fleet::new(1);
    let (manager, builder) = manager_of(&fleet.settings);
    let proxy = watched(&manager, builder.env("WATCHDOG_PID", "1"), 1);
    let threads = process::thread_names(proxy.pid());
    assert!(
        !threads.iter().any(|name| name == "watchdog"),
        "{threads:?}"
    );
}

/// Holds one thread after the other: the watchdog is fed no more, the loop is named, and all is
/// well again afterwards.
fn each_must_turn(manager: &Manager, proxy: &Proxy, seconds: u64, loops: &[(&str, &str)]) {
    for (thread, name) in loops {
        let threads = process::threads(proxy.pid());
        let found = threads.iter().find(|(_, known)| known == thread);
        let (tid, _) = found.unwrap_or_else(|| panic!("no thread {thread} in {threads:?}"));
        fed(manager, 1);
        let (mark, log) = (manager.mark(), proxy.log.mark());
        let frozen = match Frozen::hold(*tid) {
            Err(error) if may_not_be(&error) => {
                support::skip(format_args!("threads cannot be traced here: {error}"));
                return;
            }
            frozen => frozen.unwrap(),
        };
        let named = format!("does not turn: {name}");
        // On a busy machine another one may be late beside it.
        let late = |word: &Word| {
            let status = word.status();
            status.starts_with("does not turn: ") && status.contains(name)
        };
        manager.wait_after(mark, &named, late);
        proxy.log.wait_after(log, "the log names it", |line| {
            line.contains(&format!("{name} does not turn any more"))
        });
        // For longer than the service manager waits.
        let silent = manager.mark();
        std::thread::sleep(Duration::from_secs(seconds) + Duration::from_millis(500));
        let words = manager.words();
        assert!(
            !words[silent..].iter().any(|word| word.has("WATCHDOG")),
            "fed without {name}: {words:?}"
        );
        let mark = manager.mark();
        drop(frozen);
        manager.wait_after(mark, "it is fed again", |word| word.has("WATCHDOG"));
        proxy.log.wait_after(log, "the log has it back", |line| {
            line.contains(&format!("{name} turns again, after "))
        });
        manager.wait_after(mark, "the status is what it was", |word| {
            word.status().starts_with("tcpffee ")
        });
    }
}

fn may_not_be(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::Unsupported
    )
}

#[test]
fn the_watchdog_starves_while_any_loop_of_a_lone_node_is_stuck() {
    let fleet = Fleet::new(1);
    let (manager, builder) = manager_of(&fleet.settings);
    let proxy = watched(&manager, builder, 3);
    each_must_turn(
        &manager,
        &proxy,
        3,
        &[
            ("worker-0", "worker-0"),
            ("worker-1", "worker-1"),
            ("tcpffee", "supervisor"),
            ("stats", "stats"),
            ("health", "health"),
            ("stick-keeper", "stick-keeper"),
        ],
    );
    assert_eq!(fleet.served_by(0, PORT), "g0");
}

#[test]
fn the_watchdog_starves_while_any_loop_of_a_clusters_node_is_stuck() {
    let fleet = Fleet::new(1);
    let peer = "[[peers]]\nhost = \"localhost\"\nmac_address = \"02:00:00:00:00:01\"\n";
    let text = format!("{}\n{peer}", fleet.settings.text());
    let builder = Proxy::builder_from_text(text).env("TCPFFEE_MAC_ADDRESS", "02:00:00:00:00:01");
    let manager = Manager::at(&builder.state_path("notify"));
    let proxy = watched(&manager, builder, 3);
    each_must_turn(
        &manager,
        &proxy,
        3,
        &[
            // Names of threads are cut to 15 bytes.
            ("raft stick tabl", "raft stick table"),
            ("raft health che", "raft health checks"),
            ("sticks", "sticks"),
            ("clerk", "clerk"),
            ("health-council", "health-council"),
        ],
    );
}

#[test]
fn a_supervisor_with_a_long_order_on_its_hands_is_not_late() {
    let fleet = Fleet::new(2);
    // The other node never comes: an operator's word is waited for in vain, for 2 s.
    let peer = |number: u8| {
        let host = fleet.block.address(0, number);
        format!("[[peers]]\nhost = \"{host}\"\nmac_address = \"02:00:00:00:00:0{number}\"\n")
    };
    let text = format!("{}\n{}{}", fleet.settings.text(), peer(2), peer(3));
    let builder = Proxy::builder_from_text(text).env("TCPFFEE_MAC_ADDRESS", "02:00:00:00:00:02");
    let manager = Manager::at(&builder.state_path("notify"));
    let proxy = watched(&manager, builder, 3);
    let mark = manager.mark();
    let begun = Instant::now();
    for command in ["drain", "enable"] {
        let answer = proxy.subcommand(&[command, "0"]);
        assert_eq!(answer.code, 0, "{}", answer.text);
    }
    // More than one round of questions, in each of which it would have been found silent.
    assert!(
        begun.elapsed() > Duration::from_secs(3),
        "nothing was waited for"
    );
    fed(&manager, 1);
    let words = manager.words();
    let named = |word: &Word| word.status().contains("does not turn: supervisor");
    assert!(!words[mark..].iter().any(named), "{words:?}");
}

#[test]
fn a_service_manager_that_does_not_listen_is_complained_of_once() {
    let fleet = Fleet::new(1);
    let builder = Proxy::builder(&fleet.settings);
    let nowhere = builder.state_path("nowhere").display().to_string();
    let mut proxy = builder.env("NOTIFY_SOCKET", &nowhere).start();
    proxy.reload_ok(&fleet.settings.clone().set("expiration", 50));
    let (_, open) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    open.shutdown(Shutdown::Write).unwrap();
    client::drain(&open);
    assert_eq!(proxy.stop(), 0);
    let complaints = proxy.log.lines();
    let complaints = complaints
        .iter()
        .filter(|line| line.contains("cannot be told"));
    assert_eq!(complaints.count(), 1, "{}", proxy.log.text());
}
