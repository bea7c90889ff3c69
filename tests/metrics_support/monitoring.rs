//! The dashboard and the alerts.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{PROMTOOL, Rendering, figures};
use crate::real;

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

#[test]
fn each_alert_fires_for_whom_it_is_for_and_for_nobody_else() {
    if !real::has_all(&[PROMTOOL]) {
        return;
    }
    let mut command = Command::new(real::find(PROMTOOL.0, PROMTOOL.1));
    command
        .args(["test", "rules", "tests/metrics_support/alerts_test.yml"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    real::run(command);
    let tests = include_str!("alerts_test.yml");
    for line in monitoring("alerts.yml").lines() {
        if let Some(alert) = line.trim().strip_prefix("- alert: ") {
            assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert}");
        }
    }
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
