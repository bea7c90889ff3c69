//! The stick table: pages, filters, keys of any bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::api::{PORT, list};
use crate::support::http;
use crate::support::{Fleet, Proxy, Traffic, client, eventually};

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
