//! Parts that need no other node.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{Index, LogTime, NodeId, NodeTime, Position, Term};
use crate::membership::Membership;
use crate::message::{Message, SnapshotMeta};
use crate::transport::complaints::{About, Complaints};
use crate::transport::config::Limits;
use crate::transport::outbox::{Outbox, Outgoing};
use crate::transport::peer::{Link, Random};
use crate::transport::sockets::{Connected, connected, dial, listen};
use crate::wire::Purpose;

use super::net::numbered;

#[test]
fn the_wait_before_a_peer_is_dialled_again_doubles_up_to_its_bound_with_jitter() {
    let limits = Limits::default();
    let mut random = Random::new(NodeId(1), 7);
    let mut link = Link::default();
    let now = NodeTime(10_000);
    let mut bound = 50;
    for _ in 0..12 {
        link.down(now, 0, &limits, &mut random);
        let wait = link.dial_at.since(now);
        assert!(wait >= bound / 2 && wait <= bound, "{wait} of {bound} ms");
        bound = (bound * 2).min(2_000);
    }
    // One that was open only for a moment is no success.
    link.down(now, 100, &limits, &mut random);
    assert!(link.dial_at.since(now) >= 1_000);
    link.down(now, 60_000, &limits, &mut random);
    assert!(link.dial_at.since(now) <= 50);
}

#[test]
fn two_nodes_do_not_wait_in_step() {
    let waits = |id| {
        let mut random = Random::new(NodeId(id), id * 3);
        Vec::from_iter((0..20).map(|_| random.below(1000)))
    };
    assert_ne!(waits(1), waits(2));
}

#[test]
fn the_second_secret_is_tried_once_and_then_the_first_again() {
    let mut link = Link::default();
    assert!(link.try_next_key(2, NodeTime(5)));
    assert_eq!((link.key, link.dial_at), (1, NodeTime(5)));
    assert!(!link.try_next_key(2, NodeTime(6)));
    assert_eq!(link.key, 0);
    assert!(!link.try_next_key(1, NodeTime(7)));
}

fn forming(bytes: usize) -> Outgoing {
    Outgoing::Forming(Bytes::from(vec![0; bytes]))
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        last: Position::default(),
        time: LogTime(0),
        membership: Arc::new(Membership::default()),
        membership_index: Index(0),
        size_bytes: 10,
        checksum: 0,
    }
}

#[test]
fn votes_and_heartbeats_go_first_and_a_snapshot_last_and_piecewise() {
    let mut outbox = Outbox::new(&Limits::default());
    let chunk = |offset| Message::SnapshotChunk {
        snapshot: Arc::new(meta()),
        offset,
        data: Bytes::from_static(b"piece"),
    };
    let vote = Message::Vote {
        last: Position::default(),
        transfer: false,
    };
    for message in [chunk(0), chunk(5), numbered(1), vote, numbered(2)] {
        outbox
            .push(Outgoing::Message(Term(1), message))
            .expect("room");
    }
    let mut turn = || {
        let mut out = Vec::new();
        outbox.drain(1_000, |outgoing| out.push(format!("{outgoing:?}")));
        out
    };
    let first = turn();
    assert_eq!(first.len(), 3);
    assert!(first[0].contains("Vote") && first[1].contains("Index(1)"));
    assert_eq!(turn().len(), 1);
    assert_eq!(turn().len(), 1);
    assert!(turn().is_empty());
}

#[test]
fn an_outbox_takes_what_is_larger_than_itself_only_when_it_is_empty() {
    let limits = Limits {
        queue_bytes: 100,
        ..Limits::default()
    };
    let mut outbox = Outbox::new(&limits);
    assert!(outbox.push(forming(1_000)).is_ok());
    assert!(outbox.push(forming(1)).is_err());
    outbox.drain(1, |_| {});
    assert!(outbox.is_empty());
    assert!(outbox.push(forming(60)).is_ok());
    assert!(outbox.push(forming(41)).is_err());
    assert!(outbox.push(forming(40)).is_ok());
}

#[test]
fn a_fault_that_repeats_is_said_once_in_a_while_with_a_count() {
    let mut complaints = Complaints::default();
    let about = About::Outgoing(NodeId(2), Purpose::Logs);
    let mut said = |text: &str, ms| {
        let admitted = complaints.admit(about, text, NodeTime(ms));
        admitted.map(|left_out| left_out.to_string())
    };
    assert_eq!(said("refused", 0).as_deref(), Some(""));
    assert_eq!(said("refused", 5_000), None);
    assert_eq!(said("refused", 9_999), None);
    let counted = said("refused", 10_000).expect("it is said again");
    assert!(counted.contains("2 more"), "{counted}");
    assert_eq!(said("another", 10_500), None);
    assert!(said("another", 11_100).is_some());
}

#[test]
fn sockets_notice_a_dead_peer_and_hold_little_of_a_snapshot_back() {
    let listener = listen("127.0.0.1:0".parse().expect("an address"), Purpose::Logs);
    let listener = listener.expect("a listener");
    let at = listener.local_addr().expect("an address");
    let stream = dial(at, &Limits::default()).expect("a socket");
    let socket = socket2::SockRef::from(&stream);
    assert!(socket.tcp_nodelay().expect("an option"));
    assert!(socket.keepalive().expect("an option"));
    let dead = socket.tcp_user_timeout().expect("an option");
    assert_eq!(dead, Some(std::time::Duration::from_secs(5)));
    assert_eq!(socket.tcp_notsent_lowat().expect("an option"), 128 * 1024);
    let (accepted, _) = loop {
        match listener.accept() {
            Ok(accepted) => break accepted,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    };
    // The kernel doubles what is asked for (socket(7)).
    let buffer = socket2::SockRef::from(&accepted).recv_buffer_size();
    assert!(buffer.expect("an option") <= 512 * 1024);
}

#[test]
fn a_socket_that_connected_to_itself_counts_as_refused() {
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let kind = socket2::Type::STREAM;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).expect("a socket");
    socket.bind(&any.into()).expect("a port");
    let own = socket.local_addr().expect("an address");
    socket.connect(&own).expect("a simultaneous open");
    let stream = mio::net::TcpStream::from_std(socket.into());
    assert!(matches!(connected(&stream), Connected::Failed(_)));
}
