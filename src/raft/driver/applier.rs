//! The thread that applies: it owns the state machine and the sessions.
//!
//! Committed entries come in log order. Commands pass the sessions, so that each is applied once;
//! what is not applied still tells the state machine the time. A snapshot is exact at the place
//! between two batches; the state is only marked here and read elsewhere.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::Receiver;

use super::mailbox::Outbox;
use super::report::{Answered, Report};
use super::state_stream::{self, StateStream};
use crate::entry::{Command, Entry, Payload};
use crate::ids::{Index, LogTime, Position, Term};
use crate::machine::{Applied, Event, StateMachine};
use crate::membership::Membership;
use crate::message::SnapshotMeta;
use crate::sessions::{Admission, Refusal, Sessions};
use crate::store::StoreError;

/// What the applier is asked to do.
pub(super) enum Job {
    /// Apply these; whether anybody waits for their answers.
    Apply { entries: Vec<Entry>, answers: bool },
    /// Take the state of a snapshot in the place of the present one, once it is opened.
    Restore {
        meta: Arc<SnapshotMeta>,
        state: Receiver<OpenedSnapshot>,
    },
    /// Mark the state as it is.
    Mark,
    /// This node leads and has applied everything of earlier terms.
    BecameLeader(Term),
    /// This node leads no longer.
    CeasedToLead,
}

/// A snapshot's bytes, or why they cannot be had.
pub(super) type OpenedSnapshot = Result<Box<dyn Read + Send>, StoreError>;

/// The state at one place, on its way into a snapshot.
pub(super) struct Marked {
    pub(super) last: Position,
    pub(super) time: LogTime,
    pub(super) membership: Arc<Membership>,
    pub(super) membership_index: Index,
    pub(super) state: StateStream,
}

pub(super) struct Applier {
    machine: Box<dyn StateMachine>,
    sessions: Sessions,
    last: Position,
    time: LogTime,
    membership: Arc<Membership>,
    membership_index: Index,
}

impl Applier {
    /// With the state before the log's first entry.
    pub(super) fn new(machine: Box<dyn StateMachine>) -> Applier {
        Applier {
            machine,
            sessions: Sessions::default(),
            last: Position::default(),
            time: LogTime(0),
            membership: Arc::default(),
            membership_index: Index(0),
        }
    }

    /// Works until nobody can ask any more, or until there is no state to work on.
    pub(super) fn run(mut self, jobs: &Receiver<Job>, reports: &Outbox<Report>) {
        for job in jobs {
            let report = match job {
                Job::Apply { entries, answers } => Report::Applied {
                    answers: self.apply(&entries, answers),
                    upto: self.last.index,
                },
                Job::Restore { meta, state } => match self.restore_opened(&meta, &state) {
                    Ok(()) => Report::Restored(meta.last.index),
                    Err(error) => {
                        // What is left is no state of any place in the log: nothing more is
                        // applied to it, and it gets into no snapshot.
                        let _ = reports.send(Report::RestoreFailed(meta, error));
                        jobs.iter().for_each(drop);
                        return;
                    }
                },
                Job::Mark => Report::Marked(Box::new(self.mark())),
                Job::BecameLeader(term) => {
                    self.machine.became_leader(term);
                    continue;
                }
                Job::CeasedToLead => {
                    self.machine.ceased_to_lead();
                    continue;
                }
            };
            if reports.send(report).is_err() {
                return;
            }
        }
    }

    /// Applies entries; with the answers to their commands where they are wanted.
    fn apply(&mut self, entries: &[Entry], answers: bool) -> Vec<Answered> {
        let mut batch = Batch::new(entries.len());
        for entry in entries {
            debug_assert_eq!(entry.index, self.last.index.next());
            let event = self.event(entry, &mut batch);
            batch.applied.push(Applied {
                index: entry.index,
                time: entry.time,
                event,
            });
            self.last = entry.position();
            self.time = entry.time;
        }
        self.finish(&mut batch);
        if !answers {
            return Vec::new();
        }
        batch
            .answered
            .sort_by_key(|answered| answered.position.index);
        batch.answered
    }

    /// What the entry is to the state machine.
    fn event<'a>(&mut self, entry: &'a Entry, batch: &mut Batch<'a>) -> Event<'a> {
        match &entry.payload {
            Payload::Empty | Payload::Time => {
                self.sessions.advance(entry.time);
                Event::Time
            }
            Payload::Membership(membership) => {
                self.sessions.advance(entry.time);
                self.membership = Arc::clone(membership);
                self.membership_index = entry.index;
                Event::Membership(membership)
            }
            Payload::Command(command) => self.command(entry, command, batch),
        }
    }

    fn command<'a>(
        &mut self,
        entry: &'a Entry,
        command: &'a Command,
        batch: &mut Batch<'a>,
    ) -> Event<'a> {
        let mut admission = self.sessions.admit(entry.time, command);
        if admission == Admission::Unfinished {
            self.finish(batch);
            admission = self.sessions.admit(entry.time, command);
        }
        let position = entry.position();
        match admission {
            Admission::Fresh => {
                batch.fresh.push((position, command));
                Event::Command {
                    version: command.version,
                    body: &command.body,
                }
            }
            Admission::Duplicate(answer) => batch.skip(position, Ok(answer)),
            Admission::Refused(refusal) => batch.skip(position, Err(refusal)),
            Admission::Unfinished => unreachable!("everything admitted before is finished"),
        }
    }

    /// Has the state machine apply what is gathered.
    fn finish(&mut self, batch: &mut Batch<'_>) {
        if batch.applied.is_empty() {
            return;
        }
        let mut answers = Vec::with_capacity(batch.fresh.len());
        self.machine.apply(&batch.applied, &mut answers);
        assert_eq!(
            answers.len(),
            batch.fresh.len(),
            "a state machine gives one answer to each command"
        );
        for ((position, command), answer) in batch.fresh.drain(..).zip(answers) {
            self.sessions
                .answered(command.client, command.sequence, &answer);
            batch.answered.push(Answered {
                position,
                outcome: Ok(answer),
            });
        }
        batch.applied.clear();
    }

    fn mark(&mut self) -> Marked {
        Marked {
            last: self.last,
            time: self.time,
            membership: Arc::clone(&self.membership),
            membership_index: self.membership_index,
            state: StateStream::new(self.sessions.clone(), self.machine.snapshot()),
        }
    }

    fn restore_opened(
        &mut self,
        meta: &SnapshotMeta,
        state: &Receiver<OpenedSnapshot>,
    ) -> io::Result<()> {
        let opened = state
            .recv()
            .map_err(|_| io::Error::other("the node stops"))?;
        self.restore(meta, &mut *opened.map_err(io::Error::other)?)
    }

    /// Takes the state of a snapshot in the place of the present one.
    pub(super) fn restore(&mut self, meta: &SnapshotMeta, state: &mut dyn Read) -> io::Result<()> {
        self.sessions = state_stream::read_sessions(state)?;
        self.machine.restore(state)?;
        // Whatever the state machine has left: the checksum is compared at the end.
        io::copy(state, &mut io::sink())?;
        self.last = meta.last;
        self.time = meta.time;
        self.membership = Arc::clone(&meta.membership);
        self.membership_index = meta.membership_index;
        Ok(())
    }
}

/// Entries that are applied in one call.
struct Batch<'a> {
    applied: Vec<Applied<'a>>,
    /// The commands among them.
    fresh: Vec<(Position, &'a Command)>,
    answered: Vec<Answered>,
}

impl<'a> Batch<'a> {
    fn new(entries: usize) -> Batch<'a> {
        Batch {
            applied: Vec::with_capacity(entries),
            fresh: Vec::with_capacity(entries),
            answered: Vec::with_capacity(entries),
        }
    }

    /// Takes in a command that is not applied.
    fn skip(&mut self, position: Position, outcome: Result<Bytes, Refusal>) -> Event<'a> {
        self.answered.push(Answered { position, outcome });
        Event::Time
    }
}

#[cfg(test)]
mod tests;
