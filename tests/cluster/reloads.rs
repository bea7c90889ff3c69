//! Files that change under way: groups drained and disabled, nodes that differ for a while.

use crate::cluster::{Habits, Outcome, Stage, network, probe};
use crate::support::eventually;

const ALL: [usize; 3] = [1, 2, 3];

#[test]
fn draining_and_disabling_groups_moves_keys_once() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    stage.work(Habits::new(500, &ALL));
    stage.rounds(0);
    stage.drain(0, true);
    stage.rounds(0);
    stage.disable(1);
    stage.rounds(1);
    stage.drain(0, false);
    stage.enable(1);
    stage.rounds(1);
    stage.disable(2);
    let leader = stage.leader();
    stage.kill(&[leader]);
    stage.rounds(1);
    stage.start(&[leader]);
    stage.enable(2);
    stage.rounds(0);
    let verdict = stage.verdict();
    verdict.assert_kept();
    assert!(verdict.moves > 100, "keys of two groups moved: {verdict}");
}

#[test]
fn a_group_disabled_on_one_node_is_disabled_on_all_and_no_key_has_two() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    stage.work(Habits::new(500, &ALL));
    stage.rounds(0);
    stage.chronicle.outage_begins(3);
    let usual = stage.plan.clone();
    let without = usual.clone().group_set(3, "disabled", true);
    stage.reload(&without, &[2]);
    stage.rounds(1);
    stage.reload(&usual, &[2]);
    stage.rounds(0);
    stage.chronicle.outage_ends(3);
    stage.rounds(0);
    let verdict = stage.verdict();
    verdict.assert_kept();
    assert!(verdict.moves > 50, "keys of a group moved: {verdict}");
}

#[test]
fn a_group_that_comes_by_a_rolling_change_takes_keys_when_all_have_it() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    let fewer = stage
        .plan
        .clone()
        .with(|settings| settings.without_group(3));
    stage.chronicle.outage_begins(3);
    stage.reload(&fewer, &ALL);
    stage.work(Habits::new(500, &ALL));
    stage.rounds(0);
    let more = fewer
        .group_set(3, "portmap", network::server(3).to_string())
        .group_set(3, "weight", 5)
        .group_set(0, "weight", 2);
    stage.reload(&more, &[1, 2]);
    let mut newcomers = Habits::new(500, &ALL);
    newcomers.first_key = 10_000;
    stage.rest();
    let early = stage.ask_everyone(newcomers.clone());
    assert!(
        early
            .iter()
            .all(|answer| answer.outcome != Outcome::Group(3)),
        "node 3 does not know group 3 yet"
    );
    stage.reload(&more, &[3]);
    stage.chronicle.outage_ends(3);
    newcomers.first_key = 20_000;
    let late = stage.ask_everyone(newcomers);
    let taken = late
        .iter()
        .filter(|answer| answer.outcome == Outcome::Group(3));
    assert!(taken.count() > 100, "group 3 has the greatest weight");
    // And it goes as it came.
    let all: Habits = Habits::new(500, &ALL);
    stage.work(all);
    stage.chronicle.outage_begins(3);
    let without = more.with(|settings| settings.without_group(3));
    for node in ALL {
        stage.reload(&without, &[node]);
        stage.serves();
    }
    stage.rounds(1);
    stage.assert_kept();
}

#[test]
fn expiration_may_differ_while_a_change_rolls() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    stage.note_expiration(std::time::Duration::from_secs(20));
    stage.work(Habits::new(500, &ALL));
    stage.rounds(0);
    let shorter = stage.plan.clone().set("expiration", 20);
    for node in ALL {
        stage.reload(&shorter, &[node]);
        stage.rounds(0);
    }
    stage.assert_kept();
}

#[test]
fn a_node_that_starts_names_no_difference_that_is_over() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    let usual = stage.plan.clone();
    let heavier = usual.clone().group_set(0, "weight", 7);
    let follower = stage.follower();
    let mut others = ALL.to_vec();
    others.retain(|node| *node != follower);
    // It comes last each time, and has a log that takes a moment to go through again.
    for plan in [&heavier, &usual, &heavier, &usual] {
        stage.reload(plan, &others);
        stage.ask_everyone(Habits::new(1_000, &ALL));
        stage.reload(plan, &[follower]);
    }
    stage.kill(&[follower]);
    stage.start(&[follower]);
    let log = stage.node(follower).running().log.text();
    let told = log.lines().find(|line| line.contains("has agreed on"));
    assert_eq!(told, None);
    // One that is there is named.
    stage.reload(&heavier, &[follower]);
    let log = &stage.node(follower).running().log;
    log.wait("that the weight differs", |line| {
        line.contains("groups.0.weight is 7 in this node's file; the cluster has agreed on 1")
    });
    stage.assert_kept();
}

#[test]
fn of_nodes_that_must_be_alike_and_differ_the_odd_one_alone_serves_nobody() {
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    let odd = stage.follower();
    let mut others = ALL.to_vec();
    others.retain(|node| *node != odd);
    let usual = stage.plan.clone();
    let behind_another = usual.clone().set("accept_proxy_from", "203.0.113.0/24");
    let answer = stage.node_mut(odd).reload(&behind_another);
    assert_eq!(answer.code, 0, "{}", answer.text);
    let warned = "must be the same on all nodes: until more than half of them have it, this one \
                  serves nobody";
    assert!(answer.text.contains(warned), "{}", answer.text);
    let told = |node: usize, part: &str| {
        let health = probe::get(stage.node(node).host(), node, "/api/v1/health");
        let (status, told) = health.expect("it answers");
        let says = |text: &str| text.contains("must be the same on all nodes differs");
        let lines = told[part].as_array().cloned().unwrap_or_default();
        (
            status,
            lines.iter().any(|line| line.as_str().is_some_and(says)),
        )
    };
    eventually("the odd one gets no traffic", || {
        told(odd, "reasons") == (503, true)
    });
    for node in others.iter().copied() {
        eventually("the others warn of it, and are well", || {
            told(node, "warnings") == (200, true)
        });
    }
    for key in 0..100 {
        let first = stage.group_of(key, others[0]);
        assert_eq!(stage.group_of(key, others[1]), first);
    }
    stage.reload(&usual, &[odd]);
    stage.wait_healthy(&ALL);
    stage.assert_kept();
}
