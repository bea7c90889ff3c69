//! How late this machine wakes a thread that only sleeps: what no program on it can do better than.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(10);

/// A thread that sleeps from one step of the clock to the next, and writes down how late it woke.
#[derive(Debug)]
pub struct Yardstick {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Yardstick {
    /// Begins to measure.
    pub fn begin() -> Yardstick {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let (begun, mut late) = (Instant::now(), Vec::new());
            for step in 1_u32.. {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                // Of a step that was slept through the thread is as late as whoever had to act then.
                let due = begun + STEP * step;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                late.push(due.elapsed());
            }
            late
        });
        Yardstick { ended, thread }
    }

    /// So late, or less, it woke in 99 of 100 steps.
    pub fn lateness(self) -> Duration {
        self.ended.store(true, Ordering::Relaxed);
        let mut late = self.thread.join().unwrap_or_default();
        late.sort_unstable();
        late.get(late.len() * 99 / 100).copied().unwrap_or_default()
    }
}
