use super::fixtures::*;
use crate::config::GroupId;
use crate::stick::replicated::command::*;
use crate::stick::{Counts, Key};

fn latest_of(lab: &mut Lab, number: u32, group: Option<u32>) -> Outcome {
    let client = Wanted::LatestOf(ip(number));
    let group = group.map(GroupId);
    lab.op(A, Op::Assign { client, group })
}

#[test]
fn a_new_key_gets_the_proposed_group_and_a_second_ask_the_same_one() {
    let mut lab = Lab::new();
    let first = lab.given(A, &key(1), 2);
    assert!(first.created && first.provisional);
    assert_eq!((first.group, first.version.0), (GroupId(2), lab.index));
    let second = lab.given(B, &key(1), 3);
    assert!(!second.created && second.provisional);
    assert_eq!((second.group, second.version), (GroupId(2), first.version));
    assert_eq!(lab.sticks(2), 1);
}

#[test]
fn a_group_that_takes_no_new_keys_and_no_group_at_all_are_answered_alike() {
    let mut lab = Lab::new();
    lab.down(&[2]);
    assert_eq!(lab.assign(A, &key(1), 2), Outcome::NotUp);
    assert_eq!(lab.assign(A, &key(1), 77), Outcome::NotUp);
    let client = Wanted::Key(key(1));
    let nothing = Op::Assign {
        client,
        group: None,
    };
    assert_eq!(lab.op(A, nothing.clone()), Outcome::NotUp);
    let given = lab.given(A, &key(1), 1);
    assert!(matches!(lab.op(B, nothing), Outcome::Entry(known) if known.version == given.version));
}

#[test]
fn an_ask_renews_the_entry_but_never_shortens_its_life() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    assert_eq!(lab.expires(&key(1)), EXPIRATION);
    lab.pass(1000);
    let again = lab.given(B, &key(1), 1);
    assert_eq!(again.expires.0, 1000 + EXPIRATION);
    let other = Statement {
        expiration_ms: 10,
        ..stating(&[1, 2, 3])
    };
    lab.states(A, &other);
    lab.states(B, &other);
    lab.given(B, &key(1), 1);
    assert_eq!(lab.expires(&key(1)), 1000 + EXPIRATION);
    assert_eq!(lab.hold(A, &key(1), given.version), Outcome::Done);
}

#[test]
fn a_valid_entry_of_an_unusable_group_is_given_away_only_once_every_node_knows() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    lab.hold(A, &key(1), given.version);
    lab.down(&[1]);
    let fence = lab.index;
    assert_eq!(lab.fences(), [fence]);
    assert_eq!(lab.assign(B, &key(1), 2), Outcome::Fenced);
    lab.op(A, Op::Passed(tcpffee_raft::ids::Index(fence - 1)));
    assert_eq!(lab.assign(B, &key(1), 2), Outcome::Fenced);
    lab.passed();
    assert!(lab.fences().is_empty());
    let moved = lab.given(B, &key(1), 2);
    assert!(moved.created && moved.provisional);
    assert_eq!((moved.group, moved.version.0), (GroupId(2), lab.index));
    assert_eq!(lab.hold(A, &key(1), given.version), Outcome::Stale);
    let counts = lab.state.entries.counts;
    assert_eq!((counts.reassignments, counts.assignments), (1, 1));
    assert_eq!((lab.sticks(1), lab.sticks(2)), (0, 1));
}

#[test]
fn a_fence_is_void_once_the_group_serves_again() {
    let mut lab = Lab::new();
    lab.given(A, &key(1), 1);
    lab.down(&[1]);
    lab.passed();
    lab.down(&[]);
    assert!(!lab.given(B, &key(1), 2).created);
    lab.down(&[1]);
    assert_eq!(lab.fences(), [lab.index]);
    assert_eq!(lab.assign(B, &key(1), 2), Outcome::Fenced);
}

#[test]
fn passing_what_is_not_there_yet_passes_nothing_to_come() {
    let mut lab = Lab::new();
    lab.given(A, &key(1), 1);
    lab.op(A, Op::Passed(tcpffee_raft::ids::Index(u64::MAX)));
    lab.down(&[1]);
    assert_eq!(lab.assign(B, &key(1), 2), Outcome::Fenced);
    let passed = Op::Passed(tcpffee_raft::ids::Index(u64::MAX));
    let verdict = |status| {
        Op::Verdicts(vec![Verdict {
            group: GroupId(1),
            status,
            reason: String::new(),
        }])
    };
    let (up, down) = (crate::groups::Status::Up, crate::groups::Status::Disabled);
    lab.batch(A, 1, vec![verdict(up), verdict(down), passed]);
    assert_eq!(lab.fences(), [lab.index], "the fence of this very place");
}

#[test]
fn an_expired_entry_is_made_anew_in_its_place() {
    let mut lab = Lab::new();
    let old = lab.given(A, &sliced(1, "x"), 1);
    let replica = std::sync::Arc::clone(&lab.state.entries.replica);
    let at = crate::stick::hash::shard_of(replica.hasher.ip(ip(1)));
    let slot = {
        let shard = replica.lock(at);
        let slot = shard.of_address(ip(1)).next();
        slot.expect("it is there")
    };
    let counts = lab.state.entries.counts;
    // Without the purge that comes before each command: 4,096 others may have gone first.
    let now = crate::stick::replicated::state::Now {
        index: tcpffee_raft::ids::Index(lab.index + 1),
        time: tcpffee_raft::ids::LogTime(EXPIRATION),
    };
    let client = Wanted::Key(sliced(1, "x"));
    let group = Some(GroupId(2));
    let batch = Batch {
        from: B,
        boot: 1,
        ops: vec![Op::Assign { client, group }],
    };
    let answer = lab.state.batch(now, batch);
    let [Outcome::Entry(new)] = &answer.outcomes[..] else {
        panic!("{answer:?}");
    };
    assert!(new.created && new.version > old.version);
    assert_eq!(replica.lock(at).entry(slot).group, GroupId(2));
    let after = lab.state.entries.counts;
    assert_eq!(after.expiries, counts.expiries + 1);
    assert_eq!(after.assignments, counts.assignments + 1);
    assert_eq!(after.entries, counts.entries);
}

#[test]
fn the_latest_entry_of_an_address_is_the_newest_valid_one_on_a_usable_group() {
    let mut lab = Lab::new();
    lab.given(A, &sliced(1, "old"), 1);
    lab.given(A, &sliced(1, "new"), 2);
    lab.given(A, &sliced(1, "old"), 1); // asked for later, but created earlier
    let Outcome::Entry(latest) = latest_of(&mut lab, 1, Some(3)) else {
        panic!("there are two");
    };
    assert_eq!(latest.slice.as_deref(), Some(&b"new"[..]));
    assert_eq!(latest.group, GroupId(2));
    lab.down(&[2]);
    let replica = &lab.state.entries.replica;
    assert_eq!(replica.latest_of(ip(1)).unwrap().0, sliced(1, "old"));
    let Outcome::Entry(latest) = latest_of(&mut lab, 1, Some(3)) else {
        panic!("there is one");
    };
    assert_eq!(latest.slice.as_deref(), Some(&b"old"[..]));
    lab.down(&[1, 2]);
    let Outcome::Entry(bare) = latest_of(&mut lab, 1, Some(3)) else {
        panic!("the address alone is a key");
    };
    assert_eq!((bare.slice, bare.created), (None, true));
    assert_eq!(lab.look(&key(1)).unwrap().group, GroupId(3));
    assert!(lab.state.entries.replica.latest_of(ip(1)).is_none());
}

#[test]
fn an_answer_names_no_more_bytes_of_slices_than_a_frame_has_room_for() {
    let mut lab = Lab::new();
    let long = Key {
        ip: ip(1),
        slice: Some(vec![7; 4096].into()),
    };
    lab.given(A, &long, 1);
    let ask = Op::Assign {
        client: Wanted::LatestOf(ip(1)),
        group: None,
    };
    let outcomes = lab.batch(B, 1, vec![ask; 200]);
    let given = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Entry(_)));
    assert_eq!(given.count(), 128);
    assert_eq!(outcomes[128..], vec![Outcome::Stale; 72]);
}

#[test]
fn a_full_table_refuses_new_keys_until_something_expires() {
    let mut lab = Lab::new();
    let small = Statement {
        max_entries: 2,
        ..stating(&[1, 2, 3])
    };
    lab.states(A, &small);
    lab.states(B, &small);
    lab.given(A, &key(1), 1);
    lab.given(A, &key(2), 1);
    assert_eq!(lab.assign(A, &key(3), 1), Outcome::Full);
    lab.given(A, &key(2), 1);
    lab.pass(EXPIRATION);
    lab.given(A, &key(3), 1);
    let expected = Counts {
        entries: 1,
        assignments: 3,
        expiries: 2,
        refusals: 1,
        ..Counts::default()
    };
    assert_eq!(lab.state.entries.replica.counts(), expected);
}

#[test]
fn the_unheld_entry_closest_to_expiry_gives_way_once_nobody_answers_by_it() {
    let mut lab = Lab::new();
    let small = Statement {
        max_entries: 3,
        full: Full::Evict,
        ..stating(&[1, 2, 3])
    };
    lab.states(A, &small);
    lab.states(B, &small);
    let held = lab.given(A, &key(1), 1);
    lab.hold(A, &key(1), held.version);
    lab.given(A, &key(2), 1);
    lab.given(A, &key(3), 1); // expires with key 2, but was made later
    lab.pass(EXPIRATION - EXPIRATION / 4);
    assert_eq!(
        lab.assign(A, &key(4), 1),
        Outcome::Full,
        "a quarter is left: a connection of the other half may not be told yet"
    );
    lab.pass(1);
    lab.given(A, &key(4), 1);
    assert!(lab.look(&key(2)).is_none());
    assert!(lab.look(&key(1)).is_some() && lab.look(&key(3)).is_some());
    assert_eq!(lab.state.entries.counts.evictions, 1);
}

#[test]
fn nothing_gives_way_while_a_node_may_go_by_another_expiration() {
    let mut lab = Lab::new();
    let small = |expiration_ms| Statement {
        expiration_ms,
        max_entries: 1,
        full: Full::Evict,
        ..stating(&[1, 2, 3])
    };
    lab.states(A, &small(EXPIRATION));
    lab.states(B, &small(EXPIRATION));
    lab.given(A, &key(1), 1);
    // So much that less than a quarter of it is left at once.
    lab.states(A, &small(5 * EXPIRATION));
    lab.states(B, &small(5 * EXPIRATION));
    assert_eq!(lab.state.agreed().expiration_ms, 5 * EXPIRATION);
    assert_eq!(lab.assign(A, &key(2), 1), Outcome::Full);
    assert_eq!(lab.fences().len(), 1);
    lab.passed();
    lab.given(A, &key(2), 1);
}
