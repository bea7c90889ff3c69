//! What a connection is answered at once, and what it tells of itself later.

use std::sync::atomic::Ordering;

use tcpffee_raft::ids::{Index, LogTime, NodeTime};

use crate::clock::Millis;
use crate::config::{GroupId, NoQuorum};
use crate::groups::Groups;
use crate::stick::replicated::command::{Op, Wanted};
use crate::stick::replicated::replica::{HELD, Seen};
use crate::stick::{
    AfterFailure, Answer, Ask, Client, Key, KeyRef, Refusal, Route, Stale, StickRef, Sticks,
};

use super::mutation::{self, Mutation};
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
        if !self.quorum.is_lost() && !mutation::is(Mutation::SkipsTheLog) {
            return self.ask(ask);
        }
        let decided = match self.decides_alone() {
            false => Err(Refusal::NoQuorum),
            true => self.decide_alone(ask.client, ask.port, ask.groups, &[]),
        };
        match decided {
            Ok(answer) => to(answer),
            Err(why) => {
                count(&self.counters.refusals);
                Route::Refuse(why)
            }
        }
    }

    fn still_holds(&self, stick: StickRef, _: &Groups, _: Millis) -> bool {
        let Some(mut shard) = self.shard_behind(stick) else {
            return false;
        };
        let Some(entry) = shard.current(stick).cloned() else {
            return false;
        };
        let record = shard.get(stick.slot);
        record.is_some_and(|record| self.may_begin(record.key.as_ref(), &entry, self.outside.now()))
    }

    fn is_movable(&self, answer: Answer) -> bool {
        let Some(mut shard) = self.shard_behind(answer.stick) else {
            return false;
        };
        // Without a lease nothing is agreed on, and nodes that are cut off pick alike.
        let is_agreed = self.lease.until(self.outside.now()).is_some() && !self.decides_alone();
        let entry = shard.current(answer.stick);
        is_agreed && entry.is_some_and(|entry| entry.is_movable_by(answer) && !entry.is_alone())
    }

    fn is_served(&self, group: GroupId, groups: &Groups) -> bool {
        match self.decides_alone() {
            true => self.is_usable(group, groups),
            false => self.replica.agreed_ref().is_usable(group),
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
        let is_mine = entry.is_movable_by(answer);
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
            balancer.choose(policy.balance, ask.groups, ask.port, key, tried, ask.now)
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
        match entry.is_alone() {
            true => shard.tidy(stick.slot),
            false => shard.note_due(stick.slot),
        }
    }
}

impl Node {
    /// Why nobody is served at all, if so.
    fn refuses_all(&self, now: NodeTime) -> Option<Refusal> {
        self.is_barred(now).then_some(Refusal::Barred)
    }

    /// Whether it may not serve: with a lease it is not this node that the cluster does not take.
    pub(super) fn is_barred(&self, now: NodeTime) -> bool {
        self.barred.load().is_some() && self.lease.until(now).is_none()
    }

    /// An answer from the replica, where this node may give one.
    pub(super) fn hit(&self, client: Client<'_>, now: NodeTime) -> Option<Answer> {
        match client {
            Client::Key(key) => {
                let seen = self.replica.look(key)?;
                self.hit_by(key, &seen, now)
            }
            Client::LatestOf(ip) => match self.replica.latest_of(ip) {
                Some((key, seen)) => self.hit_by(key.as_ref(), &seen, now),
                None => {
                    let key = KeyRef { ip, slice: None };
                    let seen = self.replica.look(key)?;
                    self.hit_by(key, &seen, now)
                }
            },
        }
    }

    fn hit_by(&self, key: KeyRef<'_>, seen: &Seen, now: NodeTime) -> Option<Answer> {
        if !self.may_hit(seen, now) {
            return None;
        }
        let (ip_hash, mut shard) = self.shard_of_key(key);
        let slot = shard.entry_of(ip_hash, key);
        let known = shard.get(slot)?.entry.as_ref();
        let is_newer = known.is_some_and(|entry| entry.version > seen.version);
        let is_moving = known.is_some_and(|entry| entry.is_moving);
        // An answer may come before the replica has it: a record never goes back.
        if is_newer || (is_moving && !mutation::is(Mutation::HitsWhileMoving)) {
            return None;
        }
        let provisional = seen.made_by.is_some();
        self.take_over(
            &mut shard,
            slot,
            seen.group,
            seen.version,
            seen.expires,
            provisional,
        );
        let entry = shard.get_mut(slot)?.entry.as_mut()?;
        entry.is_movable = false;
        shard.answer(slot, false)
    }

    /// Has a record go by an entry of the log from now on, where it does not yet. What was given
    /// alone to the same group becomes that entry, with its connections; another group's gives way.
    pub(super) fn take_over(
        &self,
        shard: &mut super::Shard,
        slot: u32,
        group: GroupId,
        version: Index,
        expires: LogTime,
        is_provisional: bool,
    ) {
        let Some(record) = shard.get_mut(slot) else {
            return;
        };
        let mut was_alone = None;
        if let Some(entry) = &mut record.entry {
            if entry.version == version {
                entry.expires = entry.expires.max(expires);
                return;
            }
            if entry.is_alone() && entry.group == group {
                entry.version = version;
                entry.expires = expires;
                entry.is_movable = false;
                entry.is_provisional = is_provisional && entry.open == 0;
                shard.note_due(slot);
                return;
            }
            was_alone = entry.is_alone().then_some(entry.group);
        }
        if let Some(alone) = was_alone {
            self.note_yielded(record.key.as_ref(), alone, group);
        }
        shard.give(slot, group, version, expires);
        if let Some(entry) = shard.get_mut(slot).and_then(|record| record.entry.as_mut()) {
            entry.is_provisional = is_provisional;
        }
    }

    /// Whether this node may answer by an entry of its replica now.
    fn may_hit(&self, seen: &Seen, now: NodeTime) -> bool {
        // What nothing was connected on yet may be moved, or given up, by who made it: other nodes
        // have to ask first. Without a leader, what is known is used as it stands.
        let is_settled = seen.made_by.is_none_or(|maker| maker == self.identity.node)
            || mutation::is(Mutation::HitsProvisional);
        (is_settled || self.decides_alone()) && self.holds(seen, now)
    }

    /// Whether an entry that this node was given still is to be gone by.
    fn holds(&self, seen: &Seen, now: NodeTime) -> bool {
        // Before this process is known in the log, it could not tell of its connections there.
        let is_known = self.is_stated.load(Ordering::Acquire) || self.decides_alone();
        if seen.removed || !is_known {
            return false;
        }
        let agreed = self.replica.agreed_ref();
        if !agreed.is_usable(seen.group) {
            return false;
        }
        self.decides_alone()
            || self.lease.may_hit(now, seen.expires, agreed.expiration_ms)
            || mutation::is(Mutation::HitsWithoutLease)
    }

    /// Whether this node gives groups by itself now.
    pub(super) fn decides_alone(&self) -> bool {
        let is_lost = self.quorum.is_lost() && self.policy.load().no_quorum == NoQuorum::Assign;
        is_lost || mutation::is(Mutation::SkipsTheLog)
    }

    /// Whether bytes may flow on an entry: the last look, with its target connected.
    fn may_begin(&self, key: KeyRef<'_>, entry: &super::record::Entry, now: NodeTime) -> bool {
        if self.decides_alone() || mutation::is(Mutation::BeginsUnchecked) {
            return true;
        }
        if entry.is_alone() {
            return false;
        }
        match self.replica.look(key) {
            Some(mut seen) if seen.version == entry.version => {
                // The log's answer may be newer than the replica. That the entry was held when it was
                // given says nothing of now: a connection may have waited for long since then.
                if entry.expires != HELD || mutation::is(Mutation::TrustsOldHolds) {
                    seen.expires = seen.expires.max(entry.expires);
                }
                self.holds(&seen, now)
            }
            Some(seen) if seen.version > entry.version => false,
            // The answer came before the replica had it: the entry is as the answer said.
            _ if self.replica.applied() < entry.version => {
                let agreed = self.replica.agreed_ref();
                agreed.is_usable(entry.group)
                    && self.lease.may_hit(now, entry.expires, agreed.expiration_ms)
            }
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
        let (version, serial, is_moving) = (entry.version, entry.serial, entry.is_moving);
        // So may the one for the newest entry of the address, which is in this shard too.
        let is_latest_asked = gives_up && self.asks_for_latest(shard, stick.slot);
        if gives_up
            && !is_moving
            && let Some(record) = shard.get_mut(stick.slot)
            // The answer to a question that is out may give it to a connection once more.
            && !is_latest_asked
            && record.asking.iter().all(Option::is_none)
            && let Some(entry) = &mut record.entry
        {
            entry.is_moving = true;
            self.give_up(record.key.clone(), serial, version);
        }
        shard.tidy(stick.slot);
    }

    /// Whether the newest entry of a record's address is asked for.
    fn asks_for_latest(&self, shard: &super::Shard, slot: u32) -> bool {
        let Some(ip) = shard.get(slot).map(|record| record.key.ip) else {
            return false;
        };
        let address = KeyRef { ip, slice: None };
        let record = shard.find(self.hasher.ip(ip), address);
        let record = record.and_then(|slot| shard.get(slot));
        record.is_some_and(|record| record.asking[Question::Latest as usize].is_some())
    }

    /// Tells the log that no connection of this node got connected on a provisional entry.
    pub(super) fn give_up(&self, key: Key, serial: u64, version: Index) {
        self.outbox.push(Queued {
            op: Op::GiveUp {
                key: key.clone(),
                version,
            },
            about: About::GiveUp { key, serial },
        });
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
                // What is being moved, or given up, is asked for once that is over.
                let is_put_off = record.entry.as_ref().is_some_and(|entry| entry.is_moving);
                let known = record.entry.as_ref();
                let group = match known.filter(|entry| entry.is_alone()) {
                    _ if is_put_off => None,
                    Some(given_alone) => Some(self.propose_again(given_alone.group)),
                    None => {
                        let at = (ask.port, ask.place);
                        self.propose_group(ask.groups, at, key, Some(ask.now))
                    }
                };
                *none = Some(super::record::Asking {
                    waiters: vec![waiter],
                    proposed: group,
                    is_put_off,
                });
                if is_put_off {
                    shard.put_off.push((slot, question));
                    return Route::Wait(ask.ticket);
                }
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
        Waiter {
            ticket: ask.ticket,
            port: ask.port,
            place: ask.place,
            until: self.outside.now().plus(patience_ms),
        }
    }

    /// The group for a new key that is asked for on a port, with a place or without, `now`, or again
    /// after that; until the log has answered it counts as one of the group's sticks.
    pub(super) fn propose_group(
        &self,
        groups: &Groups,
        at: (u16, Option<GroupId>),
        key: KeyRef<'_>,
        now: Option<Millis>,
    ) -> Option<GroupId> {
        let now = self.balancer.time(now);
        let balance = self.policy.load().balance;
        let group = self.balancer.choose_with(balance, groups, at, key, now)?;
        group.counters.sticks.fetch_add(1, Ordering::Relaxed);
        Some(group.id)
    }

    /// The same for a group that was given alone already.
    fn propose_again(&self, group: GroupId) -> GroupId {
        let counters = self.registry.counters(group);
        counters.sticks.fetch_add(1, Ordering::Relaxed);
        group
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
