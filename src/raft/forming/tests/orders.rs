//! `tcpffee cluster form`, as far as it concerns one Raft group.

use super::*;

const NEW: ClusterId = ClusterId(0xface);

/// Gives the order, which must be carried out.
fn order(node: &mut Forming) -> Plan {
    match node.operate(Ask::Form(NEW)) {
        Report::Ordered(plan) => plan,
        other => panic!("{other:?}"),
    }
}

fn lines(node: &Forming) -> String {
    node.plan().lines().join("\n")
}

#[test]
fn a_peer_that_is_down_for_good_is_left_out_and_joins_as_a_learner_later() {
    let mut nodes = [blank(2, &[1, 2, 3]), blank(3, &[1, 2, 3])];
    mingle(&mut nodes);
    assert_eq!(nodes[1].plan().way, Err(NotHere::Lower(n(2))));
    let plan = nodes[0].plan();
    let voters = vec![n(2), n(3)];
    assert_eq!(plan.way, Ok(Way::Empty { voters }));
    assert_eq!(plan.losses, [Loss::Missing(n(1))]);
    let report = nodes[0].operate(Ask::Form(NEW));
    assert_eq!(report, Report::Ordered(plan));
    let effects = settle(&mut nodes);
    assert!(nodes.iter().all(|node| cluster_of(node) == Some(NEW)));
    let Effect::Persist(form) = &effects[0] else {
        panic!("{effects:?}");
    };
    let missing = &form.membership.members[&n(1)];
    assert_eq!(missing.role, Role::Learner { promote: true });
    assert_eq!(missing.life, None);
    // It comes back empty after all: it founds nothing.
    let mut all = nodes.to_vec();
    all.push(blank(1, &[1, 2, 3]));
    mingle(&mut all);
    assert_eq!(cluster_of(&all[2]), None);
}

#[test]
fn asking_changes_nothing() {
    let mut nodes = [blank(2, &[1, 2, 3]), blank(3, &[1, 2, 3])];
    mingle(&mut nodes);
    let before = nodes.clone();
    assert!(matches!(nodes[0].operate(Ask::Plan), Report::Possible(_)));
    assert!(matches!(nodes[1].operate(Ask::Plan), Report::Refused(_)));
    assert!(matches!(
        nodes[1].operate(Ask::Form(NEW)),
        Report::Refused(_)
    ));
    assert_eq!(nodes, before);
}

#[test]
fn between_two_tables_the_operator_chooses_by_where_the_order_is_given() {
    let mut nodes = [
        blank(1, &[1, 2, 3]),
        seeded(2, &[1, 2, 3], 40),
        seeded(3, &[1, 2, 3], 50),
    ];
    mingle(&mut nodes);
    assert_eq!(nodes[0].plan().way, Err(NotHere::Seeds(vec![n(2), n(3)])));
    let plan = order(&mut nodes[1]);
    assert_eq!(plan.way, Ok(Way::Seed { entries: 40 }));
    let lost = Loss::Seed {
        node: n(3),
        entries: 50,
    };
    assert_eq!(plan.losses, [lost]);
    settle(&mut nodes);
    assert_eq!(cluster_of(&nodes[1]), Some(NEW));
    // The other one is no place for an order any more.
    assert!(matches!(nodes[2].plan().way, Err(NotHere::Newer { .. })));
}

#[test]
fn a_survivor_with_the_newest_log_begins_a_new_cluster_with_all_of_it() {
    let mut nodes = [
        member(1, &[1, 2, 3, 4, 5], log(7, 90, 4)),
        member(2, &[1, 2, 3, 4, 5], log(7, 100, 4)),
        blank(3, &[1, 2, 3, 4, 5]),
    ];
    mingle(&mut nodes);
    let newer = NotHere::Newer {
        node: n(2),
        log: log(7, 100, 4),
    };
    assert_eq!(nodes[0].plan().way, Err(newer.clone()));
    assert_eq!(nodes[2].plan().way, Err(newer));
    let plan = order(&mut nodes[1]);
    assert_eq!(plan.way, Ok(Way::Continue(log(7, 100, 4))));
    let old = Loss::Log {
        node: n(1),
        cluster: ClusterId(7),
    };
    let gone = [Loss::Missing(n(4)), Loss::Missing(n(5))];
    let beyond = Loss::Beyond(log(7, 100, 4).last);
    assert_eq!(plan.losses, [beyond, old, gone[0], gone[1]]);
    let effects = settle(&mut nodes);
    let Effect::Persist(form) = &effects[0] else {
        panic!("{effects:?}");
    };
    let after = log(7, 100, 4).last;
    assert_eq!(form.beginning, Beginning::Continued { after });
    assert_eq!(form.membership.voters().collect::<Vec<_>>(), [n(2)]);
    let recorded = form.membership.members[&n(2)].life.unwrap();
    assert_eq!(recorded.recorded_at, Index(101));
    // The store of the old log cannot join; the blank one can.
    assert_eq!(form.membership.members[&n(1)].life, None);
    assert!(form.membership.members[&n(3)].life.is_some());
    assert_eq!(cluster_of(&nodes[1]), Some(NEW));
    assert_eq!(cluster_of(&nodes[0]), Some(ClusterId(7)));
}

#[test]
fn of_two_equal_logs_one_is_the_place_for_the_order() {
    let mut nodes = [
        member(1, &[1, 2, 3], log(7, 90, 4)),
        member(2, &[1, 2, 3], log(7, 90, 4)),
    ];
    mingle(&mut nodes);
    assert!(nodes[0].plan().way.is_ok());
    assert_eq!(nodes[1].plan().way, Err(NotHere::Lower(n(1))));
}

#[test]
fn a_cluster_with_a_leader_takes_no_order_from_anybody() {
    let led = LogFacts {
        leader: Some(n(1)),
        ..log(7, 90, 4)
    };
    let mut nodes = [
        member(1, &[1, 2, 3], led),
        member(2, &[1, 2, 3], log(7, 90, 4)),
        blank(3, &[1, 2, 3]),
    ];
    mingle(&mut nodes);
    let reason = NotHere::Led {
        cluster: ClusterId(7),
        leader: n(1),
    };
    for node in &mut nodes {
        let Report::Refused(plan) = node.operate(Ask::Form(NEW)) else {
            panic!("an order is carried out");
        };
        assert_eq!(plan.way, Err(reason.clone()));
    }
}

#[test]
fn a_node_outside_of_the_cluster_of_most_begins_no_third_one() {
    let mut node = member(1, &[1, 2, 3], log(7, 1, 1));
    node.peer_belongs(n(2), ClusterId(8));
    node.peer_belongs(n(3), ClusterId(8));
    let cluster = ClusterId(8);
    assert_eq!(node.plan().way, Err(NotHere::Outvoted { cluster }));
    assert!(lines(&node).contains("move its Raft directory away"));
}

#[test]
fn what_forms_by_itself_needs_no_order() {
    let mut nodes = [blank(1, &[1, 2]), blank(2, &[1, 2])];
    nodes[1].peer_up(n(1), life(1));
    let facts = Facts {
        statement: list(&[1, 2]),
        holding: Holding::Blank,
    };
    nodes[1].receive(n(1), life(1), Message::Facts { to: life(2), facts });
    assert_eq!(nodes[1].plan().way, Err(NotHere::Underway));
}

#[test]
fn peers_with_another_list_are_no_founders_and_are_told_apart() {
    let mut nodes = [
        blank(1, &[1, 2, 3]),
        blank(2, &[1, 2, 3]),
        blank(3, &[1, 3]),
    ];
    mingle(&mut nodes);
    let text = lines(&nodes[0]);
    let named = format!("node {}: empty; its configuration names other peers", n(3));
    assert!(text.contains(&named), "{text}");
    order(&mut nodes[0]);
    settle(&mut nodes);
    assert_eq!(cluster_of(&nodes[1]), Some(NEW));
    assert_eq!(cluster_of(&nodes[2]), None);
}

#[test]
fn the_lines_say_what_each_node_holds_who_founds_and_what_is_lost() {
    let mut nodes = [seeded(1, &[1, 2, 3], 12), seeded(2, &[1, 2, 3], 9)];
    mingle(&mut nodes);
    let expected = [
        "node 00:00:00:00:00:01 (this node): no log, a table of 12 entries from running alone",
        "node 00:00:00:00:00:02: no log, a table of 9 entries from running alone",
        "node 00:00:00:00:00:03: no answer",
        "founder: 00:00:00:00:00:01, with its table of 12 entries; all other peers join it",
        "lost: the table of 9 entries on 00:00:00:00:00:02",
        "lost: whatever 00:00:00:00:00:03 holds, which does not answer: make sure that it is not \
         running, and move its Raft directory away before it starts again",
    ];
    assert_eq!(nodes[0].plan().lines(), expected);
}
