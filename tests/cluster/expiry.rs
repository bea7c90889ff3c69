//! When entries end: `expiration` after the last activity on any node, never sooner, and not much
//! later.

use std::time::Duration;

use crate::cluster::{Answer, Habits, Plan, Stage, network, probe};
use crate::support::eventually;

const ALL: [usize; 3] = [1, 2, 3];
const EXPIRATION: Duration = Duration::from_secs(5);
/// What it may take longer.
const LATER: Duration = Duration::from_secs(1);

fn plan() -> Plan {
    Plan::cluster(&ALL, 4).set("expiration", 5)
}

/// How long the entry of a key was listed by a node since `from`.
fn listed_for(stage: &Stage, key: u32, node: usize, from: Duration) -> Duration {
    let address = network::client(key);
    let path = format!("/api/v1/stick_table/{address}");
    let host = stage.network.node(node);
    let mut last = Duration::ZERO;
    eventually("the entry ends", || {
        let before = stage.chronicle.now();
        match probe::get(host, node, &path) {
            Some((200, _)) => last = before - from,
            Some((404, _)) => return true,
            other => panic!("{path} at node {node}: {other:?}"),
        }
        false
    });
    last
}

fn assert_in_time(length: Duration) {
    // The last look at which it was there was just before its end.
    let slack = Duration::from_millis(200);
    assert!(length + slack > EXPIRATION, "it ended after {length:?}");
    assert!(
        length < EXPIRATION + LATER + slack,
        "it was there for {length:?}"
    );
}

#[test]
fn an_entry_ends_everywhere_after_its_last_activity_on_any_node() {
    let Some(mut stage) = Stage::running_with(plan(), 3) else {
        return;
    };
    stage.group_of(1, 1);
    stage.pass(EXPIRATION / 2);
    let last = stage.ask(1, &[2], EXPIRATION)[0];
    for node in ALL {
        // One after the other: the first look tells, the others have to agree by then.
        let length = listed_for(&stage, 1, node, last.active_until);
        if node == 1 {
            assert_in_time(length);
        }
    }
    stage.assert_kept();
}

#[test]
fn activity_keeps_an_entry_whichever_node_sees_it() {
    let Some(mut stage) = Stage::running_with(plan(), 3) else {
        return;
    };
    let mut last: Vec<Answer> = (0..20)
        .map(|key| stage.ask(key, &[1], EXPIRATION)[0])
        .collect();
    let mut late = 0;
    for step in 0..4 {
        stage.pass(EXPIRATION * 3 / 4);
        for before in &mut last {
            let answer = stage.ask(before.key, &[ALL[step % 3]], EXPIRATION)[0];
            // On a machine that is too slow for this it may have ended.
            if answer.answered < before.active_until + EXPIRATION {
                assert_eq!(answer.outcome, before.outcome, "{before}, then {answer}");
            } else {
                late += 1;
            }
            *before = answer;
        }
    }
    println!("{late} of 80 came too late to find their entries");
    stage.assert_kept();
}

#[test]
fn keys_that_come_back_about_then_have_one_group_each_time() {
    let Some(mut stage) = Stage::running_with(plan().set("expiration", 3), 3) else {
        return;
    };
    // Few threads and long rests: each key comes back after 3 s or a little later.
    let mut habits = Habits::new(600, &ALL);
    habits.rest = Duration::from_millis(40);
    stage.work(habits);
    stage.rounds(2);
    let leader = stage.leader();
    stage.kill(&[leader]);
    stage.rounds(1);
    stage.start(&[leader]);
    stage.rounds(1);
    stage.assert_kept();
}
