//! What must hold across the whole cluster, checked as it happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use tcpffee_raft::entry::{ClientId, Entry, Payload};
use tcpffee_raft::ids::{Index, LogTime, Position, Term};
use tcpffee_raft::membership::Membership;

use super::machine::{Effect, digest_of};
use super::mirror::Mirror;

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// How.
    pub detail: String,
}

/// Whether all is well.
pub type Checked = Result<(), Violation>;

/// Refuses what does not hold.
pub fn ensure(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Checked {
    match holds {
        true => Ok(()),
        false => Err(Violation {
            invariant,
            detail: detail(),
        }),
    }
}

struct Logged {
    term: Term,
    before: Term,
    digest: u64,
}

struct Committed {
    position: Position,
    /// The newest term that the node was in which committed it first.
    in_term: Term,
    digest: u64,
    chain: Option<u64>,
    time: LogTime,
}

/// Everything that is agreed.
#[derive(Default)]
pub struct History {
    leaders: BTreeMap<Term, (usize, u64)>,
    logged: Vec<Vec<Logged>>,
    committed: Vec<Committed>,
    effects: BTreeMap<(ClientId, u64), Effect>,
    acknowledged: BTreeMap<(ClientId, u64), Effect>,
    /// The newest place at which anything acknowledged took effect.
    pub newest_acknowledged: Index,
    /// The newest committed membership.
    pub membership: Arc<Membership>,
    /// Where it stands.
    pub membership_at: Position,
}

impl History {
    /// The last committed place.
    pub fn committed(&self) -> Index {
        Index(self.committed.len() as u64)
    }

    /// What is committed at a place.
    pub fn at(&self, index: Index) -> Option<Position> {
        match index.0 {
            0 => None,
            at => self.committed.get(at as usize - 1).map(|it| it.position),
        }
    }

    /// How many terms had leaders.
    pub fn elections(&self) -> usize {
        self.leaders.len()
    }

    /// A node leads. True where that is news.
    pub fn leads(&mut self, term: Term, node: usize, life: u64) -> Result<bool, Violation> {
        match self.leaders.get(&term) {
            None => {
                self.leaders.insert(term, (node, life));
                Ok(true)
            }
            Some(known) if *known == (node, life) => Ok(false),
            Some((other, other_life)) => Err(Violation {
                invariant: "one leader per term",
                detail: format!(
                    "node {} life {life} leads term {term}, and so did node {} life {other_life}",
                    node + 1,
                    other + 1
                ),
            }),
        }
    }

    /// A new leader holds everything that earlier terms committed.
    pub fn is_complete(&self, term: Term, log: &Mirror) -> Checked {
        for entry in &self.committed {
            ensure(
                entry.in_term >= term || log.holds(entry.position),
                "leader completeness",
                || {
                    format!(
                        "the leader of term {term} does not hold {}, committed in term {}",
                        entry.position, entry.in_term
                    )
                },
            )?;
        }
        Ok(())
    }

    /// A node has put an entry into its log, after one of term `before`.
    pub fn logs(&mut self, entry: &Entry, before: Term) -> Checked {
        let at = entry.index.0 as usize;
        if self.logged.len() <= at {
            self.logged.resize_with(at + 1, Vec::new);
        }
        let digest = digest_of(entry);
        let here = &mut self.logged[at];
        let Some(known) = here.iter_mut().find(|known| known.term == entry.term) else {
            here.push(Logged {
                term: entry.term,
                before,
                digest,
            });
            return Ok(());
        };
        // Before the first entry after a snapshot, the term may not be known.
        if known.before == Term(0) {
            known.before = before;
        }
        let agree = before == Term(0) || known.before == before;
        ensure(known.digest == digest && agree, "log matching", || {
            format!(
                "two entries {}, after terms {} and {before}, the same: {}",
                entry.position(),
                known.before,
                known.digest == digest
            )
        })
    }

    /// A node in `term` knows the log to be committed up to `to`. Says whether that is news.
    pub fn commits(
        &mut self,
        from: Index,
        to: Index,
        term: Term,
        log: &Mirror,
    ) -> Result<bool, Violation> {
        for at in from.0 + 1..=to.0 {
            let index = Index(at);
            let Some(mut in_log) = log.term_at(index) else {
                return Err(Violation {
                    invariant: "committed entries stand in the log",
                    detail: format!("committed up to {to}, the log ends at {}", log.last()),
                });
            };
            match self.at(index) {
                Some(known) => {
                    if in_log == Term(0) {
                        in_log = known.term;
                    }
                    ensure(
                        known.term == in_log,
                        "committed entries are the same everywhere",
                        || format!("{known} is committed, and so is {index}@{in_log}"),
                    )?;
                }
                None => {
                    let position = Position {
                        term: in_log,
                        index,
                    };
                    let known = self
                        .logged
                        .get(at as usize)
                        .and_then(|here| here.iter().find(|known| known.term == in_log));
                    let digest = known.map_or(0, |known| known.digest);
                    self.committed.push(Committed {
                        position,
                        in_term: term,
                        digest,
                        chain: None,
                        time: LogTime(0),
                    });
                }
            }
        }
        Ok(to == self.committed() && to > from)
    }

    /// A node has applied an entry, and is now in the state `chain`.
    pub fn applies(
        &mut self,
        entry: &Entry,
        chain: u64,
        effect: Option<(Effect, bool)>,
    ) -> Result<bool, Violation> {
        let at = entry.index.0 as usize;
        ensure(
            at <= self.committed.len(),
            "only what is committed is applied",
            || format!("{} is applied, committed is {}", entry.position(), at),
        )?;
        let time_before = match at {
            1 => LogTime(0),
            _ => self.committed[at - 2].time,
        };
        let digest = digest_of(entry);
        let known = &mut self.committed[at - 1];
        ensure(
            known.position == entry.position() && known.digest == digest,
            "what is applied is what was committed",
            || {
                format!(
                    "{} is applied where {} was committed",
                    entry.position(),
                    known.position
                )
            },
        )?;
        ensure(
            entry.time >= time_before,
            "log time never goes back",
            || format!("{} at {}, before it {time_before}", entry.index, entry.time),
        )?;
        if let Some(chain_known) = known.chain {
            ensure(
                chain_known == chain,
                "all state machines are the same",
                || format!("after {} two states", entry.position()),
            )?;
            return Ok(false);
        }
        known.chain = Some(chain);
        known.time = entry.time;
        if let Payload::Membership(membership) = &entry.payload {
            ensure(
                at == 1 || self.membership.may_become(membership),
                "one step of membership at a time",
                || format!("{:?} became {membership:?}", self.membership),
            )?;
            self.membership = membership.clone();
            self.membership_at = entry.position();
        }
        if let (Payload::Command(command), Some((effect, true))) = (&entry.payload, effect) {
            let key = (command.client, command.sequence);
            ensure(!self.effects.contains_key(&key), "applied once", || {
                format!("{key:?} took effect again at {}", effect.index)
            })?;
            self.effects.insert(key, effect);
        }
        Ok(true)
    }

    /// The state that a snapshot brought is the one that all had there.
    pub fn restores(&self, at: Position, chain: u64) -> Checked {
        let known = match at.index.0 {
            0 => None,
            at => self.committed.get(at as usize - 1),
        };
        ensure(
            known.is_some_and(|known| {
                known.position == at && known.chain.is_none_or(|known| known == chain)
            }),
            "all state machines are the same",
            || format!("a snapshot at {at} holds another state"),
        )
    }

    /// A client has been given an answer.
    pub fn acknowledges(
        &mut self,
        client: ClientId,
        sequence: u64,
        effect: Effect,
        invoked_after: Index,
    ) -> Checked {
        let key = (client, sequence);
        ensure(
            self.effects.get(&key) == Some(&effect),
            "what is acknowledged stands",
            || {
                format!(
                    "{key:?} was answered {effect:?}, applied {:?}",
                    self.effects.get(&key)
                )
            },
        )?;
        ensure(
            effect.index > invoked_after,
            "an answered command comes before all that are begun later",
            || format!("{key:?} took effect at {effect:?}, begun after {invoked_after}"),
        )?;
        self.acknowledged.insert(key, effect);
        self.newest_acknowledged = self.newest_acknowledged.max(effect.index);
        Ok(())
    }

    /// Everything that was acknowledged stands in the end.
    pub fn ends(&self) -> Checked {
        for (key, effect) in &self.acknowledged {
            ensure(
                self.effects.get(key) == Some(effect),
                "what is acknowledged stands",
                || format!("{key:?} was answered {effect:?}"),
            )?;
        }
        Ok(())
    }

    /// Commands that were answered.
    pub fn answered(&self) -> usize {
        self.acknowledged.len()
    }
}
