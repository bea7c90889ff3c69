//! `/metrics`: the format, its page in the documentation, the dashboard and the alerts.
//!
//! `docs/METRICS.md` is rewritten with `UPDATE_DOCS=1 cargo test --test stats metrics`.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::metrics_support;
use crate::{real, support};
use metrics_support::{PROMTOOL, Rendering, figures};
use support::{Fleet, Proxy, client, eventually};
use tcpffee::config::GroupId;
use tcpffee::proxy::{OTHER_PORT, PortTraffic};
use tcpffee::stats::metrics::{Group, MAX_SERIES, Target};

#[test]
fn every_sample_has_help_and_type_and_histograms_add_up() {
    let rendering = Rendering::parse(&figures().render());
    assert!(rendering.samples.len() > 150);
    rendering.assert_is_sound();
}

#[test]
fn a_lone_node_has_no_series_of_a_cluster() {
    let mut figures = figures();
    figures.rest.raft.stick_table = None;
    figures.rest.raft.node = None;
    figures.rest.commit_latency = None;
    let rendering = Rendering::parse(&figures.render());
    rendering.assert_is_sound();
    let mut raft = rendering.samples.iter().map(|sample| &sample.name);
    assert!(
        !raft.any(|name| {
            name.starts_with("tcpffee_raft_") || name.starts_with("tcpffee_cluster_")
        })
    );
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
fn a_running_proxy_answers_with_what_it_has_counted_up_to_now() {
    let fleet = Fleet::new(1);
    let _proxy = Proxy::start(&fleet.settings);
    let client = client::connect(fleet.block.client(0), fleet.listener(5280)).unwrap();
    client::read_line(&client).unwrap();
    (&client).write_all(b"question").unwrap();
    (&client).read_exact(&mut [0; 8]).unwrap();

    let group = ("group", "0");
    let traffic = |rendering: &Rendering, direction| {
        let labels = [group, ("direction", direction)];
        rendering.value("tcpffee_group_traffic_bytes_total", &labels)
    };
    let mut last = Rendering::default();
    // What a client has got is counted a moment later.
    eventually("the bytes of the open connection are counted", || {
        last = scrape(fleet.block.statistics(0));
        traffic(&last, "in") == Some(8.0) && traffic(&last, "out") > Some(8.0)
    });
    last.assert_is_sound();
    for (metric, labels, expected) in [
        ("tcpffee_healthy", &[][..], 1.0),
        ("tcpffee_connections", &[("port", "5280")], 1.0),
        (
            "tcpffee_connections_accepted_total",
            &[("port", "5280")],
            1.0,
        ),
        ("tcpffee_group_connections", &[group], 1.0),
        ("tcpffee_group_sticks", &[group], 1.0),
        (
            "tcpffee_group_connect_duration_seconds_count",
            &[group],
            1.0,
        ),
        (
            "tcpffee_group_session_duration_seconds_count",
            &[group],
            0.0,
        ),
    ] {
        assert_eq!(last.value(metric, labels), Some(expected), "{metric}");
    }
    drop(client);
    let ended = [group, ("reason", "client_finished")];
    eventually("the end is counted", || {
        let now = scrape(fleet.block.statistics(0));
        now.value("tcpffee_connections_ended_total", &ended) == Some(1.0)
            && now.value("tcpffee_connections", &[("port", "5280")]) == Some(0.0)
    });
}

#[test]
fn what_went_to_a_group_that_is_taken_out_is_counted_under_other() {
    let fleet = Fleet::on_ports(2, &[5280]);
    let mut proxy = Proxy::start(&fleet.settings);
    for client in 0..20 {
        fleet.served_by(client, 5280);
    }
    let connections = |group| {
        let now = scrape(fleet.block.statistics(0));
        now.assert_is_sound();
        now.value("tcpffee_group_connections_total", &[("group", group)])
    };
    let of_one = connections("1");
    assert!(of_one > Some(0.0), "{of_one:?}");
    assert_eq!(connections("other"), None);
    proxy.reload_ok(&fleet.settings.clone().without_group(1));
    assert_eq!((connections("1"), connections("other")), (None, of_one));
    proxy.reload_ok(&fleet.settings);
    assert_eq!((connections("1"), connections("other")), (of_one, None));
}

fn scrape(address: SocketAddr) -> Rendering {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    Rendering::parse(body)
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

/// What stands above the table.
const HEAD: &str = "\
# Metrics

<!-- Written by `UPDATE_DOCS=1 cargo test --test stats metrics`, from the metrics themselves. -->

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

Counters begin at 0 when the process starts and outlive reloads. At most 1,000 ports, targets or groups have
series of their own in a metric; what is beyond is summed under the label value `other`, and
`tcpffee_metrics_series_left_out` says how many that are. Groups are those of the configuration in force:
what went to one that is taken out of it is counted under `other` until it is there again;
the group `none` stands for connections that ended before they were given one. A lone node has no series
of `tcpffee_raft_*` and `tcpffee_cluster_*`.

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
        "docs/METRICS.md is out of date: UPDATE_DOCS=1 cargo test --test stats metrics"
    );
}
