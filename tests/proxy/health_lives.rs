//! Health checks across reloads and restarts, and hurried by real traffic.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::fs;

use crate::support;
use support::health::{WARD_PORT, changes, http, story, wait_change};
use support::{Backend, Fleet, Proxy, Ward, client, eventually, process};

const PORT: u16 = 5280;
const QUICK: &str = "interval = 0.1\ntimeout = 0.1\nfall = 2\nrise = 3";
/// No second check comes by itself while a test runs.
const RARE: &str = "interval = 3600\nfall = 1\nrise = 1";

fn threads_named(proxy: &Proxy, prefix: &str) -> usize {
    process::thread_names(proxy.pid())
        .iter()
        .filter(|name| name.starts_with(prefix))
        .count()
}

#[test]
fn a_reload_keeps_what_checks_have_found_out() {
    let fleet = Fleet::on_ports(2, &[PORT]);
    let ward = Ward::start(fleet.block.backend(1));
    let keys = "interval = 0.4\ntimeout = 0.4\nfall = 4\nrise = 4";
    let settings = fleet.settings.clone().check(1, &http(keys));
    let builder = Proxy::builder(&settings).env("RUST_LOG", "info,tcpffee::health=debug");
    let mut proxy = builder.start();
    // Everything around the check changes; the check itself does not.
    let edited = settings
        .clone()
        .group_set(1, "weight", 3)
        .group_set(1, "name", "birch")
        .set("expiration", 30)
        .check(0, "interval = 5");
    let failures = |proxy: &Proxy| proxy.log.text().matches("failed in ").count();
    ward.set_well(false);
    eventually("two of four failures", || failures(&proxy) == 2);
    proxy.reload_ok(&edited);
    wait_change(&proxy, 0, 1, "Up -> Draining");
    assert_eq!(
        failures(&proxy),
        4,
        "the run went on:\n{}",
        proxy.log.text()
    );
    let passed = |proxy: &Proxy| proxy.log.text().matches("GET /health at ").count();
    assert!(passed(&proxy) > 0);
    proxy.reload_ok(&settings);
    assert_eq!(changes(&proxy, 1), ["Up -> Draining"], "it is still out");
    for new in 200..210 {
        assert_eq!(fleet.served_by(new, PORT), "g0");
    }
    ward.set_well(true);
    wait_change(&proxy, 0, 1, "Draining -> Up");
}

#[test]
fn a_reload_starts_new_checks_and_stops_removed_ones_within_an_interval() {
    let fleet = Fleet::on_ports(2, &[PORT]);
    let wards = [0, 1].map(|group| Ward::start(fleet.block.backend(group)));
    let none = fleet.settings.clone();
    let both = none.clone().check(0, &http(QUICK)).check(1, &http(QUICK));
    let one = none.clone().check(0, &http(QUICK));
    let mut proxy = Proxy::start(&none);
    assert_eq!(threads_named(&proxy, "check-"), 0);
    proxy.reload_ok(&both);
    for ward in &wards {
        ward.wait_asked(3);
    }
    wards[1].set_well(false);
    wait_change(&proxy, 0, 1, "Up -> Draining");
    proxy.reload_ok(&one);
    // One more check may have been under way.
    let last = wards[1].count();
    wards[0].wait_asked(10);
    assert!(wards[1].count() <= last + 1, "it is asked no more");
    let line = wait_change(&proxy, 0, 1, "Draining -> Up");
    assert!(line.contains("no check keeps it out"), "{line}");
    proxy.reload_ok(&none.clone().without_group(0));
    eventually("no thread is left", || threads_named(&proxy, "check-") == 0);
    let last = wards[0].count();
    proxy.reload_ok(&none);
    assert_eq!(fleet.served_by(0, PORT).len(), 2);
    assert_eq!(wards[0].count(), last);
}

#[test]
fn a_hanging_check_that_is_removed_leaves_no_thread_behind() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let _silent = Backend::silent("silent", fleet.block.backend(0), &[WARD_PORT]);
    let hanging = fleet
        .settings
        .clone()
        .check(0, &http("interval = 1\ntimeout = 1"));
    let mut proxy = Proxy::start(&hanging);
    eventually("it hangs", || threads_named(&proxy, "check-") >= 1);
    proxy.reload_ok(&fleet.settings);
    eventually("no thread is left", || threads_named(&proxy, "check-") == 0);
}

#[test]
fn a_hanging_check_that_is_removed_holds_up_no_other() {
    let fleet = Fleet::on_ports(2, &[PORT]);
    let _silent = Backend::silent("silent", fleet.block.backend(0), &[WARD_PORT]);
    let ward = Ward::start(fleet.block.backend(1));
    let kept = fleet.settings.clone().check(1, &http(QUICK));
    let hanging = http("interval = 3600\ntimeout = 3600");
    let mut proxy = Proxy::start(&kept.clone().check(0, &hanging));
    ward.wait_asked(3);
    // Edited again and again: each edit leaves one behind that hangs.
    for edit in 0..5 {
        let target = format!("{hanging}\nhttp_headers = {{ Edit = \"{edit}\" }}");
        proxy.reload_ok(&kept.clone().check(0, &target));
        ward.wait_asked(3);
    }
    proxy.reload_ok(&kept);
    ward.wait_asked(3);
    ward.set_well(false);
    wait_change(&proxy, 0, 1, "Up -> Draining");
}

#[test]
fn fifty_reloads_leave_no_thread_and_no_descriptor_behind() {
    let fleet = Fleet::on_ports(2, &[PORT]);
    let wards = [0, 1].map(|group| Ward::start(fleet.block.backend(group)));
    let one = fleet.settings.clone().check(0, &http(QUICK));
    let mut proxy = Proxy::start(&one);
    wards[0].wait_asked(5);
    let descriptors = proxy.settled_descriptors();
    for round in 0..50 {
        let keys = format!("{QUICK}\nhttp_headers = {{ Round = \"{round}\" }}");
        let other = fleet.settings.clone().check(1, &http(&keys));
        proxy.reload_ok(&other);
    }
    proxy.reload_ok(&one);
    wards[0].wait_asked(5);
    eventually("few threads remain", || {
        threads_named(&proxy, "check-") <= 2
    });
    eventually("no descriptor is left over", || {
        // One may be at work on a check just now.
        proxy.descriptors() <= descriptors + 1
    });
    assert_eq!(
        threads_named(&proxy, "health"),
        2,
        "the scheduler and the saver"
    );
    assert!(story(&proxy, 0).is_empty() && story(&proxy, 1).is_empty());
}

#[test]
fn a_refused_reload_leaves_the_checks_as_they_were() {
    let fleet = Fleet::on_ports(2, &[PORT]);
    let ward = Ward::start(fleet.block.backend(1));
    let settings = fleet.settings.clone().check(1, &http(QUICK));
    let mut proxy = Proxy::start(&settings);
    ward.set_well(false);
    wait_change(&proxy, 0, 1, "Up -> Draining");
    // A port that somebody else has: refused while it is being put in force.
    let taken = std::net::TcpListener::bind(fleet.listener(5290)).unwrap();
    let refused = fleet.settings.clone().ports(&[PORT, 5290]);
    assert_ne!(proxy.reload(&refused).code, 0);
    drop(taken);
    ward.wait_asked(3);
    for client in 0..6 {
        assert_eq!(fleet.served_by(client, PORT), "g0");
    }
    assert_eq!(changes(&proxy, 1), ["Up -> Draining"]);
    ward.set_well(true);
    wait_change(&proxy, 0, 1, "Draining -> Up");
}

#[test]
fn a_group_that_was_out_stays_out_over_restarts_until_it_has_risen() {
    let fleet = Fleet::on_ports(2, &[PORT]);
    let ward = Ward::start(fleet.block.backend(1));
    let keys = format!("{QUICK}\nfall_action = \"Disabled\"");
    let settings = fleet.settings.clone().check(1, &http(&keys));
    let mut proxy = Proxy::start(&settings);
    ward.set_well(false);
    wait_change(&proxy, 0, 1, "Up -> Disabled");
    for ends_in_order in [true, false] {
        eventually("it is saved", || {
            fs::read_to_string(proxy.state().health_path())
                .is_ok_and(|text| text.contains("\"state\":\"failing\""))
        });
        match ends_in_order {
            true => assert_eq!(proxy.stop(), 0),
            false => proxy.kill9(),
        }
        proxy = proxy.start_again(&settings);
        let told = story(&proxy, 1);
        let expected = format!(
            "group 1 is Disabled: health check HTTP GET /health at {}:{WARD_PORT} was failing \
             when its state was saved; it is out until it has passed 3 times in a row",
            fleet.block.backend(1)
        );
        assert_eq!(told, [expected]);
        for client in 0..10 {
            assert_eq!(fleet.served_by(client, PORT), "g0");
        }
    }
    let before = ward.count();
    ward.set_well(true);
    let line = wait_change(&proxy, 0, 1, "Disabled -> Up");
    assert!(line.contains("has passed 3 times in a row"), "{line}");
    assert!(ward.count() - before >= 3);
    // Back, it is back after a restart as well.
    eventually("it is saved", || {
        fs::read_to_string(proxy.state().health_path())
            .is_ok_and(|text| !text.contains("\"state\":\"failing\""))
    });
    proxy.kill9();
    let proxy = proxy.start_again(&settings);
    assert!(story(&proxy, 1).is_empty());
}

#[test]
fn a_run_goes_on_after_a_restart() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let settings = fleet
        .settings
        .clone()
        .check(0, &http("interval = 3600\nfall = 3"));
    let ward = Ward::start(fleet.block.backend(0));
    ward.set_well(false);
    let debug = "info,tcpffee::health=debug";
    let mut proxy = Proxy::builder(&settings).env("RUST_LOG", debug).start();
    for start in 1..=3 {
        if start < 3 {
            proxy
                .log
                .wait("a check", |line| line.contains(": failed in"));
            assert_eq!(ward.count(), start, "one check for each start");
            assert_eq!(proxy.stop(), 0);
            assert!(story(&proxy, 0).is_empty());
            proxy = proxy.start_again(&settings);
        }
    }
    wait_change(&proxy, 0, 0, "Up -> Draining");
}

#[test]
fn a_run_that_was_broken_off_does_not_come_back_after_a_crash() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let ward = Ward::start(fleet.block.backend(0));
    let check = http("interval = 3600\nfall = 3");
    let settings = fleet.settings.clone().check(0, &check);
    let debug = "info,tcpffee::health=debug";
    let checked = |proxy: &Proxy, result: &str| {
        proxy.log.wait("a check", |line| line.contains(result));
    };
    // Two failures of three, kept by orderly stops.
    ward.play("--+-");
    let mut proxy = Proxy::builder(&settings).env("RUST_LOG", debug).start();
    let path = proxy.state().health_path();
    let saved = || fs::read_to_string(&path).unwrap();
    let mut at_stop = String::new();
    for _ in 0..2 {
        checked(&proxy, ": failed in");
        assert_eq!(proxy.stop(), 0);
        at_stop = saved();
        proxy = proxy.start_again(&settings);
    }
    // A success ends the run, and a crash comes before anything is saved but that it is taken up.
    checked(&proxy, ": passed in");
    eventually("the run is out of the file", || saved() != at_stop);
    proxy.kill9();
    let proxy = proxy.start_again(&settings);
    checked(&proxy, ": failed in");
    assert!(story(&proxy, 0).is_empty(), "{}", proxy.log.text());
}

#[test]
fn states_of_checks_that_are_no_more_are_dropped() {
    let fleet = Fleet::on_ports(2, &[PORT]);
    let ward = Ward::start(fleet.block.backend(1));
    ward.set_well(false);
    let mut proxy = Proxy::start(&fleet.settings.clone().check(1, &http(QUICK)));
    wait_change(&proxy, 0, 1, "Up -> Draining");
    assert_eq!(proxy.stop(), 0);
    let other = fleet.settings.clone().check(0, "interval = 0.1");
    let mut proxy = proxy.start_again(&other);
    assert!(story(&proxy, 1).is_empty());
    assert_eq!(proxy.stop(), 0);
    let text = fs::read_to_string(proxy.state().health_path()).unwrap();
    assert!(
        text.contains("\"group\":0") && !text.contains("\"group\":1"),
        "{text}"
    );
    // With no check at all nothing is left to come back with a later one.
    let mut proxy = proxy.start_again(&fleet.settings);
    assert_eq!(proxy.stop(), 0);
    let text = fs::read_to_string(proxy.state().health_path()).unwrap();
    assert!(!text.contains("\"group\""), "{text}");
}

#[test]
fn a_failed_connect_brings_the_next_check_forward() {
    let fleet = Fleet::on_ports(1, &[PORT, 5281]);
    let address = fleet.block.backend(0);
    let settings = fleet.settings.clone().check(0, RARE);
    let Fleet {
        backends, block, ..
    } = fleet;
    let builder = Proxy::builder(&settings).env("RUST_LOG", "info,tcpffee::health=debug");
    let proxy = builder.start();
    proxy
        .log
        .wait("the first check", |line| line.contains(":5280: passed in"));
    proxy.log.wait("the other first check", |line| {
        line.contains(":5281: passed in")
    });
    drop(backends);
    client::expect_reset(block.client(0), block.listener(PORT));
    let line = wait_change(&proxy, 0, 0, "Up -> Draining");
    assert!(
        line.contains(&format!("TCP at {address}:5280 has failed once")),
        "{line}"
    );
    // Only the target that failed was looked at.
    let of_other = |line: &&String| line.contains(":5281: ") && line.contains(" in ");
    assert_eq!(proxy.log.lines().iter().filter(of_other).count(), 1);
}

#[test]
fn failed_connects_alone_change_no_status() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let ward = Ward::start(fleet.block.backend(0));
    let settings = fleet.settings.clone().check(0, &http(RARE));
    let Fleet {
        backends, block, ..
    } = fleet;
    let proxy = Proxy::start(&settings);
    ward.wait_asked(0);
    eventually("the first check", || ward.count() == 1);
    drop(backends);
    for client in 0..200 {
        client::expect_reset(block.client(client), block.listener(PORT));
    }
    eventually("a check is brought forward", || ward.count() >= 2);
    // However many fail, checks are a second apart: far fewer come than connects fail.
    assert!(ward.count() <= 50, "{} checks", ward.count());
    assert!(story(&proxy, 0).is_empty(), "{}", proxy.log.text());
}
