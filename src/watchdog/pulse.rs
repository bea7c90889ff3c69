//! The loops' side of the watchdog: a flag that is set by who asks and cleared by who turns.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

/// Has a loop turn once; what the [`Question`] is for whom the loop's own pulse is out of reach.
type Wake = Box<dyn Fn(Question) + Send + Sync>;

/// All loops that have to turn. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Pulses {
    beats: Arc<Mutex<Vec<Arc<Beat>>>>,
}

/// A loop's pulse: dropped with the loop, which then is not asked any more.
#[derive(Debug)]
pub struct Pulse {
    beat: Arc<Beat>,
}

/// Takes an answer from wherever it can be given.
#[derive(Debug)]
pub struct Question {
    beat: Arc<Beat>,
}

/// As long as it is there, and no longer than was said, a loop need not answer. Its end is an
/// answer.
#[derive(Debug)]
pub struct Excuse {
    beat: Arc<Beat>,
}

struct Beat {
    name: String,
    wake: Wake,
    /// What times are counted from.
    epoch: Instant,
    /// Somebody has asked and was not answered yet.
    is_asked: AtomicBool,
    is_over: AtomicBool,
    /// In milliseconds from `epoch`; zero: not excused.
    excused_until_ms: AtomicU64,
}

impl Pulses {
    /// The pulse of a loop that people know by `name`. `wake` has it turn soon, and does not wait.
    pub fn register(
        &self,
        name: impl Into<String>,
        wake: impl Fn(Question) + Send + Sync + 'static,
    ) -> Pulse {
        let beat = Arc::new(Beat {
            name: name.into(),
            wake: Box::new(wake),
            epoch: Instant::now(),
            is_asked: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            excused_until_ms: AtomicU64::new(0),
        });
        self.beats().push(Arc::clone(&beat));
        Pulse { beat }
    }

    /// As [`Pulses::register`], for a loop that waits for channels: what comes by this one means
    /// nothing but that it is to turn.
    pub fn register_bell(&self, name: impl Into<String>) -> (Pulse, Receiver<()>) {
        let (bell, rung) = bounded(1);
        let wake = move |_| {
            // Rung already, it need not be rung again.
            let _ = bell.try_send(());
        };
        (self.register(name, wake), rung)
    }

    /// Asks every loop to turn once.
    pub(super) fn ask(&self) {
        for beat in self.living() {
            beat.is_asked.store(true, Ordering::Relaxed);
            let question = Question {
                beat: Arc::clone(&beat),
            };
            (beat.wake)(question);
        }
    }

    /// Who was asked, has not answered, and is not excused.
    pub(super) fn silent(&self) -> Vec<String> {
        let mut living = self.living();
        living.retain(|beat| !beat.is_excused() && beat.is_asked.load(Ordering::Relaxed));
        living.iter().map(|beat| beat.name.clone()).collect()
    }

    /// Without the lock, as waking may do anything.
    fn living(&self) -> Vec<Arc<Beat>> {
        let mut beats = self.beats();
        beats.retain(|beat| !beat.is_over.load(Ordering::Relaxed));
        beats.clone()
    }

    fn beats(&self) -> MutexGuard<'_, Vec<Arc<Beat>>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// The loop turns: to be called in each turn, or in each that may be the answer. One relaxed
    /// load, and one store where somebody has asked.
    pub fn beat(&self) {
        self.beat.answer();
    }

    /// The loop does something that takes long, at most so long.
    pub fn excuse(&self, limit: Duration) -> Excuse {
        let until = self.beat.now_ms().saturating_add(in_ms(limit)).max(1);
        self.beat.excused_until_ms.store(until, Ordering::Relaxed);
        Excuse {
            beat: Arc::clone(&self.beat),
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.beat.is_over.store(true, Ordering::Relaxed);
    }
}

impl Question {
    /// The loop has turned.
    pub fn answer(&self) {
        self.beat.answer();
    }
}

impl Drop for Excuse {
    fn drop(&mut self) {
        // In this order: who looks in between finds an answer or an excuse.
        self.beat.answer();
        self.beat.excused_until_ms.store(0, Ordering::Release);
    }
}

impl Beat {
    fn answer(&self) {
        if self.is_asked.load(Ordering::Relaxed) {
            self.is_asked.store(false, Ordering::Relaxed);
        }
    }

    fn is_excused(&self) -> bool {
        self.now_ms() < self.excused_until_ms.load(Ordering::Acquire)
    }

    fn now_ms(&self) -> u64 {
        in_ms(self.epoch.elapsed())
    }
}

impl fmt::Debug for Beat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Beat({})", self.name)
    }
}

fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
