#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod bytes;
mod orders;
mod scenarios;
mod simulated;
mod world;

use std::sync::Arc;

use super::*;
use crate::ids::{StoreId, Term};
use crate::membership::Role;

/// Node `number`.
fn n(number: u64) -> NodeId {
    NodeId(number)
}

fn list(numbers: &[u64]) -> Statement {
    Statement {
        peers: numbers.iter().copied().map(NodeId).collect(),
        version: 1,
    }
}

/// The life of node `number` with its first store, started for the first time.
fn life(number: u64) -> Incarnation {
    Incarnation {
        store: StoreId(u128::from(number) * 100),
        start: 1,
        boot: number * 7,
    }
}

fn start(number: u64, peers: &[u64], found: Found) -> Start {
    Start {
        id: n(number),
        life: life(number),
        statement: list(peers),
        found,
        draw: ClusterId(u128::from(number) + 0xc000),
    }
}

fn blank(number: u64, peers: &[u64]) -> Forming {
    let found = Found::Blank { seed: None };
    Forming::new(start(number, peers, found), NodeTime(0))
}

fn seeded(number: u64, peers: &[u64], entries: u64) -> Forming {
    let found = Found::Blank {
        seed: Some(entries),
    };
    Forming::new(start(number, peers, found), NodeTime(0))
}

fn log(cluster: u128, index: u64, term: u64) -> LogFacts {
    LogFacts {
        cluster: ClusterId(cluster),
        last: Position {
            term: Term(term),
            index: Index(index),
        },
        leader: None,
    }
}

fn member(number: u64, peers: &[u64], facts: LogFacts) -> Forming {
    Forming::new(
        start(number, peers, Found::Log { facts, form: None }),
        NodeTime(0),
    )
}

/// Connects all of them with each other and passes their messages on until nobody has anything
/// to say; forms are made durable at once.
fn mingle(nodes: &mut [Forming]) -> Vec<Effect> {
    for at in 0..nodes.len() {
        for other in 0..nodes.len() {
            let (id, life) = (nodes[other].id, nodes[other].life);
            if other != at {
                nodes[at].peer_up(id, life);
            }
        }
    }
    settle(nodes)
}

/// Passes messages on until nobody has anything to say; tells what else came up.
fn settle(nodes: &mut [Forming]) -> Vec<Effect> {
    let mut seen = Vec::new();
    loop {
        let mut is_quiet = true;
        for at in 0..nodes.len() {
            let (from, life) = (nodes[at].id, nodes[at].life);
            for effect in nodes[at].effects() {
                is_quiet = false;
                match effect {
                    Effect::Send { to, message } => {
                        let message = Message::decode(message.encode()).unwrap();
                        if let Some(peer) = nodes.iter_mut().find(|node| node.id == to) {
                            peer.receive(from, life, message);
                        }
                    }
                    other => {
                        if let Effect::Persist(form) = &other {
                            nodes[at].persisted(form.cluster);
                        }
                        seen.push(other);
                    }
                }
            }
        }
        if is_quiet {
            return seen;
        }
    }
}

fn cluster_of(node: &Forming) -> Option<ClusterId> {
    node.holding().cluster()
}
