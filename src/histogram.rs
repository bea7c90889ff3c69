//! Durations counted in fixed buckets.

use std::time::Duration;

/// How many durations fell into each bucket, and what they add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds_us: &'static [u64],
    counts: Box<[u64]>,
    sum_us: u64,
}

impl Histogram {
    /// Nothing counted yet, in buckets up to each of these bounds, ascending, and one beyond them.
    pub fn new(bounds_us: &'static [u64]) -> Histogram {
        Histogram {
            bounds_us,
            counts: vec![0; bounds_us.len() + 1].into(),
            sum_us: 0,
        }
    }

    /// Counts one duration.
    pub fn note(&mut self, took: Duration) {
        let us = in_us(took);
        self.counts[bucket(self.bounds_us, us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Adds counts by bucket, as many as there are buckets.
    pub fn add(&mut self, counts: impl IntoIterator<Item = u64>, sum_us: u64) {
        for (count, more) in self.counts.iter_mut().zip(counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.saturating_add(sum_us);
    }

    /// Adds what another one of the same buckets has counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.add(other.counts.iter().copied(), other.sum_us);
    }

    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What they add up to.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }

    /// The duration in seconds that this part of them, 0 to 1, did not exceed, taken to be spread
    /// evenly within their bucket as Prometheus takes them; the greatest bound for what lies beyond
    /// it. None before anything was counted.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = part.clamp(0.0, 1.0) * count as f64;
        let (mut below, mut lower) = (0, 0.0);
        for (bound, upto) in self.cumulative() {
            if upto > below && upto as f64 >= rank {
                let within = (rank - below as f64) / (upto - below) as f64;
                return Some(lower + (bound - lower) * within);
            }
            (below, lower) = (upto, bound);
        }
        Some(lower)
    }

    /// For each bound, in seconds, how many durations do not exceed it; [`Histogram::count`] holds
    /// for the bucket beyond.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        self.bounds_us
            .iter()
            .zip(&self.counts)
            .map(move |(&bound, &count)| {
                sum += count;
                (bound as f64 / 1e6, sum)
            })
    }
}

/// The bucket of a duration: the first whose bound it does not exceed, or the one beyond.
pub fn bucket(bounds_us: &[u64], us: u64) -> usize {
    let fits = bounds_us.iter().position(|&bound| us <= bound);
    fits.unwrap_or(bounds_us.len())
}

/// A duration in whole microseconds.
pub fn in_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_it_does_not_exceed() {
        let mut histogram = Histogram::new(&[1_000, 10_000]);
        for us in [0, 1_000, 1_001, 10_000, 10_001, 7_000_000] {
            histogram.note(Duration::from_micros(us));
        }
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative, [(0.001, 2), (0.01, 4)]);
        assert_eq!(histogram.count(), 6);
        assert!((histogram.sum_seconds() - 7.022_002).abs() < 1e-9);
        histogram.add([1, 0, 2], 3);
        assert_eq!(histogram.count(), 9);
        histogram.merge(&histogram.clone());
        assert_eq!(histogram.count(), 18);
        assert!((histogram.sum_seconds() - 14.044_01).abs() < 1e-9);
    }

    #[test]
    fn a_quantile_lies_evenly_within_its_bucket() {
        let mut histogram = Histogram::new(&[1_000, 10_000]);
        assert_eq!(histogram.quantile(0.5), None);
        histogram.add([0, 10, 0], 50_000);
        for (part, seconds) in [(0.0, 0.001), (0.5, 0.005_5), (1.0, 0.01)] {
            let told = histogram.quantile(part);
            assert!(
                told.is_some_and(|told| (told - seconds).abs() < 1e-9),
                "{told:?}"
            );
        }
        histogram.add([0, 0, 10], 200_000);
        assert_eq!(histogram.quantile(0.99), Some(0.01), "the greatest bound");
    }
}
