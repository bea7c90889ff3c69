//! A node's disk at work: writes in batches, each made durable before the core hears of it.

use tcpffee_raft::durable::WriteId;

use super::World;
use super::coverage::Seen;
use super::history::{Checked, ensure};
use super::node::DiskPhase;
use super::queue::Event;

impl World {
    pub(super) fn sync_us(&mut self, at: usize) -> u64 {
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
        // What a failed write has written is not known.
        let written = node.disk.write(&batch);
        live.written.extend(batch);
        if let Err(error) = written {
            return self.disk_fails(at, &error);
        }
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
    pub(super) fn compacts(&mut self, at: usize) -> Checked {
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

    pub(super) fn disk_fails(&mut self, at: usize, error: &str) -> Checked {
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
}
