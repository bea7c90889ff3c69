//! Carrying out what a core puts out: messages, writes, what is to be applied, snapshots.

use std::sync::Arc;

use bytes::Bytes;
use tcpffee_raft::core::{ChunkRead, ChunkWrite, CoreEvent};
use tcpffee_raft::durable::WriteId;
use tcpffee_raft::ids::Index;
use tcpffee_raft::message::{Envelope, Message, SnapshotMeta};

use super::World;
use super::coverage::Seen;
use super::history::{Checked, Violation, ensure};
use super::machine::Machine;
use super::node::{DiskPhase, Work};
use super::queue::Event;

impl World {
    /// Carries out all that the core has put out, and looks whether all is well.
    pub(super) fn drain(&mut self, at: usize) -> Checked {
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        live.drain_waits = false;
        let output = live.core.output();
        let life = self.nodes[at].life;
        for event in output.events {
            self.core_event(at, event)?;
        }
        for write in output.writes {
            self.puts_write(at, write)?;
        }
        self.observe(at)?;
        for envelope in output.messages {
            if self.step_crash(at) {
                return Ok(());
            }
            self.sends(at, envelope)?;
        }
        self.puts_work(at, output.restore, output.committed);
        for read in output.chunk_reads {
            let after_us = self.chunk_slot(at);
            self.later(
                after_us,
                Event::ReadChunk {
                    node: at,
                    life,
                    read,
                },
            );
        }
        for chunk in output.chunk_writes {
            let after_us = self.chunk_slot(at);
            let chunk = Box::new(chunk);
            self.later(
                after_us,
                Event::StoreChunk {
                    node: at,
                    life,
                    chunk,
                },
            );
        }
        Ok(())
    }

    fn core_event(&mut self, at: usize, event: CoreEvent) -> Checked {
        if !matches!(event, CoreEvent::Lease(_)) {
            self.say(|| format!("n{} tells: {event:?}", at + 1));
        }
        match event {
            CoreEvent::Lease(grant) => self.leased(at, grant)?,
            CoreEvent::Truncated { .. } => self.see(Seen::Truncation),
            CoreEvent::Dismissed => {
                self.nodes[at].dismissed = true;
                self.see(Seen::Dismissed);
            }
            CoreEvent::StoreRetired(store) => {
                let node = &self.nodes[at];
                ensure(
                    Some(store) != node.store || node.damaged.is_some() || self.is_retired(store),
                    "no sound store is dismissed",
                    || format!("node {} is to set its store {store} aside", at + 1),
                )?;
                if Some(store) == node.store {
                    if node.damaged.is_some_and(|copy| copy == Some(store)) {
                        self.see(Seen::RestoredRefused);
                    }
                    let life = self.nodes[at].life;
                    self.later(1000, Event::SetAside { node: at, life });
                }
            }
            CoreEvent::Impostor(who) => {
                return Err(Violation {
                    invariant: "nobody takes a node for another",
                    detail: format!("node {} takes {who} for an impostor", at + 1),
                });
            }
            CoreEvent::Halted { at: place, what } => {
                return Err(Violation {
                    invariant: "no core halts",
                    detail: format!("node {} at {place}: {what}", at + 1),
                });
            }
            CoreEvent::LogFull => {
                self.see(Seen::LogFull);
                self.takes_snapshot(at);
            }
            CoreEvent::Role { .. }
            | CoreEvent::Leader(_)
            | CoreEvent::LeaderReady(_)
            | CoreEvent::Membership(_) => {}
        }
        Ok(())
    }

    fn sends(&mut self, at: usize, envelope: Envelope) -> Checked {
        self.promises(at, &envelope)?;
        let Some((to, life)) = self.life_of(envelope.to) else {
            return Ok(());
        };
        if matches!(envelope.message, Message::TimeoutNow) {
            self.see(Seen::TransferDone);
        }
        let (first, second) = self
            .network
            .arrivals(&self.plan, &mut self.rng, self.now_us, at, to);
        let Some(first) = first else {
            self.see(Seen::MessageLost);
            return Ok(());
        };
        if let Some(second) = second {
            self.see(Seen::MessageDoubled);
            let envelope = Box::new(envelope.clone());
            self.queue.put(second, Event::Deliver { life, envelope });
        }
        let envelope = Box::new(envelope);
        self.queue.put(first, Event::Deliver { life, envelope });
        Ok(())
    }

    fn puts_write(&mut self, at: usize, write: tcpffee_raft::durable::Write) -> Checked {
        let life = self.nodes[at].life;
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        if let Some(meta) = &write.reset {
            ensure(
                live.log.term_at(meta.last.index) != Some(meta.last.term),
                "a snapshot does not replace a log that agrees with it",
                || format!("node {} begins anew after {}", at + 1, meta.last),
            )?;
        }
        ensure(live.log.take(&write), "a log has no gap", || {
            format!("node {} writes after a gap: {write:?}", at + 1)
        })?;
        ensure(
            live.log.last().0 < super::MAX_ENTRIES,
            "nodes do not storm each other with messages",
            || format!("node {} has a log of {} entries", at + 1, live.log.last()),
        )?;
        self.changes(at, &write)?;
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        for entry in &write.entries {
            let before = live.log.term_at(entry.index.previous());
            self.history.logs(entry, before.unwrap_or_default())?;
        }
        live.queue.push_back(write);
        if live.disk == DiskPhase::Idle {
            live.disk = DiskPhase::Writing;
            let after_us = self.rng.below(100);
            self.later(after_us, Event::DiskWrite { node: at, life });
        }
        Ok(())
    }

    fn sync_us(&mut self, at: usize) -> u64 {
        self.rng.gap(self.plan.sync_us) * self.nodes[at].slowness
    }

    /// The disk takes all that is queued, in one batch.
    pub(super) fn disk_writes(&mut self, at: usize, life: u64) -> Checked {
        if !self.lives(at, life) || self.step_crash(at) {
            return Ok(());
        }
        let node = &mut self.nodes[at];
        let Some(live) = &mut node.live else {
            return Ok(());
        };
        let batch: Vec<_> = live.queue.drain(..).collect();
        let Some(last) = batch.last().map(|write| write.id) else {
            live.disk = DiskPhase::Idle;
            return Ok(());
        };
        if let Err(error) = node.disk.write(&batch) {
            return self.disk_fails(at, &error);
        }
        live.written.extend(batch);
        live.disk = DiskPhase::Syncing(last);
        let after_us = self.sync_us(at);
        self.later(after_us, Event::DiskSync { node: at, life });
        Ok(())
    }

    /// What was written becomes durable.
    pub(super) fn disk_syncs(&mut self, at: usize, life: u64) -> Checked {
        if !self.lives(at, life) || self.step_crash(at) {
            return Ok(());
        }
        let node = &mut self.nodes[at];
        let Some(live) = &mut node.live else {
            return Ok(());
        };
        let DiskPhase::Syncing(write) = live.disk else {
            return Ok(());
        };
        if let Err(error) = node.disk.sync() {
            return self.disk_fails(at, &error);
        }
        while live.written.front().is_some_and(|next| next.id <= write) {
            let done = live.written.pop_front();
            if let (Some(durable), Some(done)) = (&mut node.durable, done) {
                durable.take(&done);
            }
        }
        if self.rng.percent(20)
            && let Err(error) = self.nodes[at].disk.prepare()
            && !self.nodes[at].disk.is_to_fail()
        {
            return self.disk_fails(at, &error);
        }
        let after_us = self.rng.below(300);
        let event = Event::DiskDone {
            node: at,
            life,
            write,
        };
        self.later(after_us, event);
        Ok(())
    }

    /// The core hears of it.
    pub(super) fn disk_done(&mut self, at: usize, life: u64, write: WriteId) -> Checked {
        if !self.lives(at, life) || self.step_crash(at) {
            return Ok(());
        }
        if let Some(live) = &mut self.nodes[at].live {
            live.disk = DiskPhase::Idle;
        }
        self.input(at, |core| core.persisted(write))?;
        self.compacts(at)?;
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        if live.disk == DiskPhase::Idle && !live.queue.is_empty() {
            live.disk = DiskPhase::Writing;
            self.later(0, Event::DiskWrite { node: at, life });
        }
        Ok(())
    }

    /// Segments that nobody needs any more may go.
    fn compacts(&mut self, at: usize) -> Checked {
        let node = &mut self.nodes[at];
        let Some(live) = &mut node.live else {
            return Ok(());
        };
        if live.failed || !live.written.is_empty() || !live.queue.is_empty() {
            return Ok(());
        }
        match node
            .disk
            .compact(live.core.first_index(), live.newest_snapshot)
        {
            Ok(()) => Ok(()),
            Err(error) => self.disk_fails(at, &error),
        }
    }

    fn disk_fails(&mut self, at: usize, error: &str) -> Checked {
        self.say(|| format!("n{}: the disk fails: {error}", at + 1));
        ensure(
            self.nodes[at].disk.is_to_fail(),
            "a store takes what it is given",
            || format!("node {}: {error}", at + 1),
        )?;
        let leads = self.nodes[at].leads();
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        if live.failed {
            return Ok(());
        }
        live.failed = true;
        self.see(Seen::DiskFailed);
        if leads {
            self.see(Seen::LeaderDiskFailed);
        }
        self.input(at, |core| core.write_failed())
    }

    fn puts_work(
        &mut self,
        at: usize,
        restore: Option<Arc<SnapshotMeta>>,
        committed: Vec<tcpffee_raft::entry::Entry>,
    ) {
        let life = self.nodes[at].life;
        let Some(live) = &mut self.nodes[at].live else {
            return;
        };
        if let Some(meta) = restore {
            live.work.push_back(Work::Restore(meta));
        }
        live.work.extend(committed.into_iter().map(Work::Apply));
        if !live.work.is_empty() && !live.applying {
            live.applying = true;
            let after_us = self.rng.gap(self.plan.apply_us);
            self.later(after_us, Event::Apply { node: at, life });
        }
    }

    /// The state machine takes some of what is committed.
    pub(super) fn applies(&mut self, at: usize, life: u64) -> Checked {
        if !self.lives(at, life) || self.step_crash(at) {
            return Ok(());
        }
        let most = self.rng.between(1, 16);
        for _ in 0..most {
            let Some(live) = &mut self.nodes[at].live else {
                return Ok(());
            };
            match live.work.pop_front() {
                None => break,
                Some(Work::Apply(entry)) => self.applies_entry(at, &entry)?,
                Some(Work::Restore(meta)) => self.restores(at, &meta)?,
            }
        }
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        live.applying = false;
        let index = live.machine.last.index;
        self.input(at, |core| core.applied(index))?;
        self.puts_work(at, None, Vec::new());
        self.snapshot_if_large(at);
        Ok(())
    }

    fn restores(&mut self, at: usize, meta: &SnapshotMeta) -> Checked {
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
    fn chunk_slot(&mut self, at: usize) -> u64 {
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
    fn snapshot_if_large(&mut self, at: usize) {
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

    fn first_index(&self, at: usize) -> Index {
        let live = self.nodes[at].live.as_ref();
        live.map_or(Index(0), |live| live.core.first_index())
    }
}
