//! The thread that writes the log.
//!
//! It takes all writes that have queued up meanwhile, appends them, and syncs once: the longer
//! the disk takes, the more goes into one sync.

use crossbeam_channel::{Receiver, TryRecvError};

use super::mailbox::Outbox;
use super::report::Report;
use crate::durable::Write;
use crate::ids::Index;
use crate::store::files::Files;
use crate::store::{Log, StoreError};

/// Bytes of entries that go into one sync; what has queued up beyond waits for the next.
const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// What the writer is asked to do.
pub(super) enum Job {
    /// Make it durable.
    Write(Write),
    /// Remove what is not needed where the log begins here.
    Compact(Index),
}

/// Works until nobody can ask any more, and has then written everything it was asked to.
pub(super) fn run<F: Files>(
    group: &str,
    mut log: Log<F>,
    jobs: &Receiver<Job>,
    reports: &Outbox<Report>,
) {
    let mut next = jobs.recv().ok();
    while let Some(first) = next.take() {
        let mut batch = Batch::default();
        batch.take(first);
        let open = loop {
            if batch.is_full() {
                break true;
            }
            match jobs.try_recv() {
                Ok(job) => batch.take(job),
                Err(TryRecvError::Empty) => break true,
                Err(TryRecvError::Disconnected) => break false,
            }
        };
        if let Err(error) = batch.carry_out(group, &mut log, reports) {
            // For good: a sync that has failed is never tried again.
            let _ = reports.send(Report::WriteFailed(error));
            jobs.iter().for_each(drop);
            return;
        }
        if open {
            next = jobs.recv().ok();
        }
    }
}

#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    bytes: usize,
    /// Where the log begins, after the writes. To cut later than asked is harmless.
    compact: Option<Index>,
}

impl Batch {
    fn take(&mut self, job: Job) {
        match job {
            Job::Write(write) => {
                let entries = write.entries.iter();
                self.bytes += entries.map(crate::entry::Entry::size_bytes).sum::<usize>();
                self.writes.push(write);
            }
            Job::Compact(first) => self.compact = Some(first),
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= MAX_BATCH_BYTES
    }

    fn carry_out<F: Files>(
        self,
        group: &str,
        log: &mut Log<F>,
        reports: &Outbox<Report>,
    ) -> Result<(), StoreError> {
        if let Some(last) = self.writes.last().map(|write| write.id) {
            log.append(&self.writes)?;
            log.sync()?;
            // A driver that has ended wants the rest written all the same.
            let _ = reports.send(Report::Persisted(last));
            // Whoever waited has been answered. It is tried again when the segment is full.
            if let Err(error) = log.prepare() {
                log::warn!("raft {group}: the log's next segment cannot be made ahead: {error}");
            }
        }
        if let Some(first) = self.compact
            && let Err(error) = log.compact(first)
        {
            // Everything written is durable. What stays goes with the next snapshot; where the
            // disk has failed for good, the next write says so.
            log::warn!("raft {group}: segments of the log before {first} stay for now: {error}");
        }
        Ok(())
    }
}
