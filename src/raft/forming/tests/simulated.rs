//! Random orders of start, crash before and after a form is durable, loss, delay, and wiped
//! disks. A seed that fails is printed; `FORMING_SEED` runs it alone, `FORMING_SEEDS` more of them.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::world::World;
use super::*;

/// Runs of each kind.
const SEEDS: u64 = 1_000;

/// Runs a kind of world over all seeds, and says which failed and how it came about.
fn for_every_seed(run: impl Fn(&mut World), new: impl Fn(u64) -> World) {
    let given = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match (given("FORMING_SEED"), given("FORMING_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(SEEDS),
    };
    for seed in seeds {
        let mut world = new(seed);
        let result = catch_unwind(AssertUnwindSafe(|| run(&mut world)));
        if let Err(panic) = result {
            eprintln!("FORMING_SEED={seed}: {:#?}", world.steps);
            std::panic::resume_unwind(panic);
        }
    }
}

fn count(seed: u64) -> u64 {
    2 + seed % 4
}

fn holding_clusters(world: &World) -> Vec<Option<ClusterId>> {
    let disks = world.nodes.values().map(|node| &node.disk);
    let cluster = |form: &Form| form.cluster;
    disks.map(|disk| disk.form.as_ref().map(cluster)).collect()
}

#[test]
fn without_wiped_disks_all_nodes_come_to_hold_one_form() {
    let run = |world: &mut World| {
        for _ in 0..300 {
            world.step(0);
        }
        world.heal();
        let clusters = holding_clusters(world);
        assert!(clusters[0].is_some(), "{clusters:?}");
        assert!(
            clusters.iter().all(|cluster| *cluster == clusters[0]),
            "{clusters:?}"
        );
    };
    for_every_seed(run, |seed| World::new(seed, count(seed), &[]));
}

#[test]
fn with_one_wiped_disk_one_form_gets_its_majority_and_nobody_is_left_with_another() {
    let wiped_forms = Cell::new(0);
    let run = |world: &mut World| {
        for _ in 0..300 {
            world.step(1);
        }
        world.heal();
        wiped_forms.set(wiped_forms.get() + world.wiped_forms);
        let held = world.majorities();
        let clusters = holding_clusters(world);
        // Of two nodes, one that has lost its disk leaves no majority: an operator is needed.
        if world.nodes.len() > 2 || world.wipes == 0 {
            assert_eq!(held.len(), 1, "{clusters:?}");
        }
        let some: Vec<ClusterId> = clusters.iter().copied().flatten().collect();
        assert!(
            some.iter().all(|cluster| *cluster == some[0]),
            "{clusters:?}"
        );
        assert!(!some.is_empty());
    };
    for_every_seed(run, |seed| World::new(seed, count(seed), &[]));
    eprintln!("{} forms were lost with a disk", wiped_forms.get());
}

#[test]
fn however_many_disks_are_wiped_two_forms_never_have_a_majority_at_once() {
    let run = |world: &mut World| {
        for _ in 0..400 {
            world.step(100);
        }
        world.heal();
    };
    for_every_seed(run, |seed| World::new(seed, count(seed), &[1, 3]));
}

#[test]
fn the_only_table_becomes_the_cluster_whatever_comes_between() {
    let run = |world: &mut World| {
        for _ in 0..300 {
            world.step(0);
        }
        world.heal();
        for (id, node) in &world.nodes {
            let founded = node.disk.form.as_ref().map(|form| form.beginning);
            let expected = node.disk.seed.map(|_| Beginning::Seed);
            assert_eq!(founded, expected, "{id:?}");
        }
    };
    for_every_seed(run, |seed| {
        let count = count(seed);
        World::new(seed, count, &[1 + (seed / 4) % count])
    });
}

#[test]
fn two_tables_never_become_a_cluster_by_themselves() {
    let run = |world: &mut World| {
        for _ in 0..200 {
            world.step(0);
        }
        world.heal();
        assert!(holding_clusters(world).iter().all(Option::is_none));
    };
    for_every_seed(run, |seed| World::new(seed, count(seed), &[1, 2]));
}
