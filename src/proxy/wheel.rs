//! One timer for each session: a hashed wheel whose links live inside the sessions themselves, so
//! that arming, moving and cancelling allocate nothing and cost a few stores.
//!
//! A timer never fires early; it fires at most one tick late, plus the turn that is running.
//! Deadlines beyond the wheel's horizon are put at its rim and looked at again there.

use std::time::Duration;

use crate::clock::Millis;

/// Width of one slot in milliseconds.
pub const TICK_MS: u64 = 16;
const SLOTS: usize = 512;
const NONE: u32 = u32::MAX;

/// A session's place in the wheel.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    previous: u32,
    next: u32,
    slot: u32,
    deadline: Millis,
}

impl Link {
    /// A timer that is not armed.
    pub const IDLE: Link = Link {
        previous: NONE,
        next: NONE,
        slot: NONE,
        deadline: Millis(0),
    };

    /// When it fires, if it is armed.
    pub fn deadline(&self) -> Option<Millis> {
        (self.slot != NONE).then_some(self.deadline)
    }
}

/// Where the links of all timers are kept.
pub trait Links {
    /// The link of the timer `index`, which is in the wheel.
    fn link(&mut self, index: u32) -> &mut Link;
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel {
    heads: Box<[u32]>,
    occupied: [u64; SLOTS / 64],
    /// The next tick to look at; every earlier one is done.
    tick: u64,
}

impl Wheel {
    /// An empty wheel.
    pub fn new(now: Millis) -> Wheel {
        Wheel {
            heads: vec![NONE; SLOTS].into_boxed_slice(),
            occupied: [0; SLOTS / 64],
            tick: now.0 / TICK_MS,
        }
    }

    /// Arms, or moves, the timer `index`.
    pub fn arm(&mut self, links: &mut impl Links, index: u32, deadline: Millis) {
        self.cancel(links, index);
        let due = deadline.0.div_ceil(TICK_MS);
        let tick = due.clamp(self.tick, self.tick + SLOTS as u64 - 1);
        let slot = (tick % SLOTS as u64) as usize;
        let head = self.heads[slot];
        *links.link(index) = Link {
            previous: NONE,
            next: head,
            slot: slot as u32,
            deadline,
        };
        if head != NONE {
            links.link(head).previous = index;
        }
        self.heads[slot] = index;
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Disarms the timer `index`; does nothing where it is not armed.
    pub fn cancel(&mut self, links: &mut impl Links, index: u32) {
        let link = std::mem::replace(links.link(index), Link::IDLE);
        if link.slot == NONE {
            return;
        }
        let slot = link.slot as usize;
        if link.next != NONE {
            links.link(link.next).previous = link.previous;
        }
        if link.previous != NONE {
            links.link(link.previous).next = link.next;
        } else {
            self.heads[slot] = link.next;
            if link.next == NONE {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        }
    }

    /// Takes every timer that is due out of the wheel and puts its index to `due`.
    pub fn expire(&mut self, links: &mut impl Links, now: Millis, due: &mut Vec<u32>) {
        let last = now.0 / TICK_MS;
        if last < self.tick {
            return;
        }
        let first = self.tick.max((last + 1).saturating_sub(SLOTS as u64));
        self.tick = last + 1;
        for tick in first..=last {
            let mut at = self.heads[(tick % SLOTS as u64) as usize];
            while at != NONE {
                let Link { next, deadline, .. } = *links.link(at);
                if deadline <= now {
                    self.cancel(links, at);
                    due.push(at);
                } else {
                    self.arm(links, at, deadline);
                }
                at = next;
            }
        }
    }

    /// How long until the next slot with a timer in it is due; `None` where there is none.
    pub fn next_wakeup(&self, now: Millis) -> Option<Duration> {
        let start = (self.tick % SLOTS as u64) as usize;
        let distance = self.next_occupied(start)?;
        let due = Millis((self.tick + distance as u64) * TICK_MS);
        Some(due.since(now))
    }

    /// Slots from `start` to the first one with a timer in it, going round.
    fn next_occupied(&self, start: usize) -> Option<usize> {
        let words = self.occupied.len();
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            }
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                return Some((slot + SLOTS - start) % SLOTS);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Links for Vec<Link> {
        fn link(&mut self, index: u32) -> &mut Link {
            &mut self[index as usize]
        }
    }

    #[test]
    fn a_timer_beyond_the_horizon_fires_at_its_own_time() {
        let mut links = vec![Link::IDLE; 1];
        let mut wheel = Wheel::new(Millis(0));
        wheel.arm(&mut links, 0, Millis(100_000));
        let (mut now, mut due) = (Millis(0), Vec::new());
        while due.is_empty() {
            let wait = wheel.next_wakeup(now).expect("armed");
            now = now + wait.max(Duration::from_millis(1));
            wheel.expire(&mut links, now, &mut due);
        }
        assert!(
            (100_000..100_000 + 2 * TICK_MS).contains(&now.0),
            "fired at {now:?}"
        );
        assert_eq!(wheel.next_wakeup(now), None);
    }

    proptest! {
        #[test]
        fn timers_fire_once_and_never_early(
            steps in proptest::collection::vec((0u32..20, 0u64..20_000, 0u64..3_000, any::<bool>()), 1..200)
        ) {
            let mut links = vec![Link::IDLE; 20];
            let mut wheel = Wheel::new(Millis(1_000));
            let mut now = Millis(1_000);
            let mut model = std::collections::BTreeMap::new();
            for (index, after, advance, cancel) in steps {
                if cancel {
                    wheel.cancel(&mut links, index);
                    model.remove(&index);
                } else {
                    let deadline = Millis(now.0 + after);
                    wheel.arm(&mut links, index, deadline);
                    model.insert(index, deadline);
                }
                now = Millis(now.0 + advance);
                let mut due = Vec::new();
                wheel.expire(&mut links, now, &mut due);
                for index in due {
                    let deadline = model.remove(&index);
                    prop_assert!(deadline.is_some_and(|deadline| deadline <= now));
                }
                for deadline in model.values() {
                    prop_assert!(deadline.0 + TICK_MS > now.0, "{deadline:?} missed at {now:?}");
                }
                if let Some(earliest) = model.values().min() {
                    let wait = wheel.next_wakeup(now).expect("timers are armed");
                    prop_assert!((now + wait).0 < earliest.0.max(now.0) + TICK_MS + 1);
                } else {
                    prop_assert!(wheel.next_wakeup(now).is_none());
                }
            }
        }
    }
}
