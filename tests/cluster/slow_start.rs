//! A group that comes back with `slow_start`: each node applies it to the new keys that it proposes
//! a group for, from when it has learned that the group is Up.
//!
//! What is expected is reckoned by the tests' own clock, from before the return was ordered and from
//! after every node had it, so a slow machine widens a bound and breaks none. Keys are drawn as if
//! by lot (turns, which the nodes take, differ from their mean by less), and a share is refused
//! only where such a draw has a probability below e⁻²⁵: over all shares of all tests here below 1e-9.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cluster::{Answer, Habits, Plan, Stage, probe};
use crate::support::{eventually, scaled};

const ALL: [usize; 3] = [1, 2, 3];
/// The group that starts slowly. It has the weight 2 and the others 1 each: half of the new keys.
const SLOW: u32 = 2;
/// Longer than any test takes.
const FOREVER: Duration = Duration::from_secs(3_600);
/// Through one node, unless said otherwise.
const KEYS: u32 = 100;
/// Minus the logarithm of the least probability that passes.
const MOST_SURPRISE: f64 = 25.0;

fn plan(slow_start: Duration) -> Plan {
    Plan::cluster(&ALL, 3)
        .set("balance", "round-robin")
        .set("expiration", 600)
        .group_set(SLOW, "weight", 2)
        .group_set(SLOW, "slow_start", slow_start.as_secs_f64())
}

/// The cluster, its keys, and when the group came back.
struct Rising {
    stage: Stage,
    over: Duration,
    next_key: u32,
    /// From just before the return was ordered until all nodes had it.
    returned: Option<(Duration, Duration)>,
}

impl Rising {
    fn begin(over: Duration) -> Option<Rising> {
        let mut stage = Stage::new(3, 3, plan(over))?;
        stage.start(&ALL);
        Some(Rising {
            stage,
            over,
            next_key: 0,
            returned: None,
        })
    }

    /// So slow a machine is this that the rise is over.
    fn assert_over(&self) {
        let (ordered, _) = self.returned.expect("it has come back");
        let passed = self.stage.chronicle.now() - ordered;
        assert!(passed >= self.over, "it ended after {passed:?}");
    }

    /// By the word of an operator at one node.
    fn drain(&mut self, at: usize) {
        let answer = self
            .stage
            .node(at)
            .subcommand(&["drain", &SLOW.to_string()]);
        assert_eq!(answer.code, 0, "{}", answer.text);
        self.wait_status("Draining");
    }

    /// Takes [`Rising::drain`] back.
    fn enable(&mut self, at: usize) {
        self.returns(|stage| {
            let answer = stage.node(at).subcommand(&["enable", &SLOW.to_string()]);
            assert_eq!(answer.code, 0, "{}", answer.text);
        });
    }

    fn returns(&mut self, order: impl FnOnce(&mut Stage)) {
        let ordered = self.stage.chronicle.now();
        order(&mut self.stage);
        self.wait_status("Up");
        self.returned = Some((ordered, self.stage.chronicle.now()));
    }

    fn wait_status(&self, status: &str) {
        for node in self.stage.running_nodes() {
            let host = self.stage.network.node(node);
            eventually(&format!("the group is {status} at node {node}"), || {
                probe::group_status(host, node, SLOW).as_deref() == Some(status)
            });
        }
    }

    /// What a node says is left of the rise.
    fn left(&self, node: usize) -> Option<Duration> {
        let host = self.stage.network.node(node);
        let (_, group) = probe::get(host, node, &format!("/api/v1/groups/{SLOW}"))?;
        let left = group["slow_start_seconds_left"].as_f64()?;
        Some(Duration::from_secs_f64(left))
    }

    /// Waits until a node has so much of the rise behind it.
    fn wait_risen(&self, node: usize, part: f64) {
        let most = self.over.mul_f64(1.0 - part);
        eventually("the share has risen", || {
            self.left(node).unwrap_or_default() <= most
        });
    }

    /// So many keys that nobody has seen, at these nodes; how many went to the group.
    fn ask(&mut self, keys: u32, nodes: &[usize]) -> usize {
        let mut habits = Habits::new(keys, nodes);
        habits.first_key = self.next_key;
        self.next_key += keys;
        let answers = self.stage.ask_everyone(habits);
        let unserved: Vec<&Answer> = answers
            .iter()
            .filter(|answer| !answer.is_served())
            .collect();
        assert!(unserved.is_empty(), "{unserved:?}");
        let asked: BTreeSet<u32> = answers.iter().map(|answer| answer.key).collect();
        assert_eq!(asked.len(), keys as usize, "every key was asked for");
        let given = answers
            .iter()
            .filter(|answer| answer.group() == Some(SLOW))
            .map(|answer| answer.key);
        given.collect::<BTreeSet<u32>>().len()
    }

    /// New keys come to the group in the share that it has by now; what it was.
    fn expect_risen(&mut self, keys: u32, nodes: &[usize]) -> f64 {
        let (ordered, seen) = self.returned.expect("it has come back");
        let begun = self.stage.chronicle.now();
        let given = self.ask(keys, nodes);
        let ended = self.stage.chronicle.now();
        let least = share((begun - seen).as_secs_f64() / self.over.as_secs_f64());
        let most = share((ended - ordered).as_secs_f64() / self.over.as_secs_f64());
        expect_within(given, keys, (least, most), nodes)
    }

    /// New keys come to the group as if it had never been away.
    fn expect_whole(&mut self, keys: u32, nodes: &[usize]) {
        let given = self.ask(keys, nodes);
        expect_within(given, keys, (share(1.0), share(1.0)), nodes);
    }

    /// No key was sent to two groups: none had a reason to move.
    fn assert_kept(&mut self) {
        self.stage.assert_kept();
        let mut groups: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for answer in self.stage.history().answers {
            groups.entry(answer.key).or_default().extend(answer.group());
        }
        groups.retain(|_, groups| groups.len() > 1);
        assert!(groups.is_empty(), "{groups:?}");
    }
}

/// The group's share of new keys where so much of the rise is over: a hundredth of its weight at
/// least, beside others of the same weight in all.
fn share(part: f64) -> f64 {
    let part = part.clamp(0.01, 1.0);
    part / (1.0 + part)
}

/// Of so many keys the group was given so many, which is no wonder with a share within these bounds.
fn expect_within(given: usize, keys: u32, (least, most): (f64, f64), nodes: &[usize]) -> f64 {
    let seen = given as f64 / f64::from(keys);
    println!("{given} of {keys} keys at {nodes:?}, a share of {least:.3} to {most:.3} expected");
    let nearest = seen.clamp(least, most);
    let surprise = f64::from(keys) * divergence(seen, nearest);
    assert!(
        surprise < MOST_SURPRISE,
        "{given} of {keys} keys at {nodes:?} where {least:.3} to {most:.3} was due: e^-{surprise:.0}"
    );
    seen
}

/// Kullback and Leibler's, of two draws: so many nats a key (Chernoff's bound on the tail).
fn divergence(seen: f64, due: f64) -> f64 {
    let term = |seen: f64, due: f64| match seen > 0.0 {
        true => seen * (seen / due).ln(),
        false => 0.0,
    };
    term(seen, due) + term(1.0 - seen, 1.0 - due)
}

#[test]
fn the_share_rises_on_every_node_and_a_killed_leader_changes_nothing() {
    let over = Duration::from_secs(scaled(20, 40));
    let Some(mut rising) = Rising::begin(over) else {
        return;
    };
    for node in ALL {
        assert_eq!(rising.left(node), None, "not at the start");
        rising.expect_whole(KEYS, &[node]);
    }
    let follower = rising.stage.follower();
    rising.drain(follower);
    assert_eq!(rising.ask(KEYS, &ALL), 0);
    rising.enable(follower);
    for node in ALL {
        rising.expect_risen(KEYS, &[node]);
    }
    rising.expect_risen(KEYS, &ALL);

    let leader = rising.stage.leader();
    let mut survivors = ALL.to_vec();
    survivors.retain(|node| *node != leader);
    rising.wait_risen(survivors[0], 0.4);
    let before: Vec<_> = survivors.iter().map(|&node| rising.left(node)).collect();
    let killed = rising.stage.chronicle.now();
    rising.stage.kill(&[leader]);
    for &node in &survivors {
        // Enough to tell it from a fresh start, and from the whole share.
        rising.expect_risen(scaled(500, 800), &[node]);
    }
    for (&node, before) in survivors.iter().zip(before) {
        let (Some(before), Some(left)) = (before, rising.left(node)) else {
            rising.assert_over();
            continue;
        };
        let passed = rising.stage.chronicle.now() - killed + Duration::from_secs(1);
        assert!(left < before, "node {node}: {left:?} after {before:?}");
        let least = before.saturating_sub(passed);
        assert!(left >= least, "node {node}: {left:?} after {before:?}");
    }
    rising.stage.start(&[leader]);

    eventually("the share is whole", || {
        survivors.iter().all(|&node| rising.left(node).is_none())
    });
    for node in ALL {
        rising.expect_whole(2 * KEYS, &[node]);
    }
    rising.assert_kept();
}

#[test]
fn a_node_that_starts_gives_the_whole_share_whatever_its_log_says_of_the_past() {
    let Some(mut rising) = Rising::begin(FOREVER) else {
        return;
    };
    // A log that takes a moment to go through again.
    for _ in 0..3 {
        rising.drain(1);
        assert_eq!(rising.ask(1_000, &ALL), 0);
        rising.enable(1);
        rising.expect_risen(2 * KEYS, &ALL);
    }
    let leader = rising.stage.leader();
    let follower = rising.stage.follower();
    for node in [follower, leader] {
        let other = ALL
            .into_iter()
            .find(|other| ![leader, node].contains(other));
        let other = other.expect("there are three");
        rising.stage.kill(&[node]);
        rising.stage.start(&[node]);
        let log = rising.stage.node(node).running().log.text();
        let tells = |line: &&str| line.contains(&format!("group {SLOW}: "));
        let told: Vec<&str> = log.lines().filter(tells).collect();
        assert!(told.is_empty(), "it has seen no change: {told:?}");
        assert_eq!(rising.left(node), None, "node {node}");
        rising.expect_whole(KEYS, &[node]);
        if node == follower {
            assert!(rising.left(other).is_some(), "node {other} goes on");
            rising.expect_risen(KEYS, &[other]);
        }
    }

    // What is out when a node starts comes back for it too.
    rising.drain(leader);
    rising.stage.kill(&[follower]);
    rising.stage.start(&[follower]);
    rising.wait_status("Draining");
    rising.enable(leader);
    for node in ALL {
        assert!(rising.left(node).is_some(), "node {node}");
        rising.expect_risen(KEYS, &[node]);
    }
    rising.assert_kept();
}

#[test]
fn a_group_comes_back_slowly_on_every_node_whatever_it_was_out_by() {
    let Some(mut rising) = Rising::begin(FOREVER) else {
        return;
    };
    // By a word in one node's file.
    let usual = rising.stage.plan.clone();
    let follower = rising.stage.follower();
    let drained = usual.clone().group_set(SLOW, "drain", true);
    rising.stage.reload(&drained, &[follower]);
    rising.wait_status("Draining");
    rising.returns(|stage| stage.reload(&usual, &[follower]));
    for node in ALL {
        rising.expect_risen(KEYS, &[node]);
    }

    // By a check, that fails and passes again on all nodes.
    let check = "interval = 1\ntimeout = 1\nfall = 3\nrise = 2";
    let checked = usual.with(|settings| settings.check(SLOW, check));
    rising.stage.reload(&checked, &ALL);
    for node in ALL {
        rising.stage.network.cut_from_server(node, SLOW);
    }
    rising.wait_status("Draining");
    rising.returns(|stage| {
        for node in ALL {
            stage.network.heal_to_server(node, SLOW);
        }
    });
    for node in ALL {
        rising.expect_risen(KEYS, &[node]);
    }

    // By not being there: it rises from the last reload, not from the first.
    let without = checked
        .clone()
        .with(|settings| settings.without_group(SLOW));
    rising.assert_kept();
    rising.stage.chronicle.outage_begins(SLOW);
    rising.stage.reload(&without, &ALL);
    let (last, first) = (follower, ALL.into_iter().filter(|node| *node != follower));
    rising.stage.reload(&checked, &first.collect::<Vec<_>>());
    assert_eq!(rising.ask(KEYS, &ALL), 0);
    rising.returns(|stage| stage.reload(&checked, &[last]));
    rising.stage.chronicle.outage_ends(SLOW);
    for node in ALL {
        rising.expect_risen(KEYS, &[node]);
    }
    rising.stage.assert_kept();
}
