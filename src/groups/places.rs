//! The connections that a group may have at once, and who waits for one of them.
//!
//! Places are counted over all workers, and only while `groups.N.max_connections` is set. Whoever
//! finds none free waits in one queue of the group, first come, first served; a place that becomes
//! free passes to the first of it without ever being free for anybody else. Nothing here knows how
//! who waits is told: what frees a place returns whose it is now.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Connections that may wait for a place of one group.
pub const MAX_QUEUED: usize = 1024;

/// Who waits: a connection of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The worker.
    pub worker: usize,
    /// The connection, as the worker names it.
    pub token: u64,
}

/// What becomes of a connection that asks for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The group has no bound: none is needed.
    NotNeeded,
    /// It has one, and gives it back.
    Taken,
    /// It waits.
    Queued,
    /// As many as may wait do so already.
    QueueFull,
}

/// The places of one group.
#[derive(Debug, Default)]
pub struct Places {
    /// As in the state, for those who only look; zero: no bound.
    max: AtomicU64,
    taken: AtomicU64,
    queued: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    max: Option<u64>,
    /// More than `max` where that was lowered, or set, while they were open.
    taken: u64,
    queue: VecDeque<Waiter>,
}

impl State {
    fn has_room(&self) -> bool {
        self.max.is_none_or(|max| self.taken < max)
    }

    /// The first who waits has a place, where there is one.
    fn hand_over(&mut self) -> Option<Waiter> {
        if !self.has_room() {
            return None;
        }
        let first = self.queue.pop_front()?;
        self.taken += 1;
        Some(first)
    }
}

impl Places {
    /// A place for a connection, or a place in the queue.
    pub fn ask(&self, waiter: Waiter) -> Place {
        if self.max.load(Ordering::Relaxed) == 0 {
            return Place::NotNeeded;
        }
        let mut state = self.lock();
        let place = if state.max.is_none() {
            Place::NotNeeded
        } else if state.has_room() {
            debug_assert!(state.queue.is_empty(), "nobody waits while there is room");
            state.taken += 1;
            Place::Taken
        } else if state.queue.len() < MAX_QUEUED {
            state.queue.push_back(waiter);
            Place::Queued
        } else {
            Place::QueueFull
        };
        self.show(&state);
        place
    }

    /// Counts a connection that the group has already, whatever the bound.
    pub fn count_in(&self) {
        let mut state = self.lock();
        state.taken += 1;
        self.show(&state);
    }

    /// Gives a place back; it may be another's now, who is to be told.
    #[must_use]
    pub fn give_back(&self) -> Option<Waiter> {
        let mut state = self.lock();
        debug_assert!(state.taken > 0, "who gives a place back had one");
        state.taken = state.taken.saturating_sub(1);
        let next = state.hand_over();
        self.show(&state);
        next
    }

    /// Waits no longer; false where it did not: then it has been given a place, and will be told.
    pub fn quit(&self, waiter: Waiter) -> bool {
        let mut state = self.lock();
        let at = state.queue.iter().position(|&other| other == waiter);
        if let Some(at) = at {
            state.queue.remove(at);
        }
        self.show(&state);
        at.is_some()
    }

    /// Another bound, or none. Connections beyond it stay; those who wait and have a place by it
    /// are to be told.
    #[must_use]
    pub fn set_max(&self, max: Option<u64>) -> Vec<Waiter> {
        let mut state = self.lock();
        state.max = max;
        let served = std::iter::from_fn(|| state.hand_over()).collect();
        self.show(&state);
        served
    }

    /// Whether a connection would have a place at once.
    pub fn has_room(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        max == 0 || self.taken.load(Ordering::Relaxed) < max
    }

    /// Connections that have a place.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Connections that wait.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &State) {
        self.max.store(state.max.unwrap_or(0), Ordering::Relaxed);
        self.taken.store(state.taken, Ordering::Relaxed);
        self.queued
            .store(state.queue.len() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(token: u64) -> Waiter {
        let worker = usize::from(token % 2 == 1);
        Waiter { worker, token }
    }

    fn places(max: u64) -> Places {
        let places = Places::default();
        assert_eq!(places.set_max(Some(max)), []);
        places
    }

    fn ask(places: &Places, waiters: std::ops::RangeInclusive<u64>) {
        for at in waiters {
            assert!([Place::Taken, Place::Queued].contains(&places.ask(waiter(at))));
        }
    }

    #[test]
    fn without_a_bound_nobody_needs_a_place() {
        let places = Places::default();
        assert_eq!(places.ask(waiter(1)), Place::NotNeeded);
        assert!(places.has_room());
    }

    #[test]
    fn so_many_have_a_place_and_the_next_one_waits() {
        let places = places(2);
        assert_eq!([1, 2].map(|at| places.ask(waiter(at))), [Place::Taken; 2]);
        assert!(!places.has_room());
        assert_eq!(places.ask(waiter(3)), Place::Queued);
        assert_eq!((places.taken(), places.queued()), (2, 1));
        assert_eq!(places.give_back(), Some(waiter(3)));
        assert_eq!((places.queued(), places.has_room()), (0, false));
        assert_eq!([1, 2].map(|_| places.give_back()), [None; 2]);
        assert_eq!((places.taken(), places.has_room()), (0, true));
    }

    #[test]
    fn first_come_first_served_whichever_worker() {
        let places = places(1);
        places.ask(waiter(0));
        (1..=5).for_each(|at| assert_eq!(places.ask(waiter(at)), Place::Queued));
        for at in 1..=5 {
            assert_eq!(places.give_back(), Some(waiter(at)));
        }
        assert_eq!(places.give_back(), None);
    }

    #[test]
    fn nobody_overtakes_who_waits() {
        let places = places(1);
        places.ask(waiter(0));
        places.ask(waiter(1));
        let served = places.give_back();
        assert_eq!(
            places.ask(waiter(2)),
            Place::Queued,
            "the place is the other's"
        );
        assert_eq!(served, Some(waiter(1)));
    }

    #[test]
    fn the_queue_is_bounded() {
        let places = places(1);
        places.ask(waiter(0));
        for at in 1..=MAX_QUEUED as u64 {
            assert_eq!(places.ask(waiter(at)), Place::Queued);
        }
        assert_eq!(places.ask(waiter(9_999)), Place::QueueFull);
        assert_eq!(places.queued(), MAX_QUEUED as u64);
        assert!(places.quit(waiter(7)));
        assert_eq!(places.ask(waiter(9_999)), Place::Queued);
    }

    #[test]
    fn who_leaves_the_queue_gets_no_place() {
        let places = places(1);
        ask(&places, 0..=3);
        assert!(places.quit(waiter(1)));
        assert!(!places.quit(waiter(1)));
        assert_eq!(places.give_back(), Some(waiter(2)));
        assert!(!places.quit(waiter(2)), "its place is on its way");
        assert_eq!(places.give_back(), Some(waiter(3)));
    }

    #[test]
    fn a_lower_bound_takes_no_place_away_and_gives_none_until_enough_are_back() {
        let places = places(3);
        ask(&places, 0..=2);
        assert_eq!(places.set_max(Some(1)), []);
        assert_eq!(places.ask(waiter(3)), Place::Queued);
        assert_eq!([1, 2].map(|_| places.give_back()), [None; 2]);
        assert_eq!(places.give_back(), Some(waiter(3)));
    }

    #[test]
    fn a_higher_bound_or_none_serves_who_waits_at_once() {
        let places = places(1);
        ask(&places, 0..=4);
        assert_eq!(places.set_max(Some(3)), [waiter(1), waiter(2)]);
        assert_eq!(places.set_max(None), [waiter(3), waiter(4)]);
        assert_eq!(places.ask(waiter(5)), Place::NotNeeded);
        (0..5).for_each(|_| assert_eq!(places.give_back(), None));
        assert!(places.has_room());
    }

    #[test]
    fn connections_from_before_the_bound_count() {
        let places = places(2);
        (0..3).for_each(|_| places.count_in());
        assert_eq!(places.ask(waiter(1)), Place::Queued);
        assert_eq!(places.give_back(), None);
        assert_eq!(places.give_back(), Some(waiter(1)));
    }

    #[test]
    fn the_bound_holds_for_all_threads_and_everybody_is_served_once() {
        const MAX: u64 = 10;
        let places = places(MAX);
        let (have, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let (told, served) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        // A connection with its place: whose the place is next is told, as a worker would be.
        let connect = |token: u64| {
            let now = have.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            served.lock().unwrap().push(token);
            have.fetch_sub(1, Ordering::SeqCst);
            told.lock().unwrap().extend(places.give_back());
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (places, connect, told) = (&places, &connect, &told);
                scope.spawn(move || {
                    for at in 0..200 {
                        let token = thread * 1000 + at;
                        if places.ask(waiter(token)) == Place::Taken {
                            connect(token);
                        }
                        let next = told.lock().unwrap().pop();
                        if let Some(Waiter { token, .. }) = next {
                            connect(token);
                        }
                    }
                });
            }
        });
        while let Some(Waiter { token, .. }) = { told.lock().unwrap().pop() } {
            connect(token);
        }
        assert!(most.load(Ordering::SeqCst) <= MAX);
        let mut served = served.lock().unwrap().clone();
        served.sort_unstable();
        let all: Vec<u64> = (0..4)
            .flat_map(|at| (0..200).map(move |n| at * 1000 + n))
            .collect();
        assert_eq!(served, all);
        assert_eq!((places.taken(), places.queued()), (0, 0));
    }
}
