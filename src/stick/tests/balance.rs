//! Shares, ties, backups, and what a change of groups moves.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::Millis;
use crate::config::{Balance, GroupId};
use crate::groups::{Groups, Status};

use super::fixtures::*;
use crate::stick::balance::Balancer;

/// Long after the groups came.
const NOW: Millis = Millis(1_000_000);

fn choose(balancer: &Balancer, policy: Balance, groups: &Groups, number: u32) -> Option<u32> {
    balancer
        .choose(policy, groups, PORT, key(number), &[], NOW)
        .map(|group| group.id.0)
}

/// How many of 60,000 keys each group gets; sticks are counted as they come.
fn shares(policy: Balance, groups: &Groups) -> HashMap<u32, u32> {
    let balancer = Balancer::default();
    let mut shares = HashMap::new();
    for number in 0..60_000 {
        let id = choose(&balancer, policy, groups, number).unwrap();
        let counters = &groups.get(GroupId(id)).unwrap().counters;
        counters.sticks.fetch_add(1, Ordering::Relaxed);
        counters.add_connections(0, 1);
        *shares.entry(id).or_insert(0) += 1;
    }
    shares
}

#[test]
fn every_policy_honours_the_weights() {
    for policy in [
        Balance::LeastSticks,
        Balance::LeastConnections,
        Balance::RoundRobin,
        Balance::Hash,
    ] {
        let groups = Cluster::new().groups([up(1), up(2).weight(2), up(3).weight(3)]);
        let shares = shares(policy, &groups);
        let tolerance = if policy == Balance::Hash { 600 } else { 1 };
        for (id, expected) in [(1, 10_000), (2, 20_000), (3, 30_000)] {
            let share = shares[&id];
            assert!(
                share.abs_diff(expected) <= tolerance,
                "{policy:?} gave group {id} {share} keys, expected {expected}"
            );
        }
    }
}

#[test]
fn equal_loads_go_to_the_lower_id() {
    let groups = Cluster::new().groups([up(7), up(3), up(5).weight(9)]);
    let balancer = Balancer::default();
    for policy in [Balance::LeastSticks, Balance::LeastConnections] {
        assert_eq!(choose(&balancer, policy, &groups, 1), Some(3));
    }
}

#[test]
fn who_has_a_place_is_given_its_group_where_that_takes_new_keys() {
    let cluster = Cluster::new();
    let groups = cluster.groups([up(1), up(2), up(3).backup(), up(4).status(Status::Draining)]);
    let choose = |place: Option<u32>| {
        let (balancer, at) = (Balancer::default(), (PORT, place.map(GroupId)));
        let chosen = balancer.choose_with(Balance::LeastSticks, &groups, at, key(1), Millis(0));
        chosen.unwrap().id.0
    };
    let places = [None, Some(1), Some(2), Some(3), Some(4), Some(9)];
    assert_eq!(places.map(choose), [1, 1, 2, 1, 1, 1]);
}

#[test]
fn round_robin_spreads_the_turns_of_a_heavy_group() {
    let groups = Cluster::new().groups([up(1).weight(5), up(2), up(3)]);
    let balancer = Balancer::default();
    let turns: Vec<u32> = (0..7)
        .map(|number| choose(&balancer, Balance::RoundRobin, &groups, number).unwrap())
        .collect();
    assert_eq!(turns, [1, 1, 2, 1, 3, 1, 1]);
}

#[test]
fn hash_moves_only_the_keys_of_the_group_that_changed() {
    let cluster = Cluster::new();
    let balancer = Balancer::default();
    let place = |groups: &Groups, number| choose(&balancer, Balance::Hash, groups, number).unwrap();
    let three = cluster.groups([up(1), up(2), up(3)]);
    let four = cluster.groups([up(1), up(2), up(3), up(4)]);
    let heavier = cluster.groups([up(1), up(2), up(3).weight(2)]);
    let (mut to_new, mut to_heavier) = (0, 0);
    for number in 0..10_000 {
        let before = place(&three, number);
        let with_four = place(&four, number);
        assert!(with_four == before || with_four == 4);
        to_new += u32::from(with_four == 4);
        let with_weight = place(&heavier, number);
        assert!(with_weight == before || with_weight == 3);
        to_heavier += u32::from(with_weight != before);
    }
    assert!(to_new.abs_diff(2_500) < 200, "{to_new}");
    assert!(to_heavier.abs_diff(1_667) < 200, "{to_heavier}");
}

#[test]
fn only_groups_that_are_up_with_a_target_are_candidates() {
    let groups = Cluster::new().groups([
        up(1).status(Status::Draining),
        up(2).status(Status::Disabled),
        up(3).ports(&[OTHER_PORT]),
        up(4),
    ]);
    let balancer = Balancer::default();
    for number in 0..100 {
        assert_eq!(choose(&balancer, Balance::Hash, &groups, number), Some(4));
    }
}

#[test]
fn backups_take_keys_only_without_another_candidate() {
    let cluster = Cluster::new();
    let balancer = Balancer::default();
    let choose = |groups: &Groups, tried: &[GroupId]| {
        balancer
            .choose(Balance::LeastSticks, groups, PORT, key(1), tried, NOW)
            .map(|group| group.id.0)
    };
    let ordinary = cluster.groups([up(1).backup(), up(2)]);
    assert_eq!(choose(&ordinary, &[]), Some(2));
    // A failed connect does not open the backups: group 2 still is a candidate.
    assert_eq!(choose(&ordinary, &[GroupId(2)]), None);
    for other in [
        up(2).status(Status::Draining),
        up(2).status(Status::Disabled),
        up(2).ports(&[OTHER_PORT]),
    ] {
        let groups = cluster.groups([up(1).backup(), other]);
        assert_eq!(choose(&groups, &[]), Some(1));
    }
}

#[test]
fn credits_of_groups_that_went_are_forgotten() {
    let cluster = Cluster::new();
    let balancer = Balancer::default();
    for generation in 0..100 {
        let groups = cluster.groups([up(generation), up(generation + 1)]);
        choose(&balancer, Balance::RoundRobin, &groups, 1);
    }
    assert!(balancer.remembered() <= 3);
}

#[test]
fn least_connections_spreads_clients_that_come_one_after_the_other() {
    let groups = Cluster::new().groups([up(1), up(2), up(3).weight(2)]);
    let balancer = Balancer::default();
    let mut shares = HashMap::new();
    for number in 0..400 {
        // Each connection is over before the next one comes: all counts are zero each time.
        let id = choose(&balancer, Balance::LeastConnections, &groups, number).unwrap();
        let counters = &groups.get(GroupId(id)).unwrap().counters;
        counters.sticks.fetch_add(1, Ordering::Relaxed);
        *shares.entry(id).or_insert(0) += 1;
    }
    assert_eq!(shares, HashMap::from([(1, 100), (2, 100), (3, 200)]));
}

#[test]
fn a_group_that_starts_slowly_gets_its_part_of_the_share_by_every_policy() {
    for policy in [
        Balance::LeastSticks,
        Balance::LeastConnections,
        Balance::RoundRobin,
        Balance::Hash,
    ] {
        let mut returning = Cluster::new().groups([up(1), up(2)]);
        returning.start_slowly(GroupId(2), Duration::from_secs(100));
        let group = returning.get(GroupId(2)).unwrap();
        // Half of its time has passed: half of its share.
        group.counters.note_return(Millis(NOW.0 - 50_000));
        let shares = shares(policy, &returning);
        let tolerance = if policy == Balance::Hash { 600 } else { 30 };
        assert!(
            shares[&2].abs_diff(20_000) <= tolerance,
            "{policy:?}: {shares:?}"
        );
    }
}

/// A group that returns has fewer sticks than the others for long; its share must not show it.
#[test]
fn a_group_that_starts_slowly_is_not_flooded_because_it_is_empty() {
    for policy in [Balance::LeastSticks, Balance::LeastConnections] {
        let mut groups = Cluster::new().groups([up(1), up(2), up(3).weight(2)]);
        groups.start_slowly(GroupId(2), Duration::from_secs(100));
        let balancer = Balancer::default();
        let counters = |id| &groups.get(GroupId(id)).unwrap().counters;
        for id in [1, 3] {
            counters(id)
                .sticks
                .store(1_000_000 * u64::from(id), Ordering::Relaxed);
            counters(id).add_connections(0, 1_000_000 * i64::from(id));
        }
        let mut number = 0;
        // So many of a thousand keys does it get, when it has been back for so many seconds.
        let mut keys_at = |second: u64| {
            counters(2).note_return(Millis(NOW.0 - second * 1_000));
            let mut keys = 0;
            for _ in 0..1_000 {
                number += 1;
                let id = choose(&balancer, policy, &groups, number).unwrap();
                counters(id).sticks.fetch_add(1, Ordering::Relaxed);
                counters(id).add_connections(0, 1);
                keys += u32::from(id == 2);
            }
            keys
        };
        for (second, expected) in [
            (0, 3),       // 0.01 of 3.01
            (10, 32),     // 0.1 of 3.1
            (50, 143),    // 0.5 of 3.5
            (90, 231),    // 0.9 of 3.9
            (100, 1_000), // by the policy alone
        ] {
            let keys = keys_at(second);
            assert!(
                keys.abs_diff(expected) <= 1,
                "{policy:?}: {keys} of 1,000 keys after {second} s, expected {expected}"
            );
        }
    }
}

#[test]
fn what_a_group_that_starts_slowly_has_not_taken_does_not_come_to_it_in_a_rush() {
    let mut groups = Cluster::new().groups([up(1), up(2)]);
    groups.start_slowly(GroupId(2), Duration::from_secs(100));
    let balancer = Balancer::default();
    let counters = &groups.get(GroupId(2)).unwrap().counters;
    counters.note_return(Millis(NOW.0 - 50_000));
    let mut number = 0;
    let mut keys_of = |sticks: u64| {
        counters.sticks.store(sticks, Ordering::Relaxed);
        let mut keys = 0;
        for _ in 0..300 {
            number += 1;
            let id = choose(&balancer, Balance::LeastSticks, &groups, number);
            keys += u32::from(id == Some(2));
        }
        keys
    };
    groups
        .get(GroupId(1))
        .unwrap()
        .counters
        .sticks
        .store(1_000, Ordering::Relaxed);
    assert_eq!(keys_of(1_000_000), 0, "it has more than its share");
    let keys = keys_of(0);
    assert!((100..=102).contains(&keys), "{keys} of 300: 0.5 of 1.5");
}

#[test]
fn a_group_that_starts_slowly_moves_no_key_of_the_hash_but_gains_some() {
    let balancer = Balancer::default();
    let mut groups = Cluster::new().groups([up(1), up(2)]);
    groups.start_slowly(GroupId(2), Duration::from_secs(100));
    let at = |second: u64| {
        let counters = &groups.get(GroupId(2)).unwrap().counters;
        counters.note_return(Millis(NOW.0 - second * 1_000));
        (0..2_000)
            .filter(|&number| choose(&balancer, Balance::Hash, &groups, number) == Some(2))
            .collect::<Vec<_>>()
    };
    let (early, later, whole) = (at(10), at(60), at(100));
    assert!(early.len() < later.len() && later.len() < whole.len());
    assert!(early.iter().all(|number| later.contains(number)));
    assert!(later.iter().all(|number| whole.contains(number)));
}
