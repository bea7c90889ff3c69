//! What a leader knows of each other member's log.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ids::{Incarnation, Index, NodeTime};
use crate::message::SnapshotMeta;

/// A leader's view of one other member.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Progress {
    /// The life that all of this is about; none before it was heard.
    pub life: Option<Incarnation>,
    /// Up to where its log is known to agree with the leader's, durably.
    pub matched: Index,
    /// The next entry to send.
    pub next: Index,
    /// How entries are sent at present.
    pub flow: Flow,
    /// When it was last heard in this term.
    pub heard: Option<NodeTime>,
    /// Since when nothing that was sent has been answered.
    pub advanced: NodeTime,
    /// The commit index that it was last told with entries.
    pub commit_told: Index,
    /// The newest heartbeat round that it has answered.
    pub round: u64,
    /// Up to where it has applied.
    pub applied: Index,
    /// A clock value of its own that waits to be confirmed: with the round that must be answered
    /// by a majority, and when it came.
    pub stamp: Option<Stamp>,
    /// The confirmed clock value to be echoed.
    pub confirmed: Option<NodeTime>,
    /// Until when it may hold a lease, by the leader's clock.
    pub lease_until: NodeTime,
}

/// A member's clock value on its way to a lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    /// The member's clock.
    pub clock: NodeTime,
    /// The first round that was sent after the value came.
    pub round: u64,
    /// When it came, by the leader's clock.
    pub came: NodeTime,
}

/// How entries are sent.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Flow {
    /// Where the logs agree is not known: one message at a time.
    Probe {
        /// A message is out and not answered.
        waiting: bool,
    },
    /// The logs agree: as much as fits in the window.
    Replicate {
        /// The last entry and the bytes of each message that is out.
        inflight: VecDeque<(Index, usize)>,
    },
    /// What it needs is no longer in the log.
    Snapshot {
        /// What it gets instead.
        snapshot: Arc<SnapshotMeta>,
        /// The bytes that it has.
        offset: u64,
        /// What is being waited for.
        phase: ChunkPhase,
    },
}

/// What the sending of a snapshot waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChunkPhase {
    /// The piece is being read from disk.
    Reading,
    /// It was sent then.
    Sent(NodeTime),
}

impl Progress {
    /// Of a member that nothing is known of.
    pub fn new(next: Index, now: NodeTime, lease_until: NodeTime) -> Progress {
        Progress {
            life: None,
            matched: Index(0),
            next,
            flow: Flow::Probe { waiting: false },
            heard: None,
            advanced: now,
            commit_told: Index(0),
            round: 0,
            applied: Index(0),
            stamp: None,
            confirmed: None,
            lease_until,
        }
    }

    /// Forgets what an earlier life said; what that life may still hold a lease for stays.
    pub fn begin_life(&mut self, life: Incarnation, next: Index, now: NodeTime) {
        let lease_until = self.lease_until;
        *self = Progress {
            life: Some(life),
            ..Progress::new(next, now, lease_until)
        };
    }

    /// Sends one message at a time again, from the place after what is known to agree.
    pub fn probe(&mut self, now: NodeTime) {
        self.next = self.matched.next();
        self.flow = Flow::Probe { waiting: false };
        self.advanced = now;
    }

    /// Sends the message that was not answered once more.
    pub fn probe_again(&mut self) {
        if let Flow::Probe { waiting } = &mut self.flow {
            *waiting = false;
        }
    }

    /// Takes in that the log agrees up to `matched`. Answers whether that is news.
    pub fn agree(&mut self, matched: Index, now: NodeTime) -> bool {
        let news = matched > self.matched;
        if news {
            self.matched = matched;
            self.advanced = now;
        }
        self.next = self.next.max(self.matched.next());
        match &mut self.flow {
            Flow::Probe { .. } => {
                self.next = self.matched.next();
                self.flow = Flow::Replicate {
                    inflight: VecDeque::new(),
                };
            }
            Flow::Replicate { inflight } => {
                while inflight.front().is_some_and(|(last, _)| *last <= matched) {
                    inflight.pop_front();
                }
            }
            Flow::Snapshot { snapshot, .. } => {
                if self.matched >= snapshot.last.index {
                    self.probe(now);
                }
            }
        }
        news
    }

    /// Whether another message fits in the window.
    pub fn has_room(&self, max_messages: usize, max_bytes: usize) -> bool {
        match &self.flow {
            Flow::Probe { waiting } => !waiting,
            Flow::Replicate { inflight } => {
                inflight.len() < max_messages
                    && inflight.iter().map(|(_, bytes)| bytes).sum::<usize>() < max_bytes
            }
            Flow::Snapshot { .. } => false,
        }
    }

    /// Takes in that entries up to `last` were sent.
    pub fn sent(&mut self, last: Index, bytes: usize, now: NodeTime) {
        match &mut self.flow {
            Flow::Probe { waiting } => {
                *waiting = true;
                self.advanced = now;
            }
            Flow::Replicate { inflight } => {
                if last >= self.next {
                    if inflight.is_empty() {
                        self.advanced = now;
                    }
                    inflight.push_back((last, bytes));
                    self.next = last.next();
                }
            }
            Flow::Snapshot { .. } => {}
        }
    }

    /// Whether it was heard within the last `ms`.
    pub fn heard_within(&self, ms: u64, now: NodeTime) -> bool {
        self.heard.is_some_and(|heard| now.since(heard) < ms)
    }
}
