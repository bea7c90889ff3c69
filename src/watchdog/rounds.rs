//! Who is late, from one look to the next: times in, what is to be said out.

use std::time::{Duration, Instant};

/// Rounds in the time that the service manager waits.
const ROUNDS: u32 = 4;
/// While somebody is late, one looks as often in a round: whoever is back should not be shot for
/// what was.
const LOOKS_WHILE_LATE: u32 = 8;
/// But not more often than this.
const MIN_LOOK: Duration = Duration::from_millis(5);

/// A round begins when all are asked, and ends when all have answered, but not before its time.
#[derive(Debug)]
pub(super) struct Rounds {
    every: Duration,
    asked_at: Instant,
    next_look: Instant,
    late: Vec<String>,
}

/// What a look has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// All have answered: another round begins with this.
    pub is_well: bool,
    /// Who has become late.
    pub late: Vec<String>,
    /// Who was late and is not any more, with the time since it was asked.
    pub back: Vec<(String, Duration)>,
    /// Who is late.
    pub all_late: Vec<String>,
}

impl Rounds {
    /// Rounds for a service manager that waits so long; all are being asked.
    pub fn of(limit: Duration, now: Instant) -> Rounds {
        let every = limit / ROUNDS;
        Rounds {
            every,
            asked_at: now,
            next_look: now + every,
            late: Vec::new(),
        }
    }

    /// Until the next look.
    pub fn wait(&self, now: Instant) -> Duration {
        self.next_look.saturating_duration_since(now)
    }

    /// These have not answered by now.
    pub fn look(&mut self, now: Instant, silent: Vec<String>) -> Look {
        let asked = now.saturating_duration_since(self.asked_at);
        let is_back = |name: &&String| !silent.contains(name);
        let look = Look {
            is_well: silent.is_empty(),
            late: silent
                .iter()
                .filter(|name| !self.late.contains(name))
                .cloned()
                .collect(),
            back: self
                .late
                .iter()
                .filter(is_back)
                .map(|name| (name.clone(), asked))
                .collect(),
            all_late: silent.clone(),
        };
        self.late = silent;
        self.next_look = now
            + match look.is_well {
                true => self.every,
                false => (self.every / LOOKS_WHILE_LATE).max(MIN_LOOK),
            };
        if look.is_well {
            self.asked_at = now;
        }
        look
    }
}
