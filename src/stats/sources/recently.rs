//! What happened in the last minute, of things that are only counted.

use std::time::{Duration, Instant};

/// How long it is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// When counts were last seen to grow.
#[derive(Default)]
pub struct Recently {
    accept_pauses: Growth,
    lines_lost: Growth,
}

#[derive(Default)]
struct Growth {
    seen: u64,
    grew: Option<Instant>,
}

impl Recently {
    /// Takes in what is counted now.
    pub fn note(&mut self, accept_pauses: u64, lines_lost: u64, now: Instant) {
        self.accept_pauses.note(accept_pauses, now);
        self.lines_lost.note(lines_lost, now);
    }

    /// Whether accepting paused.
    pub fn accepting_paused(&self, now: Instant) -> bool {
        self.accept_pauses.is_recent(now)
    }

    /// Whether log lines were lost.
    pub fn lines_were_lost(&self, now: Instant) -> bool {
        self.lines_lost.is_recent(now)
    }
}

impl Growth {
    fn note(&mut self, count: u64, now: Instant) {
        if count > self.seen {
            self.seen = count;
            self.grew = Some(now);
        }
    }

    fn is_recent(&self, now: Instant) -> bool {
        self.grew
            .is_some_and(|grew| now.saturating_duration_since(grew) < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_is_recent_for_a_minute() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut recently = Recently::default();
        recently.note(0, 0, start);
        assert!(!recently.accepting_paused(start) && !recently.lines_were_lost(start));
        recently.note(1, 0, after(1));
        recently.note(1, 5, after(30));
        assert!(recently.accepting_paused(after(60)) && recently.lines_were_lost(after(89)));
        assert!(!recently.accepting_paused(after(61)) && !recently.lines_were_lost(after(90)));
    }
}
