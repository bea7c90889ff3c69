//! What the results of health checks make of the groups, seen by clients.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::collections::BTreeSet;

use crate::support;
use support::health::{WARD_PORT, changes, http, story, wait_change};
use support::{Backend, Block, Fleet, Proxy, Settings, Ward, client, eventually, parallel};

const PORT: u16 = 5280;
/// Fast enough for tests, slow enough for a loaded machine.
const QUICK: &str = "interval = 0.1\ntimeout = 0.1\nfall = 2\nrise = 2";

/// Two groups of echo servers; group 1's is asked how it is.
fn scene(keys: &str) -> (Fleet, Ward, Settings) {
    let fleet = Fleet::on_ports(2, &[PORT]);
    let ward = Ward::start(fleet.block.backend(1));
    let settings = fleet.settings.clone().check(1, &http(keys));
    (fleet, ward, settings)
}

/// A client that meets this group.
fn client_of(fleet: &Fleet, group: &str) -> u32 {
    let mut clients = 0..100;
    let met = clients.find(|client| fleet.served_by(*client, PORT) == group);
    met.expect("one of a hundred new keys goes to the group")
}

#[test]
fn a_failing_check_drains_the_group_and_a_risen_one_brings_it_back() {
    let (fleet, ward, settings) = scene(QUICK);
    let proxy = Proxy::start(&settings);
    let stuck = client_of(&fleet, "g1");
    let (_, open) = client::greet(fleet.block.client(stuck), fleet.listener(PORT)).unwrap();
    ward.set_well(false);
    let line = wait_change(&proxy, 0, 1, "Up -> Draining");
    let address = fleet.block.backend(1);
    assert!(line.contains("[WARN ]"), "{line}");
    assert!(
        line.ends_with(&format!(
            "health check HTTP GET /health at {address}:{WARD_PORT} has failed 2 times in a row: \
             answered 503, expected 200"
        )),
        "{line}"
    );
    for new in 200..220 {
        assert_eq!(fleet.served_by(new, PORT), "g0");
    }
    assert_eq!(fleet.served_by(stuck, PORT), "g1", "its key stays");
    client::exchange(&open, b"still here").unwrap();
    let mark = proxy.log.mark();
    ward.set_well(true);
    let line = wait_change(&proxy, mark, 1, "Draining -> Up");
    assert!(line.contains("[INFO ]"), "{line}");
    assert!(line.contains("has passed 2 times in a row"), "{line}");
    assert_eq!(fleet.served_by(300, PORT), "g1", "it has the fewest sticks");
    client::exchange(&open, b"still here").unwrap();
}

#[test]
fn a_disabled_groups_keys_are_assigned_anew_and_its_connections_stay() {
    let (fleet, ward, settings) = scene(&format!("{QUICK}\nfall_action = \"Disabled\""));
    let proxy = Proxy::start(&settings);
    let stuck = client_of(&fleet, "g1");
    let (_, open) = client::greet(fleet.block.client(stuck), fleet.listener(PORT)).unwrap();
    ward.set_well(false);
    wait_change(&proxy, 0, 1, "Up -> Disabled");
    assert_eq!(fleet.served_by(stuck, PORT), "g0");
    client::exchange(&open, b"still here").unwrap();
    let mark = proxy.log.mark();
    ward.set_well(true);
    wait_change(&proxy, mark, 1, "Disabled -> Up");
    // The key has gone over for good; the group takes new ones.
    assert_eq!(fleet.served_by(stuck, PORT), "g0");
    client_of(&fleet, "g1");
    client::exchange(&open, b"still here").unwrap();
}

#[test]
fn a_watched_check_is_told_and_changes_nothing() {
    let (fleet, ward, settings) = scene(&format!("{QUICK}\nfall_action = \"Up\""));
    let proxy = Proxy::start(&settings);
    ward.set_well(false);
    let line = proxy.log.wait("the watched check", |line| {
        line.contains("group 1 stays Up: ")
    });
    assert!(
        line.contains("[WARN ]") && line.contains("has failed 2 times in a row"),
        "{line}"
    );
    client_of(&fleet, "g1");
    ward.set_well(true);
    proxy.log.wait("its return", |line| {
        line.contains("[INFO ]") && line.contains("group 1 stays Up: ")
    });
    assert!(changes(&proxy, 1).is_empty(), "{:?}", story(&proxy, 1));
}

#[test]
fn the_most_severe_of_configuration_and_all_checks_holds() {
    let block = Block::claim();
    let address = block.backend(0);
    let _echo = Backend::echo("g0", address, &[PORT]);
    let (drains, disables) = (Ward::start_at(address, 8081), Ward::start_at(address, 8082));
    let check = |port: u16, action: &str| {
        format!("port = {port}\nhttp_status = 200\nfall_action = \"{action}\"\n{QUICK}")
    };
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group(0, address)
        .check(0, &check(8081, "Draining"))
        .check(0, &check(8082, "Disabled"));
    let mut proxy = Proxy::start(&settings);
    let mut expected: Vec<&str> = Vec::new();
    let mut step = |proxy: &Proxy, change: &'static str| {
        expected.push(change);
        eventually(change, || changes(proxy, 0).len() >= expected.len());
        assert_eq!(changes(proxy, 0), expected);
    };
    drains.set_well(false);
    step(&proxy, "Up -> Draining");
    disables.set_well(false);
    step(&proxy, "Draining -> Disabled");
    drains.set_well(true);
    proxy.log.wait("the less severe one", |line| {
        line.contains("group 0 stays Disabled: ") && line.contains(":8081 has passed")
    });
    let mark = proxy.log.mark();
    drains.set_well(false);
    proxy
        .log
        .wait_after(mark, "the less severe one again", |line| {
            line.contains("group 0 stays Disabled: ") && line.contains(":8081 has failed")
        });
    disables.set_well(true);
    step(&proxy, "Disabled -> Draining");
    let line = story(&proxy, 0).pop().unwrap();
    assert!(
        line.contains(":8082 has passed") && line.contains("; health check"),
        "{line}"
    );
    // The configuration is more severe, then it is not.
    proxy.reload_ok(&settings.clone().group_set(0, "disabled", true));
    step(&proxy, "Draining -> Disabled");
    let mark = proxy.log.mark();
    drains.set_well(true);
    proxy.log.wait_after(mark, "the check behind", |line| {
        line.contains("group 0 stays Disabled: ") && line.contains(":8081 has passed")
    });
    proxy.reload_ok(&settings);
    step(&proxy, "Disabled -> Up");
}

#[test]
fn a_change_holds_for_the_next_connection_on_every_worker() {
    let (fleet, ward, settings) = scene(&format!("{QUICK}\nfall_action = \"Disabled\""));
    let proxy = Proxy::start(&settings.set("workers", 4));
    let met = |from: u32| -> BTreeSet<String> {
        let ask = |client: u32| fleet.served_by(from + client, PORT);
        parallel(8, 400, ask).into_iter().collect()
    };
    assert_eq!(met(0).len(), 2);
    ward.set_well(false);
    wait_change(&proxy, 0, 1, "Up -> Disabled");
    // The same clients: whoever is stuck to the group must not meet it once more.
    assert_eq!(met(0), BTreeSet::from(["g0".to_owned()]));
    let mark = proxy.log.mark();
    ward.set_well(true);
    wait_change(&proxy, mark, 1, "Disabled -> Up");
    assert!(met(1_000).contains("g1"));
}

#[test]
fn the_status_changes_after_just_as_many_results_as_rise_and_fall_say() {
    // What the server answers, and the number of the check after which each change comes.
    for (keys, script, expected) in [
        (
            "",
            "---+++++",
            &[(3, "Up -> Draining"), (8, "Draining -> Up")][..],
        ),
        ("", "--+--+--+", &[]),
        (
            "fall = 1\nrise = 1",
            "-+-+",
            &[
                (1, "Up -> Draining"),
                (2, "Draining -> Up"),
                (3, "Up -> Draining"),
                (4, "Draining -> Up"),
            ],
        ),
        (
            "fall = 2\nrise = 3",
            "-+--++-+++",
            &[(4, "Up -> Draining"), (10, "Draining -> Up")],
        ),
    ] {
        let fleet = Fleet::on_ports(1, &[PORT]);
        let ward = Ward::start(fleet.block.backend(0));
        ward.play(script);
        let keys = format!("{keys}\ninterval = 0.3\ntimeout = 0.3");
        let settings = fleet.settings.clone().check(0, &http(&keys));
        let builder = Proxy::builder(&settings).env("RUST_LOG", "info,tcpffee::health=debug");
        let proxy = builder.start();
        eventually("the script is over", || ward.count() > script.len() + 2);
        // The log tells every result; a change stands behind the one that made it.
        let mut results = 0;
        let mut found = Vec::new();
        for line in proxy.log.lines() {
            if line.contains("passed in ") || line.contains("failed in ") {
                results += 1;
            } else if let Some(change) = ["Up -> Draining", "Draining -> Up"]
                .into_iter()
                .find(|change| line.contains(change))
            {
                found.push((results, change));
            }
        }
        assert_eq!(found, expected, "{keys}, {script}\n{}", proxy.log.text());
    }
}

#[test]
fn every_distinct_target_is_checked_and_any_failing_one_counts() {
    let block = Block::claim();
    let address = block.backend(0);
    let targets = [7001, 7002].map(|port| Backend::silent("target", address, &[port]));
    let portmap = [(5280, 7001), (5281, 7002), (5282, 7001)]
        .map(|(port, target)| (port, format!("{address}:{target}")));
    let settings = Settings::new(&block)
        .group_ports(0, &portmap)
        .check(0, "interval = 0.2\nfall = 1\nrise = 1");
    let proxy = Proxy::start(&settings);
    eventually("both are checked", || {
        targets.iter().all(|target| target.accepted() >= 10)
    });
    let [one, other] = [0, 1].map(|at| targets[at].accepted());
    assert!(
        one.abs_diff(other) <= 2,
        "{one} checks of the one, {other} of the other"
    );
    let [one, other] = targets;
    drop(other);
    let line = wait_change(&proxy, 0, 0, "Up -> Draining");
    assert!(
        line.contains(&format!(
            "health check TCP at {address}:7002 has failed once"
        )),
        "{line}"
    );
    drop(one);
    proxy.log.wait("the other", |line| {
        line.contains("stays Draining") && line.contains(":7001")
    });
    let _one = Backend::silent("target", address, &[7001]);
    proxy.log.wait("the one is back", |line| {
        line.contains("stays Draining") && line.contains(":7001 has passed")
    });
    let _other = Backend::silent("target", address, &[7002]);
    wait_change(&proxy, 0, 0, "Draining -> Up");
}

#[test]
fn on_disabled_reset_and_drain_timeout_apply_to_what_checks_cause() {
    let (fleet, ward, settings) = scene(&format!("{QUICK}\nfall_action = \"Disabled\""));
    let proxy = Proxy::start(&settings.group_set(1, "on_disabled", "reset"));
    let stuck = client_of(&fleet, "g1");
    let (_, open) = client::greet(fleet.block.client(stuck), fleet.listener(PORT)).unwrap();
    ward.set_well(false);
    assert_eq!(client::drain(&open).1, client::StreamEnd::Reset);
    proxy
        .log
        .wait_session("the cut", |session| session.end == "group_disabled");

    let (fleet, ward, settings) = scene(QUICK);
    let proxy = Proxy::start(&settings.group_set(1, "drain_timeout", 0.3));
    let stuck = client_of(&fleet, "g1");
    let (_, open) = client::greet(fleet.block.client(stuck), fleet.listener(PORT)).unwrap();
    ward.set_well(false);
    client::drain(&open);
    proxy
        .log
        .wait_session("the cut", |session| session.end == "drain_timeout");
}

#[test]
fn a_backup_takes_over_when_checks_take_the_others_out() {
    let (fleet, ward, settings) = scene(QUICK);
    let settings = settings.group_set(0, "backup", true);
    let proxy = Proxy::start(&settings);
    assert_eq!(fleet.served_by(0, PORT), "g1");
    ward.set_well(false);
    wait_change(&proxy, 0, 1, "Up -> Draining");
    assert_eq!(fleet.served_by(1, PORT), "g0");
    ward.set_well(true);
    wait_change(&proxy, 0, 1, "Draining -> Up");
    assert_eq!(fleet.served_by(2, PORT), "g1");
}

#[test]
fn with_every_group_out_new_clients_are_refused_and_known_ones_served() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let ward = Ward::start(fleet.block.backend(0));
    let settings = fleet.settings.clone().check(0, &http(QUICK));
    let proxy = Proxy::start(&settings);
    assert_eq!(fleet.served_by(0, PORT), "g0");
    ward.set_well(false);
    wait_change(&proxy, 0, 0, "Up -> Draining");
    assert_eq!(fleet.served_by(0, PORT), "g0");
    client::expect_reset(fleet.block.client(1), fleet.listener(PORT));
    ward.set_well(true);
    wait_change(&proxy, 0, 0, "Draining -> Up");
    assert_eq!(fleet.served_by(1, PORT), "g0");
}

#[test]
fn the_environments_http_proxy_is_not_for_checks() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let ward = Ward::start(fleet.block.backend(0));
    let settings = fleet
        .settings
        .clone()
        .check(0, &http("interval = 1\nfall = 1"));
    let nowhere = format!("http://{}:9", fleet.block.address(9, 9));
    let proxy = Proxy::builder(&settings)
        .env("HTTP_PROXY", &nowhere)
        .env("http_proxy", &nowhere)
        .env("ALL_PROXY", &nowhere)
        .start();
    ward.wait_asked(3);
    assert!(changes(&proxy, 0).is_empty(), "{}", proxy.log.text());
}

#[test]
fn a_target_that_is_the_proxy_itself_is_never_checked() {
    let block = Block::claim();
    let (own, address) = (block.proxy(), block.backend(0));
    let _echo = Backend::echo("g0", address, &[5281]);
    let portmap = [
        (5280, format!("{own}:5280")),
        (5281, format!("{address}:5281")),
    ];
    let settings = Settings::new(&block)
        .ports(&[5280, 5281])
        .group_ports(0, &portmap)
        .check(0, "interval = 0.05\nfall = 1");
    let proxy = Proxy::start(&settings);
    let line = proxy
        .log
        .wait("the circle", |line| line.contains("never checked"));
    assert!(line.contains(&format!("{own}:5280")), "{line}");
    eventually("the other target is checked", || _echo.accepted() >= 5);
    assert!(proxy.log.sessions().is_empty());
    assert!(changes(&proxy, 0).is_empty());
}
