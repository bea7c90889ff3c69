//! What is accepted for groups, health checks and peers, and how what is not is refused.

use crate::config_support;
use config_support::*;

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
            "groups.7.portmap: found the integer 80, expected an IP address, a host name or \
          \"unix:/path\", or a table of listened port = \"address:port\" or \"unix:/path\""
        ]
    );
    assert_eq!(
        refused("{ 0 = \"a:1\", 5280 = \"192.0.2.1\", 5281 = 81 }"),
        [
            "groups.7.portmap.0: expected a listened port from 1 to 65535 in place of \"0\"",
            "groups.7.portmap.5280: found \"192.0.2.1\", expected \"address:port\", \"[IPv6 \
             address]:port\", \"host:port\" or \"unix:/path\"",
            "groups.7.portmap.5281: found the integer 81, expected \"address:port\", \"[IPv6 \
             address]:port\", \"host:port\" or \"unix:/path\"",
        ]
    );
    assert_eq!(refused("\"0.0.0.0\"").len(), 1);
}

#[test]
fn a_target_may_be_a_unix_socket() {
    let groups = |group: &str| good(&file("", group)).groups;
    let targets = |portmap: &str| -> Vec<String> {
        let groups = groups(&format!("portmap = {portmap}"));
        groups[0]
            .targets
            .values()
            .map(ToString::to_string)
            .collect()
    };
    let longest = format!("unix:/{}", "a".repeat(106));
    for path in ["unix:/run/app.sock", &longest] {
        assert_eq!(targets(&format!("\"{path}\"")), [path, path]);
        let portmap = format!("{{ 5280 = \"{path}\", 5281 = \"db:81\" }}");
        assert_eq!(targets(&portmap), [path, "db:81"]);
    }
    let expected = "expected a Unix socket's path of at most 107 bytes, without white space, such as \
                    \"unix:/run/app/server.sock\"";
    let too_long = format!("{longest}a");
    for path in [
        "unix:/",
        "unix:/run/",
        "unix:/a b",
        "unix:/a\\tb",
        &too_long,
    ] {
        for (key, portmap) in [
            ("groups.7.portmap", format!("\"{path}\"")),
            ("groups.7.portmap.5280", format!("{{ 5280 = \"{path}\" }}")),
        ] {
            let found = problems(&file("", &format!("portmap = {portmap}")));
            let [problem, ..] = &found[..] else {
                panic!("{path:?} is taken");
            };
            let is_clear =
                problem.starts_with(&format!("{key}: found")) && problem.ends_with(expected);
            assert!(is_clear, "{problem}");
        }
    }
    // A path that does not begin at the root is none, and `unix` may be a host.
    assert_eq!(
        problems(&file("", "portmap = \"unix:run/a.sock\"")).len(),
        1
    );
    assert_eq!(
        targets("{ 5280 = \"unix:80\", 5281 = \"db:81\" }"),
        ["unix:80", "db:81"]
    );
}

#[test]
fn what_a_unix_socket_has_not_is_refused_with_the_remedy() {
    let group = "portmap = { 5280 = \"unix:/run/a.sock\", 5281 = \"db:81\" }\ntransparent = true\n\
                 [[groups.7.healthchecks]]\n[[groups.7.healthchecks]]\nport = 80";
    assert_refused(
        &file("", group),
        &[
            "groups.7.transparent: unix:/run/a.sock in portmap cannot see a client's address; \
             expected send_proxy in its place, or targets with IP addresses",
            "groups.7.healthchecks[1].port: unix:/run/a.sock in portmap has no ports; expected no \
             port here, so that the socket itself is checked",
        ],
    );
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
            "{at}.http_target: found \"health\", expected a path that begins with \"/\", with a \
             query or not, other characters percent-encoded as in a URL"
        )
    );
    for target in ["/a b", "/ü", "/a#part", "/a\\\\b", "/{id}", "/\\u0001"] {
        let problem = refused(&format!("http_target = \"{target}\""));
        assert!(problem.contains("percent-encoded"), "{problem}");
    }
    good(&check("http_target = \"/a/%20/b?c=d&e=f;(~*')\""));
    assert!(refused("http_method = \"PUT\"").contains("one of \"GET\", \"POST\""));
    assert!(refused("http_status = 99").contains("from 100 to 599"));
    assert!(
        refused("http_headers = { X = 1 }").starts_with(&format!("{at}.http_headers.X: found"))
    );
    for keys in [
        "http_headers = \"Bearer secret\"",
        "http_headers = { Authorization = [\"secret\"] }",
        "http_headers = { Authorization = \"secret\\r\\n\" }",
        "http_body = [\"secret\"]",
    ] {
        let said = refused(keys);
        assert!(
            !said.contains("secret") && said.contains("(not shown)"),
            "{said}"
        );
    }
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
fn a_cluster_on_loopback_sockets_is_refused_where_a_peer_certainly_is_elsewhere() {
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
        ["peers: the cluster would not reach 192.0.2.9: \
          raft_stick_table_logs_bind_socket, raft_healthchecks_proposals_bind_socket, \
          raft_stick_table_proposals_bind_socket on a loopback address; give them an address that \
          the other peers reach"]
    );
    // Where a name leads is found out at the start.
    let named = PEER.replace("localhost", "proxy-b.example");
    let warned = reach(&file("", &named));
    assert!(warned[0].starts_with("warning: peers: the cluster would not reach proxy-b.example"));
    load(&file("", &named)).expect("only a warning");
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
fn every_setting_is_acted_upon_without_a_word() {
    let top = "no_quorum = \"refuse\"\nno_quorum_after = 5\npeer_secret_file = \"/s\"\n\
               accept_proxy_from = \"10.0.0.0/8\"\ntransparent_listen = true";
    let group = "send_proxy = \"v1\"\ntransparent = true";
    assert_eq!(problems(&file(top, group)), [""; 0]);
}
