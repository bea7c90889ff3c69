//! Operations on their way into the log: gathered while batches are out, so that many travel in
//! one proposal and one sync.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::Sender;
use tcpffee_raft::ids::LogTime;

use crate::stick::Key;
use crate::stick::replicated::command::{Op, Outcome};

use super::record::{Question, Waiter};

/// Batches without an answer; further operations gather meanwhile.
pub(super) const OUT_WHILE_GATHERING: usize = 4;
/// Batches without an answer at most. What the log is told of connections must not wait for the
/// answers to questions, or entries would expire under them.
pub(super) const MAX_OUT: usize = 256;
/// Operations of one batch.
const BATCH_OPS: usize = 512;
/// Bytes of keys in one batch, but for one that is larger.
const BATCH_KEY_BYTES: usize = 256 * 1024;

/// An operation, and whom its outcome concerns.
#[derive(Debug)]
pub(super) struct Queued {
    pub op: Op,
    pub about: About,
}

/// Whom an outcome concerns.
#[derive(Debug)]
pub(super) enum About {
    /// The connections that ask for a record.
    Question { key: Key, question: Question },
    /// The connection that wants its entry moved.
    Move {
        key: Key,
        serial: u64,
        waiter: Waiter,
    },
    /// The entry that no connection of this node got connected on.
    GiveUp { key: Key, serial: u64 },
    /// What the log is told of an entry.
    Telling { key: Key, serial: u64, what: Told },
    /// A key whose group was given alone.
    Offer { key: Key, serial: u64 },
    /// Who waits for it by a [`Saying`](super::Saying).
    Saying(Sender<Outcome>),
}

/// What the log is told of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A connection was active at this time.
    Activity(LogTime),
    /// Connections are open.
    Held,
    /// None is open any more, since this time.
    Released(LogTime),
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    queue: VecDeque<Queued>,
    out: usize,
}

impl Outbox {
    pub fn push(&self, queued: Queued) {
        self.lock().queue.push_back(queued);
    }

    /// The next batch, unless so many are out; it is out from now on.
    pub fn next_batch(&self, most_out: usize) -> Option<Vec<Queued>> {
        let mut inside = self.lock();
        if inside.queue.is_empty() || inside.out >= most_out {
            return None;
        }
        inside.out += 1;
        let mut key_bytes = 0;
        let fits = |queued: &&Queued| {
            key_bytes += queued.op.key_bytes();
            key_bytes <= BATCH_KEY_BYTES
        };
        let most = inside.queue.iter().take(BATCH_OPS).take_while(fits).count();
        Some(inside.queue.drain(..most.max(1)).collect())
    }

    /// A batch that never waited is out.
    pub fn went_apart(&self) {
        self.lock().out += 1;
    }

    /// A batch is out no more.
    pub fn returned(&self) {
        let mut inside = self.lock();
        inside.out = inside.out.saturating_sub(1);
    }

    /// Operations that wait, and batches that are out.
    pub fn lengths(&self) -> (usize, usize) {
        let inside = self.lock();
        (inside.queue.len(), inside.out)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
