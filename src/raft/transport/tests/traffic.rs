//! What is sent arrives, in order, at whom it is for.

use bytes::Bytes;

use super::net::{Net, incarnation, number_of, numbered, propose};
use crate::forming::{self, Facts, Holding};
use crate::ids::NodeId;
use crate::membership::Statement;
use crate::message::Message;
use crate::transport::{Received, SendError};
use crate::wire::Purpose;
use crate::wire::frame::{MAX_BODY_BYTES, MAX_FORMING_BYTES};
use crate::wire::proposal::{ANSWER_TOO_LARGE, Answer, Outcome};
use crate::wire::tests::talk;

#[test]
fn messages_arrive_in_order_with_the_senders_life() {
    for keys in [&[][..], &[talk::SECRET]] {
        let mut net = Net::connected(3, |config| config.secrets = talk::secrets(keys));
        const MESSAGES: u64 = 3_000;
        for number in 0..MESSAGES {
            net.node(1).send(2, numbered(number));
            net.node(3).send(2, numbered(number));
            if number % 100 == 0 {
                net.node(1).send(2, Message::TimeoutNow);
                net.turn();
            }
        }
        net.until("all have arrived", |net| {
            net.node(2).messages().count() as u64 >= 2 * MESSAGES + MESSAGES / 100
        });
        for from in [1, 3] {
            let node = net.node(2);
            let of = node.messages().filter(|one| one.from == NodeId(from));
            let numbers: Vec<u64> = of.filter_map(number_of).collect();
            assert_eq!(numbers, Vec::from_iter(0..MESSAGES));
        }
        let node = net.node(2);
        assert!(node.messages().all(|one| one.to == NodeId(2)));
        assert!(
            node.messages()
                .all(|one| one.incarnation == incarnation(one.from.0, 1))
        );
    }
}

#[test]
fn proposals_go_to_the_leader_and_answers_come_back() {
    let mut net = Net::connected(3, |_| {});
    for (from, count) in [(1, 1_000), (3, 50)] {
        let batch = (0..count).map(|id| propose(id, b"set x")).collect();
        let proposed = net.node(from).transport.propose(NodeId(2), batch);
        proposed.expect("there is a connection");
    }
    let mut asked = 0;
    net.until("all proposals are answered", |net| {
        let received = std::mem::take(&mut net.node(2).received);
        for one in received {
            let Received::Propose {
                connection,
                proposals,
                ..
            } = one
            else {
                continue;
            };
            asked += proposals.len();
            let answers = proposals.into_iter().map(|one| Answer {
                id: one.id,
                outcome: match one.id % 3 {
                    0 => Outcome::Applied(one.command.body),
                    1 => Outcome::NotLeader {
                        leader: Some(NodeId(3)),
                    },
                    _ => Outcome::Refused {
                        code: 4,
                        text: "too late".into(),
                    },
                },
            });
            let answered = net.node(2).transport.answer(connection, answers.collect());
            answered.expect("the connection is there");
        }
        answered(net, 1).len() == 1_000 && answered(net, 3).len() == 50
    });
    assert_eq!(asked, 1_050);
    let answers = answered(&mut net, 1);
    let ids: Vec<u64> = answers.iter().map(|answer| answer.id).collect();
    assert_eq!(ids, Vec::from_iter(0..1_000));
    let body = Bytes::from_static(b"set x");
    assert_eq!(answers[999].outcome, Outcome::Applied(body));
}

fn answered(net: &mut Net, node: u64) -> Vec<Answer> {
    let received = net.node(node).received.iter();
    let answers = received.filter_map(|one| match one {
        Received::Answers { answers, .. } => Some(answers.clone()),
        _ => None,
    });
    answers.flatten().collect()
}

#[test]
fn an_answer_that_cannot_travel_becomes_a_refusal_and_takes_no_other_with_it() {
    let mut net = Net::connected(2, |_| {});
    let batch = vec![propose(1, b"a"), propose(2, b"b")];
    let proposed = net.node(1).transport.propose(NodeId(2), batch);
    proposed.expect("there is a connection");
    net.until("the proposals have arrived", |net| {
        let mut received = net.node(2).received.iter();
        received.any(|one| matches!(one, Received::Propose { .. }))
    });
    let node = net.node(2);
    let mut received = node.received.iter();
    let connection = received.find_map(|one| match one {
        Received::Propose { connection, .. } => Some(*connection),
        _ => None,
    });
    let huge = Bytes::from(vec![0; MAX_BODY_BYTES]);
    let answers = [huge, Bytes::new()].map(Outcome::Applied);
    let numbered = answers.into_iter().zip(1..);
    let answers = numbered.map(|(outcome, id)| Answer { id, outcome });
    let connection = connection.expect("it came over one");
    let sent = node.transport.answer(connection, answers.collect());
    sent.expect("the connection is there");
    net.until("both are answered", |net| answered(net, 1).len() == 2);
    let answers = answered(&mut net, 1);
    assert!(matches!(
        answers[0].outcome,
        Outcome::Refused {
            code: ANSWER_TOO_LARGE,
            ..
        }
    ));
    assert_eq!(answers[1].outcome, Outcome::Applied(Bytes::new()));
}

#[test]
fn what_can_never_travel_is_refused_at_once() {
    let mut net = Net::connected(2, |_| {});
    let node = net.node(1);
    let batch = vec![propose(1, b"small"), propose(2, &vec![0; MAX_BODY_BYTES])];
    let error = node.transport.propose(NodeId(2), batch);
    assert!(matches!(error, Err(SendError::TooLarge { .. })));
    let body = Bytes::from(vec![0; MAX_FORMING_BYTES + 1]);
    let error = node.transport.send_forming(NodeId(2), body);
    assert!(matches!(error, Err(SendError::TooLarge { .. })));
    let error = node.transport.propose(NodeId(9), vec![propose(1, b"")]);
    assert_eq!(error, Err(SendError::NotConnected(NodeId(9))));
}

#[test]
fn messages_about_forming_arrive_whole() {
    let mut net = Net::connected(2, |config| config.cluster = None);
    let message = forming::Message::Facts {
        to: incarnation(2, 1),
        facts: Facts {
            statement: Statement {
                peers: (1..=64).map(NodeId).collect(),
                version: 1,
            },
            holding: Holding::Blank,
        },
    };
    let bytes = message.encode();
    let sent = net.node(1).transport.send_forming(NodeId(2), bytes);
    sent.expect("there is a connection");
    let expected = Received::Forming {
        from: NodeId(1),
        incarnation: incarnation(1, 1),
        cluster: None,
        message,
    };
    net.until("it has arrived", |net| {
        net.node(2).received.contains(&expected)
    });
}

#[test]
fn what_is_no_message_about_forming_ends_the_connection() {
    let mut net = Net::connected(2, |config| config.cluster = None);
    let garbage = Bytes::from(vec![7; MAX_FORMING_BYTES]);
    let sent = net.node(1).transport.send_forming(NodeId(2), garbage);
    sent.expect("there is a connection");
    net.until("the connection is lost", |net| {
        net.node(1).received.contains(&Received::PeerDown {
            peer: NodeId(2),
            purpose: Purpose::Logs,
        })
    });
}
