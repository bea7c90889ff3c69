//! What is accepted for each key, and how what is not is refused.

use std::path::Path;

use tcpffee::config::{self, Config, Environment, Loaded, Problems};

/// A file that is good but for what `top` and `group` put into it.
fn file(top: &str, group: &str) -> String {
    let given = |name: &str| top.lines().any(|line| line.starts_with(name));
    let mut text = String::from("\n"); // `top` begins in line 2
    text += top;
    text += "\n";
    if !given("ports") {
        text += "ports = [5280, 5281]\n";
    }
    if !given("expiration") {
        text += "expiration = 10\n";
    }
    text += "[groups.7]\n";
    if !group.contains("portmap") {
        text += "portmap = \"192.0.2.1\"\n";
    }
    text + group + "\n"
}

fn load(text: &str) -> Result<Loaded, Problems> {
    config::load(text, Path::new("a.toml"), &Environment::default())
}

fn good(text: &str) -> Config {
    load(text)
        .unwrap_or_else(|problems| panic!("{problems}\n--- in\n{text}"))
        .config
}

/// The problems of a file without their places, but for settings that nothing acts on.
fn problems(text: &str) -> Vec<String> {
    let mut problems = all_problems(text);
    problems.retain(|problem| !problem.contains("not acted upon"));
    problems
}

/// The problems of a file without their places.
fn all_problems(text: &str) -> Vec<String> {
    let list = match load(text) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.0,
    };
    let without_place = |problem: &config::Problem| {
        let place = format!("{}: ", problem.place);
        let said = problem.to_string();
        said.strip_prefix(&place)
            .expect("the place comes first")
            .to_owned()
    };
    list.iter().map(without_place).collect()
}

#[track_caller]
fn assert_refused(text: &str, expected: &[&str]) {
    assert!(load(text).is_err(), "accepted:\n{text}");
    let found = problems(text);
    assert_eq!(found, expected, "found {found:#?}\n--- in\n{text}");
}

#[track_caller]
fn assert_warned(text: &str, expected: &[&str]) {
    good(text);
    let found = problems(text);
    assert_eq!(found, expected, "found {found:#?}\n--- in\n{text}");
}

#[test]
fn times_are_positive_finite_and_bounded() {
    let range = "expected seconds as a number from 0.001 to 3600";
    for (value, found) in [
        ("0", "0"),
        ("0.0", "0.0"),
        ("-5", "-5"),
        ("-0.5", "-0.5"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("-inf", "-inf"),
        ("1e300", "1e300"),
        ("3601", "3601"),
        ("0.0001", "0.0001"),
        ("99999999999999999999", "99999999999999999999"),
        ("\"5\"", "the string \"5\""),
        ("true", "the boolean true"),
        ("[5]", "an array of 1"),
        ("{}", "an empty table"),
        ("1979-05-27", "the date 1979-05-27"),
    ] {
        let text = file(&format!("connect_timeout = {value}"), "");
        assert_refused(
            &text,
            &[&format!("connect_timeout: found {found}, {range}")],
        );
    }
    let text = file(
        "connect_timeout = 0.25\nidle_timeout = 31536000\ntcp_keepalive = 1",
        "",
    );
    assert_eq!(good(&text).connect_timeout.as_millis(), 250);
    assert_refused(
        &file("tcp_keepalive = 1.5", ""),
        &["tcp_keepalive: found the float 1.5, expected whole seconds from 1 to 32767"],
    );
    for key in [
        "idle_timeout",
        "half_closed_timeout",
        "expiration",
        "first_message_timeout",
        "stick_table_save_interval",
        "no_quorum_after",
        "raft_heartbeat",
    ] {
        assert!(load(&file(&format!("{key} = 0"), "")).is_err(), "{key}");
    }
}

#[test]
fn integers_are_bounded_and_written_in_any_base() {
    assert_eq!(good(&file("workers = 0x10", "")).workers, Some(16));
    assert_eq!(
        good(&file("max_connections = 1_000", "")).max_connections,
        Some(1000)
    );
    for key in [
        "workers",
        "listen_backlog",
        "max_connections",
        "max_buffered_bytes",
        "stick_table_max_entries",
        "key_ipv6_prefix",
    ] {
        for value in ["0", "-1", "99999999999999999999999", "1.0", "\"1\""] {
            let text = file(&format!("{key} = {value}"), "");
            assert!(load(&text).is_err(), "{key} = {value}");
        }
    }
    assert_refused(
        &file("key_ipv6_prefix = 129", ""),
        &["key_ipv6_prefix: found 129, expected an integer from 1 to 128"],
    );
}

#[test]
fn words_name_their_neighbour() {
    assert_refused(
        &file(
            "balance = \"least-stick\"",
            "on_disabled = \"Reset\"\nsend_proxy = \"v3\"",
        ),
        &[
            "balance: found \"least-stick\", expected one of \"least-sticks\", \
             \"least-connections\", \"round-robin\", \"hash\"; did you mean \"least-sticks\"?",
            "groups.7.on_disabled: found \"Reset\", expected one of \"keep\", \"reset\"; did you \
             mean \"reset\"?",
            "groups.7.send_proxy: found \"v3\", expected one of \"off\", \"v1\", \"v2\"; did you \
             mean \"v1\"?",
        ],
    );
}

#[test]
fn unknown_keys_name_their_neighbour_or_the_known_ones() {
    let text = file(
        "bind_adr = 1\nconect-timeout = 1\nweight = 1",
        "weigth = 1\ncolour = \"red\"",
    );
    let found = problems(&text);
    let expected = [
        "bind_adr: unknown key, did you mean \"bind_addr\"?",
        "conect-timeout: unknown key, did you mean \"connect_timeout\"?",
        "weight: unknown key, did you mean \"groups.N.weight\"?",
        "groups.7.weigth: unknown key, did you mean \"weight\"?",
    ];
    assert_eq!(found[..4], expected, "{found:#?}");
    assert!(
        found[4].starts_with("groups.7.colour: unknown key, known here: portmap, name, weight"),
        "{found:#?}"
    );
    let text = file(
        "",
        "[[groups.7.healthchecks]]\nfal = 3\n[[peers]]\nhosts = 1\n",
    );
    let found = problems(&text);
    assert!(
        found.contains(
            &"groups.7.healthchecks[0].fal: unknown key, did you mean \"fall\"?".to_owned()
        )
    );
    assert!(found.contains(&"peers[0].hosts: unknown key, did you mean \"host\"?".to_owned()));
}

#[test]
fn each_port_is_listed_once() {
    let text = file(
        "ports = [21, \"6000-6099\", \"6099-6100\", \"21\", 6050]",
        "",
    );
    assert_refused(
        &text,
        &[
            "ports[2]: 6099 given before, in ports[1]; expected each port once",
            "ports[3]: 21 given before, in ports[0]; expected each port once",
            "ports[4]: 6050 given before, in ports[1]; expected each port once",
        ],
    );
    assert_eq!(
        good(&file("ports = [\"6000-6002\", 21]", "")).ports,
        [21, 6000, 6001, 6002]
    );
    for bad in [
        "[]",
        "5280",
        "[0]",
        "[65536]",
        "[\"a-b\"]",
        "[\"2-1\"]",
        "[[5280]]",
        "[5280.0]",
    ] {
        assert_eq!(
            problems(&file(&format!("ports = {bad}"), "")).len(),
            1,
            "{bad}"
        );
    }
}

#[test]
fn each_bind_address_is_listed_once() {
    assert_refused(
        &file("bind_addr = [\"127.0.0.1\", \"127.0.0.1\"]", ""),
        &["bind_addr[1]: 127.0.0.1 given before, in bind_addr[0]; expected each address once"],
    );
    assert_refused(
        &file("bind_addr = [\"0.0.0.0\", \"127.0.0.1\"]", ""),
        &[
            "bind_addr[1]: 127.0.0.1 and 0.0.0.0 collide, one covers the other; expected one of them",
        ],
    );
    good(&file("bind_addr = [\"::\", \"0.0.0.0\"]", ""));
    for bad in [
        "\"localhost\"",
        "\"127.0.0.1:80\"",
        "[]",
        "5",
        "\"224.0.0.1\"",
        "[\"::1\", 1]",
    ] {
        assert_eq!(
            problems(&file(&format!("bind_addr = {bad}"), "")).len(),
            1,
            "{bad}"
        );
    }
}

#[test]
fn sockets_that_collide_are_both_named() {
    assert_refused(
        &file("ports = [2340, 5280]", ""),
        &[
            "ports[0]: the listener 0.0.0.0:2340 collides with stats_bind_socket 127.0.0.1:2340 \
           (its default)",
        ],
    );
    assert_refused(
        &file("stats_bind_socket = \"[::1]:5281\"\nbind_addr = \"::\"", ""),
        &["stats_bind_socket: [::1]:5281 collides with the listener [::]:5281 (ports[1], line 4)"],
    );
    assert_refused(
        &file(
            "stats_bind_socket = \"127.0.0.1:5281\"\nbind_addr = \"::\"",
            "",
        ),
        &[
            "stats_bind_socket: 127.0.0.1:5281 collides with the listener [::]:5281 (ports[1], \
           line 4)",
        ],
    );
    let raft = "raft_stick_table_logs_bind_socket = \"0.0.0.0:2340\"";
    let found = problems(&file(raft, ""));
    assert_eq!(
        found[0],
        "raft_stick_table_logs_bind_socket: 0.0.0.0:2340 collides with stats_bind_socket \
         127.0.0.1:2340 (its default)",
        "{found:#?}"
    );
    // Distinct addresses, or IPv6-only beside IPv4, do not collide.
    good(&file("bind_addr = \"127.0.0.2\"\nports = [2340]", ""));
    let v6_only = "bind_addr = [\"::\", \"192.0.2.1\"]\nports = [2340]\nstats_bind_socket = ";
    good(&file(&format!("{v6_only}\"127.0.0.1:2340\""), ""));
    assert!(load(&file(&format!("{v6_only}\"[::1]:2340\""), "")).is_err());
    assert!(load(&file("stats_bind_socket = \"127.0.0.1:0\"", "")).is_err());
}

#[test]
fn a_portmap_is_a_host_or_a_table_of_targets() {
    let targets = |portmap: &str| -> Vec<String> {
        let config = good(&file("", &format!("portmap = {portmap}")));
        config.groups[0]
            .targets
            .values()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(targets("\"::1\""), ["[::1]:5280", "[::1]:5281"]);
    assert_eq!(
        targets("\"db.example\""),
        ["db.example:5280", "db.example:5281"]
    );
    assert_eq!(
        targets("{ 5280 = \"[2001:db8::1]:80\", 5281 = \"db:81\" }"),
        ["[2001:db8::1]:80", "db:81"]
    );
    let refused = |portmap: &str| problems(&file("", &format!("portmap = {portmap}")));
    assert_eq!(
        refused("\"192.0.2.1:80\""),
        [
            "groups.7.portmap: found \"192.0.2.1:80\", expected one without a port, or a table such \
          as portmap = { 5280 = \"192.0.2.20:80\" }"
        ]
    );
    assert_eq!(
        refused("80"),
        [
            "groups.7.portmap: found the integer 80, expected an IP address or host name, or a table \
          of listened port = \"address:port\""
        ]
    );
    assert_eq!(
        refused("{ 0 = \"a:1\", 5280 = \"192.0.2.1\", 5281 = 81 }"),
        [
            "groups.7.portmap.0: expected a listened port from 1 to 65535 in place of \"0\"",
            "groups.7.portmap.5280: found \"192.0.2.1\", expected \"address:port\", \"[IPv6 \
             address]:port\" or \"host:port\"",
            "groups.7.portmap.5281: found the integer 81, expected \"address:port\", \"[IPv6 \
             address]:port\" or \"host:port\"",
        ]
    );
    assert_eq!(refused("\"0.0.0.0\"").len(), 1);
}

#[test]
fn gaps_between_ports_and_portmap_are_warned_about() {
    let group = "portmap = { 5280 = \"a:1\", 80 = \"a:2\", 81 = \"a:3\" }";
    assert_warned(
        &file("ports = [\"5280-5283\", 6000]", group),
        &[
            "warning: groups.7.portmap: no target for 5281-5283, 6000: the group serves no client \
             there",
            "warning: groups.7.portmap: 80-81 is mapped but not listened on (see ports)",
        ],
    );
    let config = good(&file("ports = [\"5280-5283\", 6000]", group));
    assert_eq!(config.groups[0].targets.len(), 1);
}

#[test]
fn groups_are_known_by_number() {
    let base = "ports = [1]\nexpiration = 1\n";
    for bad in ["-1", "01", "x", "4294967296", "\"1 \"", "\"\""] {
        let text = format!("{base}[groups.{bad}]\nportmap = \"::1\"\n");
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("expected a group's id, an integer from 0 to 4294967295"));
    }
    let text =
        format!("{base}[groups.4294967295]\nportmap = \"::1\"\n[groups.0]\nportmap = \"::1\"\n");
    let ids: Vec<u32> = good(&text).groups.iter().map(|group| group.id.0).collect();
    assert_eq!(ids, [0, u32::MAX]);
}

#[test]
fn at_least_one_group_is_needed_and_not_too_many() {
    let base = "ports = [1]\nexpiration = 1\n";
    let expected = "expected tables of groups such as [groups.0], at least one";
    assert_refused(base, &[&format!("groups: not given, {expected}")]);
    let empty = format!("{base}groups = {{}}\n");
    assert_refused(
        &empty,
        &[&format!("groups: found an empty table, {expected}")],
    );
    let array = format!("{base}[[groups]]\nportmap = \"::1\"\n");
    assert_refused(
        &array,
        &[&format!("groups: found an array of 1, {expected}")],
    );
    let number = format!("{base}[groups]\n1 = 5\n");
    assert_refused(
        &number,
        &[
            "groups.1: found the integer 5, expected a group's table, such as [groups.0] with \
           portmap = \"192.0.2.20\"",
        ],
    );
    let groups = |count: u32| -> String {
        (0..count)
            .map(|id| format!("[groups.{id}]\nportmap = \"::1\"\n"))
            .collect()
    };
    good(&format!("{base}{}", groups(4096)));
    let found = problems(&format!("{base}{}", groups(4097)));
    assert_eq!(found, ["groups: 4097 groups, expected at most 4096"]);
    let ports = "bind_addr = \"127.0.0.2\"\nports = [\"1-50000\"]\nexpiration = 1\n";
    let found = problems(&format!("{ports}{}", groups(21)));
    assert_eq!(
        found,
        ["groups: 21 groups on 50000 ports, expected at most 1000000 targets together"]
    );
}

#[test]
fn a_group_needs_a_portmap_and_a_weight() {
    assert_refused(
        "ports = [1]\nexpiration = 1\n[groups.1]\nweight = 0\ndrain = 1\nname = \"\"\n",
        &[
            "groups.1.portmap: not given, expected an IP address, a host name, or a table of ports",
            "groups.1.weight: found 0, expected an integer from 1 to 1000000",
            "groups.1.drain: found the integer 1, expected true or false",
            "groups.1.name: found \"\", expected a name of 1 to 64 characters without control \
             characters",
        ],
    );
    let two = file(
        "",
        "portmap = \"::1\"\nname = \"alder\"\n[groups.8]\nportmap = \"::1\"\nname = \"alder\"",
    );
    assert_warned(
        &two,
        &["warning: groups.8.name: groups.7 has the name \"alder\" too"],
    );
}

#[test]
fn health_checks_are_checked() {
    let check = |keys: &str| file("", &format!("[[groups.7.healthchecks]]\n{keys}"));
    let config = good(&check("interval = 3"));
    let first = &config.groups[0].healthchecks[0];
    assert_eq!(
        (first.timeout.as_millis(), first.fall, first.rise),
        (1500, 3, 5)
    );
    assert_eq!(first.http, None);
    for key in [
        "http_target = \"/x\"",
        "http_headers = {}",
        "http_method = \"GET\"",
        "http_body = \"\"",
        "http_status = 204",
    ] {
        let config = good(&check(key));
        assert!(config.groups[0].healthchecks[0].http.is_some(), "{key}");
    }
    let refused = |keys: &str| {
        let text = check(keys);
        assert!(load(&text).is_err(), "accepted:\n{text}");
        problems(&text).remove(0)
    };
    let at = "groups.7.healthchecks[0]";
    assert_eq!(
        refused("interval = 2\ntimeout = 2.5"),
        format!("{at}.timeout: found 2.5, expected at most the interval, 2 seconds")
    );
    assert_eq!(
        refused("fall = 0"),
        format!("{at}.fall: found 0, expected an integer from 1 to 1000")
    );
    assert_eq!(
        refused("http_target = \"health\""),
        format!(
            "{at}.http_target: found \"health\", expected a path that begins with \"/\", of \
             printable ASCII characters without spaces"
        )
    );
    assert!(refused("http_method = \"PUT\"").contains("one of \"GET\", \"POST\""));
    assert!(refused("http_status = 99").contains("from 100 to 599"));
    assert!(
        refused("http_headers = { X = 1 }").starts_with(&format!("{at}.http_headers.X: found"))
    );
    assert!(refused("http_headers = { X = \"a\\r\\nb\" }").contains("without control characters"));
    assert!(refused("http_headers = { \"a b\" = \"c\" }").contains("a header's name"));
    let list = file("", "healthchecks = 5");
    assert_eq!(
        problems(&list)[0],
        "groups.7.healthchecks: found the integer 5, expected tables such as \
         [[groups.0.healthchecks]]"
    );
}

const PEER: &str = "[[peers]]\nhost = \"localhost\"\nmac_address = \"02:00:00:00:00:01\"\n";

#[test]
fn peers_are_checked() {
    let errors = |text: &str| {
        assert!(load(text).is_err(), "accepted:\n{text}");
        let found = problems(text).into_iter();
        found
            .filter(|line| !line.starts_with("warning"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        errors(&file("", &format!("{PEER}{PEER}"))),
        [
            "peers[1].mac_address: 02:00:00:00:00:01 is the address of peers[0] too; expected one for \
          each peer"
        ]
    );
    assert_eq!(
        errors(&file(
            "",
            "[[peers]]\nhost = \"a:1\"\n[peers.ports]\nstick_table_logs = 0\n"
        )),
        [
            "peers[0].mac_address: not given, expected a MAC address such as \"02:00:00:00:00:01\"",
            "peers[0].host: found \"a:1\", expected an IP address or a host name",
            "peers[0].ports.stick_table_logs: found 0, expected an integer from 1 to 65535",
        ]
    );
    assert_eq!(
        errors(&file("expiration = 2.5", PEER)),
        ["expiration: found 2.5, expected at least 3 seconds where there are peers"]
    );
    assert_eq!(
        errors(&file("peers = 5", "")),
        ["peers: found the integer 5, expected tables such as [[peers]]"]
    );
    assert_eq!(good(&file("peers = []", "")).peers, []);
    good(&file("expiration = 2.5", ""));
}

#[test]
fn a_cluster_on_loopback_sockets_is_warned_about() {
    let elsewhere = PEER.replace("localhost", "192.0.2.9");
    let reach = |text: &str| {
        let found = problems(text).into_iter();
        found
            .filter(|line| line.contains("would not reach"))
            .collect::<Vec<_>>()
    };
    assert_eq!(reach(&file("", PEER)), [""; 0]);
    assert_eq!(
        reach(&file(
            "raft_healthchecks_logs_bind_socket = \"192.0.2.1:2341\"",
            &elsewhere
        )),
        ["warning: peers: the cluster would not reach 192.0.2.9: \
          raft_stick_table_logs_bind_socket, raft_healthchecks_proposals_bind_socket, \
          raft_stick_table_proposals_bind_socket on a loopback address"]
    );
}

#[test]
fn elections_come_well_after_heartbeats() {
    let errors = |top: &str| {
        let text = file(top, "");
        assert!(load(&text).is_err(), "accepted:\n{text}");
        let found = problems(&text).into_iter();
        found
            .filter(|line| !line.starts_with("warning"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        errors("raft_heartbeat = 0.2"),
        [
            "raft_heartbeat: elections after 0.3 seconds with a heartbeat every 0.2: expected \
          raft_election_timeout to begin at twice raft_heartbeat or more"
        ]
    );
    for bad in [
        "[0.3]",
        "[0.6, 0.3]",
        "[0.3, 0.3]",
        "[0.3, 0.6, 0.9]",
        "0.3",
        "[0, 1]",
        "[\"a\", 1]",
    ] {
        assert_eq!(
            errors(&format!("raft_election_timeout = {bad}")).len(),
            1,
            "{bad}"
        );
    }
    good(&file(
        "raft_heartbeat = 0.2\nraft_election_timeout = [0.4, 1]",
        "",
    ));
}

#[test]
fn networks_of_proxies_are_checked() {
    let text = file("accept_proxy_from = \"10.0.0.0/8\"", "");
    assert_eq!(good(&text).accept_proxy_from[0].to_string(), "10.0.0.0/8");
    let text = file(
        "accept_proxy_from = [\"10.1.0.0/8\", \"::1\", \"::1/128\", \"x\"]",
        "",
    );
    assert_refused(
        &text,
        &[
            "accept_proxy_from[0]: found \"10.1.0.0/8\", expected an address without bits beyond \
             its prefix, such as \"10.0.0.0/8\"",
            "accept_proxy_from[2]: ::1/128 given before; expected each network once",
            "accept_proxy_from[3]: found \"x\", expected a network such as \"10.0.0.0/8\"",
        ],
    );
}

#[test]
fn each_subject_that_nothing_acts_on_is_warned_about_once() {
    let top = "no_quorum = \"refuse\"\nno_quorum_after = 5\npeer_secret_file = \"/s\"\n\
               stats_bind_socket = \"127.0.0.1:9\"";
    let group = "send_proxy = \"v1\"\ntransparent = true\n[[groups.7.healthchecks]]\nfall = 1\n\
                 [[groups.7.healthchecks]]\nfall = 2";
    let tail = "read and checked, but not acted upon by this version";
    assert_eq!(
        all_problems(&file(top, group)),
        [
            format!(
                "warning: the cluster's settings: {tail} (no_quorum, no_quorum_after, peer_secret_file)"
            ),
            format!("warning: the statistics server: {tail} (stats_bind_socket)"),
            format!("warning: the PROXY protocol: {tail} (groups.N.send_proxy)"),
            format!("warning: transparent proxying: {tail} (groups.N.transparent)"),
            format!("warning: health checks: {tail} (groups.N.healthchecks)"),
        ],
    );
}
