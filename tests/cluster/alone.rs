//! `no_quorum = "assign"`: nodes cut off from every leader.

use std::time::Duration;

use crate::cluster::{Plan, Stage, probe};
use crate::support::eventually;

const PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn a_cut_off_minority_sends_a_new_key_to_the_same_group_from_each_node() {
    let all = [1, 2, 3, 4, 5];
    let plan = Plan::cluster(&all, 4)
        .set("no_quorum", "assign")
        .set("no_quorum_after", 1);
    let Some(mut stage) = Stage::running_with(plan, 5) else {
        return;
    };
    let known: Vec<u32> = (0..50).map(|key| stage.group_of(key, 1)).collect();
    let minority = [4, 5];
    for node in minority {
        let node = stage.node(node);
        eventually("it has all known keys", || node.sticks() >= 50);
    }
    stage.cut_off(&minority);
    // From the last lease to the end of `no_quorum_after` known keys wait; then, as before, they
    // are sent where they belong.
    let began = stage.chronicle.now();
    let mut was_lost = false;
    while !was_lost || stage.chronicle.now() - began < Duration::from_secs(4) {
        for (key, group) in (0..50).zip(&known) {
            for answer in stage.ask(key, &minority, PATIENCE) {
                assert_eq!(answer.group(), Some(*group), "a known key: {answer}");
            }
        }
        was_lost = minority
            .into_iter()
            .all(|node| !stage.node(node).is_healthy());
    }
    let mut groups = Vec::new();
    for key in 1_000..1_200 {
        let answers = stage.ask(key, &minority, PATIENCE);
        let group = answers[0].group();
        assert!(group.is_some(), "{}", answers[0]);
        assert_eq!(group, answers[1].group(), "{} {}", answers[0], answers[1]);
        groups.extend(group);
    }
    for group in 0..4 {
        assert!(groups.contains(&group), "no new key at group {group}");
    }
    // What was agreed meanwhile goes before what was assigned alone.
    let agreed: Vec<u32> = (1_000..1_100).map(|key| stage.group_of(key, 1)).collect();
    let differ = agreed
        .iter()
        .zip(&groups)
        .filter(|(one, other)| one != other);
    let differ = differ.count() as u64;
    assert!(differ > 0, "all of 100 keys were given alike by two rules");
    stage.heal();
    for (key, group) in (1_000..1_100).zip(agreed) {
        for node in all {
            assert_eq!(stage.group_of(key, node), group, "key {key} at node {node}");
        }
    }
    // And what was assigned alone is agreed upon where nothing was.
    for (key, group) in (1_100..1_200).zip(&groups[100..]) {
        let answer = stage.group_of(key, 1);
        assert_eq!(answer, *group, "key {key}");
    }
    for node in minority {
        let node = stage.node(node);
        eventually("all yields are counted", || {
            let counted = probe::given_alone(node.host(), node.number);
            counted.is_none_or(|counted| counted == (200, differ))
        });
        let log = &node.running().log;
        log.wait("that a key has yielded", |line| {
            line.contains("without a leader; the cluster has agreed on")
        });
    }
}
