//! When each target is checked next: the queue of timers. No thread and no clock of its own.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::board::TargetKey;

/// Between the starts of two checks of one target of which the second was brought forward, where
/// the interval is not shorter.
const HURRIED_GAP: Duration = Duration::from_secs(1);

/// Due times of all targets. A target that is being checked is not due again before it is done.
#[derive(Debug, Default)]
pub(super) struct Timetable {
    runs: HashMap<TargetKey, Run>,
    /// The due time of each run, earliest first. A set and no heap: times that were brought forward
    /// must not pile up behind.
    queue: BTreeSet<(Instant, TargetKey)>,
}

#[derive(Debug)]
struct Run {
    interval: Duration,
    due: Instant,
    started: Option<Instant>,
    is_running: bool,
    /// To be checked again as soon as the check under way is done.
    is_hurried: bool,
}

/// A target whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// To be checked now; it counts as running until [`Timetable::finished`].
    Start(TargetKey),
    /// Still being checked since last time: this time is left out.
    LeftOut(TargetKey),
}

impl Timetable {
    /// Whether the target is known.
    pub fn has(&self, key: TargetKey) -> bool {
        self.runs.contains_key(&key)
    }

    /// A new target, due at `first` and every `interval` from then on.
    pub fn add(&mut self, key: TargetKey, interval: Duration, first: Instant) {
        let run = Run {
            interval,
            due: first,
            started: None,
            is_running: false,
            is_hurried: false,
        };
        self.runs.insert(key, run);
        self.queue.insert((first, key));
    }

    /// Forgets targets that are not `used`. Returns how many of them are being checked now: that
    /// finishes in vain.
    pub fn retain(&mut self, used: impl Fn(TargetKey) -> bool) -> usize {
        let mut abandoned = 0;
        self.runs.retain(|&key, run| {
            let is_used = used(key);
            abandoned += usize::from(run.is_running && !is_used);
            is_used
        });
        self.queue.retain(|&(_, key)| used(key));
        abandoned
    }

    /// The next target whose time has come at `now`, if any. Its next time is one interval after
    /// the one that has come, not after now: delays do not add up.
    pub fn take_due(&mut self, now: Instant) -> Option<Due> {
        let &(due, key) = self.queue.first().filter(|(due, _)| *due <= now)?;
        let run = self.runs.get_mut(&key);
        let run = run.expect("whoever is in the queue has a run");
        self.queue.remove(&(due, key));
        run.due = next_after(due, run.interval, now);
        self.queue.insert((run.due, key));
        if run.is_running {
            return Some(Due::LeftOut(key));
        }
        run.is_running = true;
        run.started = Some(now);
        Some(Due::Start(key))
    }

    /// The target has been checked.
    pub fn finished(&mut self, key: TargetKey, now: Instant) {
        let Some(run) = self.runs.get_mut(&key) else {
            return;
        };
        run.is_running = false;
        if std::mem::take(&mut run.is_hurried) {
            self.hurry(key, now);
        }
    }

    /// Has the target checked at once, but no sooner than [`HURRIED_GAP`] after its last start;
    /// the interval counts from there. While it is being checked, once that is done.
    pub fn hurry(&mut self, key: TargetKey, now: Instant) {
        let Some(run) = self.runs.get_mut(&key) else {
            return;
        };
        if run.is_running {
            run.is_hurried = true;
            return;
        }
        let gap = run.interval.min(HURRIED_GAP);
        let earliest = run.started.map_or(now, |started| now.max(started + gap));
        if earliest < run.due {
            self.queue.remove(&(run.due, key));
            self.queue.insert((earliest, key));
            run.due = earliest;
        }
    }

    /// When the next target is due.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }
}

/// The first of `due + n × interval` that is later than `now`.
fn next_after(due: Instant, interval: Duration, now: Instant) -> Instant {
    let next = due + interval;
    if next > now {
        return next;
    }
    let behind = now.duration_since(due);
    let missed = behind.as_nanos() / interval.as_nanos().max(1);
    let missed = u32::try_from(missed).unwrap_or(u32::MAX);
    due + interval * missed + interval
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn keys() -> [TargetKey; 2] {
        [TargetKey::numbered(1), TargetKey::numbered(2)]
    }

    #[test]
    fn a_target_is_due_at_its_first_time_and_at_every_interval_from_there() {
        let (mut table, start, [key, _]) = (Timetable::default(), Instant::now(), keys());
        table.add(key, SECOND, start);
        for round in 0..5 {
            let due = start + SECOND * round;
            assert_eq!(table.take_due(due - SECOND / 10), None);
            // A little late each time: it does not add up.
            assert_eq!(table.take_due(due + SECOND / 20), Some(Due::Start(key)));
            assert_eq!(table.take_due(due + SECOND / 20), None);
            table.finished(key, due + SECOND / 20);
        }
        assert_eq!(table.next(), Some(start + SECOND * 5));
    }

    #[test]
    fn a_target_that_is_being_checked_is_left_out_until_it_is_done() {
        let (mut table, start, [key, other]) = (Timetable::default(), Instant::now(), keys());
        table.add(key, SECOND, start);
        table.add(other, SECOND, start + SECOND / 2);
        assert_eq!(table.take_due(start), Some(Due::Start(key)));
        let later = start + SECOND;
        assert_eq!(table.take_due(later), Some(Due::Start(other)));
        assert_eq!(table.take_due(later), Some(Due::LeftOut(key)));
        assert_eq!(table.take_due(later), None);
        table.finished(key, later);
        table.finished(other, later);
        assert_eq!(
            table.take_due(start + SECOND * 3 / 2),
            Some(Due::Start(other))
        );
        assert_eq!(table.take_due(start + SECOND * 2), Some(Due::Start(key)));
    }

    #[test]
    fn times_that_were_slept_through_are_not_made_up_for() {
        let (mut table, start, [key, _]) = (Timetable::default(), Instant::now(), keys());
        table.add(key, SECOND, start);
        let woken = start + SECOND * 1_000 + SECOND / 2;
        assert_eq!(table.take_due(woken), Some(Due::Start(key)));
        assert_eq!(table.take_due(woken), None);
        assert_eq!(table.next(), Some(start + SECOND * 1_001));
    }

    #[test]
    fn a_hurried_target_is_due_at_once_but_once_a_second_at_most() {
        let (mut table, start, [key, _]) = (Timetable::default(), Instant::now(), keys());
        table.add(key, SECOND * 3_600, start);
        assert_eq!(table.take_due(start), Some(Due::Start(key)));
        table.finished(key, start);
        let later = start + SECOND * 10;
        table.hurry(key, later);
        assert_eq!(table.take_due(later), Some(Due::Start(key)));
        table.finished(key, later);
        table.hurry(key, later + SECOND / 10);
        table.hurry(key, later + SECOND / 5);
        assert_eq!(table.take_due(later + SECOND / 2), None);
        assert_eq!(table.take_due(later + SECOND), Some(Due::Start(key)));
        assert_eq!(table.next(), Some(later + SECOND * 3_601));
    }

    /// A check that hangs while clients fail to connect must not put off the next one.
    #[test]
    fn a_target_hurried_while_it_is_checked_is_due_once_that_is_done() {
        let (mut table, start, [key, _]) = (Timetable::default(), Instant::now(), keys());
        table.add(key, SECOND * 5, start);
        assert_eq!(table.take_due(start), Some(Due::Start(key)));
        let later = start + SECOND * 2;
        table.hurry(key, later);
        table.hurry(key, later + SECOND / 10);
        assert_eq!(
            table.take_due(later + SECOND / 5),
            None,
            "it is not left out"
        );
        let done = start + SECOND * 5 / 2;
        table.finished(key, done);
        assert_eq!(table.take_due(done), Some(Due::Start(key)));
        table.finished(key, done);
        assert_eq!(table.next(), Some(done + SECOND * 5), "hurried once");
    }

    #[test]
    fn a_target_that_is_gone_is_never_due_again() {
        let (mut table, start, [key, other]) = (Timetable::default(), Instant::now(), keys());
        table.add(key, SECOND, start);
        table.add(other, SECOND, start);
        assert!(table.take_due(start).is_some());
        assert_eq!(table.retain(|key| key == other), 1, "one is under way");
        table.finished(key, start);
        table.finished(other, start);
        for round in 1..4 {
            while let Some(due) = table.take_due(start + SECOND * round) {
                assert_eq!(due, Due::Start(other));
                table.finished(other, start + SECOND * round);
            }
        }
        assert!(table.has(other) && !table.has(key));
    }
}
