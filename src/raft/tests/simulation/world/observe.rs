//! What is looked at after each step of a node.

use tcpffee_raft::core::Role;
use tcpffee_raft::entry::{Entry, Payload};
use tcpffee_raft::ids::Index;

use super::coverage::Seen;
use super::history::{Checked, ensure};
use super::{Checks, World};

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
        let (from, mut to) = (live.commit, live.core.commit());
        if live.failed {
            // What came right before the disk failed was not written down any more.
            while to > from && live.log.term_at(to) != live.core.term_at(to) {
                to = to.previous();
            }
        }
        if to == from {
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
}
