//! Statistics over HTTP: every path, every field, pages while entries come and go.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::health::http as http_check;
use support::http::{self, Answer};
use support::{Fleet, PATIENCE, Proxy, Settings, Traffic, Ward, client, eventually, wait};

const PORT: u16 = 5280;

/// Three groups: 0 with a health check, 1 with a name, 2 drained.
fn scene() -> (Fleet, Ward, Settings) {
    let fleet = Fleet::new(3);
    let ward = Ward::start(fleet.block.backend(0));
    let settings = fleet.settings.clone();
    let settings = settings
        .check(
            0,
            &http_check("interval = 0.1\ntimeout = 0.1\nfall = 2\nrise = 2"),
        )
        .group_set(1, "name", "birch")
        .group_set(1, "weight", 3)
        .group_set(2, "drain", true);
    (fleet, ward, settings)
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no array: {value}"))
}

fn keys(value: &Value) -> BTreeSet<String> {
    let names = value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"))
        .keys();
    names.cloned().collect()
}

#[test]
fn the_node_as_a_whole_is_told() {
    let (fleet, _ward, settings) = scene();
    let mut proxy = Proxy::start(&settings);
    let server = proxy.statistics();
    for client in 0..10 {
        fleet.served_by(client, PORT);
    }
    let (_, open) = client::greet(fleet.block.client(50), fleet.listener(5281)).unwrap();
    client::exchange(&open, &[7; 1_000]).unwrap();
    let mut overview = Value::Null;
    eventually("all ten have ended", || {
        overview = http::json(server, "/api/v1/");
        overview["totals"]["connections"] == 1
    });
    assert_eq!(overview["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(overview["key_type"], "IP");
    assert_eq!(
        (&overview["node"], &overview["generation"]),
        (&Value::Null, &json!(1))
    );
    let started = overview["started"].as_str().unwrap();
    assert!(
        started.starts_with("20") && started.ends_with('Z'),
        "{started}"
    );
    let uptime = overview["uptime_seconds"].as_f64().unwrap();
    assert!(uptime > 0.0 && uptime < 3_600.0);
    let totals = &overview["totals"];
    assert_eq!(
        (&totals["accepted"], &totals["groups"]),
        (&json!(11), &json!(3))
    );
    assert_eq!(totals["groups_up"], 2);
    assert!(
        totals["bytes_in"].as_u64().unwrap() >= 1_000,
        "open connections count: {totals}"
    );
    let ended = totals["ended"].as_object().unwrap().values();
    assert_eq!(ended.map(|count| count.as_u64().unwrap()).sum::<u64>(), 10);
    assert_eq!(
        totals["ended"].as_object().unwrap().len(),
        20,
        "every reason is listed"
    );
    assert_eq!(
        (
            &overview["sticks"]["entries"],
            &overview["sticks"]["assignments"]
        ),
        (&json!(11), &json!(11))
    );
    assert_eq!(overview["sticks"]["expiration_seconds"], 60.0);
    let process = &overview["process"];
    assert_eq!(process["pid"], proxy.pid());
    for field in [
        "resident_bytes",
        "open_descriptors",
        "max_descriptors",
        "threads",
    ] {
        assert!(process[field].as_u64().unwrap() > 0, "{field}: {process}");
    }
    for path in overview["links"].as_object().unwrap().values() {
        let path = path.as_str().unwrap();
        assert_eq!(http::get(server, path).status, 200, "{path}");
    }
    proxy.reload_ok(&settings.clone().set("expiration", 50));
    proxy.reload(&settings.set("workers", 7));
    let reloads = &http::json(server, "/api/v1/")["reloads"];
    assert_eq!(
        (&reloads["succeeded"], &reloads["refused"]),
        (&json!(1), &json!(1))
    );
    assert!(
        list(&reloads["last_problems"])[0]
            .as_str()
            .unwrap()
            .contains("needs a restart")
    );
    eventually("the first save", || {
        http::json(server, "/api/v1/")["saves"]["succeeded"] != 0
    });
}

#[test]
fn groups_are_told_with_all_that_belongs_to_them() {
    let (fleet, ward, settings) = scene();
    let proxy = Proxy::start(&settings);
    let server = proxy.statistics();
    let mut by_group: BTreeMap<String, u64> = BTreeMap::new();
    for client in 0..20 {
        *by_group.entry(fleet.served_by(client, PORT)).or_default() += 1;
    }
    let mut groups = Value::Null;
    eventually("all connections have ended", || {
        groups = http::json(server, "/api/v1/groups");
        list(&groups).iter().all(|group| group["connections"] == 0)
    });
    let [first, second, third] = list(&groups) else {
        panic!("three groups: {groups}");
    };
    assert_eq!(
        (&first["id"], &first["status"], &first["reason"]),
        (&json!(0), &json!("Up"), &json!(""))
    );
    assert_eq!(
        (&second["name"], &second["weight"]),
        (&json!("birch"), &json!(3))
    );
    assert_eq!(
        (&third["status"], &third["reason"]),
        (&json!("Draining"), &json!("drain = true"))
    );
    assert_eq!(
        (&third["drained"], &first["drained"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(third["draining"]["drained_in_at_most_seconds"], 0.0);
    assert_eq!(
        (&first["draining"], &first["backup"]),
        (&Value::Null, &json!(false))
    );
    for (group, name) in [(first, "g0"), (second, "g1")] {
        assert_eq!(group["sticks"], by_group[name], "{name}");
        assert_eq!(group["connections_total"], by_group[name], "{name}");
        assert!(group["bytes_out"].as_u64().unwrap() > 0);
        let ended = group["ended"].as_object().unwrap().values();
        assert_eq!(
            ended.map(|count| count.as_u64().unwrap()).sum::<u64>(),
            by_group[name]
        );
    }
    let targets = list(&second["targets"]);
    assert_eq!(targets.len(), 3);
    let address = format!("{}:{PORT}", fleet.block.backend(1));
    let expected =
        json!({"port": PORT, "target": address, "address": address, "connect_failures": 0});
    assert_eq!(targets[0], expected);
    assert_eq!(http::json(server, "/api/v1/groups/1")["id"], 1);
    for absent in ["7", "birch", "01x", "4294967296", "-1"] {
        assert_eq!(
            http::get(server, &format!("/api/v1/groups/{absent}")).status,
            404,
            "{absent}"
        );
    }
    // Health checks, here and in their own list.
    ward.set_well(false);
    eventually("the check is failing", || {
        let checks = http::json(server, "/api/v1/healthchecks");
        checks[0]["verdict"] == "failing" && checks[0]["observation"] == "failing"
    });
    let check = &http::json(server, "/api/v1/healthchecks")[0];
    assert_eq!(
        (&check["group"], &check["kind"], &check["path"]),
        (&json!(0), &json!("http"), &json!("/health"))
    );
    assert_eq!(
        (&check["fall"], &check["rise"], &check["fall_action"]),
        (&json!(2), &json!(2), &json!("Draining"))
    );
    let target = &check["targets"][0];
    assert_eq!(
        (&target["state"], &target["last_result"]),
        (&json!("failing"), &json!("failed"))
    );
    assert!(
        target["last_error"].as_str().unwrap().contains("503"),
        "{target}"
    );
    assert!(target["failed"].as_u64().unwrap() >= 2 && !list(&target["history"]).is_empty());
    let first = http::json(server, "/api/v1/groups/0");
    assert_eq!(first["healthchecks"][0]["id"], check["id"]);
    assert_eq!(first["status"], "Draining");
}

/// Follows `Link` headers to the end.
fn pages(server: SocketAddr, first: &str) -> Vec<Vec<Value>> {
    let (mut path, mut pages) = (first.to_owned(), Vec::new());
    loop {
        let answer = http::get(server, &path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        pages.push(list(&answer.json()).to_vec());
        let Some(rest) = answer.headers.get("link") else {
            return pages;
        };
        let (next, relation) = rest.split_once('>').unwrap();
        assert_eq!(relation, "; rel=\"next\"");
        path = next.strip_prefix('<').unwrap().to_owned();
    }
}

#[test]
fn lists_come_in_pages() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let mut settings = fleet.settings.clone();
    for id in 1..=25 {
        settings = settings
            .group(id * 10, fleet.block.backend(0))
            .check(id * 10, "interval = 60");
    }
    let proxy = Proxy::start(&settings);
    let server = proxy.statistics();
    for (path, field, expected) in [
        ("/api/v1/groups?limit=10", "id", 26),
        ("/api/v1/healthchecks?limit=10", "group", 25),
    ] {
        let pages = pages(server, path);
        let lengths: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(lengths, [10, 10, expected - 20], "{path}");
        let ids = pages.concat();
        let ids: Vec<u64> = ids
            .iter()
            .map(|item| item[field].as_u64().unwrap())
            .collect();
        assert!(ids.is_sorted() && ids.len() == expected, "{path}: {ids:?}");
    }
    let rest = http::json(server, "/api/v1/groups?after=245");
    assert_eq!((list(&rest).len(), &rest[0]["id"]), (1, &json!(250)));
}

/// Every page of a list of sticks.
fn sticks(server: SocketAddr, query: &str) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = http::json(server, &format!("/api/v1/stick_table?{query}{after}"));
        found.extend(list(&page["entries"]).iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return found,
        }
    }
}

#[test]
fn the_stick_table_comes_in_pages_that_stay_right_while_entries_come_and_go() {
    let fleet = Fleet::on_ports(2, &[PORT]);
    let proxy = Proxy::start(&fleet.settings.clone().set("expiration", 600));
    let server = proxy.statistics();
    for client in 0..300 {
        fleet.served_by(client, PORT);
    }
    let mut traffic = Traffic::new();
    for worker in 0..2_u32 {
        let (to, block) = (fleet.listener(PORT), fleet.block.client(0));
        let std::net::IpAddr::V4(base) = block else {
            panic!("IPv4")
        };
        let mut number = 10_000 + worker * 10_000;
        traffic.spawn(move || {
            number += 1;
            let [a, b, _, _] = base.octets();
            let (third, fourth) = (number / 250, number % 250 + 1);
            let from = [
                a,
                b,
                u8::try_from(third).unwrap(),
                u8::try_from(fourth).unwrap(),
            ];
            client::ask(from.into(), to).unwrap();
        });
    }
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for entry in sticks(server, "limit=7") {
        *counts
            .entry(entry["key"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    traffic.finish();
    assert!(counts.values().all(|&times| times == 1));
    for client in 0..300 {
        assert!(
            counts.contains_key(&fleet.block.client(client).to_string()),
            "client {client}"
        );
    }
    // Filters.
    let of_group = sticks(server, "limit=1000&group=1");
    assert!(of_group.iter().all(|entry| entry["group"] == 1));
    let group = http::json(server, "/api/v1/groups/1");
    assert_eq!(group["sticks"], of_group.len());
    let one = fleet.block.client(5);
    let entries = sticks(server, &format!("ip={one}"));
    assert_eq!(entries.len(), 1);
    let std::net::IpAddr::V4(v4) = one else {
        panic!("IPv4")
    };
    let [a, b, c, _] = v4.octets();
    let network = sticks(server, &format!("limit=1000&ip={a}.{b}.{c}.0%2F24"));
    assert_eq!(network.len(), 250, "clients 0 to 249");
    let both = sticks(server, &format!("ip={a}.{b}.{c}.0/24&group=0"));
    assert!(!both.is_empty() && both.iter().all(|entry| entry["group"] == 0));
    assert!(sticks(server, "ip=192.0.2.1").is_empty());
    assert!(sticks(server, "group=77").is_empty());
    // One entry, with its fields.
    let (_, open) = client::greet(one, fleet.listener(PORT)).unwrap();
    let entry = http::json(server, &format!("/api/v1/stick_table/{one}"));
    assert_eq!(
        (&entry["key"], &entry["ip"]),
        (&json!(one.to_string()), &json!(one.to_string()))
    );
    assert_eq!(
        (&entry["slice"], &entry["connections"]),
        (&Value::Null, &json!(1))
    );
    assert_eq!(
        (&entry["expires_in_seconds"], &entry["provisional"]),
        (&Value::Null, &json!(false))
    );
    drop(open);
    eventually("it expires from now on", || {
        let entry = http::json(server, &format!("/api/v1/stick_table/{one}"));
        entry["expires_in_seconds"]
            .as_f64()
            .is_some_and(|left| left > 500.0 && left <= 600.0)
    });
    assert_eq!(
        http::get(server, "/api/v1/stick_table/192.0.2.1").status,
        404
    );
    let refused = http::get(server, "/api/v1/stick_table/192.0.2");
    assert_eq!(refused.status, 400, "{refused:?}");
}

#[test]
fn keys_with_slices_are_found_whatever_their_bytes() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::builder(&fleet.settings).slice_key(0, 8).start();
    let server = proxy.statistics();
    let slices: [&[u8; 8]; 4] = [
        b"<script>",
        b"a/b\\c\" \0",
        b"\xff\xfe\x00\x01\r\n\t ",
        b"%41+%2F&",
    ];
    let from = fleet.block.client(3);
    for slice in slices {
        let mut stream = client::connect(from, fleet.listener(PORT)).unwrap();
        stream.write_all(slice).unwrap();
        client::read_line(&stream).unwrap();
    }
    let entries = sticks(server, &format!("ip={from}&limit=3"));
    assert_eq!(entries.len(), 4, "{entries:?}");
    let shown: BTreeSet<&str> = entries
        .iter()
        .map(|entry| entry["slice"].as_str().unwrap())
        .collect();
    let expected = [
        "<script>",
        "a/b\\\\c\"\\x20\\x00",
        "\\xff\\xfe\\x00\\x01\\x0d\\x0a\\x09\\x20",
        "%41+%2F&",
    ];
    assert_eq!(shown, BTreeSet::from(expected));
    for entry in &entries {
        let key = entry["key"].as_str().unwrap();
        let encoded: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let found = http::json(server, &format!("/api/v1/stick_table/{encoded}"));
        assert_eq!(found["key"], key);
        assert_eq!(key, format!("{from}/{}", entry["slice"].as_str().unwrap()));
    }
    let overview = http::json(server, "/api/v1/");
    assert_eq!(overview["key_type"], "IP_WITH_FIRST_MESSAGE_SLICE");
}

#[test]
fn draining_is_told_until_it_is_done() {
    let fleet = Fleet::on_ports(2, &[PORT]);
    let settings = fleet.settings.clone().set("expiration", 3);
    let mut proxy = Proxy::start(&settings);
    let server = proxy.statistics();
    let mut clients = 0..100;
    let stuck = clients
        .find(|client| fleet.served_by(*client, PORT) == "g1")
        .unwrap();
    let (_, open) = client::greet(fleet.block.client(stuck), fleet.listener(PORT)).unwrap();
    proxy.reload_ok(&settings.clone().group_set(1, "drain", true));
    let group = http::json(server, "/api/v1/groups/1");
    let draining = &group["draining"];
    assert_eq!(
        (
            &draining["connections"],
            &draining["drained_in_at_most_seconds"]
        ),
        (&json!(1), &Value::Null)
    );
    assert_eq!(group["drained"], false);
    let with_limit = settings
        .group_set(1, "drain", true)
        .group_set(1, "drain_timeout", 100);
    proxy.reload_ok(&with_limit);
    let draining = &http::json(server, "/api/v1/groups/1")["draining"];
    let left = draining["drained_in_at_most_seconds"].as_f64().unwrap();
    assert!(left > 3.0 && left <= 103.0, "{draining}");
    assert!(draining["for_seconds"].as_f64().unwrap() < 60.0);
    drop(open);
    let mut least = f64::MAX;
    eventually("it has drained", || {
        let group = http::json(server, "/api/v1/groups/1");
        let left = group["draining"]["drained_in_at_most_seconds"]
            .as_f64()
            .unwrap();
        if group["draining"]["connections"] == 0 {
            assert!(left <= 3.0, "{group}");
            least = least.min(left);
        }
        group["drained"] == true
    });
    assert!(least < 3.0, "it counts down");
}

#[test]
fn health_says_whether_traffic_may_come_and_why_not() {
    let fleet = Fleet::new(2);
    let mut proxy = Proxy::start(&fleet.settings);
    let server = proxy.statistics();
    let health = || {
        let answer = http::get(server, "/api/v1/health");
        (answer.status, answer.json())
    };
    assert_eq!(
        health(),
        (200, json!({"status": "ok", "reasons": [], "warnings": []}))
    );
    let drained = fleet.settings.clone().group_set(1, "drain", true);
    proxy.reload_ok(&drained);
    let (status, told) = health();
    assert_eq!(
        (status, &told["warnings"][0]),
        (200, &json!("group 1 is Draining: drain = true"))
    );
    proxy.reload_ok(&drained.clone().group_set(0, "disabled", true));
    let (status, told) = health();
    assert_eq!((status, &told["status"]), (503, &json!("unhealthy")));
    assert_eq!(told["reasons"], json!(["no group is Up"]));
    // Up, but without a target for one port.
    let target = format!("{}:{PORT}", fleet.block.backend(0));
    proxy.reload_ok(&drained.clone().group_ports(0, &[(PORT, target)]));
    let (status, told) = health();
    assert_eq!(status, 503);
    assert_eq!(
        told["reasons"],
        json!(["no group that is Up has a target for ports 5281-5282"])
    );
    proxy.reload_ok(&fleet.settings.clone().set("stick_table_max_entries", 10));
    for client in 0..10 {
        fleet.served_by(client, PORT);
    }
    let (status, told) = health();
    assert!(
        told["warnings"][0]
            .as_str()
            .unwrap()
            .contains("nearly full: 10 of 10"),
        "{told}"
    );
    assert_eq!(status, 200);
    proxy.reload(
        &fleet
            .settings
            .clone()
            .set("stats_bind_socket", "127.0.0.1:1"),
    );
    let (_, told) = health();
    let warning = told["warnings"][1].as_str().unwrap();
    assert!(
        warning.contains("the last reload was refused") && warning.contains("needs a restart"),
        "{told}"
    );
    // Stopping, with a connection open.
    let (_, open) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    proxy.signal(rustix::process::Signal::TERM);
    eventually("it says that it is stopping", || health().0 == 503);
    assert_eq!(health().1["reasons"], json!(["it is stopping"]));
    drop(open);
    proxy.wait_exit(PATIENCE);
}

#[test]
fn a_save_that_fails_is_a_warning_with_its_reason() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::start(&fleet.settings.clone().set("stick_table_save_interval", 0.1));
    let server = proxy.statistics();
    eventually("the first save", || {
        http::json(server, "/api/v1/")["saves"]["succeeded"] != 0
    });
    // What is in the way of the next one.
    let mut new = proxy.state().stick_table_path().into_os_string();
    new.push(".new");
    std::fs::create_dir_all(&new).unwrap();
    fleet.served_by(0, PORT);
    eventually("a save fails", || {
        http::json(server, "/api/v1/")["saves"]["failed"] != 0
    });
    assert!(http::json(server, "/api/v1/")["saves"]["last_error"].is_string());
    let health = http::json(server, "/api/v1/health");
    let told = list(&health["warnings"]).iter();
    let told: Vec<&str> = told.filter_map(Value::as_str).collect();
    assert!(
        told.iter()
            .any(|line| line.contains("save of the stick table failed")),
        "{told:?}"
    );
    std::fs::remove_dir(&new).unwrap();
    eventually("it is saved again", || {
        http::json(server, "/api/v1/")["saves"]["last_error"].is_null()
    });
}

#[test]
fn the_configuration_in_force_is_told_without_secrets() {
    let (_fleet, _ward, settings) = scene();
    let secret =
        "http_headers = { Authorization = \"Bearer hunter2\" }\nhttp_target = \"/x\"\nport = 8080";
    let mut proxy = Proxy::start(&settings.clone().check(1, secret));
    let server = proxy.statistics();
    let answer = http::get(server, "/api/v1/config");
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    let config = answer.json();
    assert_eq!(
        (&config["generation"], &config["ports"]),
        (&json!(1), &json!("5280-5282"))
    );
    assert!(config["path"].as_str().unwrap().ends_with("tcpffee.toml"));
    let settings_told: BTreeMap<&str, &str> = list(&config["settings"])
        .iter()
        .map(|setting| {
            (
                setting["key"].as_str().unwrap(),
                setting["value"].as_str().unwrap(),
            )
        })
        .collect();
    for (key, value) in [
        ("expiration", "60 s"),
        ("workers", "2"),
        ("balance", "least-sticks"),
        ("groups.1.name", "birch"),
        ("groups.2.drain", "true"),
        ("groups.0.healthchecks[0].fall", "2"),
        (
            "groups.1.healthchecks[0].http_headers",
            "Authorization (values not shown)",
        ),
    ] {
        assert_eq!(settings_told.get(key), Some(&value), "{key}");
    }
    assert!(settings_told.contains_key("groups.1.portmap"));
    let loaded = config["loaded"].clone();
    proxy.reload_ok(&settings);
    let config = http::json(server, "/api/v1/config");
    assert_eq!(config["generation"], 2);
    assert_ne!(config["loaded"], loaded);
}

#[test]
fn events_are_told_newest_first() {
    let (_fleet, _ward, settings) = scene();
    let mut proxy = Proxy::start(&settings);
    let server = proxy.statistics();
    proxy.reload_ok(&settings.clone().group_set(2, "drain", false));
    proxy.reload(&settings.set("workers", 7));
    let events = http::json(server, "/api/v1/events");
    assert_eq!(events["dropped"], 0);
    let told: Vec<(&str, bool)> = list(&events["events"])
        .iter()
        .map(|event| {
            (
                event["kind"].as_str().unwrap(),
                event["is_warning"].as_bool().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("reload", true),
        ("reload", false),
        ("status", false),
        ("process", false),
        ("status", true),
    ];
    assert_eq!(told, expected, "{events}");
    let older = http::json(server, "/api/v1/events?limit=1&before=2");
    assert_eq!(older["events"][0]["number"], 1);
    assert!(
        older["events"][0]["text"]
            .as_str()
            .unwrap()
            .contains("group 2 is Draining")
    );
    let lone = json!({"stick_table": null, "healthchecks": null});
    assert_eq!(http::json(server, "/api/v1/raft"), lone);
    assert_eq!(http::json(server, "/api/v1/peers"), lone);
}

fn problem(answer: &Answer, status: u16, word: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let value = answer.json();
    assert_eq!(
        (&value["status"], &value["type"]),
        (&json!(status), &json!("about:blank"))
    );
    assert!(value["title"].is_string());
    assert!(
        value["detail"].as_str().unwrap().contains(word),
        "no {word} in {value}"
    );
}

#[test]
fn what_is_wrong_with_a_request_is_said_as_a_problem_document() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::start(&fleet.settings);
    let server = proxy.statistics();
    for (path, status, word) in [
        ("/nothing", 404, "/api/v1/"),
        ("/api/v2/", 404, "/api/v2/"),
        ("/api/v1/groups?limit=0", 400, "limit"),
        ("/api/v1/groups?limit=1001", 400, "1 to 1000"),
        ("/api/v1/groups?limits=1", 400, "limits"),
        ("/api/v1/groups?after=x", 400, "after"),
        ("/api/v1/groups/0?x=1", 400, "takes none"),
        ("/api/v1/?x", 400, "x"),
        ("/api/v1/stick_table?after=-1", 400, "after"),
        ("/api/v1/stick_table?group=x", 400, "group"),
        ("/api/v1/stick_table?ip=10.0.0", 400, "ip"),
        ("/api/v1/stick_table?ip=10.1.0.0/8", 400, "10.0.0.0/8"),
        ("/api/v1/stick_table?ip=10.0.0.0/33", 400, "0 to 32"),
        ("/api/v1/stick_table?limit=1&limit=2", 400, "twice"),
        ("/api/v1/stick_table/%zz", 400, "%"),
        ("/api/v1/stick_table/%ff", 400, "UTF-8"),
        ("/api/v1/events?before=x", 400, "before"),
    ] {
        problem(&http::get(server, path), status, word);
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"] {
        let request = format!("{method} /api/v1/ HTTP/1.1\r\nHost: {server}\r\n\r\n");
        let answer = http::ask(server, request.as_bytes()).unwrap();
        problem(&answer, 405, method);
        assert_eq!(
            (answer.header("allow"), answer.header("connection")),
            ("GET, HEAD", "close")
        );
    }
    let stranger = b"GET /api/v1/ HTTP/1.1\r\nHost: rebound.example:2340\r\n\r\n";
    problem(&http::ask(server, stranger).unwrap(), 421, "DNS rebinding");
    let body = b"GET /api/v1/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    problem(&http::ask(server, body).unwrap(), 413, "body");
    let own = rustix::system::uname();
    for host in [
        "localhost",
        "[::1]:1",
        "proxy",
        own.nodename().to_str().unwrap(),
    ] {
        let request = format!("GET /api/v1/health HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            http::ask(server, request.as_bytes()).unwrap().status,
            200,
            "{host}"
        );
    }
    let old = http::ask(server, b"GET /api/v1/health HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((old.status, old.header("connection")), (200, "close"));
}

#[test]
fn answers_have_the_headers_that_keep_them_safe_and_small() {
    let (_fleet, _ward, settings) = scene();
    let proxy = Proxy::start(&settings);
    let server = proxy.statistics();
    for path in [
        "/api/v1/",
        "/",
        "/spec/v1/",
        "/nothing",
        "/api/v1/stick_table?x=1",
    ] {
        let answer = http::get(server, path);
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        let cors = answer
            .headers
            .keys()
            .find(|name| name.starts_with("access-control"));
        assert_eq!(cors, None, "{path}");
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut stream = client::connect(server.ip(), server).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let head = http::read_answer(&mut stream, true).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{path}: no body");
        let without_values = |answer: &Answer| {
            let names = answer.headers.keys().cloned();
            (answer.status, names.collect::<BTreeSet<String>>())
        };
        assert_eq!(without_values(&head), without_values(&answer), "{path}");
    }
    assert!(
        !http::get(server, "/")
            .header("content-security-policy")
            .is_empty()
    );
    let gzip = |path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        );
        http::ask(server, request.as_bytes()).unwrap()
    };
    let packed = gzip("/spec/v1/");
    assert_eq!(
        (packed.header("content-encoding"), packed.header("vary")),
        ("gzip", "Accept-Encoding")
    );
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&*packed.body)
        .read_to_string(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, http::get(server, "/spec/v1/").text());
    assert_eq!(
        gzip("/api/v1/health").header("content-encoding"),
        "",
        "too small to be worth it"
    );
    for (from, to) in [
        ("/api/v1", "/api/v1/"),
        ("/api/v1/groups/?limit=3", "/api/v1/groups?limit=3"),
        ("/ui/v1", "/ui/v1/"),
    ] {
        let moved = http::get(server, from);
        assert_eq!((moved.status, moved.header("location")), (308, to));
    }
}

#[test]
fn one_connection_carries_many_requests_one_after_the_other() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let proxy = Proxy::start(&fleet.settings);
    let server = proxy.statistics();
    let mut stream = client::connect(server.ip(), server).unwrap();
    for _ in 0..50 {
        stream
            .write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let answer = http::read_answer(&mut stream, false).unwrap();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (200, "keep-alive")
        );
    }
    // Sent at once: the first is answered, and the connection ends.
    let twice =
        b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\nGET /api/v1/ HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(twice).unwrap();
    let answer = http::read_answer(&mut stream, false).unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    // A side that ends behind its request is answered all the same.
    let mut stream = client::connect(server.ip(), server).unwrap();
    stream
        .write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(http::read_answer(&mut stream, false).unwrap().status, 200);
}

/// The schema of an answer, with the components that it refers to.
fn schema(document: &Value, path: &str, answer: &Answer) -> Option<Value> {
    let content_type = answer.header("content-type");
    let response = &document["paths"][path]["get"]["responses"][answer.status.to_string()];
    let mut schema = response["content"].get(content_type)?["schema"].clone();
    schema
        .as_object_mut()?
        .insert("components".to_owned(), document["components"].clone());
    Some(schema)
}

#[test]
fn every_documented_path_answers_as_the_document_says() {
    let (fleet, _ward, settings) = scene();
    let mut proxy = Proxy::start(&settings);
    let server = proxy.statistics();
    for client in 0..5 {
        fleet.served_by(client, PORT);
    }
    let (_, _open) = client::greet(fleet.block.client(9), fleet.listener(PORT)).unwrap();
    proxy.reload(&settings.clone().set("workers", 7));
    eventually("a check was made", || {
        let checks = http::json(server, "/api/v1/healthchecks");
        !checks[0]["targets"][0]["last_result"].is_null()
    });
    let document = http::json(server, "/spec/v1/");
    let paths = keys(&document["paths"]);
    for path in &paths {
        let concrete = path
            .replace("{id}", "1")
            .replace("{key}", &fleet.block.client(9).to_string());
        for (target, status) in [
            (concrete.clone(), 200),
            (format!("{concrete}?nonsense=1"), 400),
            (
                path.replace("{id}", "77").replace("{key}", "192.0.2.1"),
                404,
            ),
        ] {
            if status == 404 && target == *path {
                continue;
            }
            let answer = http::get(server, &target);
            assert_eq!(answer.status, status, "{target}");
            let schema = schema(&document, path, &answer);
            let schema = schema.unwrap_or_else(|| panic!("{target}: {status} is not documented"));
            let validator = jsonschema::validator_for(&schema).unwrap();
            let value = answer.json();
            let errors: Vec<String> = validator
                .iter_errors(&value)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{target}: {errors:?} in {value}");
        }
    }
    // Nothing that is answered is left out of the document.
    let overview = http::json(server, "/api/v1/");
    let documented = keys(&document["components"]["schemas"]["Overview"]["properties"]);
    assert_eq!(keys(&overview), documented);
}

#[test]
fn a_taken_socket_is_a_reason_not_to_start_and_is_named() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let address = fleet.block.statistics(0);
    let _taken = std::net::TcpListener::bind(address).unwrap();
    let (code, log) = Proxy::builder(&fleet.settings).expect_failure();
    assert_eq!(code, 3, "{log}");
    for word in [
        "stats_bind_socket",
        &address.to_string(),
        "another program has the port",
    ] {
        assert!(log.contains(word), "{word} is missing in {log}");
    }
}

#[test]
fn the_server_ends_with_the_process_and_leaves_nothing_behind() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let mut proxy = Proxy::start(&fleet.settings);
    let server = proxy.statistics();
    assert_eq!(http::get(server, "/api/v1/health").status, 200);
    let directory = proxy.state().pid_path().parent().unwrap().to_owned();
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&directory).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert!(
        !names().iter().any(|name| name.contains("stats")),
        "{:?}",
        names()
    );
    assert_eq!(proxy.stop(), 0);
    assert!(std::net::TcpStream::connect_timeout(&server, Duration::from_secs(5)).is_err());
    assert!(
        !names().iter().any(|name| name.contains("stats")),
        "{:?}",
        names()
    );
    assert!(!proxy.log.text().contains("ERROR"), "{}", proxy.log.text());
}

/// Where `.ci/packages` installs it.
const SCHEMATHESIS: &str = "target/schemathesis/bin/schemathesis";

#[test]
fn schemathesis_finds_nothing() {
    let program = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(SCHEMATHESIS);
    if !program.is_file() {
        let missing = format!("{} is missing: .ci/packages installs it", program.display());
        assert!(
            std::env::var_os("TESTS_NEED_PROGRAMS").is_none(),
            "{missing}"
        );
        println!("SKIPPED: {missing}");
        eprintln!("SKIPPED: {missing}");
        return;
    }
    let (fleet, _ward, settings) = scene();
    let proxy = Proxy::start(&settings);
    for client in 0..5 {
        fleet.served_by(client, PORT);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", "120"])
        .arg(&program)
        .args(["run", &format!("http://{}/spec/v1/", proxy.statistics())])
        .args([
            "--checks",
            "all",
            "--max-examples",
            "10",
            "--no-color",
            "--max-time",
            "60",
        ])
        // Addresses and keys have more rules than a schema can say.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .current_dir(directory.path());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{text}");
}
