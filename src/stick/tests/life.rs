//! The life of an entry, promise by promise.

use std::time::Duration;

use crate::clock::Millis;
use crate::config::GroupId;
use crate::groups::{Groups, Status};

use super::fixtures::*;
use crate::stick::{AfterFailure, Answer, Ask, Client, Refusal, Settings, Stale, Sticks, Table};

fn fail(
    table: &Table,
    groups: &Groups,
    answer: Answer,
    tried: &[u32],
    now: Millis,
) -> AfterFailure {
    let tried: Vec<GroupId> = tried.iter().map(|&id| GroupId(id)).collect();
    table.connect_failed(&ask(key(1), groups, now), answer, &tried)
}

#[test]
fn a_key_keeps_its_group_until_expiration_after_its_last_close() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let both = cluster.groups([up(1), up(2)]);
    let first = visit(&table, key(1), &both, second(0));
    assert_eq!(first.group, GroupId(1));
    assert!(first.created);

    // Group 1 now has more sticks, so a new key would go to group 2.
    let again = visit(&table, key(1), &both, second(9));
    assert_eq!((again.group, again.created), (GroupId(1), false));
    let again = visit(&table, key(1), &both, Millis(second(19).0 - 1));
    assert_eq!(again.group, GroupId(1));

    visit(&table, key(2), &both, second(28));
    visit(&table, key(3), &both, second(28)); // a tie, so group 1 again
    let just_before = route(&table, key(1), &both, Millis(second(29).0 - 2));
    assert!(!just_before.created);
    table.abandoned(just_before.stick, second(29));
    let anew = route(&table, key(1), &both, Millis(second(29).0 - 1));
    assert_eq!((anew.group, anew.created), (GroupId(2), true));
}

#[test]
fn an_open_connection_holds_its_entry() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1), up(2)]);
    let first = route(&table, key(1), &groups, second(0));
    table.established(first.stick, &groups, second(0)).unwrap();
    assert_eq!(table.sweep(second(1000)), 0);
    let later = route(&table, key(1), &groups, second(1000));
    assert_eq!((later.group, later.created), (GroupId(1), false));
    table.closed(first.stick, second(1001));
    table.abandoned(later.stick, second(1001));
    assert_eq!(table.sweep(second(1010)), 0);
    assert_eq!(table.sweep(second(1011)), 1);
    assert_eq!(cluster.sticks(1), 0);
    assert_eq!(table.counts().entries, 0);
}

#[test]
fn connections_that_only_try_do_not_hold_an_entry() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1)]);
    visit(&table, key(1), &groups, second(0));
    let groups = cluster.groups([up(1).status(Status::Draining), up(2)]);
    for now in 1..10 {
        let answer = route(&table, key(1), &groups, second(now));
        assert_eq!(answer.group, GroupId(1), "the stick binds at {now} s");
        let after = fail(&table, &groups, answer, &[1], second(now));
        assert_eq!(after, AfterFailure::Reset);
    }
    let elsewhere = route(&table, key(1), &groups, second(10));
    assert_eq!(elsewhere.group, GroupId(2));
}

#[test]
fn overlapping_tries_on_a_dead_group_do_not_hold_a_provisional_entry_either() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1), up(2)]);
    let mut last = route(&table, key(1), &groups, second(0));
    for now in 1..10 {
        let next = route(&table, key(1), &groups, second(now));
        assert_eq!(next.group, GroupId(1));
        assert_eq!(
            fail(&table, &groups, last, &[1], second(now)),
            AfterFailure::Reset
        );
        last = next;
    }
    let fresh = route(&table, key(1), &groups, second(10));
    assert!(fresh.created, "expired, so assigned anew");
    assert_eq!(
        fail(&table, &groups, last, &[1], second(10)),
        AfterFailure::Reset
    );
    let AfterFailure::Moved(moved) = fail(&table, &groups, fresh, &[1], second(10)) else {
        // It may have been given group 2 at once.
        assert_eq!(fresh.group, GroupId(2));
        return;
    };
    assert_eq!(moved.group, GroupId(2));
}

#[test]
fn the_creator_moves_an_entry_that_nobody_else_was_given() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1), up(2), up(3)]);
    let first = route(&table, key(1), &groups, second(0));
    let AfterFailure::Moved(moved) = fail(&table, &groups, first, &[1], second(1)) else {
        panic!("not moved");
    };
    assert_eq!((moved.group, moved.created), (GroupId(2), true));
    assert_ne!(moved.stick.version, first.stick.version);
    assert_eq!((cluster.sticks(1), cluster.sticks(2)), (0, 1));
    assert_eq!(
        table.established(first.stick, &groups, second(1)),
        Err(Stale)
    );
    assert_eq!(
        fail(&table, &groups, first, &[1], second(1)),
        AfterFailure::Reset
    );
    table.established(moved.stick, &groups, second(1)).unwrap();
    assert_eq!(table.counts().moves, 1);
}

#[test]
fn an_entry_whose_connects_all_fail_is_removed() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1), up(2)]);
    let first = route(&table, key(1), &groups, second(0));
    let AfterFailure::Moved(second_try) = fail(&table, &groups, first, &[1], second(0)) else {
        panic!("not moved");
    };
    let after = fail(&table, &groups, second_try, &[1, 2], second(0));
    assert_eq!(after, AfterFailure::Reset);
    assert_eq!(table.counts().entries, 0);
    assert_eq!((cluster.sticks(1), cluster.sticks(2)), (0, 0));
}

#[test]
fn a_second_connection_pins_the_entry() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1), up(2)]);
    let creator = route(&table, key(1), &groups, second(0));
    let other = route(&table, key(1), &groups, second(0));
    assert_eq!((other.group, other.created), (creator.group, false));
    assert_eq!(
        fail(&table, &groups, creator, &[1], second(0)),
        AfterFailure::Reset
    );
    table.established(other.stick, &groups, second(0)).unwrap();
    assert_eq!(
        route(&table, key(1), &groups, second(1)).group,
        creator.group
    );
}

#[test]
fn a_pin_outlives_the_connection_that_set_it() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1), up(2)]);
    let creator = route(&table, key(1), &groups, second(0));
    let other = route(&table, key(1), &groups, second(0));
    table.abandoned(other.stick, second(0));
    assert_eq!(
        fail(&table, &groups, creator, &[1], second(0)),
        AfterFailure::Reset
    );
    assert_eq!(table.counts().entries, 0);
}

#[test]
fn a_key_of_a_disabled_or_removed_group_is_assigned_anew() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let old = visit(&table, key(1), &cluster.groups([up(1)]), second(0));
    let held = route(&table, key(1), &cluster.groups([up(1)]), second(0));
    let disabled = cluster.groups([up(1).status(Status::Disabled), up(2)]);
    let anew = route(&table, key(1), &disabled, second(1));
    assert_eq!((anew.group, anew.created), (GroupId(2), true));
    assert_eq!((cluster.sticks(1), cluster.sticks(2)), (0, 1));

    // What belongs to the old assignment does nothing to the new one.
    assert_eq!(
        table.established(held.stick, &disabled, second(1)),
        Err(Stale)
    );
    table.closed(old.stick, second(1));
    table.abandoned(held.stick, second(1));
    assert_eq!(table.counts().entries, 1);
    table.established(anew.stick, &disabled, second(1)).unwrap();

    let removed = cluster.groups([up(3)]);
    assert_eq!(route(&table, key(1), &removed, second(2)).group, GroupId(3));
    assert_eq!(table.counts().reassignments, 2);
}

#[test]
fn a_provisional_entry_of_a_disabled_group_is_assigned_anew() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let creator = route(&table, key(1), &cluster.groups([up(1)]), second(0));
    let groups = cluster.groups([up(1).status(Status::Disabled), up(2)]);
    let other = route(&table, key(1), &groups, second(0));
    assert_eq!((other.group, other.created), (GroupId(2), true));
    assert_eq!(
        table.established(creator.stick, &groups, second(0)),
        Err(Stale)
    );
    assert_eq!(
        fail(&table, &groups, creator, &[1], second(0)),
        AfterFailure::Reset
    );
    assert_eq!(table.counts().entries, 1);
}

#[test]
fn establishing_on_a_group_disabled_meanwhile_is_stale() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1), up(2)]);
    let disabled = cluster.groups([up(1).status(Status::Disabled), up(2)]);
    let answer = route(&table, key(1), &groups, second(0));
    assert_eq!(
        table.established(answer.stick, &disabled, second(0)),
        Err(Stale)
    );
    let anew = route(&table, key(1), &disabled, second(0));
    assert_eq!((anew.group, anew.created), (GroupId(2), true));
}

#[test]
fn a_draining_group_keeps_its_keys_and_takes_no_new_ones() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    visit(&table, key(1), &cluster.groups([up(1)]), second(0));
    let groups = cluster.groups([up(1).status(Status::Draining), up(2)]);
    assert_eq!(route(&table, key(1), &groups, second(1)).group, GroupId(1));
    assert_eq!(route(&table, key(2), &groups, second(1)).group, GroupId(2));
    assert_eq!(route(&table, key(3), &groups, second(1)).group, GroupId(2));
}

#[test]
fn a_missing_target_never_moves_a_stick() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1), up(2).ports(&[PORT, OTHER_PORT])]);
    visit(&table, key(1), &groups, second(0));
    let mut on_other_port = ask(key(1), &groups, second(1));
    on_other_port.port = OTHER_PORT;
    assert_eq!(refusal(&table, &on_other_port), Refusal::NoTarget);
    assert_eq!(route(&table, key(1), &groups, second(1)).group, GroupId(1));
    on_other_port.client = Client::Key(key(2));
    assert_eq!(group_of(table.route(&on_other_port)).group, GroupId(2));
}

#[test]
fn without_a_candidate_the_entry_stays_as_it_is() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    visit(&table, key(1), &cluster.groups([up(1)]), second(0));
    let none = cluster.groups([up(1).status(Status::Disabled)]);
    assert_eq!(
        refusal(&table, &ask(key(1), &none, second(1))),
        Refusal::NoGroup
    );
    assert_eq!(
        refusal(&table, &ask(key(2), &none, second(1))),
        Refusal::NoGroup
    );
    let back = route(&table, key(1), &cluster.groups([up(1)]), second(2));
    assert!(!back.created);
    assert_eq!(table.counts().refusals, 2);
}

#[test]
fn an_entry_that_expired_while_connecting_is_revived() {
    for swept in [false, true] {
        let cluster = Cluster::new();
        let table = cluster.table(settings());
        let groups = cluster.groups([up(1)]);
        visit(&table, key(1), &groups, second(0));
        let late = route(&table, key(1), &groups, second(9));
        if swept {
            assert_eq!(table.sweep(second(11)), 0);
        }
        table.established(late.stick, &groups, second(12)).unwrap();
        assert_eq!(table.sweep(second(100)), 0);
        assert!(!route(&table, key(1), &groups, second(100)).created);
    }
}

#[test]
fn a_lapsed_entry_goes_with_its_last_pending_connection() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1)]);
    visit(&table, key(1), &groups, second(0));
    let one = route(&table, key(1), &groups, second(9));
    let two = route(&table, key(1), &groups, second(9));
    assert_eq!(table.sweep(second(11)), 0);
    table.abandoned(one.stick, second(12));
    assert_eq!(table.counts().entries, 1);
    table.abandoned(two.stick, second(12));
    assert_eq!(table.counts().entries, 0);
    assert_eq!(table.counts().expiries, 1);
    assert_eq!(cluster.sticks(1), 0);
}

#[test]
fn a_reused_slot_never_answers_to_an_old_reference() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1)]);
    let old = visit(&table, key(1), &groups, second(0));
    assert_eq!(table.sweep(second(20)), 1);
    let new = route(&table, key(1), &groups, second(20));
    assert_eq!(
        (new.stick.shard, new.stick.slot),
        (old.stick.shard, old.stick.slot)
    );
    assert_eq!(
        table.established(old.stick, &groups, second(20)),
        Err(Stale)
    );
    table.closed(old.stick, second(20));
    table.abandoned(old.stick, second(20));
    assert_eq!(table.counts().entries, 1);
}

#[test]
fn expiration_applies_to_the_entries_there_are() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1)]);
    visit(&table, key(1), &groups, second(0));
    table.apply(Settings {
        expiration: Duration::from_secs(100),
        ..settings()
    });
    assert_eq!(table.sweep(second(50)), 0);
    assert!(!visit(&table, key(1), &groups, second(50)).created);
    table.apply(Settings {
        expiration: Duration::from_secs(5),
        ..settings()
    });
    assert!(route(&table, key(1), &groups, second(55)).created);
}

#[test]
fn ports_without_a_slice_use_the_latest_slice_entry_of_the_address() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1), up(2), up(3)]);
    let latest = |groups: &Groups, now| {
        let ask = Ask {
            client: Client::LatestOf(ip(1)),
            ..ask(key(1), groups, now)
        };
        let answer = group_of(table.route(&ask));
        table.abandoned(answer.stick, now);
        answer
    };
    let a = visit(&table, slice_key(1, b"a"), &groups, second(0)).group;
    let b = visit(&table, slice_key(1, b"b"), &groups, second(1)).group;
    let c = visit(&table, slice_key(1, b"c"), &groups, second(2)).group;
    assert_eq!([a, b, c], [GroupId(1), GroupId(2), GroupId(3)]);
    assert_eq!(latest(&groups, second(3)).group, c);
    visit(&table, slice_key(1, b"a"), &groups, second(4));
    assert_eq!(latest(&groups, second(5)).group, a);

    // Unusable and expired ones are passed over; then the address alone is the key.
    let disabled = cluster.groups([up(1).status(Status::Disabled), up(2), up(3)]);
    assert_eq!(latest(&disabled, second(6)).group, c);
    let one_left = latest(&cluster.groups([up(2)]), second(6));
    assert_eq!((one_left.group, one_left.created), (b, false));
    let alone = latest(&groups, second(20));
    assert!(alone.created);
    table.sweep(second(20));
    assert_eq!(table.counts().entries, 0);
}

#[test]
fn an_empty_slice_and_no_slice_are_two_keys() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1), up(2)]);
    visit(&table, key(1), &groups, second(0));
    assert!(visit(&table, slice_key(1, b""), &groups, second(0)).created);
    assert_eq!(table.counts().entries, 2);
}

#[test]
fn time_read_late_by_one_worker_does_not_disorder_the_shard() {
    let cluster = Cluster::new();
    let table = cluster.table(settings());
    let groups = cluster.groups([up(1)]);
    for number in 0..2_000 {
        visit(&table, key(number), &groups, second(u64::from(number % 2)));
    }
    assert_eq!(table.sweep(second(11)), 2_000);
    assert_eq!(cluster.sticks(1), 0);
}
