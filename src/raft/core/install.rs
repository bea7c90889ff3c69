//! A follower's side of snapshots.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{NodeId, Position};
use crate::log::Log;
use crate::message::{Message, SnapshotMeta};

use super::mutation::{self, Mutation};
use super::{ChunkWrite, Core, CoreEvent};

/// A snapshot that arrives.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Receiving {
    meta: Arc<SnapshotMeta>,
    /// Bytes that are stored.
    stored: u64,
    /// Whether a piece is being stored.
    storing: bool,
}

impl Receiving {
    /// Whether it is of this place.
    pub(super) fn is_of(&self, position: Position) -> bool {
        self.meta.last == position
    }
}

impl Core {
    pub(super) fn on_snapshot_chunk(
        &mut self,
        from: NodeId,
        meta: Arc<SnapshotMeta>,
        offset: u64,
        data: Bytes,
    ) {
        if !self.hear_leader(from) {
            return;
        }
        let backwards = mutation::is(Mutation::SnapshotTakesCommitBack);
        if meta.last.index <= self.commit && !backwards {
            self.verified = self.verified.max(self.commit);
            self.acknowledge();
            return;
        }
        let known = self
            .receiving
            .as_ref()
            .is_some_and(|receiving| receiving.meta == meta);
        if !known {
            // How much of it is there from before, the store will say.
            self.receiving = Some(Receiving {
                meta: Arc::clone(&meta),
                stored: 0,
                storing: false,
            });
        }
        let Some(receiving) = &mut self.receiving else {
            return;
        };
        if receiving.storing {
            return;
        }
        if offset != receiving.stored {
            let (snapshot, offset) = (meta.last, receiving.stored);
            self.post(
                from,
                self.term,
                Message::SnapshotProgress { snapshot, offset },
            );
            return;
        }
        receiving.storing = true;
        self.out.chunk_writes.push(ChunkWrite {
            snapshot: meta,
            offset,
            data,
        });
    }

    /// A piece of an arriving snapshot is stored, and with it everything before `offset`. At the
    /// snapshot's end: its file is whole, its checksum right, and it is durable. Two leaders'
    /// snapshots of one place are different files: `snapshot` says which one it is.
    pub fn snapshot_chunk_stored(&mut self, snapshot: &SnapshotMeta, offset: u64) {
        if self.is_silent() {
            return;
        }
        let Some(receiving) = &mut self.receiving else {
            return;
        };
        if *receiving.meta != *snapshot {
            return;
        }
        receiving.stored = offset;
        receiving.storing = false;
        if offset >= receiving.meta.size_bytes {
            let meta = Arc::clone(&receiving.meta);
            self.receiving = None;
            self.install(meta);
        } else if let Some(leader) = self.leader.filter(|leader| *leader != self.id) {
            self.post(
                leader,
                self.term,
                Message::SnapshotProgress {
                    snapshot: snapshot.last,
                    offset,
                },
            );
        }
    }

    /// Puts a whole snapshot in force, where it is ahead of what is committed here.
    fn install(&mut self, meta: Arc<SnapshotMeta>) {
        let last = meta.last;
        if last.index <= self.commit && !mutation::is(Mutation::SnapshotTakesCommitBack) {
            return;
        }
        let always = mutation::is(Mutation::SnapshotReplacesLongerLog)
            || mutation::is(Mutation::SnapshotTakesCommitBack);
        if self.log.holds(last) && !always {
            // The log is as long and agrees: nothing is to be replaced.
            self.commit_to(last.index);
        } else {
            if self.log.last().index > self.commit {
                let from = self.commit.next();
                self.event(CoreEvent::Truncated { from });
            }
            self.log = Log::new(last, meta.time);
            self.memberships = vec![(meta.membership_index, Arc::clone(&meta.membership))];
            self.commit = last.index;
            self.applying = last.index;
            self.disk.reset(Arc::clone(&meta));
            self.snapshot = Some(Arc::clone(&meta));
            // The state is about to be replaced: nobody answers from it meanwhile.
            self.lease = None;
            self.lease_pending = None;
            self.out.committed.clear();
            self.out.restore = Some(meta);
            self.membership_changed();
            self.on_membership_committed();
        }
        self.verified = self.verified.max(last.index);
        self.acknowledge();
    }
}
