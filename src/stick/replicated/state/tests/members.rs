use super::fixtures::*;
use crate::stick::replicated::command::*;
use tcpffee_raft::ids::NodeId;

#[test]
fn who_is_no_member_is_kept_out() {
    let mut lab = Lab::new();
    let stranger = NodeId(99);
    assert_eq!(lab.states(stranger, &stating(&[1, 9])), Outcome::Stale);
    assert_eq!(lab.assign(stranger, &key(1), 1), Outcome::Stale);
    let down = Op::Verdicts(Vec::new());
    assert_eq!(lab.op(stranger, down), Outcome::Stale);
    assert!(!lab.state.agreed().members.contains_key(&stranger));
}

#[test]
fn until_the_log_tells_who_belongs_to_it_whoever_states_something_does() {
    let mut lab = Lab::empty();
    assert_eq!(lab.assign(A, &key(1), 1), Outcome::Stale);
    assert_eq!(lab.states(A, &stating(&[1])), Outcome::Done);
    lab.given(A, &key(1), 1);
    lab.membership(&[A, B]);
    assert_eq!(lab.states(C, &stating(&[1])), Outcome::Stale);
    assert_eq!(lab.state.agreed().members.len(), 1);
}

#[test]
fn a_sessions_end_makes_holds_expire_and_a_later_hold_begins_it_anew() {
    let mut lab = Lab::new();
    let given = lab.given(A, &key(1), 1);
    lab.hold(A, &key(1), given.version);
    lab.pass(5000);
    let end = |boot| Op::EndSession { node: A, boot };
    assert_eq!(lab.op(B, end(7)), Outcome::Stale, "another process");
    assert_eq!(lab.expires(&key(1)), u64::MAX);
    assert_eq!(lab.op(B, end(1)), Outcome::Done);
    let ended_at = lab.index;
    assert_eq!(lab.expires(&key(1)), 5000 + EXPIRATION);
    let member = lab.state.agreed().members[&A].clone();
    assert_eq!(
        (member.session_ended_at.0, member.has_session),
        (ended_at, false)
    );
    assert!(member.present);
    lab.op(B, end(1));
    let again = lab.state.agreed().members[&A].session_ended_at.0;
    assert_eq!(again, ended_at, "what has ended does not end again");
    lab.hold(A, &key(1), given.version);
    assert_eq!(lab.expires(&key(1)), u64::MAX);
    assert!(lab.state.agreed().members[&A].has_session);
}

#[test]
fn a_member_that_leaves_holds_nothing_and_its_bit_is_free() {
    let mut lab = Lab::new();
    let held = lab.given(C, &key(1), 1);
    lab.hold(C, &key(1), held.version);
    lab.given(C, &key(2), 1);
    let shared = lab.given(C, &key(3), 1);
    lab.given(A, &key(3), 1);
    lab.pass(1000);
    lab.membership(&[A, B]);
    assert_eq!(lab.expires(&key(1)), 1000 + EXPIRATION);
    // It may have connected, and may not know yet that it has left.
    assert_eq!(lab.look(&key(2)).unwrap().made_by, None);
    assert_eq!(lab.expires(&key(2)), 1000 + EXPIRATION);
    assert_eq!(lab.look(&key(3)).unwrap().made_by, Some(A));
    assert!(!lab.state.agreed().members.contains_key(&C));
    // D gets C's slot, and nothing of C's.
    let d = NodeId(20);
    lab.membership(&[A, B, d]);
    lab.states(d, &stating(&[1, 2, 3]));
    let view = lab.state.entries.replica.get(key(1).as_ref()).unwrap();
    assert_eq!(view.connections, 0);
    assert_eq!(lab.give_up(d, &key(3), shared.version), Outcome::Done);
    assert!(lab.look(&key(3)).is_some());
}

#[test]
fn an_absent_member_counts_again_once_it_states_something() {
    let mut lab = Lab::new();
    lab.states(C, &stating(&[1, 2]));
    assert!(!lab.group(3).takes_new);
    lab.op(A, Op::Absent { node: C });
    assert!(!lab.state.agreed().members[&C].present);
    assert!(lab.group(3).takes_new);
    lab.states(C, &stating(&[1, 2]));
    assert!(!lab.group(3).takes_new);
    let stranger = NodeId(99);
    let absent = Op::Absent { node: stranger };
    assert_eq!(lab.op(A, absent), Outcome::Stale);
}

#[test]
fn sixty_four_members_have_a_bit_each() {
    let mut lab = Lab::empty();
    let nodes: Vec<NodeId> = (0..64).map(NodeId).collect();
    lab.membership(&nodes);
    for &node in &nodes {
        lab.states(node, &stating(&[1]));
    }
    let given = lab.given(nodes[0], &key(1), 1);
    for &node in &nodes {
        assert_eq!(lab.hold(node, &key(1), given.version), Outcome::Done);
    }
    let view = lab.state.entries.replica.get(key(1).as_ref()).unwrap();
    assert_eq!(view.connections, 64);
    lab.membership(&nodes[..1]);
    let next: Vec<NodeId> = (0..1).chain(100..163).map(NodeId).collect();
    lab.membership(&next);
    let view = lab.state.entries.replica.get(key(1).as_ref()).unwrap();
    assert_eq!(view.connections, 1);
}
