//! What a reload says it changes, and when each change takes effect.

use std::path::Path;

use tcpffee::config::reference::{self, Absent, Key, TakesEffect};
use tcpffee::config::{self, Changes, Config, Environment};

/// Keys that only a restart applies.
const RESTART: &[&str] = &["workers", "key_ipv6_prefix", "stats_bind_socket", "raft_"];

/// Keys that connections accepted before the reload do not feel.
const NEW_CONNECTIONS: &[&str] = &[
    "connect_timeout",
    "idle_timeout",
    "half_closed_timeout",
    "tcp_keepalive",
    "queue_timeout",
    "first_message_timeout",
    "first_message_ports",
    "groups.N.send_proxy",
    "accept_proxy_from",
    "bind_source",
    "groups.N.transparent",
    "groups.N.portmap",
];

fn class(pattern: &str) -> TakesEffect {
    let among = |list: &[&str]| list.iter().any(|start| pattern.starts_with(start));
    match () {
        () if among(RESTART) => TakesEffect::Restart,
        () if among(NEW_CONNECTIONS) => TakesEffect::NewConnections,
        () => TakesEffect::Live,
    }
}

/// The tables of a file, in the order in which it must give them.
const TABLES: [(&str, &str); 5] = [
    ("", ""),
    ("groups.N.", "[groups.0]"),
    ("groups.N.healthchecks[].", "[[groups.0.healthchecks]]"),
    ("peers[].", "[[peers]]"),
    ("peers[].ports.", "[peers.ports]"),
];

/// The table that a key belongs to, and its name there.
fn table_of(pattern: &'static str) -> (&'static str, &'static str) {
    let longest = TABLES
        .iter()
        .rev()
        .find(|(prefix, _)| pattern.starts_with(prefix))
        .expect("the top of the file takes any key");
    (longest.0, &pattern[longest.0.len()..])
}

/// A file with one group, one HTTP check and one peer, and a key set as given.
fn file(key: Option<(&'static str, &str)>) -> String {
    let mut settings = vec![
        ("ports", "[5280, 5281]"),
        ("expiration", "30"),
        ("groups.N.portmap", "\"127.0.0.11\""),
        ("groups.N.healthchecks[].http_status", "200"),
        ("groups.N.healthchecks[].timeout", "0.25"),
        ("peers[].host", "\"localhost\""),
        ("peers[].mac_address", "\"02:00:00:00:00:99\""),
    ];
    if let Some((pattern, value)) = key {
        settings.retain(|(other, _)| *other != pattern);
        settings.push((pattern, value));
    }
    let mut text = String::new();
    for (prefix, header) in TABLES {
        text += &format!("{header}\n");
        for (pattern, value) in &settings {
            let (table, name) = table_of(pattern);
            if table == prefix {
                text += &format!("{name} = {value}\n");
            }
        }
    }
    text
}

fn load(text: &str) -> Config {
    let loaded = config::load(text, Path::new("a.toml"), &Environment::default());
    loaded
        .unwrap_or_else(|problems| panic!("{problems}\n--- in\n{text}"))
        .config
}

fn diff(old: &str, new: &str) -> Changes {
    config::diff(&load(old), &load(new))
}

fn shown(changes: &Changes) -> Vec<String> {
    let all = changes.changed.iter().chain(&changes.needs_restart);
    all.map(ToString::to_string).collect()
}

#[track_caller]
fn assert_reported(key: &Key, changes: &Changes) {
    let path = key.pattern.replace(".N", ".0").replace("[]", "[0]");
    let (list, other) = match class(key.pattern) {
        TakesEffect::Restart => (&changes.needs_restart, &changes.changed),
        TakesEffect::Live | TakesEffect::NewConnections => {
            (&changes.changed, &changes.needs_restart)
        }
    };
    assert!(other.is_empty(), "{}: {changes:#?}", key.pattern);
    assert!(!list.is_empty(), "{} is not compared", key.pattern);
    for change in list {
        assert_eq!(change.key, path);
        assert_eq!(change.takes_effect, class(key.pattern), "{}", key.pattern);
    }
}

#[test]
fn every_key_of_the_reference_is_compared_and_has_its_class() {
    for key in reference::KEYS {
        assert_eq!(key.takes_effect, class(key.pattern), "{}", key.pattern);
        if let Absent::Toml(default) = key.default {
            assert_ne!(key.example, default, "{}", key.pattern);
        }
        let (old, new) = (file(None), file(Some((key.pattern, key.example))));
        assert_reported(key, &diff(&old, &new));
        assert_reported(key, &diff(&new, &old));
    }
}

#[test]
fn the_same_configuration_changes_nothing() {
    for key in reference::KEYS {
        let text = file(Some((key.pattern, key.example)));
        assert!(diff(&text, &text).is_empty(), "{}", key.pattern);
    }
}

const BASE: &str = "ports = [5280, 5281]\nexpiration = 10\n";

fn with(groups: &str) -> String {
    format!("{BASE}{groups}")
}

#[test]
fn a_change_reads_as_one_line() {
    let old = with("[groups.1]\nportmap = \"10.0.0.1\"\n");
    let new = with("[groups.1]\nportmap = \"10.0.0.2\"\ndrain = true\nidle = 1\n")
        .replace("idle = 1\n", "");
    assert_eq!(
        shown(&diff(&old, &new)),
        [
            "groups.1.portmap: 10.0.0.1 → 10.0.0.2",
            "groups.1.drain: false → true"
        ]
    );
    let new = format!("workers = 3\nidle_timeout = 2.5\n{old}");
    assert_eq!(
        shown(&diff(&old, &new)),
        [
            "idle_timeout: none → 2.5 s",
            "workers: one for each CPU → 3"
        ]
    );
}

#[test]
fn groups_and_ports_come_and_go_as_one_change_each() {
    let old = with("[groups.1]\nportmap = \"10.0.0.1\"\n[groups.2]\nportmap = \"10.0.0.2\"\n");
    let new = old
        .replace("[5280, 5281]", "[5281, \"6000-6003\", 7000]")
        .replace("groups.2", "groups.3");
    assert_eq!(
        shown(&diff(&old, &new)),
        [
            "ports: removed 5280",
            "ports: added 6000-6003, 7000",
            "groups.2: removed portmap 10.0.0.2",
            "groups.3: added portmap 10.0.0.2",
        ]
    );
}

#[test]
fn health_checks_and_peers_come_and_go_as_one_change_each() {
    let old = with("[groups.1]\nportmap = \"10.0.0.1\"\n");
    let new = format!("{old}[[groups.1.healthchecks]]\nfall = 7\n");
    let changes = diff(&old, &new);
    let [change] = changes.changed.as_slice() else {
        panic!("{changes:#?}");
    };
    assert_eq!(change.key, "groups.1.healthchecks[0]");
    assert!(
        change.to_string().contains("added fall 7, rise 5"),
        "{change}"
    );

    let new =
        format!("{old}[[peers]]\nhost = \"localhost\"\nmac_address = \"02:00:00:00:00:01\"\n");
    let changes = diff(&old, &new);
    assert_eq!(changes.changed.len(), 1, "{changes:#?}");
    assert!(
        shown(&changes)[0].starts_with("peers[0]: added host localhost"),
        "{changes:#?}"
    );
}

#[test]
fn a_portmap_of_many_ports_is_shown_in_short() {
    let old = BASE.replace("5281", "\"6000-6999\"") + "[groups.1]\nportmap = \"10.0.0.1\"\n";
    let new = old.replace("\"10.0.0.1\"", "{ 5280 = \"10.0.0.1:80\" }");
    assert_eq!(
        shown(&diff(&old, &new)),
        ["groups.1.portmap: 10.0.0.1 → 5280 = 10.0.0.1:80"]
    );
}

#[test]
fn values_of_headers_are_not_shown() {
    let check = |secret: &str| {
        let headers = format!("http_headers = {{ Authorization = \"{secret}\" }}\n");
        with("[groups.1]\nportmap = \"10.0.0.1\"\n") + "[[groups.1.healthchecks]]\n" + &headers
    };
    let said = shown(&diff(&check("one"), &check("two")));
    let hidden = "Authorization (values not shown)";
    let expected = format!("groups.1.healthchecks[0].http_headers: {hidden} → {hidden}");
    assert_eq!(said, [expected]);
}

#[test]
fn bodies_are_not_shown() {
    let check = |keys: &str| {
        with("[groups.1]\nportmap = \"10.0.0.1\"\n") + "[[groups.1.healthchecks]]\n" + keys
    };
    let (none, one, two) = (
        check("http_target = \"/\"\n"),
        check("http_target = \"/\"\nhttp_body = \"one\"\n"),
        check("http_target = \"/\"\nhttp_body = \"two\"\n"),
    );
    let at = "groups.1.healthchecks[0].http_body";
    let hidden = "given (not shown)";
    let said = |old: &str, new: &str| shown(&diff(old, new));
    assert_eq!(said(&none, &one), [format!("{at}: none → {hidden}")]);
    assert_eq!(said(&one, &two), [format!("{at}: {hidden} → {hidden}")]);
    assert_eq!(said(&two, &none), [format!("{at}: {hidden} → none")]);
}
