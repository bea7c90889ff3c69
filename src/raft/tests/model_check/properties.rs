//! What must hold in every state, and what must be reachable at all.
//!
//! The first five are those of figure 3 of the Raft paper.

use stateright::Property;
use tcpffee_raft::core::Role;
use tcpffee_raft::entry::Entry;
use tcpffee_raft::ids::Term;

use crate::cluster::Cluster;
use crate::exploration::Exploration;
use crate::node::{Node, holds_command, is_command};
use crate::print::Printed;

/// What must hold everywhere.
pub fn always() -> Vec<Property<Exploration>> {
    vec![
        Property::always(ONE_LEADER, |_, cluster: &Cluster| {
            cluster.leaders.values().all(|led| led.len() == 1)
        }),
        Property::always(LOG_MATCHING, |_, cluster| logs_match(cluster)),
        Property::always(COMMITTED_AGREE, |_, cluster: &Cluster| {
            let held = |node: &Node| node.log_to(node.core.commit());
            every(cluster, |node| agreed(cluster, &held(node)))
        }),
        Property::always(LEADER_COMPLETENESS, |_, cluster: &Cluster| {
            every(cluster, |node| is_complete(cluster, node))
        }),
        Property::always(STATE_MACHINE_SAFETY, |_, cluster: &Cluster| {
            every(cluster, |node| agreed(cluster, &node.applied))
        }),
        Property::always(NO_ALARM, |_, cluster: &Cluster| {
            every(cluster, |node| node.alarms.is_empty())
        }),
    ]
}

pub const ONE_LEADER: &str = "at most one node leads a term";
pub const LOG_MATCHING: &str = "logs that hold one entry agree up to it";
pub const COMMITTED_AGREE: &str = "what one node holds for committed, all do";
pub const LEADER_COMPLETENESS: &str = "a leader holds all that earlier leaders committed";
pub const STATE_MACHINE_SAFETY: &str = "all nodes apply the same entries in the same order";
pub const NO_ALARM: &str = "no node is sent away or sees a contradiction";

/// Something that an exploration must come by, or it has not looked where it claims to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// A leader.
    Leader,
    /// Two nodes that have applied a command.
    AppliedTwice,
    /// A leader of a term after the one in which a command was committed.
    ChangeAfterCommit,
    /// Two nodes that each take themselves for the leader.
    OldLeader,
    /// A command of an earlier leader, committed by a later one.
    CommittedLater,
    /// A command that a node held durably and holds no more.
    Overwritten,
}

impl Sight {
    /// The sight as a property.
    pub fn property(self) -> Property<Exploration> {
        match self {
            Sight::Leader => Property::sometimes("a leader is elected", |_, cluster: &Cluster| {
                cluster.leader().is_some()
            }),
            Sight::AppliedTwice => {
                Property::sometimes("two nodes apply a command", |_, cluster: &Cluster| {
                    let applied = |node: &&Printed<Node>| !node.applied_commands().is_empty();
                    cluster.nodes.iter().filter(applied).count() >= 2
                })
            }
            Sight::ChangeAfterCommit => Property::sometimes(
                "another leads after a command was committed",
                |_, cluster: &Cluster| {
                    cluster.agreed.iter().any(|(in_term, entry)| {
                        is_command(entry) && newest_term_led(cluster) > *in_term
                    })
                },
            ),
            Sight::OldLeader => {
                Property::sometimes("an old leader leads on", |_, cluster: &Cluster| {
                    let leads = |node: &&Printed<Node>| node.core.role() == Role::Leader;
                    cluster.nodes.iter().filter(leads).count() >= 2
                })
            }
            Sight::CommittedLater => Property::sometimes(
                "a later leader commits an earlier one's command",
                |_, cluster: &Cluster| {
                    cluster
                        .agreed
                        .iter()
                        .any(|(in_term, entry)| is_command(entry) && *in_term > entry.term)
                },
            ),
            Sight::Overwritten => Property::sometimes(
                "a command is overwritten",
                |exploration: &Exploration, cluster: &Cluster| {
                    let holder = exploration.start.holder();
                    holder.is_some_and(|holder| !holds_command(&cluster.nodes[holder]))
                },
            ),
        }
    }
}

fn every(cluster: &Cluster, holds: impl Fn(&Node) -> bool) -> bool {
    cluster.nodes.iter().all(|node| holds(node))
}

fn log(node: &Node) -> Vec<Entry> {
    node.log_to(node.core.last().index)
}

/// Of two entries at one place with one term, everything before agrees too.
fn logs_match(cluster: &Cluster) -> bool {
    let [a, b, c] = [0, 1, 2].map(|node| log(&cluster.nodes[node]));
    let match_up = |one: &[Entry], other: &[Entry]| {
        let same = |(a, b): (&Entry, &Entry)| a.position() == b.position();
        let last = one.iter().zip(other).rposition(same);
        last.is_none_or(|last| one[..=last] == other[..=last])
    };
    match_up(&a, &b) && match_up(&a, &c) && match_up(&b, &c)
}

/// Whether these are the first of the entries that count as committed.
fn agreed(cluster: &Cluster, entries: &[Entry]) -> bool {
    let agreed = cluster.agreed.iter().map(|(_, entry)| entry);
    entries.len() <= cluster.agreed.len() && entries.iter().zip(agreed).all(|(a, b)| a == b)
}

fn is_complete(cluster: &Cluster, node: &Node) -> bool {
    if node.core.role() != Role::Leader {
        return true;
    }
    let held = log(node);
    let earlier = |(in_term, _): &&(Term, Entry)| *in_term < node.core.term();
    let mut committed = cluster.agreed.iter().filter(earlier);
    committed.all(|(_, entry)| held.contains(entry))
}

fn newest_term_led(cluster: &Cluster) -> Term {
    cluster.leaders.keys().copied().max().unwrap_or_default()
}
