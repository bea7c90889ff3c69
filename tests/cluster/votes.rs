//! Health checks: what holds is what more than half of the nodes see.

use std::time::{Duration, Instant};

use crate::cluster::{Plan, Stage, probe};
use crate::support::eventually;

const ALL: [usize; 3] = [1, 2, 3];
const DRAINS: u32 = 1;
const DISABLES: u32 = 2;

/// (fall + rise) × interval of [`check`].
const DISSENT: Duration = Duration::from_millis(1_200);

fn check(action: &str) -> String {
    format!("interval = 0.3\ntimeout = 0.2\nfall = 2\nrise = 2\nfall_action = \"{action}\"")
}

/// What holds of a group's check by one node, and what the nodes see that count there, sorted.
fn votes(stage: &Stage, node: usize, group: u32) -> Option<(String, Vec<String>)> {
    let (_, checks) = probe::get(stage.network.node(node), node, "/api/v1/healthchecks")?;
    let mut checks = checks.as_array()?.iter();
    let check = checks.find(|check| check["group"] == group)?;
    let votes = check["votes"].as_array()?.iter();
    let counting = votes.filter(|vote| vote["counts"] == true);
    let mut seen: Vec<String> = counting
        .filter_map(|vote| Some(vote["state"].as_str()?.to_owned()))
        .collect();
    seen.sort();
    Some((check["verdict"].as_str()?.to_owned(), seen))
}

fn wait_votes(stage: &Stage, verdict: &str, seen: &[&str]) {
    for node in ALL {
        for group in [DRAINS, DISABLES] {
            let what = format!("group {group} is {verdict} at node {node} by {seen:?}");
            eventually(&what, || {
                votes(stage, node, group)
                    .is_some_and(|(holds, votes)| holds == verdict && votes == seen)
            });
        }
    }
}

fn statuses(stage: &Stage, node: usize) -> [Option<String>; 2] {
    let host = stage.network.node(node);
    [DRAINS, DISABLES].map(|group| probe::group_status(host, node, group))
}

fn wait_statuses(stage: &Stage, wanted: [&str; 2]) {
    for node in ALL {
        eventually(&format!("the groups are {wanted:?} at node {node}"), || {
            statuses(stage, node) == wanted.map(|status| Some(status.to_owned()))
        });
    }
}

/// Waits until a node says that it sees otherwise than the others; meanwhile all groups are Up.
/// For how long it did not say so.
fn wait_dissent(stage: &Stage, node: usize, wanted: [&str; 2]) -> Duration {
    let begin = Instant::now();
    eventually(&format!("node {node} says that it disagrees"), || {
        let seen = statuses(stage, node);
        assert_eq!(seen, wanted.map(|status| Some(status.to_owned())));
        let Some((false, reasons)) = probe::health(stage.network.node(node), node) else {
            return false;
        };
        let told = reasons
            .iter()
            .filter(|reason| reason.contains("as this node sees it"));
        told.count() == 2
    });
    begin.elapsed()
}

#[test]
fn a_server_is_out_when_most_nodes_cannot_reach_it_and_only_then() {
    let plan = Plan::cluster(&ALL, 4).with(|settings| {
        let settings = settings.check(DRAINS, &check("Draining"));
        settings.check(DISABLES, &check("Disabled"))
    });
    let Some(mut stage) = Stage::running_with(plan, 3) else {
        return;
    };
    let cut = |stage: &Stage, node| {
        for group in [DRAINS, DISABLES] {
            stage.network.cut_from_server(node, group);
        }
    };
    wait_votes(&stage, "passing", &["passing"; 3]);
    wait_statuses(&stage, ["Up", "Up"]);
    // One of three cannot reach two servers: the groups stay, it says so and may get no traffic.
    cut(&stage, 3);
    let took = wait_dissent(&stage, 3, ["Up", "Up"]);
    println!("the one that disagrees said so after {took:?}");
    assert!(took > DISSENT, "too early: {took:?}");
    wait_votes(&stage, "passing", &["failing", "passing", "passing"]);
    wait_statuses(&stage, ["Up", "Up"]);
    stage.wait_healthy(&[1, 2]);
    // Two of three cannot: the groups are out everywhere, and the third node is the one that
    // disagrees.
    for group in [DRAINS, DISABLES] {
        stage.chronicle.outage_begins(group);
    }
    cut(&stage, 2);
    wait_votes(&stage, "failing", &["failing", "failing", "passing"]);
    wait_statuses(&stage, ["Draining", "Disabled"]);
    let took = wait_dissent(&stage, 1, ["Draining", "Disabled"]);
    println!("the other one said so after {took:?}");
    stage.wait_healthy(&[2, 3]);
    for key in 0..20 {
        let group = stage.group_of(key, ALL[key as usize % 3]);
        assert!(![DRAINS, DISABLES].contains(&group), "key {key}: {group}");
    }
    // All is well again.
    for node in [2, 3] {
        for group in [DRAINS, DISABLES] {
            stage.network.heal_to_server(node, group);
        }
    }
    wait_votes(&stage, "passing", &["passing"; 3]);
    wait_statuses(&stage, ["Up", "Up"]);
    stage.wait_healthy(&ALL);
    for group in [DRAINS, DISABLES] {
        stage.chronicle.outage_ends(group);
    }
    stage.assert_kept();
}
