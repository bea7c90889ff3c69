//! What is accepted at the top of a file, and how what is not is refused.

use crate::config_support;
use config_support::*;

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
fn rates_of_clients_are_numbers_a_second() {
    let set = |value: &str| {
        let key = "max_new_connections_per_second_per_client";
        file(&format!("{key} = {value}"), "")
    };
    let shown = |value: &str| {
        let rate = good(&set(value)).max_new_connections_per_second_per_client;
        rate.map(|rate| rate.to_string())
    };
    for (value, expected) in [
        ("20", "20"),
        ("0.001", "0.001"),
        ("2.5", "2.5"),
        ("1e6", "1000000"),
    ] {
        assert_eq!(shown(value).as_deref(), Some(expected));
    }
    for bad in ["0", "-1", "0.0009", "1000001", "nan", "inf"] {
        let found = load(&set(bad)).unwrap_err().to_string();
        assert!(
            found.contains("expected a number from 0.001 to 1000000"),
            "{found}"
        );
    }
    assert!(load(&set("\"5\"")).is_err());
}

#[test]
fn networks_of_clients_are_checked() {
    let text = file("allow = []\ndeny = [\"10.0.0.0/8\", \"::1\"]", "");
    let config = good(&text);
    assert_eq!(config.allow, []);
    assert_eq!(config.deny.len(), 2);
    assert_refused(
        &file("allow = [\"::1\", \"::1/128\"]\ndeny = \"x\"", ""),
        &[
            "allow[1]: ::1/128 given before; expected each network once",
            "deny: found \"x\", expected a network such as \"10.0.0.0/8\"",
        ],
    );
    let list = |count: usize| -> String {
        let quoted = |at: usize| format!("\"10.0.{}.{}\"", at / 256, at % 256);
        let all: Vec<String> = (0..count).map(quoted).collect();
        file(&format!("deny = [{}]", all.join(", ")), "")
    };
    assert_eq!(good(&list(4096)).deny.len(), 4096);
    assert!(load(&list(4097)).is_err());
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
    let list = |count: usize| -> String {
        let quoted = |at: usize| format!("\"10.0.{}.{}\"", at / 256, at % 256);
        let all: Vec<String> = (0..count).map(quoted).collect();
        file(&format!("accept_proxy_from = [{}]", all.join(", ")), "")
    };
    assert_eq!(good(&list(256)).accept_proxy_from.len(), 256);
    assert!(load(&list(257)).is_err());
}

#[test]
fn source_addresses_are_checked() {
    let text = file("bind_source = \"10.0.0.2-10.0.0.9\"", "");
    assert_eq!(good(&text).bind_source[0].to_string(), "10.0.0.2-10.0.0.9");
    assert!(good(&file("bind_source = []", "")).bind_source.is_empty());
    let expected = "expected an IP address or a range such as \"10.0.0.2-10.0.0.9\", or a list of \
                    them (at most 64 addresses, each once)";
    assert_refused(
        &file(
            "bind_source = [\"10.0.0.2-10.0.0.9\", \"10.0.0.9\", \"::1-10.0.0.1\", \"10.0.1.0/24\"]",
            "",
        ),
        &[
            "bind_source[1]: 10.0.0.9 and 10.0.0.2-10.0.0.9 have an address in common; expected \
             each address once",
            "bind_source[2]: found \"::1-10.0.0.1\", expected a range whose first and last address \
             are of one IP family",
            "bind_source[3]: found \"10.0.1.0/24\", expected a range in place of a prefix, such as \
             \"10.0.1.1-10.0.1.64\"",
        ],
    );
    for (value, told) in [
        ("ten", expected),
        (
            "10.0.0.9-10.0.0.2",
            "expected a range from its lowest address to its highest, such as \"10.0.0.2-10.0.0.9\"",
        ),
        (
            "10.0.0.8/29",
            "expected a range in place of a prefix, such as \"10.0.0.9-10.0.0.14\"",
        ),
        (
            "fe80::1",
            "expected an address of this host: fe80::1 is a link-local one and names no link; use a \
             global one, or one of fd00::/8",
        ),
        (
            "255.255.255.255",
            "expected an address of this host: 255.255.255.255 is the broadcast address",
        ),
        (
            "224.0.0.1",
            "expected an address of this host: 224.0.0.1 is that of a multicast group",
        ),
        (
            "0.0.0.0",
            "expected an address of this host: 0.0.0.0 stands for all; leave the key out where the \
             kernel is to choose",
        ),
    ] {
        let text = file(&format!("bind_source = \"{value}\""), "");
        let told = format!("bind_source: found \"{value}\", {told}");
        assert_refused(&text, &[&told]);
    }
    let most = "bind_source = [\"192.0.2.1\", \"10.0.0.0-10.0.0.62\"]";
    assert_eq!(good(&file(most, "")).bind_source.len(), 2, "64 addresses");
    for many in ["10.0.0.0-10.0.0.63", "2001:db8::1-2001:db9::1"] {
        assert_refused(
            &file(&format!("bind_source = [\"192.0.2.1\", \"{many}\"]"), ""),
            &["bind_source[1]: more than 64 addresses together; expected at most 64"],
        );
    }
}
