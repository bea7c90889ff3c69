//! The threads that check: as many as there are checks that take their time, up to a bound.
//!
//! The scheduler alone decides how many there are. While fewer checks are under way than there
//! are threads, none is added: a thousand quick checks share a few. A check that hangs holds its
//! thread until its time-out; a queue that waits for threads that hang gets more of them, one that
//! waits for a busy processor does not: more threads would make that worse.

use std::io;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::endpoint::Endpoint;
use crate::sources::Sources;

use super::board::TargetKey;
use super::probe::{Outcome, Probe};

/// Threads at most, whatever the number of checks. A check holds a thread and a descriptor.
pub const MAX_THREADS: usize = 1024;
/// Added without waiting while there are fewer.
const FEW_THREADS: usize = 2;
/// How long checks may be queued before threads are added.
const PATIENCE: Duration = Duration::from_millis(5);
/// Threads that were not needed for so long end.
const REVIEW: Duration = Duration::from_secs(2);
/// Probes keep their buffers on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// One check to make.
#[derive(Debug)]
pub(super) struct Job {
    pub key: TargetKey,
    pub probe: Arc<Probe>,
    /// At least one; a name may have several.
    pub endpoints: Vec<Endpoint>,
    /// Where it may come from.
    pub sources: Arc<Sources>,
    pub submitted: Instant,
}

/// One check made.
#[derive(Debug)]
pub(super) struct Done {
    pub key: TargetKey,
    pub outcome: Outcome,
    /// From submitted to begun.
    pub queued: Duration,
    /// From begun to done.
    pub took: Duration,
}

enum Order {
    Check(Job),
    End,
}

/// The pool, owned by the scheduler. Dropping it ends every thread once its check is done.
pub(super) struct Pool {
    orders: Sender<Order>,
    taken: Receiver<Order>,
    done: Sender<Done>,
    max_threads: usize,
    threads: usize,
    /// Threads started so far; numbers their names.
    started: usize,
    /// Checks submitted and not done.
    under_way: usize,
    /// Of those: checks that are no more. They hold a thread each until their time-out, which must
    /// not be one of those that the others need.
    abandoned: usize,
    /// The most under way since the last review.
    peak: usize,
    review_at: Instant,
    /// Since when more are under way than there are threads, and no reason was seen why.
    short_since: Option<Instant>,
    /// Results since then.
    done_since: usize,
}

impl Pool {
    /// A pool without threads yet, and where its results come out.
    pub fn new(max_threads: usize, now: Instant) -> (Pool, Receiver<Done>) {
        // Neither queue can hold more than one entry for each target that is checked.
        let (orders, taken) = unbounded();
        let (done, results) = unbounded();
        let pool = Pool {
            orders,
            taken,
            done,
            max_threads: max_threads.clamp(1, MAX_THREADS),
            threads: 0,
            started: 0,
            under_way: 0,
            abandoned: 0,
            peak: 0,
            review_at: now + REVIEW,
            short_since: None,
            done_since: 0,
        };
        (pool, results)
    }

    /// Threads now, those included that have been told to end after their check.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Checks queued or being made.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// The bound on threads.
    pub fn max_threads(&self) -> usize {
        self.max_threads
    }

    /// Changes the bound, to at least 1 and at most [`MAX_THREADS`].
    pub fn set_max_threads(&mut self, max: usize) {
        self.max_threads = max.clamp(1, MAX_THREADS);
    }

    /// Queues a check.
    pub fn submit(&mut self, job: Job) {
        self.under_way += 1;
        self.peak = self.peak.max(self.under_way);
        // The pool has a receiver of its own: the queue is never closed.
        let _ = self.orders.send(Order::Check(job));
    }

    /// A result has come out.
    pub fn note_done(&mut self) {
        self.under_way -= 1;
        self.done_since += 1;
    }

    /// So many of the checks under way are no more.
    pub fn abandon(&mut self, checks: usize) {
        self.abandoned += checks;
    }

    /// One of them is done.
    pub fn note_abandoned_done(&mut self) {
        self.abandoned = self.abandoned.saturating_sub(1);
    }

    /// The bound on threads for the moment.
    fn most(&self) -> usize {
        MAX_THREADS.min(self.max_threads + self.abandoned)
    }

    /// Adds threads where checks wait, and ends those that are too many.
    ///
    /// # Errors
    /// The system gives no thread; what runs goes on.
    pub fn tend(&mut self, now: Instant) -> io::Result<()> {
        let wanted = self.under_way.min(self.most());
        if wanted <= self.threads {
            self.short_since = None;
        } else if self.threads < FEW_THREADS {
            self.add(wanted.min(FEW_THREADS))?;
        }
        if wanted > self.threads {
            self.relieve(wanted, now)?;
        }
        if now >= self.review_at {
            self.dismiss();
            self.peak = self.under_way;
            self.review_at = now + REVIEW;
        }
        Ok(())
    }

    /// When [`Pool::tend`] has something to do next.
    pub fn next_moment(&self) -> Option<Instant> {
        let add_at = self.short_since.map(|since| since + PATIENCE);
        let dismiss_at = (self.threads > 0).then_some(self.review_at);
        [add_at, dismiss_at].into_iter().flatten().min()
    }

    /// Checks wait: adds threads where those there are do not get on.
    fn relieve(&mut self, wanted: usize, now: Instant) -> io::Result<()> {
        let Some(since) = self.short_since else {
            (self.short_since, self.done_since) = (Some(now), 0);
            return Ok(());
        };
        if now.duration_since(since) < PATIENCE {
            return Ok(());
        }
        let they_get_on = self.done_since >= self.threads;
        (self.short_since, self.done_since) = (Some(now), 0);
        match they_get_on {
            true => Ok(()),
            // Twice as many each time: a thousand hanging checks are a matter of 50 ms.
            false => self.add(wanted.min(self.threads * 2)),
        }
    }

    fn add(&mut self, wanted: usize) -> io::Result<()> {
        while self.threads < wanted {
            let (orders, done) = (self.taken.clone(), self.done.clone());
            let number = self.started + 1;
            Builder::new()
                .name(format!("check-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || work(&orders, &done))?;
            self.started = number;
            self.threads += 1;
        }
        Ok(())
    }

    fn dismiss(&mut self) {
        let needed = self.peak.min(self.most());
        while self.threads > needed {
            let _ = self.orders.send(Order::End);
            self.threads -= 1;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for _ in 0..self.threads {
            let _ = self.orders.send(Order::End);
        }
    }
}

fn work(orders: &Receiver<Order>, done: &Sender<Done>) {
    while let Ok(Order::Check(job)) = orders.recv() {
        let begun = Instant::now();
        let outcome = job.probe.run(&job.endpoints, &job.sources);
        let result = Done {
            key: job.key,
            outcome,
            queued: begun.duration_since(job.submitted),
            took: begun.elapsed(),
        };
        if done.send(result).is_err() {
            return; // the scheduler is gone
        }
    }
}

#[cfg(test)]
mod tests;
