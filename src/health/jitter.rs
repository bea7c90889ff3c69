//! Chance, so that checks of many targets, by many proxies, do not come all at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A source of chance (xorshift64*, Marsaglia 2003, Vigna 2016); not for secrets.
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    /// Another sequence in each process.
    pub fn new() -> Jitter {
        Jitter(RandomState::new().hash_one(std::process::id()) | 1)
    }

    /// Any time from zero to less than `spread`.
    pub fn within(&mut self, spread: Duration) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        spread.mul_f64(high as f64 / f64::from(u32::MAX).next_up())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_lie_within_the_spread_and_all_over_it() {
        let mut jitter = Jitter::new();
        let spread = Duration::from_secs(1);
        let mut quarters = [0; 4];
        for _ in 0..4_000 {
            let moment = jitter.within(spread);
            assert!(moment < spread);
            quarters[moment.as_millis() as usize / 250] += 1;
        }
        assert!(quarters.iter().all(|&count| count > 800), "{quarters:?}");
        assert_eq!(jitter.within(Duration::ZERO), Duration::ZERO);
    }
}
