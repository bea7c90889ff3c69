//! What a node's messages promise, and whether that is durable.

use std::collections::BTreeMap;

use tcpffee_raft::ids::{Index, Position, Term};
use tcpffee_raft::membership::Membership;
use tcpffee_raft::message::{Envelope, Message};

use super::history::{Checked, ensure};
use super::mirror::Mirror;
use super::{Checks, World};

impl World {
    /// What is committed for the first time is durable with a majority of the voters.
    pub(super) fn is_held_by_majority(&self, at: usize, index: Index) -> Checked {
        let (Some(live), Some(position)) = (&self.nodes[at].live, self.history.at(index)) else {
            return Ok(());
        };
        if self.checks != Checks::All {
            return Ok(());
        }
        let node = &self.nodes[at];
        // Since the last look the membership may have changed, before or after.
        let holds = |membership: &Membership| {
            let holding = membership
                .members
                .iter()
                .filter(|(id, member)| {
                    let Some(voter) = self.node_at(**id).map(|voter| &self.nodes[voter]) else {
                        return false;
                    };
                    let Some(life) = member.life else {
                        return false;
                    };
                    let boot = life.incarnation.boot;
                    // Only the life on record can have promised it, and whoever holds what it
                    // promised holds the record too.
                    let up_to = match **id == node.id {
                        true if boot != live.incarnation.boot => Index(0),
                        true => node.durable.as_ref().map_or(Index(0), Mirror::last),
                        false => voter.acknowledged.get(&boot).copied().unwrap_or_default(),
                    };
                    let promised = up_to >= index && up_to >= life.recorded_at;
                    let held = match voter.damaged.is_none() || voter.is_recorded_anew(membership) {
                        true => voter.has_durably(position),
                        // What it acknowledged before its disk was lost has been counted.
                        false => voter.lost.iter().any(|lost| lost.holds(position)),
                    };
                    membership.is_voter(**id) && promised && held
                })
                .count();
            holding >= membership.majority()
        };
        let since = live.membership_at;
        ensure(
            live.memberships
                .iter()
                .filter(|(at, _)| *at >= since)
                .any(|(_, membership)| holds(membership)),
            "what is committed is durable with a majority of the voters",
            || {
                format!(
                    "node {} commits {position}, of the voters {:?} too few have it: {}",
                    at + 1,
                    live.core.membership().voters().collect::<Vec<_>>(),
                    self.whereabouts(position)
                )
            },
        )
    }

    /// Which nodes hold an entry, and which have lost their disks.
    pub(super) fn whereabouts(&self, position: Position) -> String {
        let words: Vec<String> = self
            .nodes
            .iter()
            .map(|node| {
                format!(
                    "{:?} {}{}",
                    node.id,
                    if node.has_durably(position) {
                        "has it"
                    } else {
                        "has it not"
                    },
                    if node.damaged.is_some() {
                        ", damaged"
                    } else {
                        ""
                    }
                )
            })
            .collect();
        words.join("; ")
    }

    /// Keeps in mind who acknowledged and voted.
    pub(super) fn notes_promise(&mut self, at: usize, envelope: &Envelope) {
        let node = &mut self.nodes[at];
        match (&envelope.message, node.store) {
            (Message::Appended { matched }, _) => {
                let boot = envelope.incarnation.boot;
                let known = node.acknowledged.entry(boot).or_default();
                *known = (*known).max(*matched);
            }
            (Message::VoteReply { granted: true }, Some(store)) => {
                let votes = self.votes.entry((envelope.term, envelope.to)).or_default();
                votes.insert(node.id, store);
            }
            _ => {}
        }
    }

    /// A new leader has the votes of a majority, each from the store that is on record.
    pub(super) fn is_elected(&self, at: usize) -> Checked {
        let Some(live) = &self.nodes[at].live else {
            return Ok(());
        };
        let id = self.nodes[at].id;
        let none = BTreeMap::new();
        let votes = self.votes.get(&(live.core.term(), id)).unwrap_or(&none);
        let elects = |membership: &Membership| {
            let given = membership
                .members
                .iter()
                .filter(|(voter, member)| {
                    let recorded = member.life.map(|life| life.incarnation.store);
                    membership.is_voter(**voter)
                        && (**voter == id
                            || votes
                                .get(voter)
                                .is_some_and(|store| recorded.is_none_or(|it| it == *store)))
                })
                .count();
            given >= membership.majority()
        };
        ensure(
            live.memberships.iter().any(|(_, it)| elects(it)),
            "a leader is elected by a majority that has forgotten nothing",
            || format!("node {} has the votes {votes:?}", at + 1),
        )
    }

    /// What a message promises is durable before it goes.
    pub(super) fn promises(&mut self, at: usize, envelope: &Envelope) -> Checked {
        self.notes_promise(at, envelope);
        let node = &self.nodes[at];
        let (Some(live), Some(durable)) = (&node.live, &node.durable) else {
            return Ok(());
        };
        if self.checks != Checks::All {
            return Ok(());
        }
        match &envelope.message {
            Message::VoteReply { granted: true } => {
                let state = durable.hard_state;
                ensure(
                    state.term > envelope.term
                        || (state.term == envelope.term && state.vote == Some(envelope.to)),
                    "a vote is durable before it is given",
                    || format!("{envelope:?}, durable is {state:?}"),
                )
            }
            Message::Appended { matched } => {
                let (there, here) = (durable.term_at(*matched), live.log.term_at(*matched));
                let covered = [there, here].contains(&Some(Term(0)));
                ensure(
                    there.is_some() && (there == here || covered),
                    "entries are durable before they are acknowledged",
                    || {
                        format!(
                            "{envelope:?}, durable is {there:?}, up to {}",
                            durable.last()
                        )
                    },
                )
            }
            _ => Ok(()),
        }
    }
}
