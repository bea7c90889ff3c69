//! Whole clusters, simulated from seeds (see [`world`]).
//!
//! `RAFT_SEEDS` says how many seeds are run, `RAFT_FIRST_SEED` which is the first;
//! `RAFT_SEED=n cargo test -p tcpffee-raft --test simulation replay -- --nocapture` shows one.

mod world;

use world::Checks;
use world::runs::{Runs, quiet_panics};
use world::trace::Trace;

/// Seeds of an ordinary run.
const SEEDS: u64 = 1_000;

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(words) => words.parse().expect("a number"),
        Err(_) => otherwise,
    }
}

#[test]
fn clusters_keep_their_promises_under_faults() {
    quiet_panics();
    let runs = Runs::default();
    let (first, count) = (number("RAFT_FIRST_SEED", 0), number("RAFT_SEEDS", SEEDS));
    let began = std::time::Instant::now();
    let summary = match runs.many(first, count) {
        Ok(summary) => summary,
        Err(failure) => {
            println!("{}", runs.tell(&failure));
            std::process::exit(1);
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} seeds, {} steps, {} entries, {} answers, at rest after at most {} ms; {:.0} seeds/s",
        summary.seeds,
        summary.steps,
        summary.committed,
        summary.answered,
        summary.rested_ms,
        summary.seeds as f64 / seconds
    );
    for (seen, seeds) in &summary.coverage.0 {
        println!("{seen:?}: {seeds}");
    }
    // Fewer seeds cannot see everything.
    if count >= SEEDS {
        let lacking = summary.coverage.lacking(count);
        if !lacking.is_empty() {
            println!("seen in too few seeds: {lacking:?}");
            std::process::exit(1);
        }
    }
}

/// Seeds within which disks that lie are found out.
const SEEDS_TO_FIND_LIES: u64 = 50;

#[test]
fn disks_that_lie_about_syncing_are_found_out() {
    quiet_panics();
    for checks in [Checks::All, Checks::Outcome] {
        let runs = Runs {
            checks,
            adapt: |plan| plan.skip_sync = true,
            ..Runs::default()
        };
        match runs.many(0, SEEDS_TO_FIND_LIES) {
            Ok(_) => {
                println!("{SEEDS_TO_FIND_LIES} seeds hold on disks that lie ({checks:?})");
                std::process::exit(1);
            }
            Err(failure) => println!(
                "{checks:?}: seed {}: {}: {}",
                failure.seed, failure.violation.invariant, failure.violation.detail
            ),
        }
    }
}

#[test]
fn a_seed_runs_the_same_way_twice() {
    quiet_panics();
    for seed in 0..20 {
        let runs = Runs::default();
        let once = runs.seed(seed, &Trace::default());
        let again = runs.seed(seed, &Trace::in_words(false));
        let (Ok(once), Ok(again)) = (once, again) else {
            panic!("seed {seed} fails");
        };
        assert_eq!((once.digest, once.steps), (again.digest, again.steps));
    }
}

#[test]
fn replay() {
    let Ok(seed) = std::env::var("RAFT_SEED") else {
        return;
    };
    quiet_panics();
    let seed = seed.parse().expect("a number");
    match Runs::default().seed(seed, &Trace::in_words(true)) {
        Ok(outcome) => println!("seed {seed} holds: digest {:016x}", outcome.digest),
        Err(failure) => {
            println!(
                "seed {seed} fails at step {}: {}\n{}",
                failure.step, failure.violation.invariant, failure.violation.detail
            );
            std::process::exit(1);
        }
    }
}
