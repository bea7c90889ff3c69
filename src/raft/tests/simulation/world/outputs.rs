//! Carrying out what a core puts out: messages, writes, what is to be applied, snapshots.

use std::sync::Arc;

use tcpffee_raft::core::CoreEvent;
use tcpffee_raft::message::{Envelope, Message, SnapshotMeta};

use super::World;
use super::coverage::Seen;
use super::history::{Checked, Violation, ensure};
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
}
