//! The state, as a function of the log: what the thread that applies owns.
//!
//! Nothing here reads a clock, a setting of this node, or anything in an order of its own.

pub(super) mod agreement; // settings and groups, from what members state
mod assign; // new keys, and who asks for known ones
pub(super) mod entries; // entries, with their order and counts
mod majority; // what members state of one thing
mod members; // who belongs to the cluster, and what it holds
mod named; // operations on one version of an entry
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tcpffee_raft::ids::{Index, LogTime, NodeId};
use tcpffee_raft::membership::Membership;

use self::agreement::Agreement;
use self::entries::Entries;
use super::agreed::Agreed;
use super::command::{Answer, Batch, Op, Outcome};
use super::replica::Replica;

/// Entries that are removed at most, at each place in the log, because they have expired.
const PURGED_AT_ONCE: usize = 4096;

/// Bytes of slices that one answer names at most: an answer must find room in a frame. Whoever
/// asks for more is told [`Outcome::Stale`] and asks again.
const MAX_NAMED_SLICES_BYTES: usize = 512 * 1024;

/// The replicated state.
#[derive(Debug)]
pub(super) struct State {
    pub entries: Entries,
    pub agreement: Agreement,
    /// The last place in the log that was applied.
    pub index: Index,
    /// The time there.
    pub time: LogTime,
    /// Tells entries of the latest restoring from those of the one before; new ones have 0.
    pub restored: u8,
}

/// The place in the log at which something is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    pub index: Index,
    pub time: LogTime,
}

/// The member that a batch is of.
#[derive(Clone, Copy, Debug)]
struct Asker {
    /// Its bit.
    bit: u64,
    slot: u8,
    /// Whether the batch is of the process that stated last.
    is_current: bool,
}

impl State {
    /// The state before the log's first entry. Whatever the replica held is gone.
    pub fn new(replica: Arc<Replica>) -> State {
        let state = State {
            entries: Entries::none(replica),
            agreement: Agreement::default(),
            index: Index(0),
            time: LogTime(0),
            restored: 0,
        };
        state.publish();
        state.publish_applied();
        state
    }

    /// Time has passed, as it has at each entry of the log. What is applied at this place comes
    /// after it.
    pub fn advance(&mut self, index: Index, time: LogTime) -> Now {
        self.index = index;
        self.time = self.time.max(time);
        self.entries.purge(self.time, PURGED_AT_ONCE);
        let time = self.time;
        Now { index, time }
    }

    /// Applies one command.
    pub fn batch(&mut self, now: Now, batch: Batch) -> Answer {
        let Batch { from, boot, ops } = batch;
        let mut slices_left = MAX_NAMED_SLICES_BYTES;
        let ops = ops.into_iter();
        let outcomes = ops.map(|op| self.op(now, (from, boot), op, &mut slices_left));
        let outcomes = outcomes.collect();
        let index = now.index;
        Answer { index, outcomes }
    }

    fn op(
        &mut self,
        now: Now,
        (from, boot): (NodeId, u64),
        op: Op,
        slices_left: &mut usize,
    ) -> Outcome {
        if let Op::State(statement) = op {
            return self.state(now, from, boot, statement);
        }
        let Some(asker) = self.asker(from, boot) else {
            return Outcome::Stale;
        };
        match op {
            Op::Assign { client, group } => self.assign(now, asker, &client, group, slices_left),
            Op::Move { key, version, to } => self.move_entry(now, asker, &key, version, to),
            Op::GiveUp { key, version } => self.give_up(asker, &key, version),
            Op::Hold { key, version } => self.hold(now, (from, asker), &key, version),
            Op::Renew {
                key,
                version,
                activity,
            } => self.renew(now, &key, version, activity),
            Op::Release {
                key,
                version,
                activity,
            } => self.release(now, asker, &key, version, activity),
            Op::Remove { key } => self.remove(now, &key),
            Op::State(_) => Outcome::Stale,
            Op::EndSession { node, boot } => self.end_session(now, node, boot),
            Op::Absent { node } => self.absent(now, node),
            Op::Verdicts(verdicts) => {
                self.agreement.verdicts = verdicts;
                self.reckon(now)
            }
            Op::Passed(index) => {
                // Nothing is known of what stands here or later.
                let passed = index.min(now.index.previous());
                self.agreement.pass(passed);
                self.entries.remove_passed(passed);
                self.reckon(now)
            }
        }
    }

    /// Takes in who belongs to the cluster.
    pub fn membership(&mut self, now: Now, membership: &Membership) {
        self.take_membership(now, membership);
        self.reckon(now);
    }

    /// What was agreed on anew since it was last asked for, once everything of one place in the
    /// log is applied.
    pub fn settle(&mut self, now: Now) {
        if std::mem::take(&mut self.entries.fences_changed) {
            self.reckon(now);
        }
    }

    /// What is agreed on.
    pub fn agreed(&self) -> &Arc<Agreed> {
        &self.agreement.agreed
    }

    /// Shows workers what is agreed on.
    pub fn publish(&self) {
        let replica = &self.entries.replica;
        replica.publish(Arc::clone(&self.agreement.agreed));
    }

    /// Shows workers how far the log is applied.
    pub fn publish_applied(&self) {
        let (replica, counts) = (&self.entries.replica, self.entries.counts);
        replica.set_applied(self.index, self.time, counts);
    }

    /// Draws the conclusions from what was stated, decided or removed.
    fn reckon(&mut self, now: Now) -> Outcome {
        self.entries.fences_changed = false;
        if self.agreement.reckon(now.index, &self.entries) {
            self.publish();
        }
        Outcome::Done
    }

    fn asker(&self, node: NodeId, boot: u64) -> Option<Asker> {
        let member = self.agreement.members.get(&node)?;
        Some(Asker {
            bit: 1 << member.slot,
            slot: member.slot,
            is_current: member.statement.is_some() && member.boot == boot,
        })
    }
}
