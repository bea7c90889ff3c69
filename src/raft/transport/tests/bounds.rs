//! What happens when more is sent than is taken.

use super::net::{Net, number_of, numbered, propose};
use crate::entry::{ClientId, Command, Entry, Payload};
use crate::ids::{Index, LogTime, NodeId, Position, Term};
use crate::message::Message;
use crate::transport::{Limits, Received, SendError};

const ENTRY_BYTES: usize = 64 * 1024;

/// An append of some 64 KiB that bears a number.
fn large(number: u64) -> Message {
    let entry = Entry {
        index: Index(number + 1),
        term: Term(1),
        time: LogTime(0),
        payload: Payload::Command(Command {
            client: ClientId {
                node: NodeId(1),
                boot: 0,
            },
            sequence: number,
            answered_below: 0,
            issued: LogTime(0),
            version: 1,
            body: vec![7; ENTRY_BYTES].into(),
        }),
    };
    Message::Append {
        previous: Position {
            term: Term(1),
            index: Index(number),
        },
        commit: Index(number),
        entries: vec![entry],
    }
}

#[test]
fn a_peer_that_takes_nothing_costs_no_more_than_the_queue_and_loses_nothing_else() {
    const QUEUE_BYTES: usize = 4 * 1024 * 1024;
    const MESSAGES: u64 = 500;
    let mut net = Net::connected(3, |config| config.limits.queue_bytes = QUEUE_BYTES);
    net.node(2).takes = false;
    for number in 0..MESSAGES {
        net.node(1).send(2, large(number));
        net.turn();
        let connection = net.node(1).transport.outgoing(NodeId(2), super::net::LOGS);
        let waiting = connection.expect("it is open").waiting_bytes();
        assert!(waiting <= QUEUE_BYTES + 512 * 1024, "{waiting} bytes wait");
    }
    let dropped = |net: &mut Net| net.node(1).status(2).outgoing[0].counters.dropped_messages;
    let lost = dropped(&mut net);
    assert!(lost > 0, "more was sent than fits");

    // What is urgent still has its place, and the others are not concerned.
    net.node(1).send(2, Message::TimeoutNow);
    assert_eq!(dropped(&mut net), lost);
    net.node(1).send(3, numbered(1));
    net.until("the third hears", |net| net.node(3).messages().count() == 1);

    net.node(2).takes = true;
    net.until("what was taken arrives", |net| {
        net.node(2).messages().count() as u64 == MESSAGES - lost + 1
    });
    let node = net.node(2);
    let numbers: Vec<u64> = node.messages().filter_map(commit).collect();
    assert!(numbers.is_sorted(), "in order");
}

fn commit(envelope: &crate::message::Envelope) -> Option<u64> {
    match envelope.message {
        Message::Append { commit, .. } => Some(commit.0),
        _ => None,
    }
}

#[test]
fn proposals_beyond_the_queue_are_refused_at_once() {
    let mut net = Net::connected(2, |config| config.limits.queue_bytes = 1024 * 1024);
    let node = net.node(1);
    let body = vec![7; 100 * 1024];
    let mut taken = 0;
    let refused = loop {
        match node
            .transport
            .propose(NodeId(2), vec![propose(taken, &body)])
        {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, SendError::Full);
    assert_eq!(taken, 10);
}

#[test]
fn a_peer_that_sends_much_is_read_in_turns_with_the_others() {
    let mut net = Net::connected(3, |_| {});
    let turn_bytes = Limits::default().turn_bytes as u64;
    let read = |net: &mut Net| net.node(1).status(2).incoming[0].counters.received_bytes;
    for number in 0..200 {
        net.node(2).send(1, large(number));
    }
    net.node(3).send(1, numbered(9));
    let mut before = read(&mut net);
    net.until("the third is heard", |net| {
        let now = read(net);
        // A read that began within the share may end beyond it.
        assert!(now - before <= turn_bytes + 64 * 1024);
        before = now;
        net.node(1).messages().any(|one| number_of(one) == Some(9))
    });
    let node = net.node(1);
    let before_it = node.messages().take_while(|one| number_of(one).is_none());
    let turns = before_it.count() * ENTRY_BYTES / turn_bytes as usize;
    assert!(turns <= 4, "it waited for {turns} turns of the other");
    net.until("all have arrived", |net| {
        net.node(1).messages().count() == 201
    });
}

#[test]
fn answers_that_nobody_takes_are_bounded_too() {
    use crate::wire::proposal::{Answer, Outcome};
    let mut net = Net::connected(2, |config| config.limits.queue_bytes = 1024 * 1024);
    let proposed = net
        .node(1)
        .transport
        .propose(NodeId(2), vec![propose(1, b"")]);
    proposed.expect("there is a connection");
    let mut connection = None;
    net.until("it has arrived", |net| {
        let mut received = net.node(2).received.iter();
        connection = received.find_map(|one| match one {
            Received::Propose { connection, .. } => Some(*connection),
            _ => None,
        });
        connection.is_some()
    });
    let connection = connection.expect("it came over one");
    let answer = || Answer {
        id: 1,
        outcome: Outcome::Applied(vec![7; 100 * 1024].into()),
    };
    let full = (0..100).find_map(|_| {
        let node = net.node(2);
        node.transport.answer(connection, vec![answer()]).err()
    });
    assert_eq!(full, Some(SendError::Full));
    net.nodes.retain(|node| node.id() == NodeId(2));
    net.until("the connection is gone", |net| {
        let node = net.node(2);
        let answered = node.transport.answer(connection, vec![answer()]);
        answered == Err(SendError::ConnectionGone)
    });
}
