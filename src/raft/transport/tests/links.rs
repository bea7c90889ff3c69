//! Connections come, go and come again.

use super::net::{Net, Node, config, incarnation, number_of, numbered, propose};
use crate::ids::{ClusterId, NodeId};
use crate::transport::{LinkState, PeerAddress, Received};
use crate::wire::Purpose;
use crate::wire::ended::Ended;
use crate::wire::hello::Agreement;
use crate::wire::reason::Reason;

#[test]
fn a_peer_that_was_killed_is_connected_again_in_its_next_life() {
    let mut net = Net::connected(2, |_| {});
    let address = net.node(2).address();
    net.nodes.retain(|node| node.id() == NodeId(1));
    let down = |purpose| Received::PeerDown {
        peer: NodeId(2),
        purpose,
    };
    net.until("the loss is noticed", |net| {
        let received = &net.node(1).received;
        received.contains(&down(Purpose::Logs)) && received.contains(&down(Purpose::Proposals))
    });
    let link = net.node(1).status(2).outgoing[0].clone();
    assert!(link.last_error.is_some());
    let lost = net
        .node(1)
        .transport
        .propose(NodeId(2), vec![propose(1, b"")]);
    assert!(lost.is_err());

    let mut again = config(2);
    again.incarnation = incarnation(2, 2);
    again.listen_logs = address.logs;
    again.listen_proposals = address.proposals;
    net.nodes.push(Node::open(again));
    net.introduce();
    net.until_connected();
    let up = Received::PeerUp {
        peer: NodeId(2),
        incarnation: incarnation(2, 2),
        cluster: Some(ClusterId(77)),
        purpose: Purpose::Logs,
    };
    assert!(net.node(1).received.contains(&up));
    net.node(1).send(2, numbered(5));
    net.until("messages arrive again", |net| {
        net.node(2).messages().any(|one| number_of(one) == Some(5))
    });
}

#[test]
fn the_status_shows_each_connection_and_what_passed() {
    let mut net = Net::connected(2, |_| {});
    net.node(1).send(2, numbered(1));
    net.node(1).send(7, numbered(1));
    net.until("it has arrived", |net| net.node(2).messages().count() == 1);
    let status = net.node(1).status(2);
    let link = &status.outgoing[0];
    assert!(matches!(
        link.state,
        LinkState::Connected { incarnation: life, .. } if life == incarnation(2, 1)
    ));
    assert_eq!(link.counters.sent_messages, 1);
    assert!(link.counters.sent_bytes > 0 && link.counters.received_bytes > 0);
    let link = &net.node(2).status(1).incoming[0];
    assert_eq!(link.counters.received_messages, 1);
    assert_eq!(net.node(2).transport.totals().handshakes, 0);
    assert_eq!(net.node(2).transport.totals().accepted, 2);
}

#[test]
fn messages_without_a_connection_are_dropped_and_counted() {
    let mut node = Node::open(config(1));
    let nobody: PeerAddress = PeerAddress {
        id: NodeId(2),
        ..node.address()
    };
    node.transport.set_peers(&[nobody]);
    for number in 0..10 {
        node.send(2, numbered(number));
    }
    assert_eq!(node.status(2).outgoing[0].counters.dropped_messages, 10);
}

#[test]
fn a_node_that_dials_itself_says_so_and_nothing_else_happens() {
    let mut net = Net::open(vec![config(1)]);
    let own = net.node(1).address();
    let peer = PeerAddress {
        id: NodeId(2),
        ..own
    };
    net.node(1).transport.set_peers(&[peer]);
    net.until("it is noticed", |net| {
        let refusals = net.node(1).refusals();
        refusals.contains(&&Ended::RefusedHere(Reason::Yourself))
    });
}

#[test]
fn a_peer_that_is_one_no_longer_is_let_go_and_not_taken_again() {
    let mut net = Net::connected(3, |_| {});
    let addresses: Vec<PeerAddress> = [1, 2].map(|id| net.node(id).address()).into();
    net.node(1).transport.set_peers(&addresses);
    assert!(net.node(1).is_connected(2), "the others are not disturbed");
    let refused = Ended::RefusedThere(Reason::NotAPeer(NodeId(3)));
    net.until("the third learns it", |net| {
        net.node(3).refusals().contains(&&refused)
    });
    assert!(net.node(1).is_connected(2));
    assert_eq!(net.node(1).transport.status().len(), 1);
    // And back.
    net.introduce();
    net.until_connected();
}

#[test]
fn a_peer_that_moved_is_dialled_at_its_new_place() {
    let mut net = Net::connected(2, |_| {});
    let moved = Node::open({
        let mut config = config(2);
        config.incarnation = incarnation(2, 2);
        config
    });
    net.nodes[1] = moved;
    net.introduce();
    net.until_connected();
    net.node(1).send(2, numbered(3));
    net.until("messages arrive there", |net| {
        net.node(2).messages().any(|one| number_of(one) == Some(3))
    });
}

#[test]
fn joining_a_cluster_begins_all_connections_anew_and_ends_those_with_another() {
    let mut net = Net::connected(3, |config| config.cluster = None);
    for (id, cluster) in [(1, 5), (2, 5), (3, 6)] {
        let cluster = Some(ClusterId(cluster));
        net.node(id).transport.set_cluster(cluster);
    }
    net.until("those of one cluster are connected", |net| {
        net.node(1).is_connected(2) && net.node(2).is_connected(1)
    });
    net.until("the others refuse each other", |net| {
        let refused = |node: &Node| {
            let mut refusals = node.refusals().into_iter();
            refusals.any(|ended| {
                matches!(
                    ended,
                    Ended::RefusedHere(Reason::Cluster { .. })
                        | Ended::RefusedThere(Reason::Cluster { .. })
                )
            })
        };
        refused(net.node(3)) && refused(net.node(1)) && refused(net.node(2))
    });
    let state = net.node(1).status(3).incoming[0].state;
    assert!(matches!(state, LinkState::Down { .. }));
}

#[test]
fn nodes_whose_keys_would_differ_are_refused_after_a_reload_and_both_know_why() {
    let mut net = Net::connected(2, |_| {});
    net.node(1).transport.set_agreement(Agreement {
        hash: [1; 32],
        text: "key_type IP, key_ipv6_prefix 64".into(),
    });
    net.until("both know it", |net| {
        let knows = |node: &Node| {
            let mut refusals = node.refusals().into_iter();
            refusals.any(|ended| ended.to_string().contains("key_ipv6_prefix 64"))
        };
        knows(net.node(1)) && knows(net.node(2))
    });
}
