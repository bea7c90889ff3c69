//! Without a leader, with `no_quorum = "assign"`: new keys go by rendezvous hash over what was
//! last agreed, so that every node that is cut off picks alike. When a leader answers again it is
//! offered what was given alone; what was agreed meanwhile goes before.

use tcpffee_raft::ids::LogTime;

use crate::config::GroupId;
use crate::groups::{Groups, Status};
use crate::logging::RateLimit;
use crate::stick::replicated::command::{Op, Outcome, Wanted};
use crate::stick::{Answer, Ask, Client, Key, KeyRef, Refusal, StickRef, rendezvous};

use super::outbox::{About, Queued};
use super::record::{ALONE, Entry, FOREVER};
use super::{Node, count, locked};

/// Offers made in one tick, while few operations wait.
const OFFERS_AT_ONCE: usize = 256;

static YIELDED: RateLimit = RateLimit::new();

impl Node {
    /// Gives a key a group without asking anybody, or finds the one that it has been given.
    pub(super) fn decide_alone(
        &self,
        client: Client<'_>,
        port: u16,
        groups: &Groups,
        tried: &[GroupId],
    ) -> Result<Answer, Refusal> {
        let key = match client {
            Client::Key(key) => key,
            Client::LatestOf(ip) => KeyRef { ip, slice: None },
        };
        let (ip_hash, mut shard) = self.shard_of_key(key);
        let slot = shard.entry_of(ip_hash, key);
        // An answer of the log may have come before the replica had it.
        let applied = self.replica.applied();
        let is_newest =
            |entry: &Entry| entry.is_alone() || (entry.version > applied && !entry.is_moving);
        let known = shard
            .get_mut(slot)
            .and_then(|record| record.entry.as_mut())
            .filter(|entry| is_newest(entry) && self.is_usable(entry.group, groups));
        if let Some(entry) = known {
            entry.is_movable = false;
            return shard.answer(slot, false).ok_or(Refusal::NoGroup);
        }
        let Some(group) = self.choose_alone(key, port, groups, tried) else {
            shard.tidy(slot);
            return Err(Refusal::NoGroup);
        };
        shard.give(slot, group, ALONE, LogTime(u64::MAX));
        if let Some(entry) = shard.get_mut(slot).and_then(|record| record.entry.as_mut()) {
            entry.is_movable = true;
        }
        let answer = shard.answer(slot, true).ok_or(Refusal::NoGroup);
        drop(shard);
        count(&self.counters.alone);
        let mut alone = locked(&self.alone);
        // Beyond the bound nothing is offered; every node picks the same all the same.
        if alone.len() < self.policy.load().max_entries {
            alone.push(key.to_key());
            return answer;
        }
        drop(alone);
        if let Ok(answer) = answer
            && let Some(mut shard) = self.shard_behind(answer.stick)
            && let Some(entry) = shard.current(answer.stick)
        {
            entry.told = FOREVER;
        }
        answer
    }

    /// The connection that was given a group alone could not reach it: the next one.
    pub(super) fn move_alone(
        &self,
        stick: StickRef,
        client: Client<'_>,
        ask: &Ask<'_>,
        tried: &[GroupId],
    ) -> Option<Answer> {
        let Client::Key(key) = client else {
            return None;
        };
        let next = self.choose_alone(key, ask.port, ask.groups, tried);
        let mut shard = self.shard_behind(stick)?;
        let entry = shard.current(stick)?;
        let Some(next) = next else {
            entry.pending = entry.pending.saturating_sub(1);
            return None;
        };
        shard.give(stick.slot, next, ALONE, LogTime(u64::MAX));
        let entry = shard.get_mut(stick.slot)?.entry.as_mut()?;
        entry.is_movable = true;
        shard.answer(stick.slot, true)
    }

    /// The group of the highest score among those that took new keys when last agreed, and that
    /// this node can send the port to. Where nothing was ever agreed, the file decides.
    fn choose_alone(
        &self,
        key: KeyRef<'_>,
        port: u16,
        groups: &Groups,
        tried: &[GroupId],
    ) -> Option<GroupId> {
        let agreed = self.replica.agreed_ref();
        let hash = rendezvous::key_hash(key);
        let candidates = groups.iter().filter_map(|group| {
            let (takes_new, weight, backup) = match agreed.groups.get(&group.id) {
                Some(known) => (known.takes_new, known.weight, known.backup),
                None if agreed.groups.is_empty() => {
                    (group.status() == Status::Up, group.weight, group.backup)
                }
                None => (false, 0, false),
            };
            let is_one = takes_new && group.serves(port) && !tried.contains(&group.id);
            is_one.then(|| {
                (
                    backup,
                    rendezvous::score(hash, group.id, f64::from(weight)),
                    group.id,
                )
            })
        });
        // Ordinary groups go before backups.
        let best = candidates.max_by(|one, other| {
            let by_backup = other.0.cmp(&one.0);
            by_backup.then(one.1.total_cmp(&other.1))
        });
        best.map(|(_, _, group)| group)
    }

    pub(super) fn is_usable(&self, group: GroupId, groups: &Groups) -> bool {
        let agreed = self.replica.agreed_ref();
        match agreed.groups.get(&group) {
            Some(known) => known.status.is_usable(),
            None => agreed.groups.is_empty() && groups.get(group).is_some(),
        }
    }

    /// A leader answers again: it is offered what was given alone, some at a time, so that new
    /// questions need not wait for all of it.
    pub(super) fn offer_alone(&self) {
        let keys: Vec<Key> = {
            let mut alone = locked(&self.alone);
            let from = alone.len().saturating_sub(OFFERS_AT_ONCE);
            alone.drain(from..).collect()
        };
        for key in keys {
            let (ip_hash, shard) = self.shard_of_key(key.as_ref());
            let slot = shard.find(ip_hash, key.as_ref());
            let record = slot.and_then(|slot| shard.get(slot));
            let entry = record.and_then(|record| record.entry.as_ref());
            let Some(entry) = entry.filter(|entry| entry.is_alone()) else {
                continue;
            };
            let (group, serial) = (entry.group, entry.serial);
            drop(shard);
            self.outbox.push(Queued {
                op: Op::Assign {
                    client: Wanted::Key(key.clone()),
                    group: Some(group),
                },
                about: About::Offer { key, serial },
            });
        }
        self.pump();
    }

    /// What has become of an offer.
    pub(super) fn offered(&self, key: &Key, serial: u64, outcome: Outcome) {
        let (ip_hash, mut shard) = self.shard_of_key(key.as_ref());
        let Some(slot) = shard.find(ip_hash, key.as_ref()) else {
            return;
        };
        let Some(record) = shard.get_mut(slot) else {
            return;
        };
        let known = record.entry.as_ref();
        if known.is_none_or(|entry| entry.serial != serial) {
            return;
        }
        match outcome {
            Outcome::Entry(given) => {
                // Provisional there, which the next news of its connections changes.
                self.take_over(
                    &mut shard,
                    slot,
                    given.group,
                    given.version,
                    given.expires,
                    false,
                );
            }
            Outcome::Fenced | Outcome::Stale => {
                drop(shard);
                return self.offer_again(key.clone());
            }
            _ => {
                // Nothing was agreed, and the group takes no new keys: the next connection asks.
                count(&self.counters.yielded);
                record.entry = None;
            }
        }
        shard.tidy(slot);
    }

    /// An offer has no answer: it is made again when there is a leader.
    pub(super) fn offer_again(&self, key: Key) {
        locked(&self.alone).push(key);
    }

    /// Whether anything is left to be offered.
    pub(super) fn has_offers(&self) -> bool {
        !locked(&self.alone).is_empty()
    }

    /// A key was given to a group alone, and the cluster has given it to another.
    pub(super) fn note_yielded(&self, key: KeyRef<'_>, alone: GroupId, agreed: GroupId) {
        if alone == agreed {
            return;
        }
        count(&self.counters.yielded);
        if let Some(left_out) = YIELDED.admit(crate::clock::Millis(self.outside.now().0)) {
            log::warn!(
                "{key} was given to group {alone} without a leader; the cluster has agreed on \
                 group {agreed}, which holds from now on{left_out}"
            );
        }
    }
}
