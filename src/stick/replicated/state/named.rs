//! Operations on one version of an entry: they do nothing to another.

use std::sync::Arc;

use tcpffee_raft::ids::{Index, LogTime, NodeId};

use super::assign::given;
use super::{Asker, Now, State};
use crate::config::GroupId;
use crate::stick::Key;
use crate::stick::hash::shard_of;
use crate::stick::replicated::command::Outcome;
use crate::stick::replicated::replica::Replica;
use crate::stick::replicated::replica::entry::{self, Entry, after};
use crate::stick::replicated::replica::shard::Shard;

impl State {
    /// The connection that made the entry could not reach its group.
    pub(super) fn move_entry(
        &mut self,
        now: Now,
        asker: Asker,
        key: &Key,
        version: Index,
        to: GroupId,
    ) -> Outcome {
        // What an earlier process of the node has said late is not of this one's connections.
        if !asker.is_current || !self.agreement.takes_new(to) {
            return Outcome::Stale;
        }
        let expiration_ms = self.agreement.expiration_ms();
        self.with(key, |state, shard, at, slot| {
            let entry = shard.entry(slot);
            let is_its_own = entry.state == entry::State::Provisional && entry.maker == asker.slot;
            if entry.version != version || !is_its_own || entry.is_removed() {
                return Outcome::Stale;
            }
            state.entries.change(shard, at, slot, |entry| {
                entry.group = to;
                entry.version = now.index;
                entry.extend(now.time, expiration_ms);
            });
            state.entries.counts.moves += 1;
            Outcome::Entry(given(shard.entry(slot), None, false))
        })
    }

    /// No connection of the node that was given the entry got connected.
    pub(super) fn give_up(&mut self, asker: Asker, key: &Key, version: Index) -> Outcome {
        if !asker.is_current {
            return Outcome::Stale;
        }
        self.with(key, |state, shard, at, slot| {
            let entry = shard.entry(slot);
            if entry.version != version {
                return Outcome::Stale;
            }
            if !entry.is_provisional() {
                return Outcome::Done;
            }
            if entry.nodes & !asker.bit == 0 {
                state.entries.remove(shard, at, slot);
            } else {
                let entries = &mut state.entries;
                entries.change(shard, at, slot, |entry| entry.take_back(asker.bit));
            }
            Outcome::Done
        })
    }

    /// Connections of the node are open on the entry.
    pub(super) fn hold(
        &mut self,
        now: Now,
        (node, asker): (NodeId, Asker),
        key: &Key,
        version: Index,
    ) -> Outcome {
        if !asker.is_current {
            return Outcome::Stale;
        }
        let outcome = self.change_named(key, version, false, |entry| {
            entry.activate();
            entry.nodes |= asker.bit;
        });
        let member = self.agreement.members.get_mut(&node);
        if let Some(member) = member.filter(|member| !member.has_session)
            && outcome == Outcome::Done
        {
            member.has_session = true;
            self.reckon(now);
        }
        outcome
    }

    /// A connection of the node was active on the entry.
    pub(super) fn renew(
        &mut self,
        now: Now,
        key: &Key,
        version: Index,
        activity: LogTime,
    ) -> Outcome {
        let expiration_ms = self.agreement.expiration_ms();
        self.change_named(key, version, false, |entry| {
            entry.activate();
            entry.extend(activity.min(now.time), expiration_ms);
        })
    }

    /// The node's last connection on the entry has ended.
    pub(super) fn release(
        &mut self,
        now: Now,
        asker: Asker,
        key: &Key,
        version: Index,
        activity: LogTime,
    ) -> Outcome {
        if !asker.is_current {
            return Outcome::Stale;
        }
        let expiration_ms = self.agreement.expiration_ms();
        self.change_named(key, version, true, |entry| {
            entry.activate();
            entry.nodes &= !asker.bit;
            entry.extend(activity.min(now.time), expiration_ms);
            // While it was held, a node may have answered by it under a lease, however long ago
            // the last activity was that anybody told.
            entry.extend(now.time, expiration_ms - expiration_ms / 6);
        })
    }

    /// An operator wants the entry gone: nobody is given it any more, and once every node knows,
    /// its key is free.
    pub(super) fn remove(&mut self, now: Now, key: &Key) -> Outcome {
        let outcome = self.with(key, |state, shard, at, slot| {
            if !shard.entry(slot).is_removed() {
                let entries = &mut state.entries;
                entries.change(shard, at, slot, |entry| entry.removed_at = now.index);
            }
            Outcome::Done
        });
        self.reckon(now);
        // No entry is as good as one removed.
        match outcome {
            Outcome::Stale => Outcome::Done,
            other => other,
        }
    }

    /// Changes an entry where it has this version; one that an operator removed only where
    /// `removed_too`.
    fn change_named(
        &mut self,
        key: &Key,
        version: Index,
        removed_too: bool,
        change: impl FnOnce(&mut Entry),
    ) -> Outcome {
        self.with(key, |state, shard, at, slot| {
            let entry = shard.entry(slot);
            if entry.version != version || entry.is_removed() && !removed_too {
                return Outcome::Stale;
            }
            state.entries.change(shard, at, slot, change);
            Outcome::Done
        })
    }

    /// Hands the entry of a key to `with`, under its shard's lock; [`Outcome::Stale`] where there
    /// is none.
    fn with(
        &mut self,
        key: &Key,
        with: impl FnOnce(&mut State, &mut Shard, usize, u32) -> Outcome,
    ) -> Outcome {
        let replica: Arc<Replica> = Arc::clone(&self.entries.replica);
        let ip_hash = replica.hasher.ip(key.ip);
        let at = shard_of(ip_hash);
        let mut shard = replica.lock(at);
        match shard.find(ip_hash, key.as_ref()) {
            Some(slot) => with(self, &mut shard, at, slot),
            None => Outcome::Stale,
        }
    }

    /// When what nobody holds any more from now on expires at the earliest.
    pub(super) fn whole_life(&self, now: Now) -> LogTime {
        after(now.time, self.agreement.expiration_ms())
    }
}
