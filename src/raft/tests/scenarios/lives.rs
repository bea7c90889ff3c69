//! Wiped disks, restored copies, restarts: which life of a node counts.

use tcpffee_raft::core::{CoreEvent, Role};
use tcpffee_raft::ids::{Index, StoreId};
use tcpffee_raft::message::Message;

use crate::lab::{Lab, at, id};

fn led() -> Lab {
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.run(100);
    lab.propose(1, "a").expect("the leader takes it");
    lab.run(100);
    lab
}

/// Node 3 votes again, with another store.
fn readmitted(lab: &mut Lab) {
    lab.run_until("it votes again", |lab| {
        lab.core(1).is_voter(id(3)) && lab.core(1).membership().is_retired(StoreId(3))
    });
}

#[test]
fn a_blank_node_never_votes_and_never_stands() {
    let mut lab = led();
    lab.crash(1);
    lab.crash(2);
    lab.wipe(3);
    lab.run(3000);
    assert_eq!(lab.core(3).term().0, 0);
    let vote = Message::Vote {
        last: at(99, 99),
        transfer: true,
    };
    lab.say(1, 3, 9, vote);
    lab.sync(3);
    assert!(lab.said(3, 1).is_empty());
}

#[test]
fn a_wiped_voter_counts_again_only_after_it_was_learner_and_has_caught_up() {
    let mut lab = led();
    lab.wipe(3);
    while lab.core(1).is_voter(id(3)) {
        for n in lab.ids() {
            lab.tick(n, 10);
        }
        lab.settle_some();
    }
    lab.node(3).disk_waits = true;
    assert!(lab.core(1).membership().is_retired(StoreId(3)));
    lab.run(1000);
    assert!(
        !lab.core(1).is_voter(id(3)),
        "as long as it has not caught up"
    );
    lab.node(3).disk_waits = false;
    readmitted(&mut lab);
    assert_eq!(lab.applied(3), ["a"]);
}

#[test]
fn a_wiped_voter_helps_nobody_to_a_majority() {
    // a was acknowledged by 1 and 3. With 1 gone, 2 and the wiped 3 must not form a cluster
    // that lacks it.
    let mut lab = Lab::formed(3);
    lab.elect(1);
    lab.run(100);
    lab.isolate(2);
    lab.propose(1, "a").expect("the leader takes it");
    lab.run(100);
    assert_eq!(lab.applied(3), ["a"]);
    lab.crash(1);
    lab.wipe(3);
    lab.heal();
    lab.run(10_000);
    assert_eq!(lab.leader(), None);
    lab.restart(1);
    lab.run_until("all is well again", |lab| {
        lab.leader()
            .is_some_and(|n| lab.core(n).membership().voters().count() == 3)
    });
    lab.run(200);
    for n in lab.ids() {
        assert_eq!(lab.applied(n), ["a"], "node {n}");
    }
}

#[test]
fn a_restarted_node_is_recorded_and_counts_on() {
    let mut lab = led();
    lab.crash(3);
    lab.crash(2);
    lab.restart(3);
    lab.run(3000);
    let leader = lab.leader().expect("two of three are enough");
    lab.propose(leader, "b").expect("the leader takes it");
    lab.run(500);
    let life = lab.core(leader).membership().members[&id(3)]
        .life
        .expect("on record");
    assert_eq!(life.incarnation.start, 2);
    assert_eq!(lab.applied(leader), ["a", "b"]);
}

#[test]
fn what_a_new_life_acknowledges_counts_from_its_record_on() {
    let mut lab = led();
    lab.crash(2);
    lab.crash(3);
    lab.propose(1, "b").expect("the leader takes it");
    lab.settle();
    lab.restart(3);
    lab.node(3).disk_waits = true;
    lab.run(100);
    let recorded = lab.core(1).membership().members[&id(3)]
        .life
        .expect("on record");
    assert_eq!(recorded.incarnation.start, 2);
    let commit = lab.core(1).commit();
    let term = lab.core(1).term().0;
    // It holds everything up to just before its record.
    let matched = recorded.recorded_at.previous();
    assert!(matched > commit);
    lab.say(3, 1, term, Message::Appended { matched });
    assert_eq!(lab.core(1).commit(), commit);
    let matched = recorded.recorded_at;
    lab.say(3, 1, term, Message::Appended { matched });
    assert_eq!(lab.core(1).commit(), matched);
}

#[test]
fn a_restored_copy_is_told_to_begin_anew_and_counts_for_nothing() {
    let mut lab = led();
    let copy = lab.nodes[&3].disk.clone();
    for _ in 0..2 {
        lab.crash(3);
        lab.restart(3);
        lab.run(500);
    }
    lab.propose(1, "b").expect("the leader takes it");
    lab.run(100);
    lab.restore(3, copy, 1);
    lab.run(500);
    assert!(lab.has_event(3, |event| *event == CoreEvent::StoreRetired(StoreId(3))));
    assert!(lab.core(3).is_stopped());
    lab.wipe(3);
    readmitted(&mut lab);
    assert_eq!(lab.applied(3), ["a", "b"]);
}

#[test]
fn a_copy_that_counts_as_many_starts_is_told_from_the_original_by_its_boot() {
    let mut lab = led();
    lab.crash(3);
    let copy = lab.nodes[&3].disk.clone();
    lab.restart(3);
    lab.run(500);
    lab.restore(3, copy, 1);
    lab.run(500);
    assert!(lab.has_event(3, |event| matches!(event, CoreEvent::StoreRetired(_))));
}

#[test]
fn a_restored_candidate_gets_no_vote_from_who_knows_better() {
    let mut lab = led();
    let copy = lab.nodes[&3].disk.clone();
    for _ in 0..2 {
        lab.crash(3);
        lab.restart(3);
        lab.run(500);
    }
    lab.restore(3, copy, 1);
    lab.crash(1);
    lab.cut(2, 3);
    lab.run(5000);
    assert_eq!(lab.leader(), None);
    assert_ne!(lab.core(3).role(), Role::Leader);
}

#[test]
fn the_old_store_is_refused_for_ever() {
    let mut lab = led();
    let (old, start) = (lab.nodes[&3].disk.clone(), 7);
    lab.wipe(3);
    readmitted(&mut lab);
    lab.restore(3, old, start);
    // The lost disk has turned up.
    lab.run(10);
    lab.wire.clear();
    let life = tcpffee_raft::ids::Incarnation {
        store: StoreId(3),
        start: 9,
        boot: 77,
    };
    let term = lab.core(1).term();
    let envelope = tcpffee_raft::message::Envelope {
        from: id(3),
        incarnation: life,
        to: id(1),
        term,
        message: Message::Appended { matched: Index(1) },
    };
    lab.with(1, |core| core.receive(envelope));
    assert!(
        lab.said(1, 3)
            .iter()
            .any(|said| matches!(said, Message::Refused(_)))
    );
}

#[test]
fn a_message_of_an_earlier_life_is_not_taken_for_the_present_one() {
    let mut lab = led();
    let earlier = lab.core(3).incarnation();
    lab.crash(3);
    lab.restart(3);
    lab.run(500);
    let term = lab.core(1).term();
    let matched = |lab: &Lab| {
        lab.core(1)
            .peers()
            .into_iter()
            .find(|peer| peer.id == id(3))
    };
    let before = matched(&lab);
    let envelope = tcpffee_raft::message::Envelope {
        from: id(3),
        incarnation: earlier,
        to: id(1),
        term,
        message: Message::AppendRejected {
            previous: lab.core(1).last().index,
            hint: at(1, 1),
        },
    };
    lab.with(1, |core| core.receive(envelope));
    assert_eq!(
        matched(&lab).map(|peer| peer.matched),
        before.map(|peer| peer.matched)
    );
    lab.run(500);
    assert!(
        !lab.core(3).is_stopped(),
        "nor does the present one suffer for it"
    );
}

#[test]
fn another_node_with_this_ones_id_is_noticed() {
    let mut lab = led();
    let life = tcpffee_raft::ids::Incarnation {
        store: StoreId(99),
        start: 1,
        boot: 1,
    };
    let envelope = tcpffee_raft::message::Envelope {
        from: id(3),
        incarnation: life,
        to: id(3),
        term: lab.core(3).term(),
        message: Message::PreVoteReply { granted: false },
    };
    lab.with(3, |core| core.receive(envelope));
    assert!(lab.has_event(3, |event| *event == CoreEvent::Impostor(id(3))));
}
