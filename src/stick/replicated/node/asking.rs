//! Questions to the log, and their answers.

use std::time::Instant;

use bytes::Bytes;
use tcpffee_raft::ids::{Index, NodeTime};
use tcpffee_raft::proposals::ProposalError;

use crate::logging::RateLimit;
use crate::stick::replicated::command::{Answer, Batch, Given, Op, Outcome, VERSION};
use crate::stick::replicated::encode;
use crate::stick::{Key, KeyRef, Refusal, Route};

use super::outbox::{About, OUT_WHILE_GATHERING, Queued};
use super::record::{Asking, Question, Waiter};
use super::{Node, count, to};

/// How long a batch is tried; connections give up before.
const PATIENCE_MS: u64 = 30_000;

static FAILED: RateLimit = RateLimit::new();

impl Node {
    /// Proposes what has gathered, unless enough is out that more may gather.
    pub(super) fn pump(&self) {
        self.pump_to(OUT_WHILE_GATHERING);
    }

    /// Proposes what has gathered, as long as no more batches are out than that.
    pub(super) fn pump_to(&self, most_out: usize) {
        while self.is_stated.load(std::sync::atomic::Ordering::Acquire)
            && let Some(batch) = self.outbox.next_batch(most_out)
        {
            self.propose(batch);
        }
    }

    /// Proposes a batch that did not wait in the outbox, whether this process is stated or not.
    pub(super) fn propose_apart(&self, batch: Vec<Queued>) {
        self.outbox.went_apart();
        self.propose(batch);
    }

    fn propose(&self, batch: Vec<Queued>) {
        let Some(me) = self.me.upgrade() else {
            return;
        };
        let (mut ops, mut abouts) = (Vec::with_capacity(batch.len()), Vec::new());
        for Queued { op, about } in batch {
            if let About::Question { key, question } = &about
                && !self.is_waited_for(key, *question)
            {
                self.take_asking(key, *question);
                continue;
            }
            ops.push(op);
            abouts.push(about);
        }
        count(&self.counters.batches);
        let operations = &self.counters.operations;
        operations.fetch_add(ops.len() as u64, std::sync::atomic::Ordering::Relaxed);
        let batch = Batch {
            from: self.identity.node,
            boot: self.identity.boot,
            ops,
        };
        let (body, sent) = (encode(&batch), batch.ops);
        let now = self.outside.now();
        let number = self.quorum.proposed(now);
        // Finer than the node's clock.
        let proposed = Instant::now();
        let done = Box::new(move |result: Result<Bytes, ProposalError>| {
            if result.is_ok() {
                me.latency.note(proposed.elapsed());
            }
            me.answered(number, sent, abouts, result);
        });
        let deadline = NodeTime(now.0 + PATIENCE_MS);
        self.outside.propose(body, VERSION, deadline, done);
    }

    /// What became of a batch.
    fn answered(
        &self,
        number: u64,
        ops: Vec<Op>,
        abouts: Vec<About>,
        result: Result<Bytes, ProposalError>,
    ) {
        let now = self.outside.now();
        let outcomes = match result {
            Ok(bytes) => match Answer::decode(&bytes) {
                Ok(answer) if answer.outcomes.len() == abouts.len() => {
                    Ok((answer.index, answer.outcomes))
                }
                _ => Err("its answer is none".to_owned()),
            },
            Err(error) => Err(error.to_string()),
        };
        self.quorum.over(number, outcomes.is_ok(), now);
        self.outbox.returned();
        match outcomes {
            Ok((index, outcomes)) => {
                for (about, outcome) in abouts.into_iter().zip(outcomes) {
                    self.settle(index, about, outcome);
                }
                self.pump();
            }
            // What is tried again is tried by the next tick, not at once.
            Err(why) => {
                count(&self.counters.failures);
                if let Some(left_out) = FAILED.admit(crate::clock::Millis(now.0)) {
                    log::warn!("the stick table's log has not answered: {why}{left_out}");
                }
                for (op, about) in ops.into_iter().zip(abouts) {
                    self.unanswered(op, about);
                }
            }
        }
    }

    fn settle(&self, index: Index, about: About, outcome: Outcome) {
        match (about, outcome) {
            (About::Question { key, question }, outcome) => {
                self.settle_question(&key, question, outcome);
            }
            (
                About::Move {
                    key,
                    serial,
                    waiter,
                },
                Outcome::Entry(given),
            ) => {
                self.moved(&key, serial, waiter, &given);
            }
            (
                About::Move {
                    key,
                    serial,
                    waiter,
                },
                _,
            ) => self.not_moved(&key, serial, waiter),
            (About::GiveUp { key, serial }, _) => self.given_up(&key, serial),
            (About::Telling { key, serial, what }, outcome) => {
                self.told(index, key.as_ref(), serial, what, &outcome);
            }
            (About::Offer { key, serial }, outcome) => self.offered(&key, serial, outcome),
            // Whoever waited may have given up.
            (About::Saying(told), outcome) => drop(told.send(outcome)),
        }
    }

    /// What an operation without an answer was about; `op` has to be said again where it must not
    /// be left open.
    fn unanswered(&self, op: Op, about: About) {
        match about {
            About::Question { key, question } => self.put_off(&key, question),
            // It may have been applied, or may still be: nobody may go by the entry until it is known.
            About::Move { .. } | About::GiveUp { .. } => self.outbox.push(Queued { op, about }),
            About::Telling { key, serial, what } => self.not_told(key.as_ref(), serial, what),
            About::Offer { key, .. } => self.offer_again(key),
            About::Saying(_) => {}
        }
    }

    /// The log knows that this node goes by an entry no more.
    fn given_up(&self, key: &Key, serial: u64) {
        let (ip_hash, mut shard) = self.shard_of_key(key.as_ref());
        let Some(slot) = shard.find(ip_hash, key.as_ref()) else {
            return;
        };
        if let Some(record) = shard.get_mut(slot)
            && record
                .entry
                .as_ref()
                .is_some_and(|entry| entry.serial == serial)
        {
            record.entry = None;
        }
        let waiting = shard.get(slot).map(|record| {
            [Question::Key, Question::Latest].map(|question| {
                let asking = record.asking[question as usize].as_ref();
                asking.is_some_and(|asking| asking.is_put_off)
            })
        });
        shard.tidy(slot);
        drop(shard);
        for (question, waits) in [Question::Key, Question::Latest]
            .into_iter()
            .zip(waiting.unwrap_or_default())
        {
            if waits {
                self.put_again(key, question);
            }
        }
    }

    /// A question that was taken back is put off.
    fn put_back(&self, key: &Key, question: Question, mut asking: Asking) {
        asking.is_put_off = true;
        asking.proposed = None;
        let (ip_hash, mut shard) = self.shard_of_key(key.as_ref());
        let slot = shard.entry_of(ip_hash, key.as_ref());
        let Some(record) = shard.get_mut(slot) else {
            return;
        };
        match &mut record.asking[question as usize] {
            Some(newer) => newer.waiters.extend(asking.waiters),
            none => {
                *none = Some(asking);
                shard.put_off.push((slot, question));
            }
        }
    }

    fn settle_question(&self, asked: &Key, question: Question, outcome: Outcome) {
        let refusal = match outcome {
            Outcome::Entry(given) => return self.give_to_waiters(asked, question, &given),
            Outcome::NotUp if !self.has_proposed(asked, question) => Refusal::NoGroup,
            Outcome::Fenced | Outcome::NotUp | Outcome::Stale | Outcome::Done => {
                return self.put_off(asked, question);
            }
            Outcome::Full => Refusal::TableFull,
        };
        let Some(asking) = self.take_asking(asked, question) else {
            return;
        };
        for waiter in asking.waiters {
            self.complete(waiter.ticket, Route::Refuse(refusal));
        }
    }

    /// The connections that asked go by this entry, as soon as there is a lease to go by it.
    fn give_to_waiters(&self, asked: &Key, question: Question, given: &Given) {
        if self.lease.until(self.outside.now()).is_none() && !self.decides_alone() {
            return self.put_off(asked, question);
        }
        let Some(asking) = self.take_asking(asked, question) else {
            return;
        };
        let key = match question {
            Question::Key => asked.as_ref(),
            Question::Latest => KeyRef {
                ip: asked.ip,
                slice: given.slice.as_deref(),
            },
        };
        let (ip_hash, mut shard) = self.shard_of_key(key);
        let slot = shard.entry_of(ip_hash, key);
        let known = shard.get(slot).and_then(|record| record.entry.as_ref());
        let version = known.map(|entry| entry.version);
        let is_moving = known.is_some_and(|entry| entry.is_moving);
        if asking.waiters.is_empty() {
            // Whoever asked was answered otherwise meanwhile.
            if given.provisional && known.is_none() {
                self.take_over(
                    &mut shard,
                    slot,
                    given.group,
                    given.version,
                    given.expires,
                    true,
                );
                self.give_up_unused(&mut shard, slot);
            }
            shard.tidy(slot);
            return;
        }
        let is_older = version.is_some_and(|version| version > given.version);
        if is_moving || is_older {
            shard.tidy(slot);
            drop(shard);
            return self.put_back(asked, question, asking);
        }
        let provisional = given.provisional;
        self.take_over(
            &mut shard,
            slot,
            given.group,
            given.version,
            given.expires,
            provisional,
        );
        let alone = asking.waiters.len() == 1;
        if let Some(entry) = shard.get_mut(slot).and_then(|record| record.entry.as_mut()) {
            entry.is_movable = given.created && alone && entry.pending == 0 && entry.open == 0;
        }
        let answers: Vec<_> = asking
            .waiters
            .iter()
            .filter_map(|waiter| Some((waiter.ticket, shard.answer(slot, given.created && alone)?)))
            .collect();
        drop(shard);
        for (ticket, answer) in answers {
            self.complete(ticket, to(answer));
        }
    }

    fn give_up_unused(&self, shard: &mut super::Shard, slot: u32) {
        if let Some(answer) = shard.answer(slot, false) {
            self.leave(shard, answer.stick);
        }
    }

    /// Whether anybody still waits for the answer to a question.
    fn is_waited_for(&self, key: &Key, question: Question) -> bool {
        let now = self.outside.now();
        let (ip_hash, shard) = self.shard_of_key(key.as_ref());
        let record = shard.find(ip_hash, key.as_ref());
        let record = record.and_then(|slot| shard.get(slot));
        let asking = record.and_then(|record| record.asking[question as usize].as_ref());
        let mut waiters = asking.iter().flat_map(|asking| &asking.waiters);
        waiters.any(|waiter| now < waiter.until)
    }

    /// Whether a group was proposed with the question.
    fn has_proposed(&self, key: &Key, question: Question) -> bool {
        let (ip_hash, shard) = self.shard_of_key(key.as_ref());
        let record = shard.find(ip_hash, key.as_ref());
        let record = record.and_then(|slot| shard.get(slot));
        let asking = record.and_then(|record| record.asking[question as usize].as_ref());
        asking.is_some_and(|asking| asking.proposed.is_some())
    }

    /// Takes a question back from its record, with what was counted in advance for it.
    pub(super) fn take_asking(&self, key: &Key, question: Question) -> Option<Asking> {
        let (ip_hash, mut shard) = self.shard_of_key(key.as_ref());
        let slot = shard.find(ip_hash, key.as_ref())?;
        let asking = shard.get_mut(slot)?.asking[question as usize].take();
        if let Some(asking) = &asking {
            self.settle_proposed(asking.proposed);
        }
        shard.tidy(slot);
        asking
    }

    /// The question is asked again at the next tick, as long as anybody waits for its answer.
    fn put_off(&self, key: &Key, question: Question) {
        let (ip_hash, mut shard) = self.shard_of_key(key.as_ref());
        let Some(slot) = shard.find(ip_hash, key.as_ref()) else {
            return;
        };
        let asking = shard
            .get_mut(slot)
            .and_then(|record| record.asking[question as usize].as_mut());
        if let Some(asking) = asking {
            asking.is_put_off = true;
            shard.put_off.push((slot, question));
        }
    }

    fn moved(&self, key: &Key, serial: u64, waiter: Waiter, given: &Given) {
        let (ip_hash, mut shard) = self.shard_of_key(key.as_ref());
        let slot = shard.entry_of(ip_hash, key.as_ref());
        let entry = shard.get_mut(slot).and_then(|record| record.entry.as_mut());
        if entry.is_none_or(|entry| entry.serial == serial) {
            shard.give(slot, given.group, given.version, given.expires);
            if let Some(entry) = shard.get_mut(slot).and_then(|record| record.entry.as_mut()) {
                entry.is_provisional = true;
                entry.is_movable = true;
            }
        }
        let answer = shard.answer(slot, true);
        drop(shard);
        if let Some(answer) = answer {
            self.complete(waiter.ticket, to(answer));
        }
    }

    /// The connection has nowhere to go; another of this node, or another node, has the entry.
    fn not_moved(&self, key: &Key, serial: u64, waiter: Waiter) {
        let (ip_hash, mut shard) = self.shard_of_key(key.as_ref());
        if let Some(slot) = shard.find(ip_hash, key.as_ref())
            && let Some(entry) = shard.get_mut(slot).and_then(|record| record.entry.as_mut())
            && entry.serial == serial
        {
            entry.is_moving = false;
            let stick = crate::stick::StickRef {
                shard: crate::stick::hash::shard_of(ip_hash) as u32,
                slot,
                version: serial,
            };
            self.leave(&mut shard, stick);
        }
        drop(shard);
        self.complete(waiter.ticket, Route::Refuse(Refusal::Unreached));
    }
}
