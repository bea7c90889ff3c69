//! The bounded queue between whoever logs and the one thread that writes.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Lines are gathered up to this size for one write.
const BATCH_BYTES: usize = 64 * 1024;

/// While lines keep being lost, one report in this time.
const LOSS_REPORT_EVERY: Duration = Duration::from_secs(1);

/// What goes through the queue.
pub(super) enum Item {
    /// One line, line end included.
    Line(Vec<u8>),
    /// Answered when everything before it has been written.
    Flush(Sender<()>),
}

/// Lines lost since the start of the process, whichever queue they were meant for.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Log lines that were lost since the start, because they could not be written fast enough.
pub fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// The side of whoever logs.
#[derive(Debug)]
pub(super) struct Queue {
    items: Sender<Item>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    /// A queue of at most `lines`, and the end that [`drain`] reads.
    pub fn new(lines: usize) -> (Queue, Receiver<Item>) {
        let (items, receiver) = bounded(lines);
        let lost = Arc::default();
        (Queue { items, lost }, receiver)
    }

    /// Lines lost since the last report.
    pub fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }

    /// Puts a line in, or counts it as lost; never waits.
    pub fn push(&self, line: Vec<u8>) {
        if self.items.try_send(Item::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything before has been written; false: `timeout` has passed.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (written, is_written) = bounded(1);
        self.items
            .send_deadline(Item::Flush(written), deadline)
            .is_ok()
            && is_written.recv_deadline(deadline).is_ok()
    }
}

/// Writes what comes through the queue until its other side is gone. `loss_line` words the
/// report of lost lines.
pub(super) fn drain(
    items: &Receiver<Item>,
    lost: &AtomicU64,
    mut out: impl Write,
    loss_line: impl Fn(u64) -> Vec<u8>,
) {
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    let mut last_report: Option<Instant> = None;
    while let Ok(first) = items.recv() {
        let flushes = gather(first, items, &mut batch);
        let reported_lately = last_report.is_some_and(|at| at.elapsed() < LOSS_REPORT_EVERY);
        if items.is_empty() || !flushes.is_empty() || !reported_lately {
            let count = lost.swap(0, Ordering::Relaxed);
            if count > 0 {
                batch.extend_from_slice(&loss_line(count));
                last_report = Some(Instant::now());
            }
        }
        // Where standard error is closed there is no one left to tell.
        let _ = out.write_all(&batch);
        batch.clear();
        for written in flushes {
            let _ = written.try_send(());
        }
    }
}

/// Takes what is in the queue, up to a batch; returns the flushes met, which end it.
fn gather(first: Item, items: &Receiver<Item>, batch: &mut Vec<u8>) -> Vec<Sender<()>> {
    let mut next = Some(first);
    while let Some(item) = next {
        match item {
            Item::Line(line) => batch.extend_from_slice(&line),
            Item::Flush(written) => return vec![written],
        }
        next = match batch.len() < BATCH_BYTES {
            true => items.try_recv().ok(),
            false => None,
        };
    }
    Vec::new()
}
