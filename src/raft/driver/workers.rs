//! The threads beside the driver's own: log writer, applier, snapshots.
//!
//! Their queues have no bound of their own: the core hands out no more than its settings let be
//! uncommitted, in flight or unapplied. What they tell waits for room; the driver never does.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::applier::{self, Applier};
use super::mailbox::{Bell, Outbox};
use super::report::Report;
use super::snapshots;
use super::threads::spawn;
use super::writer;
use crate::store::files::Files;
use crate::store::{Log, Snapshots};

/// Reports that wait for the driver.
const REPORTS_QUEUED: usize = 1024;

/// The threads of one life.
pub(super) struct Workers {
    pub(super) writer: Sender<writer::Job>,
    pub(super) applier: Sender<applier::Job>,
    pub(super) snapshots: Sender<snapshots::Job>,
    pub(super) reports: Receiver<Report>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts them. The applier has the state that the log goes on from.
    pub(super) fn start<F: Files>(
        group: &str,
        log: Log<F>,
        store: Snapshots<F>,
        state: Applier,
        bell: &Arc<Bell>,
    ) -> io::Result<Workers> {
        let (outbox, reports) = Outbox::new(REPORTS_QUEUED, bell);
        let (writer, jobs) = unbounded();
        let (out, of) = (outbox.clone(), group.to_owned());
        let writing = spawn(format!("raft log {group}"), move || {
            writer::run(&of, log, &jobs, &out);
        })?;
        let (snapshots, jobs) = unbounded();
        let (out, of) = (outbox.clone(), group.to_owned());
        let saving = spawn(format!("raft snap {group}"), move || {
            snapshots::run(&of, store, &jobs, &out);
        })?;
        let (applier, jobs) = unbounded();
        let applying = spawn(format!("raft apply {group}"), move || {
            state.run(&jobs, &outbox);
        })?;
        Ok(Workers {
            writer,
            applier,
            snapshots,
            reports,
            threads: vec![writing, saving, applying],
        })
    }

    /// Lets them finish what they were given, and waits for their end: the log is durable then
    /// and the folder is free.
    pub(super) fn stop(self) {
        let Workers {
            writer,
            applier,
            snapshots,
            reports,
            threads,
        } = self;
        drop((writer, applier, snapshots));
        // Nobody waits for the driver to listen.
        drop(reports);
        for thread in threads {
            // One that panicked has ended the process.
            let _ = thread.join();
        }
    }
}
