//! Two lives with one id.

use super::net::{Net, Stranger, config, incarnation};
use crate::ids::{Incarnation, NodeId};
use crate::transport::LinkState;
use crate::wire::Purpose;
use crate::wire::ended::Ended;
use crate::wire::hello::Local;
use crate::wire::reason::Reason;
use crate::wire::tests::talk::{self, dialling};

/// Somebody who says that he is node 2 in this life.
fn second(life: Incarnation) -> Local {
    Local {
        incarnation: life,
        ..talk::local(2)
    }
}

fn knock(net: &mut Net, life: Incarnation) -> Stranger {
    let at = net.node(1).address().logs;
    Stranger::speaking(at, dialling(second(life), 1, Purpose::Logs))
}

#[test]
fn another_life_is_refused_on_both_sides_while_the_first_is_connected() {
    let connected = incarnation(2, 1);
    let other_store = incarnation(9, 5);
    let copy = Incarnation {
        boot: 1,
        ..connected
    };
    let earlier = Incarnation {
        start: 0,
        ..connected
    };
    for refused in [other_store, copy, earlier] {
        let mut net = Net::connected(2, |_| {});
        let mut stranger = knock(&mut net, refused);
        net.until("it is refused", |_| {
            stranger.turn();
            stranger.hung_up
        });
        let reason = Reason::Duplicate {
            id: NodeId(2),
            connected,
            refused,
        };
        let side = stranger.side.expect("it spoke");
        assert_eq!(side.ended, Some(Ended::RefusedThere(reason.clone())));
        let here = Ended::RefusedHere(reason);
        assert!(net.node(1).refusals().contains(&&here));
        assert!(here.to_string().contains("two live nodes claim"));
        assert!(net.node(1).is_connected(2), "the first one stays");
    }
}

#[test]
fn a_later_start_of_the_same_store_takes_the_place_of_the_earlier() {
    let mut net = Net::connected(2, |_| {});
    let later = incarnation(2, 2);
    let mut stranger = knock(&mut net, later);
    net.until("it is taken", |net| {
        stranger.turn();
        let state = net.node(1).status(2).incoming[0].state;
        matches!(state, LinkState::Connected { incarnation, .. } if incarnation == later)
    });
    // The earlier life still runs; it is the one that is refused now.
    let lost = Ended::RefusedThere(Reason::Duplicate {
        id: NodeId(2),
        connected: later,
        refused: incarnation(2, 1),
    });
    net.until("the earlier one learns it", |net| {
        stranger.turn();
        net.node(2).refusals().contains(&&lost)
    });
    assert!(stranger.is_open() && !stranger.hung_up);
}

#[test]
fn a_second_connection_of_the_same_life_takes_the_place_of_the_first() {
    let mut net = Net::open(vec![config(1)]);
    let nobody = "127.0.0.1:1".parse().expect("an address");
    net.node(1)
        .transport
        .set_peers(&[crate::transport::PeerAddress {
            id: NodeId(2),
            logs: nobody,
            proposals: nobody,
        }]);
    let mut first = knock(&mut net, incarnation(2, 1));
    net.until("the first is open", |_| {
        first.turn();
        first.is_open()
    });
    let mut second = knock(&mut net, incarnation(2, 1));
    net.until("the first is closed", |_| {
        first.turn();
        second.turn();
        first.hung_up && second.is_open()
    });
    assert!(!second.hung_up);
}

#[test]
fn any_life_is_taken_once_the_first_one_is_gone() {
    let mut net = Net::connected(2, |_| {});
    net.nodes.retain(|node| node.id() == NodeId(1));
    let wiped = incarnation(9, 1);
    let mut stranger = None;
    net.until("it is taken", |net| {
        let stranger = stranger.get_or_insert_with(|| knock(net, wiped));
        stranger.turn();
        if stranger.hung_up {
            *stranger = knock(net, wiped);
        }
        let state = net.node(1).status(2).incoming[0].state;
        matches!(state, LinkState::Connected { incarnation, .. } if incarnation == wiped)
    });
}
