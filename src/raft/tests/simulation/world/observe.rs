//! What is looked at after each step of a node.

use std::collections::BTreeMap;

use tcpffee_raft::core::Role;
use tcpffee_raft::durable::Write;
use tcpffee_raft::entry::{Entry, Payload};
use tcpffee_raft::ids::{Index, Position, Term};
use tcpffee_raft::membership::Membership;
use tcpffee_raft::message::{Envelope, LeaseGrant, Message};

use super::coverage::Seen;
use super::history::{Checked, ensure};
use super::mirror::Mirror;
use super::{Checks, World};

/// Stamps older than this are of no use to anybody.
const STAMPS_KEPT_MS: u64 = 5_000;

impl World {
    /// Looks at a node after it has done something.
    pub(super) fn observe(&mut self, at: usize) -> Checked {
        self.observe_state(at)?;
        self.observe_leader(at)?;
        self.observe_commit(at)?;
        if let Some(live) = &mut self.nodes[at].live {
            let logged = live
                .memberships
                .last()
                .map_or(Index(0), |(index, _)| *index);
            ensure(
                self.checks != Checks::All || live.failed || live.core.in_force().0 == logged,
                "the last membership in the log is in force",
                || {
                    format!(
                        "node {}: that at {}, the last stands at {logged}",
                        at + 1,
                        live.core.in_force().0
                    )
                },
            )?;
            let certain = live.membership_at.min(live.commit);
            live.membership_at = live.core.in_force().0;
            // Nobody goes by those before the last that is certain.
            let kept = live
                .memberships
                .iter()
                .rposition(|(index, _)| *index <= certain)
                .unwrap_or(0);
            live.memberships.drain(..kept);
        }
        self.observe_leases(at)
    }

    fn observe_state(&mut self, at: usize) -> Checked {
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        let (was, is) = (live.state, live.core.hard_state());
        let vote_stands = is.term > was.term || was.vote.is_none() || is.vote == was.vote;
        ensure(
            is.term >= was.term && is.commit >= was.commit && vote_stands,
            "the hard state never goes back",
            || format!("node {}: {was:?} became {is:?}", at + 1),
        )?;
        live.state = is;
        let (was, is) = (live.applied, live.core.applied_index());
        ensure(is >= was, "what is applied stays", || {
            format!("node {}: {was} became {is}", at + 1)
        })?;
        live.applied = is;
        Ok(())
    }

    fn observe_leader(&mut self, at: usize) -> Checked {
        let node = &mut self.nodes[at];
        let life = node.life;
        let Some(live) = &mut node.live else {
            return Ok(());
        };
        let role = live.core.role();
        let was = std::mem::replace(&mut live.role, role);
        if was == Role::Leader && role != Role::Leader {
            self.coverage.see(Seen::StepDown);
        }
        if role != Role::Leader {
            return Ok(());
        }
        ensure(!live.failed, "nobody leads without a disk", || {
            format!("node {}", at + 1)
        })?;
        let (since, membership) = live.core.in_force();
        ensure(
            membership.is_voter(node.id) || since > live.core.commit(),
            "a leader that is no voter any more leads no more",
            || format!("node {}, since {since}", at + 1),
        )?;
        let term = live.core.term();
        if !self.history.leads(term, at, life)? {
            return Ok(());
        }
        self.trace.say(self.now_us, || {
            format!(
                "n{} LEADS term {term}, log up to {}",
                at + 1,
                live.log.last()
            )
        });
        if self.checks == Checks::All
            && let Some(durable) = &node.durable
        {
            let state = durable.hard_state;
            ensure(
                state.term == term && state.vote == Some(node.id),
                "a vote is durable before it counts",
                || format!("node {} leads term {term}, durable is {state:?}", at + 1),
            )?;
        }
        self.history.is_complete(term, &live.log)?;
        match self.checks {
            Checks::All => self.is_elected(at),
            Checks::Outcome => Ok(()),
        }
    }

    fn observe_commit(&mut self, at: usize) -> Checked {
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        let (from, to) = (live.commit, live.core.commit());
        // Without a disk it writes nothing down any more, and must promise nothing.
        if to == from || live.failed {
            return Ok(());
        }
        live.commit = to;
        let term = live.core.term();
        let leads = live.role == Role::Leader;
        let committed = self.history.committed();
        self.history.commits(from, to, term, &live.log)?;
        if to <= committed {
            return Ok(());
        }
        let own_term = live.log.term_at(to) == Some(term);
        let older = (committed.0 + 1..=to.0).any(|at| live.log.term_at(Index(at)) != Some(term));
        if leads && self.checks == Checks::All {
            ensure(
                own_term,
                "what earlier terms left is not committed by counting",
                || format!("node {} commits up to {to} in term {term}", at + 1),
            )?;
        }
        if leads && own_term && older {
            self.coverage.see(Seen::CommittedAcrossTerms);
        }
        self.is_held_by_majority(at, to)
    }

    /// What is committed for the first time is durable with a majority of the voters.
    fn is_held_by_majority(&self, at: usize, index: Index) -> Checked {
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
    fn whereabouts(&self, position: Position) -> String {
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

    /// A node may take its clock's stamp now: what is committed by then?
    pub(super) fn stamps(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let stamp = node.clock.at(self.now_us);
        if node.stamps.back().is_some_and(|(last, _)| *last == stamp) {
            return;
        }
        node.stamps.push_back((stamp, self.history.committed()));
        while let Some((first, _)) = node.stamps.front() {
            if first.plus(STAMPS_KEPT_MS) >= stamp {
                break;
            }
            node.stamps.pop_front();
        }
    }

    /// Keeps in mind who acknowledged and voted.
    fn notes_promise(&mut self, at: usize, envelope: &Envelope) {
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
    fn is_elected(&self, at: usize) -> Checked {
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

    /// A node has been granted a lease.
    pub(super) fn leased(&mut self, at: usize, grant: LeaseGrant) -> Checked {
        let now_us = self.now_us;
        let hit_lease_ms = self.plan.settings.hit_lease_ms;
        let node = &mut self.nodes[at];
        let now = node.clock.at(now_us);
        let Some(live) = &mut node.live else {
            return Ok(());
        };
        live.lease = Some(grant);
        if now >= grant.stamp.plus(hit_lease_ms) {
            return Ok(());
        }
        self.coverage.see(Seen::Lease);
        ensure(
            live.machine.last.index >= grant.commit,
            "a lease begins once its commit index is applied",
            || format!("node {} is at {}, {grant:?}", at + 1, live.machine.last),
        )?;
        let found = node
            .stamps
            .binary_search_by_key(&grant.stamp, |(stamp, _)| *stamp);
        let committed_then = found.ok().map(|found| node.stamps[found].1);
        ensure(
            committed_then.is_some_and(|then| then <= grant.commit),
            "a lease knows all that was committed at its stamp",
            || {
                format!(
                    "node {} is granted {grant:?} at {now}, then {committed_then:?} was committed",
                    at + 1
                )
            },
        )
    }

    /// No leader's fence is down for what a node that may still answer by itself has not applied.
    fn observe_leases(&mut self, at: usize) -> Checked {
        for holder in 0..self.nodes.len() {
            if holder != at && !self.nodes[at].leads() {
                continue;
            }
            for leader in 0..self.nodes.len() {
                if (holder == at || leader == at) && holder != leader {
                    self.is_fenced(leader, holder)?;
                }
            }
        }
        Ok(())
    }

    fn is_fenced(&mut self, leader: usize, holder: usize) -> Checked {
        if !self.nodes[leader].leads() {
            return Ok(());
        }
        let hit_lease_ms = self.plan.settings.hit_lease_ms;
        let Some(lease) = self.nodes[holder].may_hit(self.now_us, hit_lease_ms) else {
            return Ok(());
        };
        let (Some(leads), Some(holds)) = (&self.nodes[leader].live, &self.nodes[holder].live)
        else {
            return Ok(());
        };
        let next = holds.machine.last.index.next();
        if next > leads.core.commit() {
            return Ok(());
        }
        let down = leads.core.fence(next);
        if !down {
            self.coverage.see(Seen::FenceHeldBack);
        }
        ensure(!down, "the fence waits for all leases", || {
            format!(
                "node {} would go past {next}, node {} may hit by {lease:?} at {} and is at {}",
                leader + 1,
                holder + 1,
                self.nodes[holder].clock.at(self.now_us),
                holds.machine.last
            )
        })
    }

    /// Changes of the membership that a leader makes go one at a time, after an entry of its own
    /// term is committed.
    pub(super) fn changes(&mut self, at: usize, write: &Write) -> Checked {
        let changes = |entry: &Entry| matches!(entry.payload, Payload::Membership(_));
        let damaged: Vec<bool> = match write.entries.iter().any(changes) {
            true => self
                .nodes
                .iter()
                .map(|node| node.damaged.is_some())
                .collect(),
            false => Vec::new(),
        };
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        if let Some(meta) = &write.reset {
            live.memberships = vec![(meta.membership_index, meta.membership.clone())];
        }
        for entry in &write.entries {
            live.memberships.retain(|(index, _)| *index < entry.index);
            let Payload::Membership(membership) = &entry.payload else {
                continue;
            };
            let before = live.memberships.last().cloned();
            live.memberships.push((entry.index, membership.clone()));
            let makes = live.core.role() == Role::Leader && live.core.term() == entry.term;
            let (true, Some((_, before))) = (makes, before) else {
                continue;
            };
            ensure(
                before.may_become(membership),
                "one step of membership at a time",
                || format!("{before:?} is to become {membership:?}"),
            )?;
            // What changes no voter changes no majority.
            if before.changed_voters(membership) == 0 {
                continue;
            }
            let lost = membership
                .voters()
                .filter_map(|id| damaged.get(id.0 as usize - 1))
                .filter(|damaged| **damaged)
                .count();
            if 2 * lost >= membership.voters().count() {
                // The leader could not know yet: now too many disks are lost.
                self.overwhelmed = true;
                self.coverage.see(Seen::Overwhelmed);
            }
            let commit = live.core.commit();
            let under_way = live.memberships[..live.memberships.len() - 1]
                .windows(2)
                .any(|pair| pair[1].0 > commit && pair[0].1.changed_voters(&pair[1].1) > 0);
            ensure(
                !under_way && live.log.term_at(commit) == Some(entry.term),
                "a change waits for the one before and for an entry of its term",
                || {
                    format!(
                        "node {} changes at {}, another is under way: {under_way}, committed \
                         {commit}",
                        at + 1,
                        entry.position()
                    )
                },
            )?;
        }
        Ok(())
    }

    /// A node applies one entry.
    pub(super) fn applies_entry(&mut self, at: usize, entry: &Entry) -> Checked {
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        ensure(
            entry.index == live.machine.last.index.next(),
            "entries are applied in order",
            || {
                format!(
                    "node {} is at {}, is given {}",
                    at + 1,
                    live.machine.last,
                    entry.position()
                )
            },
        )?;
        ensure(
            self.checks != Checks::All || self.nodes[at].has_durably(entry.position()),
            "what is applied is durable here",
            || format!("node {} applies {}", at + 1, entry.position()),
        )?;
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        let effect = live.machine.apply(entry);
        if let Some((_, false)) = effect {
            self.coverage.see(Seen::RetryAnsweredOnce);
        }
        let before = self.history.membership.clone();
        let news = self.history.applies(entry, live.machine.chain, effect)?;
        if let (true, Payload::Membership(membership)) = (news, &entry.payload) {
            self.membership_agreed(&before, membership, entry.position());
        }
        self.answers(at, entry, effect.map(|(effect, _)| effect));
        Ok(())
    }

    /// A membership is committed: which disks are whole again, and what was seen.
    fn membership_agreed(&mut self, before: &Membership, now: &Membership, position: Position) {
        self.say(|| format!("MEMBERSHIP {position}: {}", super::brief::membership(now)));
        for (id, member) in &now.members {
            let Some(at) = self.node_at(*id) else {
                continue;
            };
            let old = before.members.get(id);
            match old {
                None => self.see(Seen::LearnerAdded),
                Some(old) if before.is_voter(*id) && !now.is_voter(*id) => {
                    self.see(Seen::Demoted);
                    let _ = old;
                }
                Some(old) if !before.is_voter(*id) && now.is_voter(*id) => {
                    self.see(Seen::Promoted);
                    let _ = old;
                }
                Some(old) if old.statement != member.statement => self.see(Seen::Stated),
                Some(old) if old.life != member.life => self.see(Seen::NewerLifeRecorded),
                Some(_) => {}
            }
            let node = &mut self.nodes[at];
            if node.damaged.is_some() && now.is_voter(*id) && node.is_recorded_anew(now) {
                node.damaged = None;
                node.lost.clear();
                self.see(Seen::WipedVoterBack);
            }
        }
        for id in before.members.keys() {
            if now.members.contains_key(id) {
                continue;
            }
            self.see(Seen::Removed);
            if self.node_at(*id).is_some_and(|at| self.nodes[at].leads()) {
                self.see(Seen::LeaderRemovedItself);
            }
        }
    }
}
