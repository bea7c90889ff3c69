//! What the core asks for, carried out.

use super::applier;
use super::config::Event;
use super::conflicts::Conflict;
use super::node::Node;
use super::snapshots;
use super::status::Trouble;
use super::writer;
use crate::core::{CoreEvent, Output, Role};
use crate::entry::Entry;
use crate::ids::{Index, NodeId};
use crate::store::files::Files;

impl<F: Files> Node<F> {
    /// Carries it out. What goes to peers goes first: they have a way of their own to go before
    /// their disks are at work, and a thread that is woken here competes with the sending.
    pub(super) fn carry_out(&mut self, output: Output) {
        let Output {
            messages,
            writes,
            restore,
            committed,
            chunk_reads,
            chunk_writes,
            events,
        } = output;
        let to_disk = !writes.is_empty() || !chunk_writes.is_empty();
        if to_disk && !self.join_cluster_of_leader() {
            return;
        }
        for write in &writes {
            if let Some(meta) = &write.reset {
                self.snapshot_replaces_log(write.id, meta.last);
            }
        }
        self.counters.writes += writes.len() as u64;
        self.counters.messages_sent += messages.len() as u64;
        self.counters.entries_applied += committed.len() as u64;
        self.saving.bytes += committed.iter().map(Entry::size_bytes).sum::<usize>();
        for message in messages {
            self.transport.send(message);
        }
        self.send_answers();
        self.transport.flush();
        // A thread that does not listen has failed, or taken the process with it.
        if let Some(workers) = &self.life.workers {
            for write in writes {
                let _ = workers.writer.send(writer::Job::Write(write));
            }
            if let Some(meta) = restore {
                let (to, state) = crossbeam_channel::bounded(1);
                let snapshot = meta.last;
                let _ = workers
                    .snapshots
                    .send(snapshots::Job::Open { snapshot, to });
                let _ = workers.applier.send(applier::Job::Restore { meta, state });
            }
            if !committed.is_empty() {
                let _ = workers.applier.send(applier::Job::Apply {
                    entries: committed,
                    answers: !self.desk.is_empty(),
                });
            }
            for read in chunk_reads {
                let _ = workers.snapshots.send(snapshots::Job::Read(read));
            }
            for write in chunk_writes {
                let _ = workers.snapshots.send(snapshots::Job::Store(write));
            }
        }
        for event in events {
            self.on_core_event(event);
        }
    }

    fn on_core_event(&mut self, event: CoreEvent) {
        match event {
            CoreEvent::Role { role, term } => self.on_role(role, term),
            CoreEvent::Leader(leader) => {
                match leader {
                    Some(id) => log::info!("raft {}: {id} leads", self.config.group),
                    None => log::warn!("raft {}: no leader", self.config.group),
                }
                self.route_to_leader();
                self.tell_forming();
                self.tell(Event::Leader(leader));
            }
            CoreEvent::LeaderReady(term) => {
                self.leads = true;
                self.to_applier(applier::Job::BecameLeader(term));
            }
            CoreEvent::Lease(grant) => self.lease.granted(grant),
            CoreEvent::Membership(index) => self.on_membership(index),
            CoreEvent::Dismissed => {
                self.lease.end();
                self.in_trouble(Trouble::Dismissed);
                self.tell(Event::Dismissed);
            }
            CoreEvent::StoreRetired(store) => self.begin_anew(store),
            CoreEvent::Truncated { from } => {
                for asker in self.desk.truncated(from) {
                    self.reply_not_leader(asker);
                }
            }
            CoreEvent::LogFull => self.counters.appends_dropped += 1,
            CoreEvent::Impostor(id) => self.in_conflict(id, Conflict::Impostor),
            CoreEvent::Halted { at, what } => {
                self.lease.end();
                let what = what.to_owned();
                self.in_trouble(Trouble::Halted {
                    at,
                    what: what.clone(),
                });
                self.tell(Event::Halted { at, what });
            }
        }
    }

    fn on_membership(&mut self, index: Index) {
        let membership = self.life.core.membership();
        let of = |votes: bool| {
            let members = membership.members.keys();
            let them = members.filter(|id| membership.is_voter(**id) == votes);
            Vec::from_iter(them.map(NodeId::to_string)).join(", ")
        };
        let told = (of(true), of(false));
        if self.members_told != told {
            let (voters, learners) = &told;
            log::info!(
                "raft {}: voters {voters}; learners {} (by entry {index})",
                self.config.group,
                if learners.is_empty() {
                    "none"
                } else {
                    learners
                }
            );
            self.members_told = told;
        }
        self.tell(Event::Membership(index));
    }

    fn on_role(&mut self, role: Role, term: crate::ids::Term) {
        log::info!("raft {}: {role:?} in term {term}", self.config.group);
        if role == Role::Leader {
            self.counters.elections_won += 1;
        } else {
            for asker in self.desk.clear() {
                self.reply_not_leader(asker);
            }
            if std::mem::take(&mut self.leads) {
                self.to_applier(applier::Job::CeasedToLead);
            }
        }
        self.tell(Event::Role { role, term });
    }

    fn to_applier(&self, job: applier::Job) {
        if let Some(workers) = &self.life.workers {
            let _ = workers.applier.send(job);
        }
    }
}
