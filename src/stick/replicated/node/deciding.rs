//! What a connection is answered at once, and what it tells of itself later.

use std::sync::atomic::Ordering;

use tcpffee_raft::ids::{LogTime, NodeTime};

use crate::clock::Millis;
use crate::config::{GroupId, NoQuorum};
use crate::groups::Groups;
use crate::stick::replicated::command::{Op, Wanted};
use crate::stick::replicated::replica::Seen;
use crate::stick::{
    AfterFailure, Answer, Ask, Client, Key, KeyRef, Refusal, Route, Stale, StickRef, Sticks,
};

use super::outbox::{About, Queued, Told};
use super::record::{Question, Waiter};
use super::{Node, count, to};

impl Sticks for Node {
    fn route(&self, ask: &Ask<'_>) -> Route {
        let now = self.outside.now();
        if let Some(why) = self.refuses_all(now) {
            count(&self.counters.refusals);
            return Route::Refuse(why);
        }
        if let Some(answer) = self.hit(ask.client, now) {
            count(&self.counters.hits);
            return to(answer);
        }
        if !self.quorum.is_lost() {
            return self.ask(ask);
        }
        let decided = match self.policy.load().no_quorum {
            NoQuorum::Refuse => Err(Refusal::NoQuorum),
            NoQuorum::Assign => self.decide_alone(ask.client, ask.port, ask.groups, &[]),
        };
        match decided {
            Ok(answer) => to(answer),
            Err(why) => {
                count(&self.counters.refusals);
                Route::Refuse(why)
            }
        }
    }

    fn established(&self, stick: StickRef, _: &Groups, _: Millis) -> Result<(), Stale> {
        let now = self.outside.now();
        let mut shard = self.shard_behind(stick).ok_or(Stale)?;
        let entry = shard.current(stick).ok_or(Stale)?.clone();
        let key = shard.get(stick.slot).ok_or(Stale)?.key.clone();
        if !self.may_begin(key.as_ref(), &entry, now) {
            self.leave(&mut shard, stick);
            return Err(Stale);
        }
        let activity = self.lease.latest_time(now);
        let Some(entry) = shard.current(stick) else {
            return Err(Stale);
        };
        entry.pending = entry.pending.saturating_sub(1);
        entry.open += 1;
        entry.activity = entry.activity.max(activity);
        let is_news = entry.is_provisional && !entry.is_alone();
        let (version, serial) = (entry.version, entry.serial);
        entry.is_provisional = false;
        if !entry.is_alone() {
            shard.note_due(stick.slot);
        }
        drop(shard);
        if is_news {
            // Until the log knows, no other node may answer by it.
            self.outbox.push(Queued {
                op: Op::Renew {
                    key: key.clone(),
                    version,
                    activity,
                },
                about: About::Telling {
                    key,
                    serial,
                    what: Told::Activity(activity),
                },
            });
        }
        Ok(())
    }

    fn connect_failed(&self, ask: &Ask<'_>, answer: Answer, tried: &[GroupId]) -> AfterFailure {
        let Some(mut shard) = self.shard_behind(answer.stick) else {
            return AfterFailure::Reset;
        };
        let slot = answer.stick.slot;
        let Some(key) = shard.get(slot).map(|record| record.key.clone()) else {
            return AfterFailure::Reset;
        };
        let Some(entry) = shard.current(answer.stick) else {
            return AfterFailure::Reset;
        };
        let is_mine = answer.created && entry.is_movable && entry.pending == 1;
        if is_mine && entry.is_alone() {
            drop(shard);
            let client = Client::Key(key.as_ref());
            let moved = self.move_alone(answer.stick, client, ask, tried);
            return moved.map_or(AfterFailure::Reset, AfterFailure::Moved);
        }
        let policy = self.policy.load();
        let next = is_mine.then(|| {
            let key = key.as_ref();
            let balancer = &self.balancer;
            balancer.choose(policy.balance, ask.groups, ask.port, key, tried)
        });
        let Some(to) = next.flatten().map(|group| group.id) else {
            self.leave(&mut shard, answer.stick);
            return AfterFailure::Reset;
        };
        entry.is_movable = false;
        entry.is_moving = true;
        let (version, serial) = (entry.version, entry.serial);
        drop(shard);
        self.outbox.push(Queued {
            op: Op::Move {
                key: key.clone(),
                version,
                to,
            },
            about: About::Move {
                key,
                serial,
                waiter: self.waiter(ask),
            },
        });
        self.pump();
        AfterFailure::Wait(ask.ticket)
    }

    fn abandoned(&self, stick: StickRef, _: Millis) {
        if let Some(mut shard) = self.shard_behind(stick) {
            self.leave(&mut shard, stick);
        }
    }

    fn closed(&self, stick: StickRef, _: Millis) {
        let activity = self.lease.latest_time(self.outside.now());
        let Some(mut shard) = self.shard_behind(stick) else {
            return;
        };
        let Some(entry) = shard.current(stick) else {
            return;
        };
        debug_assert!(entry.open > 0, "closed more often than established");
        entry.open = entry.open.saturating_sub(1);
        entry.activity = entry.activity.max(activity);
        if !entry.is_alone() {
            shard.note_due(stick.slot);
        }
    }
}

impl Node {
    /// Why nobody is served at all, if so.
    fn refuses_all(&self, now: NodeTime) -> Option<Refusal> {
        let is_barred = self.barred.load().is_some();
        (is_barred && self.lease.until(now).is_none()).then_some(Refusal::Barred)
    }

    /// An answer from the replica, where this node may give one.
    pub(super) fn hit(&self, client: Client<'_>, now: NodeTime) -> Option<Answer> {
        match client {
            Client::Key(key) => {
                let seen = self.replica.look(key)?;
                self.hit_by(key, &seen, now)
            }
            Client::LatestOf(ip) => {
                let (key, seen) = self.replica.latest_of(ip)?;
                self.hit_by(key.as_ref(), &seen, now)
            }
        }
    }

    fn hit_by(&self, key: KeyRef<'_>, seen: &Seen, now: NodeTime) -> Option<Answer> {
        if !self.may_hit(seen, now) {
            return None;
        }
        let (ip_hash, mut shard) = self.shard_of_key(key);
        let slot = shard.entry_of(ip_hash, key);
        self.adopt(&mut shard, slot, seen);
        let entry = shard.get_mut(slot)?.entry.as_mut()?;
        if entry.is_moving {
            return None;
        }
        entry.is_movable = false;
        shard.answer(slot, false)
    }

    /// Has a record go by the entry that the replica has, where it does not yet.
    pub(super) fn adopt(&self, shard: &mut super::Shard, slot: u32, seen: &Seen) {
        let known = shard
            .get_mut(slot)
            .and_then(|record| record.entry.as_mut())
            .filter(|entry| entry.version == seen.version);
        match known {
            Some(entry) => entry.expires = entry.expires.max(seen.expires),
            None => {
                shard.give(slot, seen.group, seen.version, seen.expires);
                if let Some(entry) = shard.get_mut(slot).and_then(|record| record.entry.as_mut()) {
                    entry.is_provisional = seen.made_by.is_some();
                }
            }
        }
    }

    /// Whether this node may answer by an entry of its replica now.
    fn may_hit(&self, seen: &Seen, now: NodeTime) -> bool {
        // What nothing was connected on yet may be moved, or given up, by who made it: other nodes
        // have to ask first. Without a leader, what is known is used as it stands.
        let is_settled = seen.made_by.is_none_or(|maker| maker == self.identity.node);
        (is_settled || self.decides_alone()) && self.holds(seen, now)
    }

    /// Whether an entry that this node was given still is to be gone by.
    fn holds(&self, seen: &Seen, now: NodeTime) -> bool {
        if seen.removed {
            return false;
        }
        let agreed = self.replica.agreed_ref();
        let group = agreed.groups.get(&seen.group);
        if group.is_none_or(|group| !group.status.is_usable()) {
            return false;
        }
        self.decides_alone() || self.lease.may_hit(now, seen.expires, agreed.expiration_ms)
    }

    /// Whether this node gives groups by itself now.
    pub(super) fn decides_alone(&self) -> bool {
        self.quorum.is_lost() && self.policy.load().no_quorum == NoQuorum::Assign
    }

    /// Whether bytes may flow on an entry: the last look, with its target connected.
    fn may_begin(&self, key: KeyRef<'_>, entry: &super::record::Entry, now: NodeTime) -> bool {
        if self.decides_alone() {
            return true;
        }
        if entry.is_alone() {
            return false;
        }
        let agreed = self.replica.agreed_ref();
        // The answer to a question is as good as a lease, for this one entry: it was renewed after
        // the question was put. Only what makes the group unusable may have come since.
        let is_fresh = entry.asked.is_some_and(|asked| {
            let since_ms = now.since(asked);
            (since_ms + since_ms / 32) * 2 < agreed.expiration_ms
        });
        match self.replica.look(key) {
            Some(seen) if seen.version == entry.version => {
                let is_usable = !seen.removed && agreed.is_usable(seen.group);
                (is_fresh && is_usable) || self.holds(&seen, now)
            }
            // The answer came before the replica had it: the entry is as the answer said.
            _ if self.replica.applied() < entry.version => is_fresh,
            _ => false,
        }
    }

    /// One connection that was given an entry is gone before it was connected. Where it was the
    /// last and nothing ever was, the log is told.
    pub(super) fn leave(&self, shard: &mut super::Shard, stick: StickRef) {
        let Some(entry) = shard.current(stick) else {
            return;
        };
        entry.pending = entry.pending.saturating_sub(1);
        let is_unused = entry.pending == 0 && entry.open == 0 && entry.activity == LogTime(0);
        let gives_up = is_unused && entry.is_provisional && !entry.is_alone();
        let version = entry.version;
        if gives_up && let Some(record) = shard.get_mut(stick.slot) {
            let key = record.key.clone();
            record.entry = None;
            self.outbox.push(Queued {
                op: Op::GiveUp { key, version },
                about: About::Nobody,
            });
        }
        shard.tidy(stick.slot);
    }

    /// Puts a connection's question to the log, or lets it wait for the answer to one that is out.
    fn ask(&self, ask: &Ask<'_>) -> Route {
        count(&self.counters.waits);
        let (key, question) = match ask.client {
            Client::Key(key) => (key, Question::Key),
            Client::LatestOf(ip) => (KeyRef { ip, slice: None }, Question::Latest),
        };
        let waiter = self.waiter(ask);
        let (ip_hash, mut shard) = self.shard_of_key(key);
        let slot = shard.entry_of(ip_hash, key);
        let Some(record) = shard.get_mut(slot) else {
            return Route::Refuse(Refusal::NoQuorum);
        };
        match &mut record.asking[question as usize] {
            Some(asking) => asking.waiters.push(waiter),
            none => {
                let group = self.propose_group(ask.groups, ask.port, key);
                *none = Some(super::record::Asking {
                    waiters: vec![waiter],
                    proposed: group,
                    asked: waiter.since,
                    is_put_off: false,
                });
                drop(shard);
                self.put(key.to_key(), question, group);
                self.pump();
            }
        }
        Route::Wait(ask.ticket)
    }

    fn waiter(&self, ask: &Ask<'_>) -> Waiter {
        let policy = self.policy.load();
        let patience_ms = policy.no_quorum_after_ms + policy.connect_timeout_ms;
        let since = self.outside.now();
        Waiter {
            ticket: ask.ticket,
            port: ask.port,
            since,
            until: since.plus(patience_ms),
        }
    }

    /// The group for a new key; until the log has answered it counts as one of the group's sticks.
    pub(super) fn propose_group(
        &self,
        groups: &Groups,
        port: u16,
        key: KeyRef<'_>,
    ) -> Option<GroupId> {
        let balance = self.policy.load().balance;
        let group = self.balancer.choose(balance, groups, port, key, &[])?;
        group.counters.sticks.fetch_add(1, Ordering::Relaxed);
        Some(group.id)
    }

    /// What [`Node::propose_group`] counted in advance counts no more.
    pub(super) fn settle_proposed(&self, proposed: Option<GroupId>) {
        if let Some(group) = proposed {
            let counters = self.registry.counters(group);
            counters.sticks.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn put(&self, key: Key, question: Question, group: Option<GroupId>) {
        count(&self.counters.asks);
        let client = match question {
            Question::Key => Wanted::Key(key.clone()),
            Question::Latest => Wanted::LatestOf(key.ip),
        };
        self.outbox.push(Queued {
            op: Op::Assign { client, group },
            about: About::Question { key, question },
        });
    }
}
