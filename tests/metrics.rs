//! `/metrics`: the format, its page in the documentation, the dashboard and the alerts.
//!
//! `docs/METRICS.md` is rewritten with `UPDATE_DOCS=1 cargo test --test metrics`.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod metrics_support;
mod real;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use metrics_support::{Rendering, figures};
use serde_json::Value;
use tcpffee::config::GroupId;
use tcpffee::proxy::{OTHER_PORT, PortTraffic};
use tcpffee::stats::metrics::{Group, MAX_SERIES, Target};

const PROMTOOL: (&str, &str) = ("promtool", "prometheus");

#[test]
fn every_sample_has_help_and_type_and_histograms_add_up() {
    let rendering = Rendering::parse(&figures().render());
    assert!(rendering.samples.len() > 150);
    rendering.assert_is_sound();
}

#[test]
fn every_figure_is_where_it_belongs() {
    let rendering = Rendering::parse(&figures().render());
    let value = |metric: &str, labels: &[(&str, &str)]| rendering.value(metric, labels);
    let expected: &[(&str, &[(&str, &str)], f64)] = &[
        ("tcpffee_build_info", &[("version", "1.2.3")], 1.0),
        ("tcpffee_healthy", &[], 1.0),
        ("tcpffee_accepting", &[], 1.0),
        ("tcpffee_configuration_generation", &[], 7.0),
        ("tcpffee_reloads_total", &[("outcome", "succeeded")], 6.0),
        ("tcpffee_reloads_total", &[("outcome", "refused")], 2.0),
        ("tcpffee_last_reload_successful", &[], 0.0),
        (
            "tcpffee_last_reload_success_timestamp_seconds",
            &[],
            1_700_000_100.25,
        ),
        ("tcpffee_connections", &[("port", "80")], 3.0),
        ("tcpffee_connections", &[("port", "other")], 4.0),
        (
            "tcpffee_connections_accepted_total",
            &[("port", "80")],
            30.0,
        ),
        ("tcpffee_open_connections", &[], 9.0),
        ("tcpffee_max_connections", &[], 10_000.0),
        ("tcpffee_accept_pauses_total", &[], 11.0),
        ("tcpffee_slice_timeouts_total", &[], 12.0),
        ("tcpffee_connect_failures_total", &[], 13.0),
        ("tcpffee_held_bytes_bound_met_total", &[], 15.0),
        ("tcpffee_held_bytes", &[], 4_096.0),
        ("tcpffee_max_held_bytes", &[], 268_435_456.0),
        (
            "tcpffee_group_status",
            &[("group", "1"), ("name", "b\"ir\\ch\n"), ("status", "Up")],
            1.0,
        ),
        (
            "tcpffee_group_status",
            &[("group", "2"), ("name", ""), ("status", "Up")],
            0.0,
        ),
        (
            "tcpffee_group_status",
            &[("group", "2"), ("name", ""), ("status", "Draining")],
            1.0,
        ),
        ("tcpffee_group_sticks", &[("group", "1")], 21.0),
        ("tcpffee_group_connections", &[("group", "1")], 22.0),
        ("tcpffee_group_connections_total", &[("group", "1")], 23.0),
        (
            "tcpffee_group_connections_total",
            &[("group", "other")],
            5.0,
        ),
        (
            "tcpffee_connections_ended_total",
            &[("group", "none"), ("reason", "no_group")],
            31.0,
        ),
        (
            "tcpffee_connections_ended_total",
            &[("group", "1"), ("reason", "client_reset")],
            24.0,
        ),
        (
            "tcpffee_group_traffic_bytes_total",
            &[("group", "1"), ("direction", "in")],
            25.0,
        ),
        (
            "tcpffee_group_traffic_bytes_total",
            &[("group", "1"), ("direction", "out")],
            26.0,
        ),
        (
            "tcpffee_group_connect_duration_seconds_bucket",
            &[("group", "1"), ("le", "0.0005")],
            0.0,
        ),
        (
            "tcpffee_group_connect_duration_seconds_bucket",
            &[("group", "1"), ("le", "0.0025")],
            1.0,
        ),
        (
            "tcpffee_group_connect_duration_seconds_sum",
            &[("group", "1")],
            0.002,
        ),
        (
            "tcpffee_group_session_duration_seconds_bucket",
            &[("group", "1"), ("le", "86400")],
            1.0,
        ),
        (
            "tcpffee_group_session_duration_seconds_bucket",
            &[("group", "1"), ("le", "+Inf")],
            2.0,
        ),
        (
            "tcpffee_target_connect_failures_total",
            &[("group", "1"), ("target", "192.0.2.1:80")],
            27.0,
        ),
        ("tcpffee_stick_entries", &[], 41.0),
        ("tcpffee_stick_max_entries", &[], 1_000_000.0),
        ("tcpffee_stick_assignments_total", &[], 42.0),
        ("tcpffee_stick_hits_total", &[], 43.0),
        ("tcpffee_stick_reassignments_total", &[], 44.0),
        ("tcpffee_stick_moves_total", &[], 45.0),
        ("tcpffee_stick_expiries_total", &[], 46.0),
        ("tcpffee_stick_evictions_total", &[], 47.0),
        ("tcpffee_stick_refusals_total", &[], 48.0),
        (
            "tcpffee_stick_saves_total",
            &[("outcome", "succeeded")],
            51.0,
        ),
        ("tcpffee_stick_saves_total", &[("outcome", "failed")], 52.0),
        ("tcpffee_stick_journal_records_total", &[], 53.0),
        ("tcpffee_stick_journal_failures_total", &[], 54.0),
        (
            "tcpffee_check_duration_seconds_count",
            &[("kind", "http")],
            1.0,
        ),
        (
            "tcpffee_check_duration_seconds_count",
            &[("kind", "tcp")],
            0.0,
        ),
        ("tcpffee_log_lines_lost_total", &[], 61.0),
        ("process_resident_memory_bytes", &[], 62.0),
        ("process_open_fds", &[], 63.0),
        ("process_max_fds", &[], 64.0),
        ("process_threads", &[], 65.0),
        ("process_cpu_seconds_total", &[], 66.5),
        ("process_start_time_seconds", &[], 1_700_000_000.5),
        (
            "tcpffee_raft_role",
            &[("raft", "stick_table"), ("role", "leader")],
            1.0,
        ),
        (
            "tcpffee_raft_role",
            &[("raft", "stick_table"), ("role", "follower")],
            0.0,
        ),
        ("tcpffee_raft_term", &[("raft", "stick_table")], 71.0),
        (
            "tcpffee_raft_commit_index",
            &[("raft", "stick_table")],
            72.0,
        ),
        (
            "tcpffee_raft_applied_index",
            &[("raft", "stick_table")],
            73.0,
        ),
        ("tcpffee_raft_log_bytes", &[("raft", "stick_table")], 74.0),
        ("tcpffee_raft_has_leader", &[("raft", "stick_table")], 1.0),
        ("tcpffee_raft_has_lease", &[("raft", "stick_table")], 0.0),
        ("tcpffee_raft_trouble", &[("raft", "stick_table")], 1.0),
        (
            "tcpffee_raft_member_connected",
            &[("raft", "stick_table"), ("member", "02:00:00:00:00:02")],
            0.0,
        ),
        (
            "tcpffee_raft_member_lag_entries",
            &[("raft", "stick_table"), ("member", "02:00:00:00:00:02")],
            75.0,
        ),
    ];
    for (metric, labels, expected) in expected {
        assert_eq!(value(metric, labels), Some(*expected), "{metric}{labels:?}");
    }
    let check = [
        ("group", "1"),
        ("check", "00000000000000ab"),
        ("kind", "http"),
    ];
    assert_eq!(value("tcpffee_check_failing", &check), Some(1.0));
    let target = [&check[..], &[("target", "192.0.2.1:80")]].concat();
    assert_eq!(value("tcpffee_check_target_failing", &target), Some(1.0));
    for (result, count) in [("passed", 81.0), ("failed", 82.0), ("not_run", 83.0)] {
        let labels = [&target[..], &[("result", result)]].concat();
        assert_eq!(value("tcpffee_check_results_total", &labels), Some(count));
    }
}

#[test]
fn a_lone_node_has_no_series_of_raft() {
    let mut figures = figures();
    figures.rest.raft.stick_table = None;
    let rendering = Rendering::parse(&figures.render());
    rendering.assert_is_sound();
    let mut raft = rendering.samples.iter().map(|sample| &sample.name);
    assert!(!raft.any(|name| name.starts_with("tcpffee_raft_")));
}

#[test]
fn no_metric_by_port_target_or_group_has_more_series_than_its_bound() {
    let mut figures = figures();
    let template = figures.groups[0].clone();
    let port = PortTraffic {
        connections: 1,
        accepted: 2,
    };
    figures.ports = (OTHER_PORT..3_000).map(|number| (number, port)).collect();
    figures.groups = (0..1_500)
        .map(|id| Group {
            id: GroupId(id),
            name: String::new(),
            targets: (0..3)
                .map(|number| Target {
                    target: format!("192.0.2.{number}:80"),
                    connect_failures: 1,
                })
                .collect(),
            ..template.clone()
        })
        .collect();
    let check = figures.checks[0].clone();
    figures.checks = (0..2_000).map(|_| check.clone()).collect();
    for (number, check) in figures.checks.iter_mut().enumerate() {
        check.group = GroupId(number as u32);
    }
    let rendering = Rendering::parse(&figures.render());
    rendering.assert_is_sound();
    let mut by_metric = BTreeMap::<&str, usize>::new();
    for sample in &rendering.samples {
        *by_metric.entry(&sample.name).or_default() += 1;
    }
    for metric in [
        "tcpffee_connections",
        "tcpffee_connections_accepted_total",
        "tcpffee_target_connect_failures_total",
        "tcpffee_check_target_failing",
        "tcpffee_check_results_total",
        "tcpffee_group_sticks",
    ] {
        let series = by_metric[metric];
        assert!(
            (MAX_SERIES - 2..=MAX_SERIES).contains(&series),
            "{metric}: {series}"
        );
    }
    let value = |metric, labels: &[(&str, &str)]| rendering.value(metric, labels);
    let others = value("tcpffee_connections", &[("port", "other")]);
    assert_eq!(others, Some(3_000.0 - 999.0), "nothing is lost in the sum");
    let others = value(
        "tcpffee_target_connect_failures_total",
        &[("group", "other"), ("target", "other")],
    );
    assert_eq!(others, Some(4_500.0 - 999.0));
    let others = value("tcpffee_group_connections_total", &[("group", "other")]);
    assert_eq!(others, Some(500.0 * 23.0 + 5.0));
    let left_out = value(
        "tcpffee_metrics_series_left_out",
        &[("metric", "tcpffee_connections")],
    );
    assert_eq!(left_out, Some(2_999.0 - 999.0));
}

#[test]
fn promtool_accepts_the_rendering() {
    if !real::has_all(&[PROMTOOL]) {
        return;
    }
    let mut promtool = Command::new(real::find(PROMTOOL.0, PROMTOOL.1))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(figures().render().as_bytes()).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn promtool_accepts_the_alerts_and_every_query_of_the_dashboard() {
    if !real::has_all(&[PROMTOOL]) {
        return;
    }
    check_rules(&monitoring("alerts.yml"));
    let rules: Vec<Value> = queries()
        .iter()
        .enumerate()
        .map(|(number, query)| {
            let query = query.replace("$__rate_interval", "5m");
            serde_json::json!({"record": format!("query:{number}"), "expr": query})
        })
        .collect();
    // YAML takes JSON as it is.
    let file = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    check_rules(&file.to_string());
}

fn check_rules(rules: &str) {
    let directory = real::directory();
    let path = directory.path().join("rules.yml");
    std::fs::write(&path, rules).unwrap();
    let mut command = Command::new(real::find(PROMTOOL.0, PROMTOOL.1));
    command.args(["check", "rules"]).arg(path);
    real::run(command);
}

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_exists() {
    let rendering = Rendering::parse(&figures().render());
    let alerts = monitoring("alerts.yml");
    let expressions = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    let mut all = queries();
    all.extend(expressions.map(str::to_owned));
    let named: BTreeSet<&str> = all.iter().flat_map(|query| metrics_in(query)).collect();
    assert!(named.len() > 40, "{named:?}");
    for name in named {
        let exists = rendering.samples.iter().any(|sample| sample.name == name);
        assert!(exists, "{name} is no metric");
    }
}

/// The names in a query that begin as metrics do.
fn metrics_in(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("tcpffee_") || word.starts_with("process_"))
}

/// Every query of the dashboard's panels.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&monitoring("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries: Vec<String> = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect();
    assert!(queries.len() > 30);
    queries
}

fn monitoring(file: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/monitoring");
    std::fs::read_to_string(directory.join(file)).unwrap()
}

/// What stands above the table.
const HEAD: &str = "\
# Metrics

<!-- Written by `UPDATE_DOCS=1 cargo test --test metrics`, from the metrics themselves. -->

`GET /metrics` on `stats_bind_socket` answers in Prometheus' text format 0.0.4:

```sh
curl -s http://127.0.0.1:2340/metrics | grep tcpffee_group_status
```

```yaml
scrape_configs:
  - job_name: tcpffee
    static_configs:
      - targets: [\"192.0.2.1:2340\"]
```

`packaging/monitoring/` holds alert rules for Prometheus (`alerts.yml`) and a dashboard for Grafana
(`grafana-dashboard.json`: Dashboards, New, Import).

Counters begin at 0 when the process starts and outlive reloads. A metric by port, target or group has at
most 1,000 series of its own; what is beyond is summed under the label value `other`, and
`tcpffee_metrics_series_left_out` says how many that are. Groups are those of the configuration in force;
the group `none` stands for connections that ended before they were given one. A lone node has no series
of `tcpffee_raft_*`.

";

#[test]
fn the_documentation_lists_every_metric() {
    let mut figures = figures();
    // So many that some are left out, and the metric that says so has a series.
    figures.ports = (0..3_000)
        .map(|port| (port, PortTraffic::default()))
        .collect();
    let rendering = Rendering::parse(&figures.render());
    let mut page = HEAD.to_owned();
    page += "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n";
    for family in &rendering.families {
        let labels: BTreeSet<&str> = rendering
            .samples
            .iter()
            .filter(|sample| sample.family == family.name)
            .flat_map(|sample| sample.labels.iter().map(|(label, _)| label.as_str()))
            .collect();
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            family.name,
            family.kind,
            labels.join(", "),
            family.help
        )
        .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/METRICS.md is out of date: UPDATE_DOCS=1 cargo test --test metrics"
    );
}
