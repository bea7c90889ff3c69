//! Groups, their health checks, and how far they have drained.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::api::{PORT, list, scene};
use crate::support::http;
use crate::support::{Fleet, Proxy, client, eventually};

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
    assert_eq!(target["not_run"], 0);
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

#[test]
fn of_very_many_targets_the_first_are_listed_and_the_rest_is_counted() {
    let fleet = Fleet::on_ports(1, &[PORT]);
    let host = fleet.block.backend(0);
    let many: Vec<(u16, String)> = (0..1_200)
        .map(|number| (20_000 + number, format!("{host}:{}", 20_000 + number)))
        .collect();
    let settings = fleet.settings.clone().set("ports", vec!["20000-21199"]);
    let settings = settings.group_ports(0, &many).check(0, "interval = 600");
    let proxy = Proxy::start(&settings);
    let group = http::json(proxy.statistics(), "/api/v1/groups/0");
    for list_with_rest in [&group, &group["healthchecks"][0]] {
        assert_eq!(list(&list_with_rest["targets"]).len(), 1_000);
        assert_eq!(list_with_rest["targets_left_out"], 200);
    }
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
