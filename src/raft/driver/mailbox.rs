//! Ways into the driver's thread from others: queues, and a bell that is rung only while it
//! sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_channel::{Receiver, SendError, Sender, TrySendError};
use mio::Waker;

/// Wakes the driver where it sleeps. One system call for a sleep, however many ring.
#[derive(Debug)]
pub(super) struct Bell {
    waker: Waker,
    asleep: AtomicBool,
}

impl Bell {
    pub(super) fn new(waker: Waker) -> Arc<Bell> {
        Arc::new(Bell {
            waker,
            asleep: AtomicBool::new(false),
        })
    }

    /// To be called after something has been put into a queue.
    fn ring(&self) {
        // Pairs with the fence in `lie_down`: either the driver sees what was queued before it
        // sleeps, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // It fails only where the kernel has no memory for a counter that exists already.
            let _ = self.waker.wake();
        }
    }

    /// The driver is about to sleep: it looks into all queues once more after this.
    pub(super) fn lie_down(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The driver is awake.
    pub(super) fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

/// The sending end of a queue to the driver.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    queue: Sender<T>,
    bell: Arc<Bell>,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Outbox {
            queue: self.queue.clone(),
            bell: Arc::clone(&self.bell),
        }
    }
}

impl<T> Outbox<T> {
    /// A queue to the driver for at most `bound` things.
    pub(super) fn new(bound: usize, bell: &Arc<Bell>) -> (Outbox<T>, Receiver<T>) {
        let (queue, inbox) = crossbeam_channel::bounded(bound);
        let bell = Arc::clone(bell);
        (Outbox { queue, bell }, inbox)
    }

    /// A queue without a bound, for what may be sent from the driver's own thread, which cannot
    /// wait for itself.
    pub(super) fn unbounded(bell: &Arc<Bell>) -> (Outbox<T>, Receiver<T>) {
        let (queue, inbox) = crossbeam_channel::unbounded();
        let bell = Arc::clone(bell);
        (Outbox { queue, bell }, inbox)
    }

    /// Queues it; waits while the queue is full.
    ///
    /// # Errors
    /// Gives it back where the driver has ended.
    pub(super) fn send(&self, what: T) -> Result<(), T> {
        let sent = self.queue.send(what).map_err(|SendError(what)| what);
        self.bell.ring();
        sent
    }

    /// Queues it.
    ///
    /// # Errors
    /// Gives it back where the queue is full or the driver has ended.
    pub(super) fn try_send(&self, what: T) -> Result<(), TrySendError<T>> {
        let sent = self.queue.try_send(what);
        self.bell.ring();
        sent
    }
}
