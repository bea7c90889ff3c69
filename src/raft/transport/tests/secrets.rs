//! Secrets: none, one, the wrong one, and a new one without a stop.

use super::net::{Net, Node, config, number_of, numbered};
use crate::transport::TransportConfig;
use crate::wire::ended::Ended;
use crate::wire::tests::talk::{OTHER, SECRET, secrets};

fn with(id: u64, keys: &[&[u8]]) -> TransportConfig {
    TransportConfig {
        secrets: secrets(keys),
        ..config(id)
    }
}

#[test]
fn a_wrong_or_missing_secret_is_refused_on_both_sides() {
    let cases: [(&[&[u8]], Ended, Ended); 2] = [
        (&[OTHER], Ended::WrongSecret, Ended::WrongSecret),
        (&[], Ended::SecretOnlyHere, Ended::SecretOnlyThere),
    ];
    for (second, known_to_first, known_to_second) in cases {
        let mut net = Net::open(vec![with(1, &[SECRET]), with(2, second)]);
        net.until("both know it", |net| {
            net.node(1).refusals().contains(&&known_to_first)
                && net.node(2).refusals().contains(&&known_to_second)
        });
        assert!(!net.node(1).is_connected(2));
        let error = net.node(1).status(2).outgoing[0].last_error.clone();
        assert!(error.is_some_and(|error| error.contains("secret")));
    }
}

#[test]
fn a_secret_is_replaced_without_a_stop() {
    let mut net = Net::open(vec![with(1, &[SECRET]), with(2, &[SECRET])]);
    net.until_connected();
    // Node by node, each step on its own: together they always have one that both know.
    let steps: [(u64, &[&[u8]]); 4] = [
        (1, &[OTHER, SECRET]),
        (2, &[OTHER, SECRET]),
        (1, &[OTHER]),
        (2, &[OTHER]),
    ];
    for (number, (id, keys)) in steps.into_iter().enumerate() {
        net.node(id).transport.set_secrets(secrets(keys));
        net.until_connected();
        net.node(1).send(2, numbered(number as u64));
        net.until("messages arrive", |net| {
            let mut messages = net.node(2).messages();
            messages.any(|one| number_of(one) == Some(number as u64))
        });
    }
    let refused = |node: &Node| node.refusals().len();
    let later = (refused(net.node(1)), refused(net.node(2)));
    for _ in 0..50 {
        net.turn();
    }
    assert_eq!(later, (refused(net.node(1)), refused(net.node(2))));
}
