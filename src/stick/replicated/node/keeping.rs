//! What comes with time: renewals, questions that were put off, and whether anybody answers.

use std::sync::atomic::Ordering;

use tcpffee_raft::ids::{Index, NodeTime};

use crate::config::NoQuorum;
use crate::stick::{Client, Key, Refusal, Route};

use super::outbox::MAX_OUT;
use super::quorum::Turn;
use super::record::{Asking, Question};
use super::{Node, count, for_each_slot, locked, to};

/// How often [`Node::tick`] is to be called, in milliseconds.
pub const TICK_MS: u64 = 20;
/// The log is told of connections as often in an `expiration`.
const TELLINGS: u64 = 6;
/// Between two questions whether anybody answers, while nobody does.
const PROBE_MS: u64 = 200;
/// Questions that were put off are asked again when something agreed on has changed, and as often
/// anyway.
const ASK_AGAIN_MS: u64 = 100;
/// With as many operations waiting, nothing is offered.
const MOST_WAITING: usize = 512;

/// What [`Node::tick`] remembers.
#[derive(Debug, Default)]
pub struct Rounds {
    told: NodeTime,
    probed: NodeTime,
    asked_again: NodeTime,
    /// The last change of what is agreed on that put-off questions were asked after.
    seen: Index,
}

impl Node {
    /// Does what is due; from one thread, every [`TICK_MS`].
    pub fn tick(&self, rounds: &mut Rounds) {
        let now = self.outside.now();
        let agreed = self.replica.agreed();
        if let Some(member) = agreed.members.get(&self.identity.node)
            && member.boot == self.identity.boot
        {
            self.note_session_ended(member.session_ended_at);
        }
        self.watch_quorum(rounds, now);
        let is_lost = self.quorum.is_lost();
        let is_news = rounds.seen != agreed.index;
        // Without a lease nobody could go by the answers. With the quorum lost all records are
        // looked through, so not at each tick either.
        let has_lease = self.lease.until(now).is_some();
        let is_time = is_news || now.since(rounds.asked_again) >= ASK_AGAIN_MS;
        if is_time && (is_lost || has_lease) {
            rounds.seen = agreed.index;
            rounds.asked_again = now;
            self.ask_again(is_lost);
        }
        let has_room = self.outbox.lengths().0 < MOST_WAITING;
        if !is_lost && has_room && self.has_offers() && self.is_stated.load(Ordering::Acquire) {
            self.offer_alone();
        }
        let every = (agreed.expiration_ms / TELLINGS).max(TICK_MS);
        if now.since(rounds.told) >= every {
            rounds.told = now;
            self.tell_all();
        }
        self.pump_to(MAX_OUT);
    }

    fn watch_quorum(&self, rounds: &mut Rounds, now: NodeTime) {
        let patience_ms = self.policy.load().no_quorum_after_ms;
        let has_lease = self.lease.until(now).is_some();
        match self.quorum.tick(now, has_lease, patience_ms) {
            Some(Turn::Lost) => {
                count(&self.counters.quorum_losses);
                let policy = match self.policy.load().no_quorum {
                    NoQuorum::Assign => {
                        "known clients go on, new ones are given groups by rendezvous hash"
                    }
                    NoQuorum::Refuse => "clients are reset until one does",
                };
                self.outside.note(
                    true,
                    format!("no leader of the stick table answers (no_quorum): {policy}"),
                );
            }
            Some(Turn::Regained) => {
                let text = "a leader of the stick table answers again";
                self.outside.note(false, text.to_owned());
            }
            None => {}
        }
        // Only an answer tells that somebody is there again.
        if self.quorum.is_lost() && now.since(rounds.probed) >= PROBE_MS {
            rounds.probed = now;
            if !self.quorum.is_asking() {
                self.propose_apart(Vec::new());
            }
        }
    }

    /// Asks put-off questions again; with the quorum lost, answers everybody who waits.
    fn ask_again(&self, is_lost: bool) {
        for shard in &self.shards {
            let put_off = match is_lost {
                true => self.all_questions(shard),
                false => self.put_off_questions(shard),
            };
            for (key, question) in put_off {
                match is_lost {
                    true => self.answer_without_quorum(&key, question),
                    false => self.put_again(&key, question),
                }
            }
        }
    }

    fn put_off_questions(&self, shard: &std::sync::Mutex<super::Shard>) -> Vec<(Key, Question)> {
        let mut shard = locked(shard);
        let mut slots = std::mem::take(&mut shard.put_off);
        slots.sort_unstable_by_key(|(slot, question)| (*slot, *question as u8));
        slots.dedup();
        // A question that overtook a give-up, or a move, would be given what that takes away.
        let is_moving = |&(slot, _): &(u32, Question)| {
            let entry = shard.get(slot).and_then(|record| record.entry.as_ref());
            entry.is_some_and(|entry| entry.is_moving)
        };
        let (waiting, slots): (Vec<_>, Vec<_>) = slots.into_iter().partition(is_moving);
        shard.put_off = waiting;
        let keyed = slots.into_iter().filter_map(|(slot, question)| {
            let record = shard.get(slot)?;
            let asking = record.asking[question as usize].as_ref()?;
            asking.is_put_off.then(|| (record.key.clone(), question))
        });
        keyed.collect()
    }

    /// Questions that anybody waits for.
    fn all_questions(&self, shard: &std::sync::Mutex<super::Shard>) -> Vec<(Key, Question)> {
        let mut found = Vec::new();
        for_each_slot(shard, |shard, slot| {
            let Some(record) = shard.get(slot) else {
                return;
            };
            for question in [Question::Key, Question::Latest] {
                let asking = record.asking[question as usize].as_ref();
                if asking.is_some_and(|asking| !asking.waiters.is_empty()) {
                    found.push((record.key.clone(), question));
                }
            }
        });
        found
    }

    pub(super) fn put_again(&self, key: &Key, question: Question) {
        let Some(asking) = self.take_asking(key, question) else {
            return;
        };
        let now = self.outside.now();
        let mut asking = asking;
        asking.waiters.retain(|waiter| now < waiter.until);
        let first = asking.waiters.first();
        let Some(at) = first.map(|waiter| (waiter.port, waiter.place)) else {
            return;
        };
        let chosen = self.groups(|groups| self.propose_group(groups, at, key.as_ref(), None));
        let group = chosen.flatten();
        if group.is_none() && !self.may_have_entry(key) {
            for waiter in asking.waiters {
                self.complete(waiter.ticket, Route::Refuse(Refusal::NoGroup));
            }
            return;
        }
        let (ip_hash, mut shard) = self.shard_of_key(key.as_ref());
        let slot = shard.entry_of(ip_hash, key.as_ref());
        if let Some(record) = shard.get_mut(slot) {
            let waiters = match record.asking[question as usize].take() {
                // Somebody has asked in between: both wait for that answer.
                Some(mut newer) => {
                    newer.waiters.extend(asking.waiters);
                    record.asking[question as usize] = Some(newer);
                    drop(shard);
                    return self.settle_proposed(group);
                }
                None => asking.waiters,
            };
            record.asking[question as usize] = Some(Asking {
                waiters,
                proposed: group,
                is_put_off: false,
            });
        }
        drop(shard);
        self.put(key.clone(), question, group);
    }

    /// Whether the log may hold an entry for the key: then asking without a group makes sense.
    fn may_have_entry(&self, key: &Key) -> bool {
        self.replica.look(key.as_ref()).is_some() || self.replica.latest_of(key.ip).is_some()
    }

    /// The connections that wait for this question are answered by `no_quorum`; the question
    /// stays out, for its answer tells that somebody is there again.
    fn answer_without_quorum(&self, key: &Key, question: Question) {
        let (ip_hash, mut shard) = self.shard_of_key(key.as_ref());
        let waiters = shard
            .find(ip_hash, key.as_ref())
            .and_then(|slot| shard.get_mut(slot))
            .and_then(|record| record.asking[question as usize].as_mut())
            .map(|asking| std::mem::take(&mut asking.waiters))
            .unwrap_or_default();
        drop(shard);
        let client = match question {
            Question::Key => Client::Key(key.as_ref()),
            Question::Latest => Client::LatestOf(key.ip),
        };
        for waiter in waiters {
            let route = match self.policy.load().no_quorum {
                NoQuorum::Refuse => Route::Refuse(Refusal::NoQuorum),
                NoQuorum::Assign => {
                    // It may have asked only because the lease had run out: what is known is used
                    // as it stands, for who waited as for who comes now.
                    let known = self.hit(client, self.outside.now()).map(Ok);
                    let decided = known.or_else(|| {
                        self.groups(|groups| self.decide_alone(client, waiter.port, groups, &[]))
                    });
                    match decided {
                        Some(Ok(answer)) => to(answer),
                        Some(Err(why)) => Route::Refuse(why),
                        None => Route::Refuse(Refusal::NoQuorum),
                    }
                }
            };
            self.complete(waiter.ticket, route);
        }
    }
}
