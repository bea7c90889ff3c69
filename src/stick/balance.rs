//! How a new key gets its group.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::clock::Millis;
use crate::config::{Balance, GroupId};
use crate::groups::{Group, Groups, Status};

use super::key::KeyRef;
use super::rendezvous;

/// Parts of one new key that groups which start slowly save up.
const WHOLE_KEY: u64 = 1 << 32;

/// Chooses groups; remembers whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Balancer {
    /// Smooth weighted round-robin: what each group has saved up.
    credits: Mutex<HashMap<GroupId, i64>>,
    /// Of groups that start slowly: what each has saved up of one new key, in [`WHOLE_KEY`]ths.
    allowances: Mutex<HashMap<GroupId, u64>>,
    /// In [`Millis`]: when it was last asked, for who asks again without a clock.
    asked_ms: AtomicU64,
}

impl Balancer {
    /// The group for the new key of a connection that may have a `place` with one already: that
    /// one, where it may be chosen.
    pub fn choose_with<'g>(
        &self,
        policy: Balance,
        groups: &'g Groups,
        (port, place): (u16, Option<GroupId>),
        key: KeyRef<'_>,
        now: Millis,
    ) -> Option<&'g Group> {
        let placed = place.and_then(|place| {
            let candidates = candidates(groups, port, &[]);
            candidates.into_iter().find(|group| group.id == place)
        });
        placed.or_else(|| self.choose(policy, groups, port, key, &[], now))
    }

    /// The group for a new key of a connection on the listened `port`, none of `tried`.
    ///
    /// Groups with room for a connection (`max_connections`) are preferred; where none has any, one
    /// is chosen as if all had. Backup groups are candidates only while no other group is, whether
    /// tried or not: a connection that failed on every ordinary group does not spill over to the
    /// backups.
    pub fn choose<'g>(
        &self,
        policy: Balance,
        groups: &'g Groups,
        port: u16,
        key: KeyRef<'_>,
        tried: &[GroupId],
        now: Millis,
    ) -> Option<&'g Group> {
        let mut candidates = candidates(groups, port, tried);
        // Each is asked once: other workers take and give back places meanwhile.
        let mut with_room = 0;
        for at in 0..candidates.len() {
            if candidates[at].counters.places.has_room() {
                candidates[with_room] = candidates[at];
                with_room += 1;
            }
        }
        if with_room > 0 {
            candidates.truncate(with_room);
        }
        let candidates = candidates.iter().copied();
        match policy {
            Balance::LeastSticks => self.least_loaded(groups, candidates, now, |group| {
                let sticks = group.counters.sticks();
                [0, sticks]
            }),
            // Connections count once they are up. Among groups with as many, as where clients
            // come one after the other, sticks decide, or one group would get them all.
            Balance::LeastConnections => self.least_loaded(groups, candidates, now, |group| {
                let counters = &group.counters;
                [counters.connections(), counters.sticks()]
            }),
            Balance::RoundRobin => self.next_in_turn(groups, candidates, now),
            Balance::Hash => highest_score(candidates, key, now),
        }
    }

    /// The time that is `now`, or where nobody says it was last.
    pub fn time(&self, now: Option<Millis>) -> Millis {
        if let Some(now) = now {
            self.asked_ms.store(now.0, Ordering::Relaxed);
        }
        now.unwrap_or_else(|| Millis(self.asked_ms.load(Ordering::Relaxed)))
    }

    /// Groups that have credits.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.credits.lock().unwrap().len()
    }

    /// The candidate with the least load for its weight; where the first measure is equal the second
    /// decides, then the lower id.
    ///
    /// A group that has just returned has the least load until it has caught up with the others,
    /// however large its weight. So one that starts slowly may be chosen as often only as its
    /// rising share says.
    fn least_loaded<'g>(
        &self,
        groups: &Groups,
        candidates: impl Iterator<Item = &'g Group> + Clone,
        now: Millis,
        load: impl Fn(&Group) -> [u64; 2],
    ) -> Option<&'g Group> {
        let starts_slowly = |group: &&Group| group.slow_start_left(now).is_some();
        if !candidates.clone().any(|group| starts_slowly(&group)) {
            return least(candidates, load);
        }
        let mut allowances = self
            .allowances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let parts = candidates.clone().map(|group| group.parts(now));
        let whole = parts.sum::<u64>().max(1);
        for group in candidates.clone().filter(starts_slowly) {
            let share = u128::from(group.parts(now)) * u128::from(WHOLE_KEY) / u128::from(whole);
            let allowance = allowances.entry(group.id).or_insert(0);
            // What goes beyond one key is kept, but not for a rush of keys.
            *allowance = (2 * WHOLE_KEY).min(*allowance + share as u64);
        }
        let has_one = |group: &Group| {
            allowances
                .get(&group.id)
                .is_some_and(|&had| had >= WHOLE_KEY)
        };
        let may_be_chosen = |group: &&Group| !starts_slowly(group) || has_one(group);
        let allowed = least(candidates.clone().filter(may_be_chosen), &load);
        let chosen = allowed.or_else(|| least(candidates, &load))?;
        if let Some(allowance) = allowances.get_mut(&chosen.id) {
            *allowance = allowance.saturating_sub(WHOLE_KEY);
        }
        allowances.retain(|&id, _| groups.get(id).is_some_and(|group| starts_slowly(&group)));
        Some(chosen)
    }

    /// Smooth weighted round-robin: each candidate earns its weight, the richest is chosen and
    /// pays what all earned. Turns of one group are spread out, not bunched.
    fn next_in_turn<'g>(
        &self,
        groups: &Groups,
        candidates: impl Iterator<Item = &'g Group>,
        now: Millis,
    ) -> Option<&'g Group> {
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut earned = 0;
        let mut richest: Option<(i64, &Group)> = None;
        for group in candidates {
            let weight = i64::try_from(group.parts(now)).unwrap_or(i64::MAX >> 32);
            let credit = credits.entry(group.id).or_insert(0);
            *credit += weight;
            earned += weight;
            if richest.is_none_or(|(most, _)| *credit > most) {
                richest = Some((*credit, group));
            }
        }
        let (_, chosen) = richest?;
        *credits.entry(chosen.id).or_insert(0) -= earned;
        if credits.len() > groups.iter().len() {
            credits.retain(|&id, _| groups.get(id).is_some());
        }
        Some(chosen)
    }
}

/// The groups that may be given a new key of a connection on the listened `port`, none of `tried`,
/// whether they have room for it or not; ascending.
pub fn candidates<'g>(groups: &'g Groups, port: u16, tried: &[GroupId]) -> Vec<&'g Group> {
    let takes_new = |group: &&Group| group.status() == Status::Up && group.serves(port);
    let mut candidates: Vec<&Group> = groups.iter().filter(takes_new).collect();
    let ordinary = candidates.iter().any(|group| !group.is_backup());
    let mut tried = tried.to_vec();
    tried.sort_unstable();
    candidates
        .retain(|group| group.is_backup() != ordinary && tried.binary_search(&group.id).is_err());
    candidates
}

fn least<'g>(
    candidates: impl Iterator<Item = &'g Group>,
    load: impl Fn(&Group) -> [u64; 2],
) -> Option<&'g Group> {
    let mut least: Option<([u64; 2], &Group)> = None;
    for group in candidates {
        let own = load(group);
        let lighter = |(other, than): ([u64; 2], &Group)| {
            let mine = own.map(|load| u128::from(load) * u128::from(than.share()));
            mine < other.map(|load| u128::from(load) * u128::from(group.share()))
        };
        if least.is_none_or(lighter) {
            least = Some((own, group));
        }
    }
    least.map(|(_, group)| group)
}

fn highest_score<'g>(
    candidates: impl Iterator<Item = &'g Group>,
    key: KeyRef<'_>,
    now: Millis,
) -> Option<&'g Group> {
    let key_hash = rendezvous::key_hash(key);
    let mut highest: Option<(f64, &Group)> = None;
    for group in candidates {
        let score = rendezvous::score(key_hash, group.id, group.parts(now) as f64);
        if highest.is_none_or(|(most, _)| score > most) {
            highest = Some((score, group));
        }
    }
    highest.map(|(_, group)| group)
}
