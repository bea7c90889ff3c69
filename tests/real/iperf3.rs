//! iperf3: a test's control and data connections must meet the same server.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::real;
use crate::support;
use real::{Server, User};
use support::{Block, Proxy, Settings};
use tempfile::TempDir;

const PORT: u16 = 5280;
const CLIENTS: u32 = 6;
const STREAMS: &str = "4";

fn server(block: &Block, number: u8) -> (Server, TempDir) {
    let directory = real::directory();
    let address = SocketAddr::new(block.backend(number).into(), PORT);
    let mut command = real::command(&real::find("iperf3", "iperf3"), User::Same);
    command
        .args(["--server", "--bind", &address.ip().to_string()])
        .args(["--port", &PORT.to_string()]);
    (
        Server::start(command, directory.path(), &[address]),
        directory,
    )
}

/// Runs one test; the bytes that its report says were received, stream by stream.
fn test(block: &Block, client: u32, bytes: u64, more: &[&str]) -> Vec<u64> {
    let to = block.listener(PORT);
    let mut command = real::command(&real::find("iperf3", "iperf3"), User::Same);
    command
        .args([
            "--client",
            &to.ip().to_string(),
            "--port",
            &to.port().to_string(),
        ])
        .args(["--bind", &block.client(client).to_string()])
        .args([
            "--parallel",
            STREAMS,
            "--bytes",
            &bytes.to_string(),
            "--json",
        ])
        .args(more);
    let report = real::run(command);
    let report: serde_json::Value = serde_json::from_str(&report).expect("iperf3 prints JSON");
    assert!(report.get("error").is_none(), "client {client}: {report}");
    let streams = report["end"]["streams"]
        .as_array()
        .expect("a report lists its streams");
    let bytes = |stream: &serde_json::Value| stream["receiver"]["bytes"].as_u64();
    streams.iter().filter_map(bytes).collect()
}

/// What the tests need.
const PROGRAMS: &[(&str, &str)] = &[("iperf3", "iperf3")];

#[test]
fn control_and_data_connections_meet_the_same_server() {
    if !real::has_all(PROGRAMS) {
        return;
    }
    let block = Block::claim();
    let _servers = [0, 1].map(|number| server(&block, number));
    let settings = Settings::new(&block)
        .ports(&[PORT])
        .group(0, block.backend(0))
        .group(1, block.backend(1));
    let proxy = Proxy::start(&settings);
    let bytes = support::scaled(100_000_000, 2_000_000_000);
    for client in 0..CLIENTS {
        for more in [&[][..], &["--reverse"]] {
            // What is under way at the end is not counted by the receiver.
            let received = test(&block, client, bytes, more);
            let whole = received.len() == 4 && received.iter().all(|bytes| *bytes > 0);
            assert!(whole, "client {client}: {received:?} bytes");
        }
    }
    // Two tests, each of one control connection and four streams.
    let expected = CLIENTS as usize * 2 * 5;
    let sessions = proxy
        .log
        .wait_sessions(expected, "of every connection", |_| true);
    let mut groups: BTreeMap<String, Vec<Option<u32>>> = BTreeMap::new();
    for session in sessions {
        groups.entry(session.key).or_default().push(session.group);
    }
    assert_eq!(groups.len(), CLIENTS as usize);
    for (key, met) in &groups {
        assert!(
            met.iter().all(|group| *group == met[0]),
            "{key} met {met:?}"
        );
    }
    for group in [0, 1] {
        let stuck = groups.values().filter(|met| met[0] == Some(group)).count();
        assert!(stuck > 0, "nobody met group {group}: {groups:?}");
    }
}
