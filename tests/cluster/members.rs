//! Clusters that grow, shrink and change their machines.

use std::time::{Duration, Instant};

use crate::cluster::{Habits, Plan, Stage};

/// Every node's file names these peers: those that run restart one after the other, the others are
/// started.
fn change_peers(stage: &mut Stage, nodes: &[usize]) {
    stage.plan = stage.plan.clone().peers(nodes);
    let running = stage.running_nodes();
    for node in running.iter().filter(|node| nodes.contains(node)) {
        let plan = stage.plan.clone();
        stage.reload(&plan, &[*node]);
    }
    let newcomers: Vec<usize> = nodes
        .iter()
        .copied()
        .filter(|node| !running.contains(node))
        .collect();
    if !newcomers.is_empty() {
        stage.start(&newcomers);
    }
    stage.wait_voters(nodes);
}

#[test]
fn one_node_grows_to_three_and_five_and_shrinks_to_three() {
    let Some(mut stage) = Stage::new(5, 4, Plan::cluster(&[1], 4)) else {
        return;
    };
    stage.start(&[1]);
    stage.ask_everyone(Habits::new(300, &[1]));
    stage.work(Habits::new(300, &[1]));
    change_peers(&mut stage, &[1, 2, 3]);
    stage.rest();
    stage.work(Habits::new(300, &[1, 2, 3]));
    stage.rounds(0);
    change_peers(&mut stage, &[1, 2, 3, 4, 5]);
    stage.rest();
    stage.work(Habits::new(300, &[1, 2, 3, 4, 5]));
    stage.rounds(0);
    stage.rest();
    // The ones that go are those that were there first.
    stage.work(Habits::new(300, &[3, 4, 5]));
    change_peers(&mut stage, &[3, 4, 5]);
    stage.node_mut(1).stop();
    stage.node_mut(2).stop();
    stage.rounds(1);
    stage.assert_kept();
}

#[test]
fn a_machine_is_replaced() {
    let Some(mut stage) = Stage::new(4, 4, Plan::cluster(&[1, 2, 3], 4)) else {
        return;
    };
    stage.start(&[1, 2, 3]);
    stage.ask_everyone(Habits::new(300, &[1, 2, 3]));
    stage.work(Habits::new(300, &[1, 2]));
    stage.kill(&[3]);
    stage.serves();
    change_peers(&mut stage, &[1, 2, 4]);
    stage.rounds(0);
    stage.rest();
    stage.work(Habits::new(300, &[1, 2, 4]));
    stage.rounds(1);
    // The old one may go now.
    let leader = stage.leader();
    stage.kill(&[leader]);
    stage.rounds(1);
    stage.start(&[leader]);
    stage.assert_kept();
}

#[test]
fn one_node_with_a_shorter_list_cuts_nobody_off() {
    let all = [1, 2, 3];
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    let leader = stage.leader();
    let left_out = all.into_iter().find(|&node| node != leader);
    let left_out = left_out.expect("there are three");
    let kept: Vec<usize> = all.into_iter().filter(|&node| node != left_out).collect();
    let shorter = stage.plan.clone().peers(&kept);
    stage.reload(&shorter, &[leader]);
    // Longer than a lease lasts, and than nothing is heard before clients are refused.
    let until = Instant::now() + Duration::from_secs(5);
    let mut key = 5_000;
    while Instant::now() < until {
        for node in all {
            stage.group_of(key, node);
        }
        key += 1;
    }
    for node in all {
        assert!(stage.node(node).is_healthy(), "node {node}");
    }
    stage.wait_voters(&all);
    stage.assert_kept();
}

#[test]
fn a_lone_node_that_becomes_a_cluster_keeps_its_sticks() {
    let all = [1, 2, 3];
    let Some(mut stage) = Stage::new(3, 4, Plan::alone(4).set("expiration", 120)) else {
        return;
    };
    stage.start(&[1]);
    let groups: Vec<u32> = (0..300).map(|key| stage.group_of(key, 1)).collect();
    stage.node_mut(1).stop();
    stage.plan = stage.plan.clone().peers(&all);
    stage.start(&all);
    for (key, group) in (0..300).zip(groups) {
        let node = all[key as usize % 3];
        assert_eq!(stage.group_of(key, node), group, "key {key} at node {node}");
    }
    stage.assert_kept();
}

#[test]
fn a_node_is_told_by_a_variable_who_it_is() {
    const OWN: &str = "02:aa:00:00:00:03";
    let all = [1, 2, 3];
    let plan = Plan::cluster(&all, 4).mac(3, OWN);
    let Some(mut stage) = Stage::new(3, 4, plan) else {
        return;
    };
    stage.node_mut(3).env("TCPFFEE_MAC_ADDRESS", OWN);
    stage.start(&all);
    stage.ask_everyone(Habits::new(200, &all));
    stage.assert_kept();
}
