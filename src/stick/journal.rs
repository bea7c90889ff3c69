//! What the table tells whoever keeps a journal of it: which entries became active.

use std::ops::ControlFlow;
use std::thread::Thread;

use crate::config::GroupId;

use super::KeyRef;
use super::entry::State;
use super::hash::SHARDS;
use super::shard::ENTRIES_PER_HOLD;
use super::table::Table;

impl Table {
    /// From now on entries that become active are noted, and `thread` is unparked for the first
    /// of them; with `None`, nothing is noted any more.
    pub(super) fn journal_to(&self, thread: Option<Thread>) {
        self.bell.attend(thread);
    }

    /// Whether there may be news to take.
    pub(super) fn has_news(&self) -> bool {
        self.bell.is_rung()
    }

    /// Lets the next news ring again. To be called before the news is taken.
    pub(super) fn answer_bell(&self) {
        self.bell.answer();
    }

    /// Shards that there is news of.
    pub(super) fn shard_count(&self) -> usize {
        SHARDS
    }

    /// Hands entries of one shard that became active to `take`, as they are now, until it breaks.
    /// A bounded number under one hold of the lock; true where there is more.
    pub(super) fn take_news(
        &self,
        shard: usize,
        mut take: impl FnMut(KeyRef<'_>, GroupId) -> ControlFlow<()>,
    ) -> bool {
        let mut shard = self.shards[shard].lock();
        for _ in 0..ENTRIES_PER_HOLD {
            let Some(slot) = shard.unjournalled.pop_front() else {
                return false;
            };
            let entry = &mut shard.slab[slot];
            entry.queued = false;
            if entry.state != State::Active {
                entry.stored = false; // should it become active (again), that is news
            } else if take(entry.key(), entry.group).is_break() {
                break;
            }
        }
        !shard.unjournalled.is_empty()
    }

    /// Takes all news and tells nobody: for when it cannot be written.
    pub(super) fn drop_news(&self) {
        for shard in 0..SHARDS {
            while self.take_news(shard, |_, _| ControlFlow::Continue(())) {}
        }
    }

    /// A number that grows with everything that a save would show, but for the passing of time.
    pub(super) fn changes(&self) -> u64 {
        let shards = self.shards.iter();
        shards.map(|cell| cell.lock().tally.changes).sum()
    }
}
