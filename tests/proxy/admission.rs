//! Whose connections are taken: `allow`, `deny`, and how much one client may have.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use crate::support;
use support::{Fleet, Proxy, client, eventually, http};

const PORT: u16 = 5280;
/// Connections one after the other, as fast as one client makes them.
const MANY: u32 = 10_000;

/// Connections that ended for a reason before a group was given to them.
fn refused(proxy: &Proxy, reason: &str) -> u64 {
    let name = format!("tcpffee_connections_ended_total{{group=\"none\",reason=\"{reason}\"}}");
    metric(proxy, &name)
}

/// The value of a series.
fn metric(proxy: &Proxy, series: &str) -> u64 {
    let text = http::get(proxy.statistics(), "/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let value = line.unwrap_or_else(|| panic!("{series} is not told:\n{text}"));
    value.trim().parse().unwrap()
}

/// Lines of the log that tell of a refusal for this reason.
fn told(proxy: &Proxy, why: &str) -> usize {
    let is_told = |line: &&String| line.contains("is reset: ") && line.contains(why);
    proxy.log.lines().iter().filter(is_told).count()
}

/// One after the other, each must be reset.
fn all_reset(fleet: &Fleet, client: u32, count: u32) {
    for _ in 0..count {
        client::expect_reset(fleet.block.client(client), fleet.listener(PORT));
    }
}

#[test]
fn a_client_that_is_denied_is_reset_and_everybody_else_is_served() {
    let fleet = Fleet::new(1);
    let denied = fleet.block.client(0).to_string();
    let proxy = Proxy::start(&fleet.settings.clone().set("deny", denied));
    all_reset(&fleet, 0, 3);
    assert_eq!(fleet.served_by(1, PORT), "g0");
    let session = proxy.log.wait_session("a denied one", |_| true);
    assert_eq!((session.end.as_str(), session.group), ("denied", None));
    eventually("all are counted", || refused(&proxy, "denied") == 3);
    assert_eq!(fleet.backends[0].accepted(), 1, "no target met one");
}

#[test]
fn who_is_not_allowed_is_reset_and_deny_prevails() {
    let fleet = Fleet::new(1);
    let [one, other] = [0, 1].map(|client| fleet.block.client(client).to_string());
    let settings = fleet.settings.clone();
    let settings = settings.set("allow", vec![one, other.clone()]);
    let proxy = Proxy::start(&settings.set("deny", vec![other]));
    assert_eq!(fleet.served_by(0, PORT), "g0");
    all_reset(&fleet, 1, 1);
    all_reset(&fleet, 2, 1);
    eventually("both are counted", || refused(&proxy, "denied") == 2);
}

#[test]
fn ten_thousand_denied_connections_are_all_counted_and_hardly_logged() {
    let fleet = Fleet::new(1);
    let denied = fleet.block.client(0).to_string();
    let proxy = Proxy::start(&fleet.settings.clone().set("deny", denied));
    let before = proxy.settled_descriptors();
    all_reset(&fleet, 0, MANY);
    eventually("all are counted", || {
        refused(&proxy, "denied") == u64::from(MANY)
    });
    let lines = told(&proxy, "its address is not to be served (allow, deny)");
    assert!((1..20).contains(&lines), "{lines} lines");
    assert_eq!(fleet.backends[0].accepted(), 0);
    assert_eq!(fleet.served_by(1, PORT), "g0");
    eventually("all descriptors are closed", || {
        proxy.descriptors() <= before + 8
    });
}

#[test]
fn a_reload_changes_who_is_served_and_cuts_nobody() {
    let fleet = Fleet::new(1);
    let mut proxy = Proxy::start(&fleet.settings);
    let (_, open) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    let denied = fleet.block.client(0).to_string();
    proxy.reload_ok(&fleet.settings.clone().set("deny", denied));
    all_reset(&fleet, 0, 1);
    client::exchange(&open, b"still here").unwrap();
    proxy.reload_ok(&fleet.settings);
    assert_eq!(fleet.served_by(0, PORT), "g0");
    client::exchange(&open, b"still here").unwrap();
}
