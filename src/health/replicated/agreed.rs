//! What follows from the log: a function of its entries and of nothing else.
//!
//! - A verdict changes only by more than half of the alive nodes that have the check. Who alone has
//!   it decides alone.
//! - The first node that declares a check gives its first verdict: a group that was out does not come
//!   in for a moment because its check is new to the log.
//! - A node that the leader does not count as alive has no vote. When it is alive again its vote
//!   counts once it has declared itself; until then it counts as one that has the check and says
//!   nothing.
//! - A verdict is forgotten when no member has the check any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tcpffee_raft::ids::{Index, NodeId};
use tcpffee_raft::membership::Membership;

use crate::config::GroupId;
use crate::health::definition::CheckId;
use crate::health::streak::State;

use super::command::{Command, MAX_CHECKS_OF_NODE, Outcome};

/// What is voted on: one check of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckKey {
    /// The group.
    pub group: GroupId,
    /// The check.
    pub check: CheckId,
}

/// What the log amounts to. A clone shares what has not changed since.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Agreed {
    /// Up to where the log is in it; entries that change nothing may be missing.
    pub(super) index: Index,
    pub(super) members: BTreeSet<NodeId>,
    /// Members that the leader counts as alive.
    pub(super) alive: BTreeSet<NodeId>,
    /// What members have said.
    pub(super) said: BTreeMap<NodeId, Arc<Said>>,
    pub(super) verdicts: Arc<BTreeMap<CheckKey, State>>,
}

/// What one member has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Its process.
    pub boot: u64,
    /// Whether its session goes on: it has not been silent since it declared itself.
    pub in_session: bool,
    /// The checks that it has, with what it sees.
    pub checks: BTreeMap<CheckKey, State>,
}

/// What one member sees of a check that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The member.
    pub node: NodeId,
    /// What it has said last.
    pub state: State,
    /// Whether it counts: the member is alive, and has spoken since it was last found silent.
    pub counts: bool,
}

impl Agreed {
    /// What holds for a check; none where no member has declared it.
    pub fn verdict(&self, key: CheckKey) -> Option<State> {
        self.verdicts.get(&key).copied()
    }

    /// Every verdict.
    pub fn verdicts(&self) -> &BTreeMap<CheckKey, State> {
        &self.verdicts
    }

    /// The cluster's nodes.
    pub fn members(&self) -> &BTreeSet<NodeId> {
        &self.members
    }

    /// Those of them that the leader counts as alive.
    pub fn alive(&self) -> &BTreeSet<NodeId> {
        &self.alive
    }

    /// Who says what of a check, by node.
    pub fn votes(&self, key: CheckKey) -> impl Iterator<Item = Vote> + '_ {
        self.said.iter().filter_map(move |(&node, said)| {
            Some(Vote {
                node,
                state: *said.checks.get(&key)?,
                counts: said.in_session && self.alive.contains(&node),
            })
        })
    }

    /// How its votes stand: `failing for 02:…:01, 02:…:02; passing for 02:…:03`.
    pub fn votes_in_words(&self, key: CheckKey) -> String {
        let of = |state: State| {
            let votes = self.votes(key).filter(|vote| vote.counts);
            let nodes: Vec<String> = votes
                .filter(|vote| vote.state == state)
                .map(|vote| vote.node.to_string())
                .collect();
            let is_any = !nodes.is_empty();
            is_any.then(|| format!("{} for {}", state.as_str(), nodes.join(", ")))
        };
        let sides = [State::Failing, State::Passing].map(of);
        let sides: Vec<String> = sides.into_iter().flatten().collect();
        match sides.is_empty() {
            true => "nobody votes at present".to_owned(),
            false => sides.join("; "),
        }
    }

    /// Applies a command.
    pub(super) fn apply(&mut self, command: Command) -> Outcome {
        match command {
            Command::Declare { from, boot, checks } => self.declare(from, boot, checks),
            Command::Observe {
                from,
                boot,
                changes,
            } => self.observe(from, boot, &changes),
            Command::Alive { nodes } => {
                self.alive = nodes.intersection(&self.members).copied().collect();
                for (node, said) in &mut self.said {
                    if said.in_session && !self.alive.contains(node) {
                        Arc::make_mut(said).in_session = false;
                    }
                }
                self.judge_all();
                Outcome::Done
            }
        }
    }

    /// Who belongs to the cluster is this from now on; what others said is forgotten.
    pub(super) fn follow(&mut self, membership: &Membership) {
        self.members = membership.members.keys().copied().collect();
        let members = &self.members;
        self.alive.retain(|node| members.contains(node));
        self.said.retain(|node, _| members.contains(node));
        self.judge_all();
    }

    fn declare(&mut self, from: NodeId, boot: u64, checks: Vec<(CheckKey, State)>) -> Outcome {
        if !self.members.contains(&from) {
            return Outcome::NoSession;
        }
        let said = Said {
            boot,
            in_session: true,
            checks: checks.into_iter().collect(),
        };
        let mut concerned: BTreeSet<CheckKey> = said.checks.keys().copied().collect();
        self.open(&said.checks);
        if let Some(before) = self.said.insert(from, Arc::new(said)) {
            concerned.extend(before.checks.keys());
        }
        self.judge(concerned);
        Outcome::Done
    }

    fn observe(
        &mut self,
        from: NodeId,
        boot: u64,
        changes: &[(CheckKey, Option<State>)],
    ) -> Outcome {
        let said = self.said.get_mut(&from);
        let Some(said) = said.filter(|said| said.boot == boot && said.in_session) else {
            return Outcome::NoSession;
        };
        let (mut new, mut outcome) = (BTreeMap::new(), Outcome::Done);
        let checks = &mut Arc::make_mut(said).checks;
        for &(key, state) in changes {
            let Some(state) = state else {
                checks.remove(&key);
                continue;
            };
            if checks.len() >= MAX_CHECKS_OF_NODE && !checks.contains_key(&key) {
                outcome = Outcome::TooMany;
                continue;
            }
            if checks.insert(key, state).is_none() {
                new.insert(key, state);
            }
        }
        self.open(&new);
        self.judge(changes.iter().map(|(key, _)| *key));
        outcome
    }

    /// Checks that nobody had get the verdict of who first has them.
    fn open(&mut self, checks: &BTreeMap<CheckKey, State>) {
        for (&key, &state) in checks {
            if !self.verdicts.contains_key(&key) {
                Arc::make_mut(&mut self.verdicts).insert(key, state);
            }
        }
    }

    fn judge_all(&mut self) {
        let keys: Vec<CheckKey> = self.verdicts.keys().copied().collect();
        self.judge(keys);
    }

    /// Judges these checks anew.
    fn judge(&mut self, keys: impl IntoIterator<Item = CheckKey>) {
        for key in keys {
            let Some(&before) = self.verdicts.get(&key) else {
                continue;
            };
            match self.judged(key, before) {
                Some(state) if state == before => {}
                Some(state) => {
                    Arc::make_mut(&mut self.verdicts).insert(key, state);
                }
                None => {
                    Arc::make_mut(&mut self.verdicts).remove(&key);
                }
            }
        }
    }

    /// What holds for a check for which this held before; none where no member has it.
    fn judged(&self, key: CheckKey, before: State) -> Option<State> {
        let (mut is_known, mut having, mut against) = (false, 0, 0);
        for vote in self.votes(key) {
            is_known = true;
            having += usize::from(self.alive.contains(&vote.node));
            against += usize::from(vote.counts && vote.state != before);
        }
        let turns = against * 2 > having;
        is_known.then_some(match (turns, before) {
            (false, before) => before,
            (true, State::Passing) => State::Failing,
            (true, State::Failing) => State::Passing,
        })
    }
}
