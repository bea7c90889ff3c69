//! The dashboard and the explorer in a real browser (package `chromium`), in front of the real
//! proxy. None of these may cause an error on the console, violate the page's policy, or ask
//! another host for anything.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

#[path = "support/browser.rs"]
mod browser;
#[path = "real/real.rs"]
mod real;
mod support;

use std::io::Write;
use std::net::SocketAddr;

use browser::Browser;
use serde_json::json;
use support::{Fleet, Proxy, Ward, client, health};

/// A browser, or none where it is not installed: then the test is skipped and says so.
fn open() -> Option<Browser> {
    if !real::has_all(&[("chromium", "chromium")]) {
        return None;
    }
    Some(Browser::start(&real::find("chromium", "chromium")))
}

/// Where a proxy of these settings serves its pages.
fn place(fleet: &Fleet) -> SocketAddr {
    fleet.block.statistics(0)
}

/// The page is of one piece: no complaint, and not a request to anybody else.
fn assert_clean(browser: &mut Browser, fleet: &Fleet) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let own = format!("http://{}/", place(fleet));
    let requests = browser.requests();
    assert!(requests.len() > 3, "{requests:?}");
    let foreign = requests.iter().filter(|url| !url.starts_with(&own));
    assert_eq!(foreign.collect::<Vec<_>>(), Vec::<&String>::new());
}

/// Opens the dashboard and waits until it shows what the proxy answers.
fn open_dashboard(browser: &mut Browser, fleet: &Fleet) {
    browser.go(&format!("http://{}/", place(fleet)));
    browser.wait_text("#link-state", "Live");
}

#[test]
fn the_dashboard_shows_status_and_traffic() {
    let Some(mut browser) = open() else { return };
    let fleet = Fleet::new(2);
    let _proxy = Proxy::start(&fleet.settings);
    let (name, _held) = client::greet(fleet.block.client(0), fleet.listener(5280)).unwrap();
    open_dashboard(&mut browser, &fleet);
    browser.wait_text("#verdict-headline", "All is well");
    browser.wait_text("#groups-summary", "2 up");
    browser.wait_text("#verdict-summary", "2 of 2 groups up, 1 connection");
    let group = format!("[data-group=\"{}\"]", name.trim_start_matches('g'));
    for (figure, wanted) in [(1, "1"), (2, "1")] {
        let selector = format!("{group} .figures > :nth-child({figure}) dd");
        browser.wait_text(&selector, wanted);
    }
    browser.wait_text(&format!("{group} .targets"), "5280–5282");
    browser.wait_text("#events", "ready");
    browser.wait_text("#identity", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        browser.evaluate("document.getElementById('cluster').hidden"),
        json!(true)
    );
    // The proxy is asked again and again, never twice at once.
    browser.wait_until(
        "the charts have lines",
        "document.querySelector('.line').getAttribute('d')?.includes('L') ?? false",
    );
    let overlaps = browser.evaluate(OVERLAPS);
    assert_eq!(overlaps, json!(0));
    assert_eq!(browser.failed_answers(), Vec::<String>::new());
    assert_clean(&mut browser, &fleet);
}

/// How many requests to the API began before the one before them had ended.
const OVERLAPS: &str = "performance.getEntriesByType('resource')
    .filter((one) => one.name.includes('/api/v1/'))
    .sort((a, b) => a.startTime - b.startTime)
    .filter((one, at, all) => at > 0 && one.startTime < all[at - 1].responseEnd)
    .length";

#[test]
fn the_dashboard_says_what_is_left_and_takes_a_fallen_counter_for_a_restart() {
    let Some(mut browser) = open() else { return };
    let fleet = Fleet::new(1);
    let _proxy = Proxy::start(&fleet.settings);
    open_dashboard(&mut browser, &fleet);
    let mut told = |sticks: u32, connections: u32, limit: &str| {
        let told = browser.evaluate(&format!(
            "import('./dashboard/format.js').then(({{drainingSentence}}) => drainingSentence({{
                 sticks: {sticks}, connections: {connections}, drained_in_at_most_seconds: {limit}}}))"
        ));
        told.as_str().unwrap().to_owned()
    };
    assert_eq!(
        told(3, 1, "41.3"),
        "3 keys, 1 connection left, drained in at most 42 s"
    );
    assert_eq!(
        told(1, 2, "null"),
        "1 key, 2 connections left, no end in sight while connections stay open"
    );
    assert_eq!(told(0, 0, "0"), "nothing left");
    let rates = browser.evaluate(
        "import('./dashboard/series.js').then(({Rate}) => {
             const rate = new Rate();
             return [100, 150, 20, 30].map((value, at) => {
                 rate.count(at * 1000, value);
                 return rate.now;
             });
         })",
    );
    assert_eq!(rates, json!([null, 50, null, 10]));
    assert_clean(&mut browser, &fleet);
}

#[test]
fn a_group_that_a_reload_drains_turns_amber_by_itself() {
    let Some(mut browser) = open() else { return };
    let fleet = Fleet::new(2);
    let mut proxy = Proxy::start(&fleet.settings);
    open_dashboard(&mut browser, &fleet);
    browser.wait_text("[data-group=\"1\"] .status", "Up");
    browser.evaluate("window.sameEver = true");
    proxy.reload_ok(&fleet.settings.clone().group_set(1, "drain", true));
    browser.wait_text("[data-group=\"1\"] .status", "Draining");
    browser.wait_text("[data-group=\"1\"] .progress", "rain");
    browser.wait_text("#verdict-headline", "Serving, with 1 thing to look at");
    let colour = "getComputedStyle(document.querySelector('[data-group=\"1\"] .badge')).color";
    assert_eq!(browser.evaluate(colour), json!("rgb(138, 82, 0)"), "amber");
    // The one that is out comes first.
    let first = browser.evaluate("document.querySelector('#groups > *').dataset.group");
    assert_eq!(first, json!("1"));
    assert_eq!(
        browser.evaluate("window.sameEver"),
        json!(true),
        "the page was loaded again"
    );
    assert_clean(&mut browser, &fleet);
}

#[test]
fn a_group_that_is_out_is_seen_however_long_the_pages_before_it_are() {
    let Some(mut browser) = open() else { return };
    let fleet = Fleet::new(1);
    let host = fleet.block.backend(0);
    // Checked targets count more than others: two such groups fill a page.
    let many: Vec<(u16, String)> = (20_000..20_300)
        .map(|port| (port, format!("{host}:{port}")))
        .collect();
    let mut settings = fleet.settings.clone().set("ports", vec!["20000-20299"]);
    for id in 0..5 {
        settings = settings.group_ports(id, &many);
        settings = settings.check(id, "interval = 600\nfall = 100");
    }
    let settings = settings.group_set(4, "disabled", true);
    let _proxy = Proxy::start(&settings);
    open_dashboard(&mut browser, &fleet);
    browser.wait_text("#groups-summary", "1 disabled, 4 up");
    browser.wait_text("[data-group=\"4\"] .status", "Disabled");
    let pages = "performance.getEntriesByType('resource')
        .filter((one) => one.name.includes('/api/v1/groups?limit=200&after='))
        .length";
    assert_ne!(browser.evaluate(pages), json!(0), "all came in one page");
    let overlaps = browser.evaluate(OVERLAPS);
    assert_eq!(overlaps, json!(0));
    assert_clean(&mut browser, &fleet);
}

#[test]
fn a_search_finds_a_key_and_shows_markup_as_text() {
    let Some(mut browser) = open() else { return };
    let fleet = Fleet::new(2);
    let markup = b"<script>document.title='taken'</script><img/src=x>";
    let _proxy = Proxy::builder(&fleet.settings)
        .slice_key(0, markup.len())
        .start();
    let held: Vec<_> = (0..3)
        .map(|number| {
            let stream = client::connect(fleet.block.client(number), fleet.listener(5280)).unwrap();
            (&stream).write_all(markup).unwrap();
            client::read_line(&stream).unwrap();
            stream
        })
        .collect();
    open_dashboard(&mut browser, &fleet);
    let wanted = fleet.block.client(1);
    browser.evaluate("document.getElementById('search-ip').focus()");
    browser.type_text(&wanted.to_string());
    browser.press_enter();
    browser.wait_text("#search-state", &format!("1 key of {wanted}"));
    let key = browser.text("#search-rows td");
    assert_eq!(key, format!("{wanted}/{}", String::from_utf8_lossy(markup)));
    browser.wait_text("#search-rows", "held by a connection");
    let made = "document.querySelectorAll('#search-rows script, #search-rows img').length";
    assert_eq!(browser.evaluate(made), json!(0));
    browser.evaluate("document.getElementById('search-ip').select()");
    browser.type_text("no address");
    browser.press_enter();
    browser.wait_text("#search-state", "No answer: ");
    assert_ne!(browser.evaluate("document.title"), json!("taken"));
    assert_clean(&mut browser, &fleet);
    drop(held);
}

#[test]
fn a_failing_check_shows_its_target_and_its_last_results() {
    let Some(mut browser) = open() else { return };
    let fleet = Fleet::new(1);
    let ward = Ward::start(fleet.block.backend(0));
    let keys = "interval = 1\ntimeout = 1\nfall = 2\nrise = 2\nfall_action = \"Disabled\"";
    let settings = fleet.settings.clone().check(0, &health::http(keys));
    let _proxy = Proxy::start(&settings);
    ward.wait_asked(3);
    open_dashboard(&mut browser, &fleet);
    let check = "[data-group=\"0\"] .check";
    browser.wait_text(&format!("{check} h4"), "HTTP /health every 1 s");
    browser.wait_text(
        &format!("{check} .place"),
        &format!("{}", fleet.block.backend(0)),
    );
    browser.wait_text(&format!("{check} .state"), "passing");
    let drawn = |result: &str| {
        format!("document.querySelector('{check} .history [data-result={result}]') !== null")
    };
    browser.wait_until("a bar of a passed check is drawn", &drawn("passed"));
    assert_eq!(browser.evaluate(&drawn("failed")), json!(false));
    ward.set_well(false);
    browser.wait_text(&format!("{check} h4"), "makes the group Disabled");
    browser.wait_text(&format!("{check} .state"), "failing");
    browser.wait_text(&format!("{check} .trouble"), "503");
    browser.wait_until("a bar of a failed check is drawn", &drawn("failed"));
    let label = format!("document.querySelector('{check} .history').getAttribute('aria-label')");
    let told = browser.evaluate(&label);
    let told = told.as_str().unwrap();
    assert!(
        told.starts_with("Last ") && !told.contains(" 0 failed"),
        "{told}"
    );
    browser.wait_text("[data-group=\"0\"] .status", "Disabled");
    assert_clean(&mut browser, &fleet);
}

#[test]
fn the_nodes_of_a_cluster_are_shown_with_role_lag_and_conflict() {
    let Some(mut browser) = open() else { return };
    let fleet = Fleet::new(1);
    let _proxy = Proxy::start(&fleet.settings);
    open_dashboard(&mut browser, &fleet);
    browser.evaluate(&format!(
        "import('./dashboard/cluster.js').then(({{showCluster}}) => {{
             const raft = {};
             const look = () => showCluster(raft, 'n1');
             look();
             // The page itself takes the section away again, as it is of a lone node.
             window.showing = setInterval(look, 10);
         }})",
        sample_of_a_cluster()
    ));
    browser.wait_until(
        "the cluster is there",
        "!document.getElementById('cluster').hidden",
    );
    let sentence = "This node is leader in term 7, led by this node; has a lease";
    browser.wait_text("#raft-groups .line", sentence);
    for (row, cells) in [
        (
            1,
            ["n1 (this node)", "leader", "0 entries", "–", "connected"],
        ),
        (
            2,
            [
                "n2 (b.example)",
                "follower",
                "3 entries",
                "2 s ago",
                "not connected, 2.00 KiB of a snapshot have arrived",
            ],
        ),
        (3, ["n3", "learner", "–", "–", "another cluster"]),
    ] {
        for (column, words) in cells.into_iter().enumerate() {
            let column = column + 1;
            let cell = format!("#raft-groups tr:nth-child({row}) td:nth-child({column})");
            browser.wait_text(&cell, words);
        }
    }
    browser.wait_text(
        "#raft-groups .note",
        "entries 5 to 90, committed 88, applied 87; snapshot of 1.00 KiB; 2 leader changes",
    );
    browser.wait_text(
        "#cluster-banner",
        "Quorum lost: no leader has answered for 3 s; clients are reset until one does",
    );
    browser.wait_text(
        "#cluster-serving",
        "This node has a lease; agreed within 2 ms, p99 20 ms; 2 of 3 groups agreed to take new \
         clients; 4 keys given without a leader, 1 gave way",
    );
    browser.wait_text(
        "#cluster-differences li",
        "expiration is 1 s in this node's <b>file</b>",
    );
    assert_eq!(browser.text("#raft-groups .trouble"), "");
    browser.wait_until(
        "only the group that there is has a panel",
        "document.querySelectorAll('#raft-groups > *').length === 1",
    );
    assert_clean(&mut browser, &fleet);
}

/// An answer of `/api/v1/raft` by a node that leads.
fn sample_of_a_cluster() -> serde_json::Value {
    let member = |node, votes, connected, lag: Option<u64>, silent: Option<f64>| {
        json!({
            "node": node, "host": null, "votes": votes, "connected": connected, "matched": null,
            "lag": lag, "snapshot_bytes": null, "silent_seconds": silent, "conflict": null,
        })
    };
    let mut stranger = member("n3", false, false, None, None);
    stranger["conflict"] = json!("another cluster");
    let mut second = member("n2", true, false, Some(3), Some(2.0));
    second["host"] = json!("b.example");
    second["snapshot_bytes"] = json!(2048);
    json!({
        "stick_table": {
            "cluster": "c1", "forming": "formed", "role": "leader", "term": 7, "leader": "n1",
            "leader_changes": 2, "commit": 88, "applied": 87, "first": 5, "last": 90,
            "log_bytes": 4096, "snapshot_bytes": 1024, "has_lease": true, "trouble": null,
            "members": [member("n1", true, true, Some(0), None), second, stranger],
        },
        "healthchecks": null,
        "node": {
            "has_lease": true, "stated": true, "quorum_lost": true, "no_quorum": "refuse",
            "no_quorum_after_seconds": 3, "barred": null,
            "counts": {"alone": 4, "yielded": 1},
            "commit_latency": {"count": 9, "p50_seconds": 0.002, "p99_seconds": 0.02},
            "differences": ["expiration is 1 s in this node's <b>file</b>"],
            "agreed": {"groups_total": 3, "groups_taking_new": 2},
        },
    })
}

#[test]
fn a_proxy_that_is_stopped_is_called_lost_and_found_again() {
    let Some(mut browser) = open() else { return };
    let fleet = Fleet::new(2);
    let mut proxy = Proxy::start(&fleet.settings);
    for client in 0..20 {
        fleet.served_by(client, 5280);
    }
    open_dashboard(&mut browser, &fleet);
    proxy.stop();
    browser.wait_text("#link-state", "Lost");
    browser.wait_text("#verdict-headline", "The proxy is lost since ");
    browser.wait_text("#verdict-headline", "trying again");
    let grey = "getComputedStyle(document.getElementById('groups').parentElement).filter";
    assert_eq!(browser.evaluate(grey), json!("grayscale(1)"));
    assert_eq!(browser.evaluate("document.title"), json!("LOST · tcpffee"));
    let _proxy = proxy.start_again(&fleet.settings);
    browser.wait_text("#link-state", "Live");
    browser.wait_text("#verdict-headline", "All is well");
    // The counters have begun anew: no rate was ever below zero.
    browser.wait_until(
        "a rate is known again",
        "/^[\\d.]+( k)?\\/s$/.test([...document.querySelectorAll('.tile .figure')][1].textContent)",
    );
    assert_clean(&mut browser, &fleet);
}

#[test]
fn neither_theme_nor_a_phones_width_needs_sideways_scrolling() {
    let Some(mut browser) = open() else { return };
    let fleet = Fleet::new(3);
    let settings = fleet.settings.clone().group_set(2, "disabled", true);
    let _proxy = Proxy::start(&settings);
    let mut grounds = Vec::new();
    for (theme, width) in [("light", 360), ("dark", 360), ("dark", 1280)] {
        browser.look_as(theme, width);
        open_dashboard(&mut browser, &fleet);
        browser.wait_text("#groups-summary", "1 disabled, 2 up");
        let over = "document.documentElement.scrollWidth > innerWidth";
        assert_eq!(browser.evaluate(over), json!(false), "{theme} {width}");
        grounds.push(browser.evaluate("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(grounds[0], grounds[1]);
    assert_clean(&mut browser, &fleet);
}

#[test]
fn the_explorer_shows_the_paths_and_tries_them_out() {
    let Some(mut browser) = open() else { return };
    let fleet = Fleet::new(2);
    let _proxy = Proxy::start(&fleet.settings);
    browser.go(&format!("http://{}/ui/v1/", place(&fleet)));
    for path in ["/api/v1/groups", "/api/v1/stick_table", "/api/v1/health"] {
        let shown = format!(
            "[...document.querySelectorAll('.opblock-summary-path')].some((one) => one.textContent.replace(/\\u200b/g, '') === '{path}')"
        );
        browser.wait_until(&format!("the explorer shows {path}"), &shown);
    }
    let mark = "for (const block of document.querySelectorAll('.opblock')) { if (block.querySelector('.opblock-summary-path').textContent.replace(/\\u200b/g, '') === '/api/v1/health') block.id = 'tried'; }";
    browser.evaluate(mark);
    browser.click("#tried .opblock-summary-control");
    browser.click("#tried .try-out__btn");
    browser.click("#tried .execute");
    browser.wait_text(
        "#tried .live-responses-table tbody .response-col_status",
        "200",
    );
    browser.wait_text(
        "#tried .live-responses-table tbody .response-col_description",
        "\"ok\"",
    );
    assert_eq!(browser.failed_answers(), Vec::<String>::new());
    assert_clean(&mut browser, &fleet);
}
