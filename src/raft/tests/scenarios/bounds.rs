//! Every queue has a bound, and says so when it is reached.

use tcpffee_raft::core::{CoreEvent, ProposeError};
use tcpffee_raft::entry::Payload;
use tcpffee_raft::ids::Index;
use tcpffee_raft::message::{MAX_APPEND_MEMBERSHIPS, Message};
use tcpffee_raft::settings::Settings;

use crate::lab::{Lab, id, settings};

fn led(settings: Settings) -> Lab {
    let mut lab = Lab::formed_with(3, settings);
    lab.elect(1);
    lab.run(100);
    lab
}

#[test]
fn proposals_wait_for_what_is_not_committed() {
    let mut lab = led(Settings {
        max_uncommitted_bytes: 1000,
        ..settings()
    });
    let text = "x".repeat(100);
    let mut taken = 0;
    let refused = loop {
        match lab.propose(1, &text) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!((4..=9).contains(&taken), "{taken}");
    assert!(
        matches!(
            refused,
            ProposeError::Busy {
                limit_bytes: 1000,
                ..
            }
        ),
        "{refused}"
    );
    lab.settle();
    lab.propose(1, &text).expect("all is committed");
}

#[test]
fn a_command_has_a_largest_size() {
    let mut lab = led(Settings {
        max_command_bytes: 10,
        ..settings()
    });
    assert!(lab.propose(1, "0123456789").is_ok());
    assert_eq!(
        lab.propose(1, "0123456789a"),
        Err(ProposeError::TooLarge {
            bytes: 11,
            limit_bytes: 10
        })
    );
}

#[test]
fn a_full_log_takes_no_proposal_until_it_is_cut() {
    let mut lab = led(Settings {
        max_log_bytes: 3000,
        ..settings()
    });
    let refused = loop {
        match lab.propose(1, &"x".repeat(100)) {
            Ok(_) => lab.settle(),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, ProposeError::LogFull { .. }), "{refused}");
    lab.snapshot(1, 0);
    lab.propose(1, "x").expect("there is room again");
}

#[test]
fn a_follower_whose_log_is_full_says_so_and_takes_no_more_until_it_is_cut() {
    let mut lab = Lab::formed_with(
        3,
        Settings {
            max_log_bytes: 1_000_000,
            ..settings()
        },
    );
    lab.elect(1);
    lab.run(100);
    // Node 3 has a smaller bound than the leader.
    lab.crash(3);
    lab.restart_with(
        3,
        Settings {
            max_log_bytes: 1000,
            ..settings()
        },
    );
    lab.run(500);
    for _ in 0..40 {
        lab.propose(1, &"x".repeat(100))
            .expect("the leader takes it");
        lab.run(20);
    }
    assert!(lab.has_event(3, |event| *event == CoreEvent::LogFull));
    assert!(lab.core(3).log_bytes() <= 2000);
    lab.snapshot(3, 0);
    let before = lab.core(3).last().index;
    lab.run(1000);
    assert!(lab.core(3).last().index > before, "there is room again");
}

#[test]
fn unanswered_appends_to_a_follower_are_bounded_and_each_has_a_largest_size() {
    let settings = Settings {
        max_inflight_messages: 3,
        max_append_bytes: 500,
        ..settings()
    };
    let mut lab = led(settings);
    lab.wire.clear();
    for _ in 0..100 {
        lab.propose(1, &"x".repeat(100))
            .expect("the leader takes it");
    }
    let said = lab.said(1, 3);
    assert_eq!(said.len(), 3);
    for message in said {
        let Message::Append { entries, .. } = message else {
            panic!("only appends were to be sent: {message:?}");
        };
        let bytes: usize = entries.iter().map(|entry| entry.size_bytes()).sum();
        assert!(bytes <= 500 || entries.len() == 1, "{bytes}");
    }
    lab.run(2000);
    assert_eq!(lab.applied(3).len(), 100, "and yet all arrives");
}

#[test]
fn an_append_holds_a_bounded_number_of_memberships() {
    let mut lab = Lab::formed_with(
        3,
        Settings {
            max_append_bytes: 1_000_000,
            ..settings()
        },
    );
    lab.elect(1);
    lab.run(100);
    lab.cut(1, 3);
    for round in 0..2 * MAX_APPEND_MEMBERSHIPS {
        lab.state(2, &[round as u64]);
        lab.run(100);
    }
    let behind = lab.core(3).last().index;
    lab.wire.clear();
    lab.heal();
    let mut most = 0;
    for _ in 0..1000 {
        lab.tick(1, 10);
        for message in lab.said(1, 3) {
            if let Message::Append { entries, .. } = message {
                let memberships = entries
                    .iter()
                    .filter(|entry| matches!(entry.payload, Payload::Membership(_)));
                most = most.max(memberships.count());
            }
        }
        lab.settle_some();
        if lab.core(3).last().index > behind && lab.core(3).last() == lab.core(1).last() {
            break;
        }
    }
    assert_eq!(most, MAX_APPEND_MEMBERSHIPS);
    assert_eq!(
        lab.core(3).last(),
        lab.core(1).last(),
        "and yet all arrives"
    );
}

#[test]
fn proposals_made_together_travel_together() {
    let mut lab = led(settings());
    lab.wire.clear();
    lab.with(1, |core| {
        for text in ["a", "b", "c"] {
            core.propose(crate::lab::command(text))
                .expect("the leader takes it");
        }
    });
    let said = lab.said(1, 2);
    assert!(
        matches!(said[..], [Message::Append { entries, .. }] if entries.len() == 3),
        "{said:?}"
    );
}

#[test]
fn entries_are_handed_out_for_applying_by_a_bounded_number() {
    let mut lab = led(Settings {
        max_applying_entries: 5,
        ..settings()
    });
    lab.node(3).machine_waits = true;
    let before = lab.core(3).applied_index();
    for _ in 0..50 {
        lab.propose(1, "x").expect("the leader takes it");
    }
    lab.run(500);
    assert_eq!(lab.waiting_to_be_applied(3), 5);
    assert_eq!(lab.core(3).applied_index(), before);
    lab.node(3).machine_waits = false;
    lab.run(500);
    assert_eq!(lab.applied(3).len(), 50);
}

#[test]
fn a_follower_proposes_nothing_and_names_the_leader() {
    let mut lab = led(settings());
    assert_eq!(
        lab.propose(2, "a"),
        Err(ProposeError::NotLeader {
            leader: Some(id(1))
        })
    );
    assert_eq!(lab.core(2).last().index, lab.core(1).last().index);
    assert!(lab.core(2).last().index > Index(1));
}
