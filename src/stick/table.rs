//! The table of a lone node: answers at once.
//!
//! Entries live in [`SHARDS`] shards by their address, each behind a mutex that is held for one
//! operation on one entry, or for a bounded batch of sweeping or listing. Nobody holds two.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::clock::Millis;
use crate::config::{Balance, GroupId, StickTableFull};
use crate::groups::{Group, GroupRegistry, Groups};

use super::balance::Balancer;
use super::bell::Bell;
use super::counters::StickCounters;
use super::counts::Counts;
use super::entry::State;
use super::hash::{KeyHasher, SHARDS, shard_of};
use super::shard::Shard;
use super::{AfterFailure, Answer, Ask, Client, KeyRef, Refusal, Route, Stale, StickRef, Sticks};

/// What the configuration says about the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long an entry outlives its last activity, in whole milliseconds.
    pub expiration: Duration,
    /// Most entries.
    pub max_entries: usize,
    /// What happens to a new key when there are that many.
    pub full: StickTableFull,
    /// How a new key gets its group.
    pub balance: Balance,
}

/// A stick table that decides by itself.
#[derive(Debug)]
pub struct Table {
    pub(super) shards: Box<[CachePadded<ShardCell>]>,
    /// As last applied; each shard has its own copy, in force there.
    settings: Mutex<Settings>,
    /// Entries in the table or about to be.
    pub(super) entries: AtomicUsize,
    pub(super) counters: StickCounters,
    pub(super) hasher: KeyHasher,
    pub(super) bell: Bell,
    balancer: Balancer,
}

/// A shard with what may be read of it without its lock.
#[derive(Debug)]
pub(super) struct ShardCell {
    /// The oldest activity on the shard's idle list, as it was when the lock was last released.
    oldest: AtomicU64,
    shard: Mutex<Shard>,
}

impl ShardCell {
    pub fn oldest(&self) -> Millis {
        Millis(self.oldest.load(Ordering::Relaxed))
    }

    pub fn lock(&self) -> LockedShard<'_> {
        LockedShard {
            shard: self.shard.lock().unwrap_or_else(PoisonError::into_inner),
            oldest: &self.oldest,
        }
    }
}

/// A locked shard; publishes its oldest activity when it is released.
pub(super) struct LockedShard<'t> {
    shard: MutexGuard<'t, Shard>,
    oldest: &'t AtomicU64,
}

impl Deref for LockedShard<'_> {
    type Target = Shard;
    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl DerefMut for LockedShard<'_> {
    fn deref_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }
}

impl Drop for LockedShard<'_> {
    fn drop(&mut self) {
        let oldest = self.shard.idle.oldest();
        self.oldest.store(oldest.0, Ordering::Relaxed);
    }
}

impl Table {
    /// An empty table. The groups that it will be asked about have their counters from
    /// `registry`.
    pub fn new(settings: Settings, registry: Arc<GroupRegistry>) -> Table {
        let hasher = KeyHasher::default();
        let cell = |number| {
            let shard = Shard::new(number, hasher.clone(), settings);
            CachePadded::new(ShardCell {
                oldest: AtomicU64::new(shard.idle.oldest().0),
                shard: Mutex::new(shard),
            })
        };
        Table {
            shards: (0..SHARDS as u32).map(cell).collect(),
            settings: Mutex::new(settings),
            entries: AtomicUsize::new(0),
            counters: StickCounters::new(registry),
            hasher,
            bell: Bell::default(),
            balancer: Balancer::default(),
        }
    }

    /// Puts other settings in force, for the entries there are as well: their expiry counts from
    /// their last activity. A bound below the present size cuts nothing; new keys meet it.
    pub fn apply(&self, settings: Settings) {
        let mut current = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        *current = settings;
        for cell in &self.shards {
            cell.lock().apply(settings);
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries now, expired ones that were not swept yet included.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed) as u64
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            entries: self.entries.load(Ordering::Relaxed) as u64,
            ..Counts::default()
        };
        for cell in &self.shards {
            counts += cell.lock().tally;
        }
        counts
    }

    /// The shard of a reference, where it is one of this table's.
    fn shard_of(&self, stick: StickRef) -> Option<LockedShard<'_>> {
        Some(self.shards.get(stick.shard as usize)?.lock())
    }

    /// The entry that answers for a client, valid or not.
    fn find(&self, shard: &Shard, ip_hash: u64, ask: &Ask<'_>, now: Millis) -> Option<u32> {
        match ask.client {
            Client::Key(key) => shard.find(ip_hash, key),
            Client::LatestOf(ip) => shard
                .latest(ip_hash, ip, |entry| {
                    entry.is_valid(now, shard.settings.expiration)
                        && usable(ask.groups, entry.group).is_some()
                })
                .or_else(|| shard.find(ip_hash, KeyRef { ip, slice: None })),
        }
    }

    /// The group for a new key.
    fn choose<'g>(
        &self,
        shard: &Shard,
        ask: &Ask<'g>,
        key: KeyRef<'_>,
        now: Millis,
    ) -> Option<&'g Group> {
        let (balance, at) = (shard.settings.balance, (ask.port, ask.place));
        self.balancer.choose_with(balance, ask.groups, at, key, now)
    }

    /// Answers from an entry, or gives it to another group where it no longer binds.
    fn route_known(&self, shard: &mut Shard, slot: u32, ask: &Ask<'_>, now: Millis) -> Route {
        let entry = &shard.slab[slot];
        let before = entry.group;
        let valid = entry.is_valid(now, shard.settings.expiration);
        if let Some(group) = usable(ask.groups, before).filter(|_| valid) {
            if !group.serves(ask.port) {
                return refuse(shard, Refusal::NoTarget);
            }
            shard.join(slot);
            shard.tally.hits += 1;
            return answer(shard, slot, false);
        }
        let key = entry.key();
        let Some(group) = self.choose(shard, ask, key, now) else {
            return refuse(shard, Refusal::NoGroup);
        };
        shard.assign(slot, group.id, now);
        shard.touch(slot);
        if valid {
            shard.tally.reassignments += 1;
        } else {
            shard.tally.expiries += 1;
            shard.tally.assignments += 1;
        }
        self.counters.subtract(before, 1);
        group.counters.sticks.fetch_add(1, Ordering::Relaxed);
        answer(shard, slot, true)
    }

    /// Removes an entry that nothing stands for any more.
    pub(super) fn discard(&self, shard: &mut Shard, slot: u32) {
        if shard.slab[slot].state == State::Lapsed {
            shard.tally.expiries += 1;
        }
        let group = shard.remove(slot);
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.counters.subtract(group, 1);
    }
}

impl Sticks for Table {
    fn route(&self, ask: &Ask<'_>) -> Route {
        let key = key_of(ask.client);
        let ip_hash = self.hasher.ip(key.ip);
        let cell = &self.shards[shard_of(ip_hash)];
        let mut shard = cell.lock();
        let now = shard.advance(ask.now);
        if let Some(slot) = self.find(&shard, ip_hash, ask, now) {
            return self.route_known(&mut shard, slot, ask, now);
        }
        let Some(group) = self.choose(&shard, ask, key, now) else {
            return refuse(&mut shard, Refusal::NoGroup);
        };
        if !self.reserve(shard.settings.max_entries) {
            let settings = shard.settings;
            drop(shard); // making room takes other shards' locks
            let has_room = self.make_room(now, &settings);
            shard = cell.lock();
            let now = shard.advance(now);
            if let Some(slot) = self.find(&shard, ip_hash, ask, now) {
                if has_room {
                    self.entries.fetch_sub(1, Ordering::Relaxed);
                }
                return self.route_known(&mut shard, slot, ask, now);
            }
            if !has_room {
                return refuse(&mut shard, Refusal::TableFull);
            }
        }
        let slot = shard.insert(ip_hash, key, group.id, now);
        shard.tally.assignments += 1;
        group.counters.sticks.fetch_add(1, Ordering::Relaxed);
        answer(&shard, slot, true)
    }

    fn still_holds(&self, stick: StickRef, groups: &Groups, _: Millis) -> bool {
        self.shard_of(stick).is_some_and(|shard| {
            let slot = shard.current(stick);
            slot.is_some_and(|slot| usable(groups, shard.slab[slot].group).is_some())
        })
    }

    fn is_served(&self, group: GroupId, groups: &Groups) -> bool {
        usable(groups, group).is_some()
    }

    fn established(&self, stick: StickRef, groups: &Groups, now: Millis) -> Result<(), Stale> {
        let mut shard = self.shard_of(stick).ok_or(Stale)?;
        let now = shard.advance(now);
        let slot = shard.current(stick).ok_or(Stale)?;
        if usable(groups, shard.slab[slot].group).is_none() {
            if shard.give_up(slot) {
                self.discard(&mut shard, slot);
            }
            return Err(Stale);
        }
        shard.open(slot, now);
        let is_news = self.bell.is_attended() && shard.note_unjournalled(slot);
        drop(shard);
        if is_news {
            self.bell.ring();
        }
        Ok(())
    }

    fn connect_failed(&self, ask: &Ask<'_>, failed: Answer, tried: &[GroupId]) -> AfterFailure {
        let Some(mut shard) = self.shard_of(failed.stick) else {
            return AfterFailure::Reset;
        };
        let now = shard.advance(ask.now);
        let Some(slot) = shard.current(failed.stick) else {
            return AfterFailure::Reset;
        };
        let entry = &shard.slab[slot];
        if failed.created && entry.state == State::Provisional {
            let balance = shard.settings.balance;
            let (before, key) = (entry.group, entry.key());
            let next = self
                .balancer
                .choose(balance, ask.groups, ask.port, key, tried, now);
            if let Some(group) = next {
                shard.assign(slot, group.id, now);
                shard.tally.moves += 1;
                self.counters.subtract(before, 1);
                group.counters.sticks.fetch_add(1, Ordering::Relaxed);
                return AfterFailure::Moved(Answer {
                    group: group.id,
                    stick: shard.stick_ref(slot),
                    created: true,
                });
            }
        }
        if shard.give_up(slot) {
            self.discard(&mut shard, slot);
        }
        AfterFailure::Reset
    }

    fn abandoned(&self, stick: StickRef, now: Millis) {
        let Some(mut shard) = self.shard_of(stick) else {
            return;
        };
        shard.advance(now);
        if let Some(slot) = shard.current(stick)
            && shard.give_up(slot)
        {
            self.discard(&mut shard, slot);
        }
    }

    fn closed(&self, stick: StickRef, now: Millis) {
        let Some(mut shard) = self.shard_of(stick) else {
            return;
        };
        let now = shard.advance(now);
        if let Some(slot) = shard.current(stick) {
            shard.close(slot, now);
        }
    }
}

/// The key that a new entry gets.
fn key_of(client: Client<'_>) -> KeyRef<'_> {
    match client {
        Client::Key(key) => key,
        Client::LatestOf(ip) => KeyRef { ip, slice: None },
    }
}

fn usable(groups: &Groups, id: GroupId) -> Option<&Group> {
    groups.get(id).filter(|group| group.status().is_usable())
}

fn answer(shard: &Shard, slot: u32, created: bool) -> Route {
    Route::Group(Answer {
        group: shard.slab[slot].group,
        stick: shard.stick_ref(slot),
        created,
    })
}

fn refuse(shard: &mut Shard, reason: Refusal) -> Route {
    shard.tally.refusals += 1;
    Route::Refuse(reason)
}
