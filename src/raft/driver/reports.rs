//! What the other threads tell, taken in.

use super::config::Event;
use super::node::Node;
use super::report::{Answered, Report};
use super::status::Trouble;
use crate::proposals::client::Reply;
use crate::proposals::refusal::Code;
use crate::store::files::Files;

impl<F: Files> Node<F> {
    pub(super) fn take_reports(&mut self) {
        loop {
            let workers = self.life.workers.as_ref();
            let Some(report) = workers.and_then(|workers| workers.reports.try_recv().ok()) else {
                return;
            };
            self.take_report(report);
        }
    }

    fn take_report(&mut self, report: Report) {
        let core = &mut self.life.core;
        match report {
            Report::Persisted(write) => {
                core.persisted(write);
                self.counters.syncs += 1;
                self.snapshot_has_replaced_log(write);
            }
            Report::WriteFailed(error) => self.fail_disk(error.to_string()),
            Report::Applied { upto, answers } => {
                core.applied(upto);
                for answered in answers {
                    self.answered(answered);
                }
            }
            Report::Restored(index) => {
                core.applied(index);
                self.saving.bytes = 0;
                self.counters.snapshots_restored += 1;
            }
            Report::RestoreFailed(meta, error) => {
                let what = format!("the snapshot of {} cannot be restored: {error}", meta.last);
                core.write_failed();
                self.lease.end();
                self.in_trouble(Trouble::Halted {
                    at: meta.last,
                    what: what.clone(),
                });
                self.tell(Event::Halted {
                    at: meta.last,
                    what,
                });
            }
            Report::Marked(state) => self.snapshot_marked(state),
            Report::Taken(meta) => self.snapshot_taken(meta),
            Report::NotTaken(error) => self.snapshot_not_taken(error),
            Report::Stored { snapshot, offset } => core.snapshot_chunk_stored(&snapshot, offset),
            Report::Read(read, data) => core.snapshot_chunk_read(read, data),
            Report::ChunkFailed { snapshot, error } => {
                core.snapshot_failed(snapshot);
                log::warn!(
                    "raft {}: a piece of snapshot {snapshot} failed, it begins again: {error}",
                    self.config.group
                );
            }
            Report::Unreadable { snapshot, error } => self.snapshot_unreadable(snapshot, &error),
        }
    }

    /// A command was applied, or refused in its place.
    fn answered(&mut self, answered: Answered) {
        let Some(asker) = self.desk.applied(answered.position) else {
            return;
        };
        match asker {
            Ok(asker) => self.reply(
                asker,
                match answered.outcome {
                    Ok(answer) => Reply::Applied(answer),
                    Err(refusal) => Reply::Refused(Code::Session(refusal)),
                },
            ),
            Err(asker) => self.reply_not_leader(asker),
        }
    }
}
