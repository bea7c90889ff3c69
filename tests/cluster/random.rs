//! Random trouble from a seed.

use std::time::Duration;

use crate::cluster::{Habits, Plan, Stage};

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    KillLeader,
    KillFollower,
    KillAll,
    Restart,
    Pause,
    CutOff,
    CutOneWay,
    Wipe,
    Disable,
    Drain,
    Quiet,
}

const TROUBLES: [Trouble; 11] = [
    Trouble::KillLeader,
    Trouble::KillFollower,
    Trouble::KillAll,
    Trouble::Restart,
    Trouble::Pause,
    Trouble::CutOff,
    Trouble::CutOneWay,
    Trouble::Wipe,
    Trouble::Disable,
    Trouble::Drain,
    Trouble::Quiet,
];

fn one_trouble(stage: &mut Stage) {
    let chosen = stage.random.below(TROUBLES.len() as u64);
    let trouble = TROUBLES[usize::try_from(chosen).unwrap()];
    let length = Duration::from_millis(500 + stage.random.below(4_500));
    println!(
        "{:8.2} s: {trouble:?} for {length:?}, node {:?} leads",
        stage.chronicle.now().as_secs_f64(),
        stage.leader_now()
    );
    let all = stage.running_nodes();
    let group = u32::try_from(stage.random.below(4)).unwrap();
    match trouble {
        Trouble::KillLeader => {
            let node = stage.leader();
            kill_for(stage, &[node], length);
        }
        Trouble::KillFollower => {
            let node = stage.follower();
            kill_for(stage, &[node], length);
        }
        Trouble::KillAll => kill_for(stage, &all, length / 4),
        Trouble::Restart => {
            for node in all {
                stage.node_mut(node).stop();
                stage.start(&[node]);
            }
        }
        Trouble::Pause => {
            let node = any_of(stage, &all);
            stage.pause(node, length);
        }
        Trouble::CutOff => {
            let node = any_of(stage, &all);
            stage.cut_off(&[node]);
            stage.pass(length);
            stage.heal();
        }
        Trouble::CutOneWay => {
            let (from, to) = (stage.leader(), stage.follower());
            let pair = if stage.random.below(2) == 0 {
                (from, to)
            } else {
                (to, from)
            };
            stage.cut(pair.0, pair.1);
            stage.pass(length);
            stage.heal();
        }
        Trouble::Wipe => {
            let node = any_of(stage, &all);
            stage.kill(&[node]);
            stage.node_mut(node).wipe();
            stage.start(&[node]);
            stage.wait_all_vote();
        }
        Trouble::Disable => {
            stage.disable(group);
            stage.pass(length);
            stage.enable(group);
        }
        Trouble::Drain => {
            stage.drain(group, true);
            stage.pass(length);
            stage.drain(group, false);
        }
        Trouble::Quiet => stage.pass(length),
    }
}

fn kill_for(stage: &mut Stage, nodes: &[usize], length: Duration) {
    stage.kill(nodes);
    stage.pass(length);
    stage.start(nodes);
}

fn any_of(stage: &mut Stage, nodes: &[usize]) -> usize {
    nodes[usize::try_from(stage.random.below(nodes.len() as u64)).unwrap()]
}

/// How long it goes on: `CLUSTER_SECONDS`.
fn length(everyday: u64) -> Duration {
    let asked = std::env::var("CLUSTER_SECONDS").ok();
    let seconds = asked.map(|text| text.parse().expect("CLUSTER_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(everyday))
}

fn trouble(nodes: usize, keys: u32, expiration: u32, everyday: u64) {
    let numbers: Vec<usize> = (1..=nodes).collect();
    let plan = Plan::cluster(&numbers, 4).set("expiration", expiration);
    let Some(mut stage) = Stage::running_with(plan, nodes) else {
        return;
    };
    let mut habits = Habits::new(keys, &numbers);
    habits.patience = Duration::from_secs(5);
    stage.work(habits);
    let length = length(everyday);
    while stage.chronicle.now() < length {
        one_trouble(&mut stage);
        stage.serves();
    }
    stage.assert_kept();
}

#[test]
fn random_trouble_with_three_nodes_sends_no_key_elsewhere() {
    trouble(3, 1_000, 30, 12);
}

#[test]
fn random_trouble_with_five_nodes_sends_no_key_elsewhere() {
    trouble(5, 600, 30, 12);
}

#[test]
fn random_trouble_with_keys_that_expire_sends_no_key_elsewhere() {
    trouble(3, 600, 4, 12);
}
