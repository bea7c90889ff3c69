//! What happened in the last minute, of things that are only counted.

use std::time::{Duration, Instant};

/// How long it is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What is remembered for a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Accepting paused for want of descriptors or memory.
    AcceptPause,
    /// Log lines were lost.
    LinesLost,
    /// Connections ended because no port was left for them.
    NoPort,
    /// Connections ended because their group had no place for them.
    NoPlace,
    /// Connections ended for what this host lacked.
    Lack,
}

impl Happened {
    /// All of them, in the order of their counts.
    pub const ALL: [Happened; 5] = [
        Happened::AcceptPause,
        Happened::LinesLost,
        Happened::NoPort,
        Happened::NoPlace,
        Happened::Lack,
    ];
}

/// When counts were last seen to grow.
#[derive(Default)]
pub struct Recently([Growth; Happened::ALL.len()]);

#[derive(Default)]
struct Growth {
    seen: u64,
    grew: Option<Instant>,
}

impl Recently {
    /// Takes in what is counted now.
    pub fn note(&mut self, count: impl Fn(Happened) -> u64, now: Instant) {
        for (growth, what) in self.0.iter_mut().zip(Happened::ALL) {
            growth.note(count(what), now);
        }
    }

    /// Whether it happened in the last minute.
    pub fn has(&self, what: Happened, now: Instant) -> bool {
        self.0[what as usize].is_recent(now)
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
        let count = |of: Happened, count: u64| move |what| if what == of { count } else { 0 };
        let happened = |recently: &Recently, now| Happened::ALL.map(|what| recently.has(what, now));
        recently.note(|_| 0, start);
        assert_eq!(happened(&recently, start), [false; Happened::ALL.len()]);
        for (at, what) in Happened::ALL.into_iter().enumerate() {
            let mut recently = Recently::default();
            recently.note(count(what, 1), after(1));
            recently.note(count(what, 1), after(30));
            let mut expected = [false; Happened::ALL.len()];
            expected[at] = true;
            assert_eq!(happened(&recently, after(60)), expected);
            assert_eq!(happened(&recently, after(61)), [false; Happened::ALL.len()]);
        }
    }
}
