//! The node as a whole: totals, health, configuration, events.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{PORT, list, scene};
use crate::support::http;
use crate::support::{Fleet, PATIENCE, Proxy, client, eventually};
use tcpffee::proxy::End;

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
        End::ALL.len(),
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
            .contains("is full (10 entries)"),
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
    let warning = told["warnings"][0].as_str().unwrap();
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
    let secret = |word| {
        format!(
            "http_headers = {{ Authorization = \"Bearer {word}\" }}\n\
             http_body = \"password={word}\"\nhttp_target = \"/x\"\nport = 8080"
        )
    };
    let mut proxy = Proxy::start(&settings.clone().check(1, &secret("hunter2")));
    let server = proxy.statistics();
    let answer = http::get(server, "/api/v1/config");
    assert!(!answer.text().contains("hunter"), "{}", answer.text());
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
        ("groups.1.healthchecks[0].http_body", "given (not shown)"),
    ] {
        assert_eq!(settings_told.get(key), Some(&value), "{key}");
    }
    assert!(settings_told.contains_key("groups.1.portmap"));
    let loaded = config["loaded"].clone();
    let reload = proxy.reload(&settings.clone().check(1, &secret("hunter3")));
    let told = reload.text;
    assert!(told.contains("http_body"), "{told}");
    let events = http::get(server, "/api/v1/events").text();
    assert!(events.contains("http_body"), "{events}");
    assert!(!told.contains("hunter") && !events.contains("hunter"));
    proxy.reload_ok(&settings);
    let config = http::json(server, "/api/v1/config");
    assert_eq!(config["generation"], 3);
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
    let lone = json!({"stick_table": null, "healthchecks": null, "node": null});
    assert_eq!(http::json(server, "/api/v1/raft"), lone);
    assert_eq!(http::json(server, "/api/v1/peers"), json!({"peers": []}));
}
