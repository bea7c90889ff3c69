//! Whole clusters of nodes, in one thread and by chance.

mod history;
mod rng;
mod world;

use super::mutation::{self, Mutation};
use world::{Odds, STEP_MS, World};

/// Worlds that every run simulates; `STICK_SEED=n` runs one of them, `STICK_SEEDS=n` as many.
const SEEDS: u64 = 20;
/// Worlds in which a fault put in on purpose has to be found.
const MOST_WORLDS: u64 = 200;
/// How long each lasts, in its own milliseconds.
const LASTS_MS: u64 = 60_000;

const STORMY: Odds = Odds {
    cut: 300,
    kill: 200,
    no_leader: 200,
    status: 100,
    slow: 400,
    connect_fails_percent: 8,
    leaves_percent: 8,
    lost_answer_percent: 2,
    queues_percent: 15,
};

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("STICK_SEED") {
        return seed..seed + 1;
    }
    0..number("STICK_SEEDS").unwrap_or(SEEDS)
}

/// A world that has run its time, and calmed down.
fn run(seed: u64, odds: Odds) -> World {
    let nodes = if seed.is_multiple_of(3) { 5 } else { 3 };
    // In every second world nothing excuses another group.
    let status = if seed.is_multiple_of(2) {
        0
    } else {
        odds.status
    };
    let mut odds = odds;
    if seed % 5 == 4 {
        odds.connect_fails_percent = 40;
    }
    let mut world = World::new(seed, nodes, 12, Odds { status, ..odds });
    for _ in 0..LASTS_MS / STEP_MS {
        world.step();
    }
    world.calm();
    world
}

#[test]
fn one_key_goes_to_one_group_whatever_happens_to_nodes_and_leaders() {
    let (mut visits, mut refused, mut unsettled) = (0, 0, 0);
    for seed in seeds() {
        let world = run(seed, STORMY);
        let violations = world.history.violations();
        assert!(
            violations.is_empty(),
            "STICK_SEED={seed}: {} violations, the first: {}",
            violations.len(),
            violations[0]
        );
        visits += world.history.visits();
        refused += world.history.refused;
        unsettled += world.history.unsettled;
    }
    let worlds = seeds().count();
    println!("{visits} connections in {worlds} worlds, {refused} refused, {unsettled} unsettled");
    assert!(
        (unsettled as usize) < visits / 100,
        "{unsettled} unsettled of {visits}"
    );
    assert!(visits > 500 * seeds().count(), "{visits} connections only");
    assert!(
        (refused as usize) < visits / 2,
        "{refused} refused of {visits}"
    );
}

#[test]
fn faults_put_in_on_purpose_are_found() {
    // Where each is known to show, to begin with.
    for (fault, from) in [
        (Mutation::HitsWithoutLease, 19),
        (Mutation::HitsProvisional, 83),
        (Mutation::HitsWhileMoving, 166),
        (Mutation::BeginsUnchecked, 239),
        (Mutation::TrustsOldHolds, 229),
        (Mutation::SkipsTheLog, 1),
        (Mutation::HoldsNothing, 0),
    ] {
        let mut odds = STORMY;
        if fault == Mutation::HitsWhileMoving {
            odds.connect_fails_percent = 40;
        }
        mutation::set(Some(fault));
        let mut seeds = from..from + MOST_WORLDS;
        let found = seeds.find(|&seed| !run(seed, odds).history.violations().is_empty());
        mutation::set(None);
        println!("{fault:?}: {found:?}");
        assert!(
            found.is_some(),
            "{fault:?} is not found in {MOST_WORLDS} worlds"
        );
    }
}
