use super::fixtures::*;
use crate::config::GroupId;
use crate::groups::Status;
use crate::stick::replicated::command::*;

fn with_status(id: u32, status: Status) -> Statement {
    let mut statement = stating(&[1, 2, 3]);
    for group in &mut statement.groups {
        if group.id == GroupId(id) {
            group.status = status;
        }
    }
    statement
}

#[test]
fn a_setting_is_what_a_majority_of_the_voters_states() {
    let mut lab = Lab::empty();
    lab.membership(&[A, B, C]);
    let with = |expiration_ms, max_entries, full| Statement {
        expiration_ms,
        max_entries,
        full,
        groups: Vec::new(),
    };
    lab.states(A, &with(500, 70, Full::Evict));
    let agreed = lab.state.agreed();
    assert_eq!((agreed.expiration_ms, agreed.max_entries), (500, 70));
    lab.states(B, &with(900, 50, Full::Refuse));
    let agreed = lab.state.agreed();
    assert_eq!(agreed.expiration_ms, 500, "no majority: as before");
    assert_eq!((agreed.max_entries, agreed.full), (70, Full::Evict));
    lab.states(C, &with(900, 60, Full::Refuse));
    let agreed = lab.state.agreed();
    assert_eq!((agreed.expiration_ms, agreed.max_entries), (900, 70));
    assert_eq!(agreed.full, Full::Refuse);
    lab.op(A, Op::Absent { node: C });
    assert_eq!(lab.state.agreed().expiration_ms, 900, "as before");
}

#[test]
fn without_any_majority_ever_the_most_cautious_values_hold() {
    let mut lab = Lab::empty();
    lab.membership(&[A, B, C]);
    let with = |expiration_ms, max_entries, full| Statement {
        expiration_ms,
        max_entries,
        full,
        groups: Vec::new(),
    };
    for (node, stated) in [
        (A, with(500, 70, Full::Evict)),
        (B, with(900, 50, Full::Refuse)),
    ] {
        let member = lab.state.agreement.members.get_mut(&node).unwrap();
        member.statement = Some(std::sync::Arc::new(stated));
        member.present = true;
    }
    lab.op(A, Op::Verdicts(Vec::new()));
    let agreed = lab.state.agreed();
    assert_eq!((agreed.expiration_ms, agreed.max_entries), (900, 50));
    assert_eq!(agreed.full, Full::Refuse);
}

#[test]
fn a_changed_expiration_touches_later_renewals_only() {
    let mut lab = Lab::new();
    lab.given(A, &key(1), 1);
    let longer = Statement {
        expiration_ms: 2 * EXPIRATION,
        ..stating(&[1, 2, 3])
    };
    lab.states(A, &longer);
    lab.states(B, &longer);
    assert_eq!(lab.fences(), [lab.index]);
    assert_eq!(lab.expires(&key(1)), EXPIRATION);
    lab.given(A, &key(1), 1);
    assert_eq!(lab.expires(&key(1)), 2 * EXPIRATION);
}

#[test]
fn a_group_is_as_the_most_severe_of_statements_and_checks_has_it() {
    let mut lab = Lab::new();
    assert_eq!(lab.group(1).status, Status::Up);
    assert!(lab.group(1).takes_new && lab.group(1).reason.is_empty());
    lab.states(B, &with_status(1, Status::Draining));
    assert_eq!(lab.group(1).status, Status::Draining);
    assert!(
        lab.group(1).reason.contains(&B.to_string()),
        "{:?}",
        lab.group(1)
    );
    lab.given(A, &key(9), 2);
    lab.down(&[1]);
    assert_eq!(lab.group(1).status, Status::Disabled);
    assert_eq!(lab.group(1).reason, "refused");
    lab.down(&[]);
    lab.states(C, &with_status(1, Status::Disabled));
    assert_eq!(lab.group(1).status, Status::Disabled);
    assert!(
        lab.group(1).reason.contains(&C.to_string()),
        "{:?}",
        lab.group(1)
    );
    lab.op(A, Op::Absent { node: C });
    lab.op(A, Op::Absent { node: B });
    assert_eq!(lab.group(1).status, Status::Up);
}

#[test]
fn a_group_that_some_node_does_not_state_drains_and_names_the_node() {
    let mut lab = Lab::new();
    lab.states(C, &stating(&[1, 2]));
    let group = lab.group(3);
    assert_eq!((group.status, group.takes_new), (Status::Draining, false));
    assert!(group.reason.contains(&C.to_string()), "{group:?}");
    assert_eq!(lab.assign(A, &key(1), 3), Outcome::NotUp);
}

#[test]
fn a_group_that_nobody_states_is_gone_and_forgotten_without_entries_and_fence() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 3);
    lab.hold(A, &key(1), given.version);
    for node in [A, B, C] {
        lab.states(node, &stating(&[1, 2]));
    }
    let gone = lab.group(3);
    assert_eq!((gone.status, gone.takes_new), (Status::Disabled, false));
    assert!(gone.reason.contains("gone"));
    assert_eq!(lab.fences(), [lab.index]);
    assert_eq!(lab.assign(B, &key(1), 1), Outcome::Fenced);
    lab.passed();
    assert_eq!(lab.group(3).status, Status::Disabled, "it has an entry");
    lab.given(B, &key(1), 1);
    lab.passed();
    assert!(!lab.state.agreed().groups.contains_key(&GroupId(3)));
}

#[test]
fn while_nobody_is_present_groups_stay_as_they_were() {
    let mut lab = Lab::new();
    lab.given(A, &key(1), 1);
    for node in [A, B, C] {
        lab.op(A, Op::Absent { node });
    }
    assert_eq!(lab.group(1).status, Status::Up);
    assert!(lab.fences().is_empty());
}

#[test]
fn weight_and_backup_are_a_majoritys_else_the_smallest() {
    let mut lab = Lab::empty();
    lab.membership(&[A, B, C]);
    let with = |weight, backup| {
        let mut statement = stating(&[1]);
        statement.groups[0].weight = weight;
        statement.groups[0].backup = backup;
        statement
    };
    lab.states(A, &with(7, true));
    assert_eq!((lab.group(1).weight, lab.group(1).backup), (7, false));
    lab.states(B, &with(5, true));
    assert_eq!((lab.group(1).weight, lab.group(1).backup), (5, true));
    assert!(lab.group(1).takes_new, "backups are left to the proposer");
    lab.states(C, &with(7, false));
    assert_eq!((lab.group(1).weight, lab.group(1).backup), (7, true));
}

#[test]
fn what_changes_nothing_is_not_published() {
    let mut lab = Lab::new();
    let before = lab.state.agreed().index;
    lab.states(A, &stating(&[1, 2, 3]));
    lab.passed();
    lab.down(&[]);
    lab.given(A, &key(1), 1);
    assert_eq!(lab.state.agreed().index, before);
    let published = lab.state.entries.replica.agreed();
    assert!(std::sync::Arc::ptr_eq(&published, lab.state.agreed()));
}

#[test]
fn fences_are_named_a_bounded_number_at_a_time() {
    let mut lab = Lab::new();
    let many = Statement {
        max_entries: 10_000,
        ..stating(&[1])
    };
    lab.states(A, &many);
    lab.states(B, &many);
    lab.states(C, &many);
    lab.passed();
    lab.passed();
    for number in 0..1500 {
        lab.given(A, &key(number), 1);
    }
    for number in 0..1500 {
        lab.remove(&key(number));
    }
    assert_eq!(lab.fences().len(), 1024);
    assert!(lab.fences().is_sorted());
    let last = *lab.fences().last().unwrap();
    lab.op(A, Op::Passed(tcpffee_raft::ids::Index(last)));
    assert_eq!(lab.fences().len(), 1500 - 1024);
}
