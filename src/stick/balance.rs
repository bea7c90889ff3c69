//! How a new key gets its group.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::clock::Millis;
use crate::config::{Balance, GroupId};
use crate::groups::{Group, Groups, Status};

use super::key::KeyRef;
use super::rendezvous;

/// Chooses groups; remembers whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Balancer {
    /// Smooth weighted round-robin: what each group has saved up.
    credits: Mutex<HashMap<GroupId, i64>>,
    /// In [`Millis`]: when it was last asked, for who asks again without a clock.
    asked_ms: AtomicU64,
}

impl Balancer {
    /// The group for a new key of a connection on the listened `port`, none of `tried`.
    ///
    /// Groups with room for a connection (`max_connections`) are preferred; where none has any, one is
    /// chosen as if all had. Backup groups are candidates only while no other group is, whether tried or not: a
    /// connection that failed on every ordinary group does not spill over to the backups.
    pub fn choose<'g>(
        &self,
        policy: Balance,
        groups: &'g Groups,
        port: u16,
        key: KeyRef<'_>,
        tried: &[GroupId],
        now: Millis,
    ) -> Option<&'g Group> {
        let takes_new = |group: &&Group| group.status() == Status::Up && group.serves(port);
        let ordinary = groups
            .iter()
            .filter(takes_new)
            .any(|group| !group.is_backup());
        let may_have = |group: &&Group| {
            group.is_backup() != ordinary && !tried.contains(&group.id) && takes_new(group)
        };
        let has_room = |group: &&Group| group.counters.places.has_room();
        let needs_room = groups.iter().filter(may_have).any(|group| has_room(&group));
        let candidates = groups
            .iter()
            .filter(|group| may_have(group) && (!needs_room || has_room(group)));
        match policy {
            Balance::LeastSticks => least_loaded(candidates, now, |group| [0, sticks(group)]),
            // Connections count once they are up. Among groups with as many, as where clients
            // come one after the other, sticks decide, or one group would get them all.
            Balance::LeastConnections => least_loaded(candidates, now, |group| {
                [group.counters.connections(), sticks(group)]
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

fn sticks(group: &Group) -> u64 {
    group.counters.sticks()
}

/// The candidate with the least load for its weight; where the first measure is equal the second
/// decides, then the lower id.
fn least_loaded<'g>(
    candidates: impl Iterator<Item = &'g Group>,
    now: Millis,
    load: impl Fn(&Group) -> [u64; 2],
) -> Option<&'g Group> {
    let mut least: Option<([u64; 2], &Group)> = None;
    for group in candidates {
        let own = load(group);
        let lighter = |(other, than): ([u64; 2], &Group)| {
            let mine = own.map(|load| u128::from(load) * u128::from(than.parts(now)));
            mine < other.map(|load| u128::from(load) * u128::from(group.parts(now)))
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
