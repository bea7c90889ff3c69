//! Wakes the thread that journals, once for any number of new sticks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;

/// Rung by the connections that have news for the journal.
#[derive(Debug, Default)]
pub(super) struct Bell {
    /// Somebody listens; without a listener no news is kept.
    attended: AtomicBool,
    rung: AtomicBool,
    listener: Mutex<Option<Thread>>,
}

impl Bell {
    /// Whether news is wanted at all.
    pub fn is_attended(&self) -> bool {
        self.attended.load(Ordering::Relaxed)
    }

    /// From now on `thread` is unparked at the first ring after each [`Bell::answer`].
    pub fn attend(&self, thread: Option<Thread>) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        self.attended.store(thread.is_some(), Ordering::SeqCst);
        *listener = thread;
    }

    /// There is news. Costs one load while the listener has not answered the last ring.
    pub fn ring(&self) {
        if self.rung.load(Ordering::Acquire) || self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = &*listener {
            thread.unpark();
        }
    }

    /// Whether it has rung since it was last answered.
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Lets it ring again. Before the news is collected, so that what comes while collecting
    /// rings anew.
    pub fn answer(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }
}
