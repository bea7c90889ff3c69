//! Snapshots: taken, shipped piece by piece, stored and restored.

use std::sync::Arc;

use bytes::Bytes;
use tcpffee_raft::core::{ChunkRead, ChunkWrite};
use tcpffee_raft::ids::Index;
use tcpffee_raft::message::SnapshotMeta;

use super::World;
use super::coverage::Seen;
use super::history::{Checked, Violation, ensure};
use super::machine::Machine;
use super::queue::Event;

impl World {
    pub(super) fn restores(&mut self, at: usize, meta: &SnapshotMeta) -> Checked {
        let node = &mut self.nodes[at];
        let state = node.disk.snapshot(meta.last);
        let state = match state {
            Ok(state) => state,
            // Without its state it cannot go on.
            Err(_) if node.disk.is_to_fail() => {
                self.crash(at);
                return Ok(());
            }
            Err(error) => {
                return Err(Violation {
                    invariant: "a snapshot to be restored is there",
                    detail: format!("node {} at {}: {error}", at + 1, meta.last),
                });
            }
        };
        let Some(live) = &mut node.live else {
            return Ok(());
        };
        ensure(
            meta.last.index > live.machine.last.index,
            "a snapshot does not take the state back",
            || {
                format!(
                    "node {} is at {}, restores {}",
                    at + 1,
                    live.machine.last,
                    meta.last
                )
            },
        )?;
        live.machine = Machine::from_snapshot(meta, state);
        if meta.last.index > live.newest_snapshot.index {
            live.newest_snapshot = meta.last;
        }
        live.proposals.retain(|index, _| *index > meta.last.index);
        live.arriving = None;
        let chain = live.machine.chain;
        self.history.restores(meta.last, chain)?;
        self.see(Seen::SnapshotRestored);
        self.say(|| format!("n{} has restored {}", at + 1, meta.last));
        Ok(())
    }

    /// When the next piece of a snapshot may be read or stored.
    pub(super) fn chunk_slot(&mut self, at: usize) -> u64 {
        let takes_us = self.sync_us(at) / 4 + 1;
        let now_us = self.now_us;
        let Some(live) = &mut self.nodes[at].live else {
            return 0;
        };
        let free_us = live.chunks_free_us.max(now_us) + takes_us;
        live.chunks_free_us = free_us;
        free_us - now_us
    }

    /// A piece of a snapshot is read for a follower.
    pub(super) fn reads_chunk(&mut self, at: usize, life: u64, read: ChunkRead) -> Checked {
        if !self.lives(at, life) || self.step_crash(at) {
            return Ok(());
        }
        let position = read.snapshot.last;
        let data = self.nodes[at]
            .disk
            .read_chunk(position, read.offset, read.length);
        match data {
            Some(data) => self.input(at, |core| core.snapshot_chunk_read(read, data)),
            None => self.input(at, |core| core.snapshot_failed(position)),
        }
    }

    /// A piece of an arriving snapshot is stored.
    pub(super) fn stores_chunk(&mut self, at: usize, life: u64, chunk: &ChunkWrite) -> Checked {
        if !self.lives(at, life) || self.step_crash(at) {
            return Ok(());
        }
        let position = chunk.snapshot.last;
        let node = &mut self.nodes[at];
        let Some(live) = &mut node.live else {
            return Ok(());
        };
        let interrupted = live.arriving.is_some_and(|other| other != position) || {
            chunk.offset == 0 && live.arriving == Some(position)
        };
        live.arriving = Some(position);
        let stored = node.disk.store_chunk(chunk);
        if interrupted {
            self.see(Seen::SnapshotInterrupted);
        }
        match stored {
            Ok(offset) => {
                if offset == chunk.snapshot.size_bytes {
                    self.see(Seen::SnapshotArrived);
                }
                self.input(at, |core| {
                    core.snapshot_chunk_stored(&chunk.snapshot, offset)
                })
            }
            Err(error) => {
                self.say(|| format!("n{} cannot store a piece: {error}", at + 1));
                ensure(
                    self.nodes[at].disk.is_to_fail(),
                    "a store takes pieces",
                    || format!("node {}: {error} at {}", at + 1, chunk.offset),
                )?;
                self.input(at, |core| core.snapshot_failed(position))
            }
        }
    }

    /// Takes a snapshot where the log grows beyond half of its bound.
    pub(super) fn snapshot_if_large(&mut self, at: usize) {
        let bound = self.plan.settings.max_log_bytes / 2;
        let large = self.nodes[at]
            .live
            .as_ref()
            .is_some_and(|live| live.core.log_bytes() > bound);
        if large {
            self.takes_snapshot(at);
        }
    }

    /// Begins a local snapshot, exactly of the state as it is now.
    pub(super) fn takes_snapshot(&mut self, at: usize) {
        let life = self.nodes[at].life;
        let Some(live) = &mut self.nodes[at].live else {
            return;
        };
        let machine = &live.machine;
        if live.snapshot_under_way
            || live.failed
            || machine.last.index <= live.newest_snapshot.index
            || machine.last.index > live.core.persisted_index()
            || live.core.applied_index() != machine.last.index
        {
            return;
        }
        live.snapshot_under_way = true;
        let state = machine.to_bytes();
        let meta = Arc::new(SnapshotMeta {
            last: machine.last,
            time: machine.time,
            membership: machine.membership.clone(),
            membership_index: machine.membership_index,
            size_bytes: state.len() as u64,
            checksum: crc32fast::hash(&state),
        });
        let after_us = self.sync_us(at) * 4 + self.rng.gap(20_000);
        let event = Event::SnapshotDone {
            node: at,
            life,
            meta,
            state,
        };
        self.later(after_us, event);
    }

    /// A local snapshot's file is durable.
    pub(super) fn snapshot_done(
        &mut self,
        at: usize,
        life: u64,
        meta: Arc<SnapshotMeta>,
        state: &Bytes,
    ) -> Checked {
        if !self.lives(at, life) || self.step_crash(at) {
            return Ok(());
        }
        let node = &mut self.nodes[at];
        let Some(live) = &mut node.live else {
            return Ok(());
        };
        live.snapshot_under_way = false;
        // One that arrived meanwhile may hold more.
        if meta.last.index <= live.newest_snapshot.index || live.failed {
            return Ok(());
        }
        if let Err(error) = node.disk.store_snapshot(&meta, state) {
            return self.disk_fails(at, &error);
        }
        live.newest_snapshot = meta.last;
        self.see(Seen::SnapshotTaken);
        let first_before = self.first_index(at);
        self.input(at, |core| core.snapshot_taken(meta))?;
        if self.first_index(at) > first_before {
            self.see(Seen::Compaction);
        }
        self.compacts(at)
    }

    pub(super) fn first_index(&self, at: usize) -> Index {
        let live = self.nodes[at].live.as_ref();
        live.map_or(Index(0), |live| live.core.first_index())
    }
}
