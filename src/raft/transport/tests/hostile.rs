//! Strangers and peers that mean no good, or are broken.

use super::net::{Net, Stranger, config, numbered};
use crate::ids::NodeId;
use crate::transport::PeerAddress;
use crate::wire::Purpose;
use crate::wire::frame::{HEAD_BYTES, Kind, MAX_BODY_BYTES};
use crate::wire::tests::talk::{self, dialling};

/// Node 1 alone, with a peer 2 that the test plays, and 3 whom nobody plays.
fn alone(handshake_ms: u64) -> Net {
    let mut config = config(1);
    config.limits.handshake_ms = handshake_ms;
    let nobody = "127.0.0.1:1".parse().expect("an address");
    config.peers = [2, 3]
        .map(|id| PeerAddress {
            id: NodeId(id),
            logs: nobody,
            proposals: nobody,
        })
        .into();
    Net {
        nodes: vec![super::net::Node::open(config)],
    }
}

fn logs(net: &mut Net) -> std::net::SocketAddr {
    net.node(1).address().logs
}

/// Somebody who is taken for node 2.
fn taken(net: &mut Net, purpose: Purpose) -> Stranger {
    let address = net.node(1).address();
    let at = match purpose {
        Purpose::Logs => address.logs,
        Purpose::Proposals => address.proposals,
    };
    let mut stranger = Stranger::speaking(at, dialling(talk::local(2), 1, purpose));
    net.until("he is taken", |_| {
        stranger.turn();
        stranger.is_open()
    });
    // Its last word is still to be said.
    stranger.turn();
    stranger
}

#[test]
fn whoever_says_nothing_is_let_go_in_time() {
    let mut net = alone(100);
    let mut silent: Vec<Stranger> = (0..5).map(|_| Stranger::knock(logs(&mut net))).collect();
    net.until("all are let go", |_| {
        silent.iter_mut().for_each(Stranger::turn);
        silent.iter().all(|one| one.hung_up)
    });
    assert_eq!(net.node(1).transport.totals().handshakes, 0);
    assert_eq!(net.node(1).transport.totals().turned_away, 5);
}

#[test]
fn whoever_says_his_words_byte_by_byte_gets_no_more_time() {
    let mut net = alone(100);
    let mut slow = Stranger::knock(logs(&mut net));
    let mut words = b"TCPFRF\x01\x01\x00\x00".iter().cycle();
    let mut said = 0;
    net.until("he is let go", |_| {
        if said < 9 {
            said += slow.shout(&[*words.next().expect("they go round")]);
        }
        slow.turn();
        slow.hung_up
    });
}

#[test]
fn garbage_ends_its_own_connection_and_nothing_else() {
    let mut net = Net::connected(2, |_| {});
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"TCPFRF\x01\x01\x00\x00\xff\xff\xff\xff\x01\x01",
        b"TCPFRF\x01\x01\x00\x00\x02\x00\x00\x00\x01\x19",
        b"TCPFRF\x01\x01\x00\x00\x20\x00\x00\x00\x01\x01aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        &[0xff; 4096],
    ] {
        let mut stranger = Stranger::knock(logs(&mut net));
        stranger.shout(garbage);
        net.until("he is let go", |_| {
            stranger.turn();
            stranger.hung_up
        });
    }
    assert!(net.node(1).is_connected(2));
    net.node(2).send(1, numbered(1));
    net.until("messages arrive", |net| net.node(1).messages().count() == 1);
}

#[test]
fn a_flood_of_silent_connections_keeps_no_peer_out_and_takes_no_more_than_its_bound() {
    let mut configs = [config(1), config(2)];
    configs[0].limits.handshakes = 32;
    let mut net = Net::open(configs.into());
    let at = logs(&mut net);
    let mut flood = Vec::new();
    net.until("the peer is connected, in a flood", |net| {
        flood.push(Stranger::knock(at));
        let handshakes = net.node(1).transport.totals().handshakes;
        assert!(handshakes <= 16, "{handshakes} from one source");
        flood.len() > 200 && net.node(1).is_connected(2)
    });
    assert!(net.node(1).transport.totals().crowded_out > 0);
    assert!(net.node(1).transport.slots.len() <= 16 + 2 + 4);
}

#[test]
fn sources_share_the_bound_of_all() {
    let mut net = alone(5_000);
    net.node(1).transport.limits.handshakes = 4;
    net.node(1).transport.limits.handshakes_per_source = 3;
    let at = logs(&mut net);
    let mut flood = Vec::new();
    for source in 2..12 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        let from = std::net::SocketAddr::from(([127, 0, 0, source], 0));
        socket.bind(&from.into()).expect("a loopback address");
        socket.connect(&at.into()).expect("a listener");
        flood.push(socket);
        net.turn();
        assert!(net.node(1).transport.totals().handshakes <= 4);
    }
    net.until("all have been seen", |net| {
        net.node(1).transport.totals().accepted == 10
    });
    assert_eq!(net.node(1).transport.totals().crowded_out, 6);
}

#[test]
fn a_peer_that_states_a_huge_length_is_let_go_at_once() {
    for length in [u32::MAX, MAX_BODY_BYTES as u32 + 3] {
        let mut net = alone(5_000);
        let mut peer = taken(&mut net, Purpose::Logs);
        let mut head = length.to_le_bytes().to_vec();
        head.extend([1, Kind::Append as u8]);
        peer.shout(&head);
        net.until("it is let go", |_| {
            peer.turn();
            peer.hung_up
        });
        let error = net.node(1).status(2).incoming[0].last_error.clone();
        assert!(error.is_some_and(|error| error.contains("of at most")));
    }
}

#[test]
fn a_frame_that_never_ends_takes_no_more_than_a_frame() {
    let mut net = alone(5_000);
    let mut peer = taken(&mut net, Purpose::Logs);
    let mut frame = (MAX_BODY_BYTES as u32 + 2).to_le_bytes().to_vec();
    frame.extend([1, Kind::Append as u8]);
    frame.resize(HEAD_BYTES + MAX_BODY_BYTES - 1, 0);
    let mut rest = &frame[..];
    net.until("all but its end has arrived", |net| {
        let sent = peer.shout(rest);
        rest = &rest[sent..];
        let counters = net.node(1).status(2).incoming[0].counters;
        counters.received_bytes as usize > frame.len()
    });
    let held = |net: &mut Net| {
        let slots = &net.node(1).transport.slots;
        let held = slots.iter().map(|(_, one)| one.session.held_bytes());
        held.sum::<usize>()
    };
    assert_eq!(held(&mut net), frame.len());
    // Its end, and then more than anybody takes.
    net.node(1).takes = false;
    peer.shout(&[0]);
    let mut swallowed = 0;
    for _ in 0..1_000 {
        swallowed += peer.shout(&frame);
        net.turn();
    }
    assert!(held(&mut net) <= MAX_BODY_BYTES + 64 * 1024 + HEAD_BYTES);
    assert!(swallowed < 16 * 1024 * 1024, "the rest waits with the peer");
}

#[test]
fn a_peer_that_sends_what_is_not_its_turn_is_let_go() {
    for (purpose, kind) in [
        (Purpose::Logs, Kind::Hello),
        (Purpose::Logs, Kind::Propose),
        (Purpose::Logs, Kind::Answer),
        (Purpose::Proposals, Kind::Append),
        (Purpose::Proposals, Kind::Answer),
    ] {
        let mut net = alone(5_000);
        let mut peer = taken(&mut net, purpose);
        peer.shout(&[2, 0, 0, 0, 1, kind as u8]);
        net.until("it is let go", |_| {
            peer.turn();
            peer.hung_up
        });
        assert!(net.node(1).messages().next().is_none());
    }
}

#[test]
fn a_message_that_cannot_be_read_ends_the_connection() {
    let mut net = alone(5_000);
    let mut peer = taken(&mut net, Purpose::Proposals);
    // A batch that claims four thousand million proposals.
    peer.shout(&[6, 0, 0, 0, 1, Kind::Propose as u8, 0xff, 0xff, 0xff, 0xff]);
    net.until("it is let go", |_| {
        peer.turn();
        peer.hung_up
    });
    let error = net.node(1).status(2).incoming[1].last_error.clone();
    assert!(error.is_some_and(|error| error.contains("cannot be read")));
}
