use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::sessions::{Refusal, WINDOW};

const LIMITS: Limits = Limits {
    max_waiting: 10,
    max_waiting_bytes: 10_000,
    max_command_bytes: 100,
    pause_ms: 50,
    resend_ms: 500,
};

const ME: NodeId = NodeId(1);
const A: Route = Route::Peer(NodeId(2));
const B: Route = Route::Peer(NodeId(3));

type Outcome = (u64, Result<Bytes, ProposalError>);

struct Bench {
    client: Client,
    results: Receiver<Outcome>,
    sender: Sender<Outcome>,
    made: u64,
}

impl Bench {
    fn new() -> Bench {
        let (sender, results) = channel();
        let id = ClientId { node: ME, boot: 9 };
        Bench {
            client: Client::new(id, LIMITS),
            results,
            sender,
            made: 0,
        }
    }

    /// Proposes; the results bear this number.
    fn propose(&mut self, deadline: u64) -> u64 {
        self.made += 1;
        let (number, sender) = (self.made, self.sender.clone());
        self.client.propose(
            Bytes::from(number.to_string()),
            1,
            NodeTime(deadline),
            Box::new(move |result| sender.send((number, result)).expect("the bench listens")),
        );
        number
    }

    fn sent(&mut self, now: u64) -> Vec<u64> {
        let mut commands = Vec::new();
        self.client
            .outgoing(NodeTime(now), LogTime(now), &mut commands);
        commands.iter().map(|command| command.sequence).collect()
    }

    fn reply(&mut self, from: Route, sequence: u64, reply: Reply, now: u64) {
        self.client.replied(from, sequence, reply, NodeTime(now));
    }

    fn results(&self) -> Vec<Outcome> {
        self.results.try_iter().collect()
    }
}

fn applied() -> Reply {
    Reply::Applied(Bytes::from("ok"))
}

#[test]
fn nothing_is_sent_while_nobody_leads() {
    let mut bench = Bench::new();
    bench.propose(1000);
    assert!(bench.sent(0).is_empty());
    bench.client.take_route(A);
    assert_eq!(bench.sent(0), [1]);
    assert!(bench.sent(1).is_empty());
    bench.reply(A, 1, applied(), 2);
    assert_eq!(bench.results(), [(1, Ok(Bytes::from("ok")))]);
}

#[test]
fn a_copy_keeps_its_number_and_the_time_of_the_first() {
    let mut bench = Bench::new();
    bench.client.take_route(A);
    bench.propose(10_000);
    let mut commands = Vec::new();
    bench
        .client
        .outgoing(NodeTime(0), LogTime(7), &mut commands);
    bench.client.take_route(B);
    bench
        .client
        .outgoing(NodeTime(5), LogTime(99), &mut commands);
    assert_eq!(commands.len(), 2);
    assert_eq!(commands[0], commands[1]);
    assert_eq!(commands[0].issued, LogTime(7));
}

#[test]
fn what_is_out_is_sent_again_after_a_lost_connection_another_leader_and_silence() {
    let mut bench = Bench::new();
    bench.client.take_route(A);
    bench.propose(100_000);
    bench.propose(100_000);
    assert_eq!(bench.sent(0), [1, 2]);
    bench.client.disconnected(NodeId(3));
    assert!(bench.sent(1).is_empty(), "that was another connection");
    bench.client.disconnected(NodeId(2));
    assert_eq!(bench.sent(1), [1, 2]);
    bench.reply(A, 1, applied(), 2);
    bench.client.take_route(Route::Here);
    assert_eq!(bench.sent(3), [2]);
    // The third copy is given twice the time of the second, four times that of the first.
    assert_eq!(bench.client.tick(NodeTime(3 + 1999)), Copies::InTime);
    assert!(bench.sent(3 + 1999).is_empty());
    assert_eq!(bench.client.tick(NodeTime(3 + 2000)), Copies::Late);
    assert_eq!(bench.sent(3 + 2000), [2]);
    assert_eq!(bench.client.counters().sent_again, 4);
}

#[test]
fn hints_are_followed_and_those_of_an_earlier_route_are_not() {
    let mut bench = Bench::new();
    bench.client.take_route(A);
    bench.propose(10_000);
    bench.propose(10_000);
    bench.sent(0);
    let to_b = Reply::NotLeader {
        leader: Some(NodeId(3)),
    };
    bench.reply(A, 1, to_b.clone(), 10);
    assert_eq!(bench.client.route(), B);
    bench.reply(A, 2, to_b, 10);
    assert_eq!(bench.sent(10), [1, 2]);
    let to_a = Reply::NotLeader {
        leader: Some(NodeId(2)),
    };
    bench.reply(B, 1, to_a, 11);
    assert_eq!(bench.client.route(), A);
    assert!(bench.sent(12).is_empty(), "sent to and fro without a pause");
    assert_eq!(bench.client.next_deadline(), NodeTime(61));
    assert_eq!(bench.sent(61), [1, 2]);
}

#[test]
fn a_leader_that_has_too_much_to_do_is_asked_again_after_a_pause() {
    let mut bench = Bench::new();
    bench.client.take_route(A);
    bench.propose(10_000);
    bench.sent(0);
    bench.reply(A, 1, Reply::Refused(Code::Later), 10);
    bench.reply(
        A,
        1,
        Reply::Refused(Code::Session(Refusal::TooManyClients)),
        10,
    );
    assert!(bench.sent(59).is_empty());
    assert_eq!(bench.sent(60), [1]);
    assert!(bench.results().is_empty());
}

#[test]
fn a_refusal_of_one_command_holds_up_no_other() {
    let mut bench = Bench::new();
    bench.client.take_route(A);
    bench.propose(10_000);
    assert_eq!(bench.sent(0), [1]);
    let refused = Reply::Refused(Code::Session(Refusal::IssuedAhead));
    bench.reply(A, 1, refused, 10);
    bench.propose(10_000);
    assert_eq!(bench.sent(11), [2]);
    assert_eq!(bench.client.next_deadline(), NodeTime(60));
    bench.client.tick(NodeTime(59));
    assert!(bench.sent(59).is_empty());
    bench.client.tick(NodeTime(60));
    assert_eq!(bench.sent(60), [1]);
}

#[test]
fn no_more_are_out_than_the_sessions_can_tell_apart() {
    let mut bench = Bench::new();
    bench.client.take_route(A);
    for _ in 0..WINDOW {
        bench.propose(10_000);
        bench.sent(0);
    }
    for _ in 0..LIMITS.max_waiting {
        bench.propose(10_000);
    }
    assert!(bench.sent(0).is_empty());
    bench.reply(A, 2, applied(), 1);
    assert!(bench.sent(1).is_empty(), "the oldest has no answer yet");
    bench.reply(A, 1, applied(), 1);
    assert_eq!(bench.sent(1), [WINDOW + 1, WINDOW + 2]);
    assert_eq!(bench.results().len(), 2);
    bench.propose(10_000);
    bench.propose(10_000);
    let refused = bench.propose(10_000);
    let busy = bench.results();
    assert!(matches!(busy[..], [(number, Err(ProposalError::Busy { .. }))] if number == refused));
}

#[test]
fn bytes_that_are_out_are_bounded_and_one_command_always_goes() {
    let mut bench = Bench::new();
    bench.client.take_route(A);
    let propose = |bench: &mut Bench| {
        let body = Bytes::from(vec![0; LIMITS.max_command_bytes]);
        let deadline = NodeTime(10_000);
        bench.client.propose(body, 1, deadline, Box::new(|_| {}));
        bench.sent(0).len()
    };
    let most = LIMITS.max_waiting_bytes / LIMITS.max_command_bytes;
    for _ in 0..most {
        assert_eq!(propose(&mut bench), 1);
    }
    assert_eq!(propose(&mut bench), 0);
    bench.reply(A, 7, applied(), 1);
    assert_eq!(bench.sent(1), [most as u64 + 1]);
}

#[test]
fn a_deadline_ends_what_is_out_and_what_waits_and_says_that_it_is_uncertain() {
    let mut bench = Bench::new();
    bench.propose(100);
    bench.client.take_route(A);
    bench.sent(0);
    bench.client.take_route(Route::Nowhere);
    bench.propose(200);
    bench.propose(300);
    assert_eq!(bench.client.next_deadline(), NodeTime(100));
    bench.client.tick(NodeTime(99));
    assert!(bench.results().is_empty());
    bench.client.tick(NodeTime(100));
    assert_eq!(bench.results(), [(1, Err(ProposalError::TimedOut))]);
    assert!(!ProposalError::TimedOut.is_certain());
    bench.client.tick(NodeTime(250));
    assert_eq!(bench.results(), [(2, Err(ProposalError::TimedOut))]);
    bench.client.take_route(A);
    assert_eq!(bench.sent(260), [2], "only the third is left");
    // The first one's late answer is nobody's.
    bench.reply(A, 1, applied(), 261);
    assert!(bench.results().is_empty());
}

#[test]
fn a_refusal_ends_a_command_only_where_no_other_copy_may_have_come_into_the_log() {
    let mut bench = Bench::new();
    bench.client.take_route(A);
    bench.propose(10_000);
    bench.sent(0);
    bench.reply(A, 1, Reply::Refused(Code::Version), 1);
    assert_eq!(
        bench.results(),
        [(1, Err(ProposalError::Version { version: 1 }))]
    );
    bench.propose(10_000);
    bench.sent(2);
    bench.client.take_route(B);
    bench.sent(3);
    bench.reply(B, 2, Reply::Refused(Code::Version), 4);
    assert!(bench.results().is_empty());
    bench.client.tick(NodeTime(10_000));
    assert_eq!(bench.results(), [(2, Err(ProposalError::TimedOut))]);
}

#[test]
fn a_command_stamped_with_an_old_time_by_a_node_that_came_back_is_stamped_anew() {
    let mut bench = Bench::new();
    bench.client.take_route(A);
    bench.propose(10_000);
    assert_eq!(bench.sent(0), [1]);
    let expired = Reply::Refused(Code::Session(Refusal::Expired));
    bench.reply(A, 1, expired.clone(), 1);
    let mut commands = Vec::new();
    bench
        .client
        .outgoing(NodeTime(2), LogTime(999), &mut commands);
    assert_eq!(
        (commands[0].sequence, commands[0].issued),
        (2, LogTime(999))
    );
    // Of two copies the other may have been applied.
    bench.client.disconnected(NodeId(2));
    assert_eq!(bench.sent(3), [2]);
    bench.reply(A, 2, expired, 4);
    assert_eq!(
        bench.results(),
        [(1, Err(ProposalError::Refused(Refusal::Expired)))]
    );
}

#[test]
fn stopping_ends_all_and_what_comes_later() {
    let mut bench = Bench::new();
    bench.client.take_route(A);
    bench.propose(10_000);
    bench.sent(0);
    bench.propose(10_000);
    bench.client.stop(ProposalError::DiskFailed);
    let failed = Err(ProposalError::DiskFailed);
    assert_eq!(bench.results(), [(1, failed.clone()), (2, failed.clone())]);
    bench.propose(10_000);
    assert_eq!(bench.results(), [(3, failed)]);
}
