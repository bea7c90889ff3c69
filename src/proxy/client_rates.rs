//! How fast each client connects: token buckets in bounded memory.
//!
//! A bucket holds one second's worth of connections, at least one, and fills at the configured
//! rate. It is kept as the one moment at which it is full again (the generic cell rate algorithm,
//! ITU-T I.371, in its virtual scheduling form): a connection puts that moment off by the time that
//! one token takes, and is refused where it would lie too far ahead. A bucket that is full again is
//! no different from one that never was, so only those that are not are remembered.
//!
//! There is room for [`MAX_BUCKETS`], each in one of [`WAYS`] places that its client's hash names.
//! Where all of those are in use by others, the one that is full soonest is forgotten for the
//! newcomer's sake: its client has a full bucket early. Who has that many addresses could have
//! connected from the others as well; a client that keeps on connecting is the last to be
//! forgotten.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crossbeam_utils::CachePadded;
use foldhash::quality::RandomState;

use crate::clock::Millis;
use crate::config::PerSecond;
use crate::stick::ClientIp;

/// Most buckets, over all clients: 1.5 MiB, taken when a rate is first asked for.
pub const MAX_BUCKETS: usize = SHARDS * SETS * WAYS;

/// Parts with a lock each, so that workers seldom wait for each other.
const SHARDS: usize = 64;
/// Sets of one shard.
const SETS: usize = 128;
/// Buckets of one set.
const WAYS: usize = 8;

const _: () = assert!(MAX_BUCKETS == 65_536, "tcpffee.toml(5) has the number");

const SECOND_NS: u64 = 1_000_000_000;

/// The buckets of all clients.
#[derive(Debug, Default)]
pub struct ClientRates {
    shards: OnceLock<Box<[CachePadded<Mutex<Shard>>]>>,
    hasher: RandomState,
    forgotten: AtomicU64,
}

#[derive(Debug)]
struct Shard {
    /// The latest time that a worker had when it asked. A worker's clock stands still for a turn, so
    /// they differ; were one that is behind taken at its word, it would shorten the wait of a bucket
    /// by as much, each time that it asks.
    latest_ns: u64,
    sets: Box<[[Bucket; WAYS]]>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    client: ClientIp,
    /// On the process's clock; zero: it was never used.
    full_at_ns: u64,
}

const UNUSED: Bucket = Bucket {
    client: ClientIp::NONE,
    full_at_ns: 0,
};

impl Shard {
    fn new() -> Shard {
        Shard {
            latest_ns: 0,
            sets: vec![[UNUSED; WAYS]; SETS].into_boxed_slice(),
        }
    }

    /// The time here, which never runs backwards, in nanoseconds.
    fn advance(&mut self, now: Millis) -> u64 {
        self.latest_ns = self.latest_ns.max(now.0.saturating_mul(1_000_000));
        self.latest_ns
    }
}

impl ClientRates {
    /// Takes a token for a connection; false where there is none, which takes nothing.
    pub fn take(&self, client: ClientIp, rate: PerSecond, now: Millis) -> bool {
        let token_ns = rate.interval_ns();
        let ahead_ns = SECOND_NS.saturating_sub(token_ns);
        let hash = self.hasher.hash_one(client);
        let shards = self.shards.get_or_init(|| {
            let shards = (0..SHARDS).map(|_| CachePadded::new(Mutex::new(Shard::new())));
            shards.collect()
        });
        let mut shard = shards[hash as usize % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now_ns = shard.advance(now);
        let set = &mut shard.sets[(hash >> 32) as usize % SETS];
        let own = set.iter_mut().find(|bucket| bucket.client == client);
        let (full_at_ns, place) = match own {
            Some(bucket) => {
                // No bucket is emptier than empty, whatever the rate was when it became so.
                let empty_ns = now_ns.saturating_add(ahead_ns + token_ns);
                bucket.full_at_ns = bucket.full_at_ns.clamp(now_ns, empty_ns);
                (bucket.full_at_ns, bucket)
            }
            None => {
                let soonest = set.iter_mut().min_by_key(|bucket| bucket.full_at_ns);
                (now_ns, soonest.expect("a set has places"))
            }
        };
        if full_at_ns - now_ns > ahead_ns {
            return false;
        }
        if place.client != client && place.full_at_ns > now_ns {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        *place = Bucket {
            client,
            full_at_ns: full_at_ns.saturating_add(token_ns),
        };
        true
    }

    /// Buckets that were given to another client before they were full.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Millis = Millis(1 << 40);

    fn client(number: u32) -> ClientIp {
        ClientIp::new(std::net::Ipv4Addr::from(number).into(), 128)
    }

    /// How many of `asks` are let in at `ms` after the start.
    fn let_in(rates: &ClientRates, thousandths: u64, ms: u64, asks: u32) -> u32 {
        let now = START + Duration::from_millis(ms);
        let rate = PerSecond::from_thousandths(thousandths);
        (0..asks)
            .map(|_| u32::from(rates.take(client(1), rate, now)))
            .sum()
    }

    #[test]
    fn a_burst_is_one_seconds_worth_and_then_the_rate_holds() {
        let rates = ClientRates::default();
        assert_eq!(let_in(&rates, 10_000, 0, 100), 10);
        assert_eq!(let_in(&rates, 10_000, 99, 100), 0);
        assert_eq!(let_in(&rates, 10_000, 100, 100), 1);
        assert_eq!(let_in(&rates, 10_000, 350, 100), 2);
        assert_eq!(
            let_in(&rates, 10_000, 60_000, 100),
            10,
            "never more than that"
        );
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let rates = ClientRates::default();
        let total: u32 = (0..=10_000).map(|ms| let_in(&rates, 2_000, ms, 1)).sum();
        assert_eq!(total, 2 + 20, "two at once, and two in each of ten seconds");
    }

    #[test]
    fn rates_below_one_a_second_let_one_in_at_a_time() {
        let rates = ClientRates::default();
        assert_eq!(let_in(&rates, 500, 0, 5), 1);
        assert_eq!(let_in(&rates, 500, 1_999, 5), 0);
        assert_eq!(let_in(&rates, 500, 2_000, 5), 1);
        assert_eq!(let_in(&rates, 500, 100_000, 5), 1);
    }

    #[test]
    fn a_worker_whose_clock_is_behind_gives_nothing_back() {
        let rates = ClientRates::default();
        let in_turn = |ms| let_in(&rates, 1_000_000, ms + 5, 1) + let_in(&rates, 1_000_000, ms, 1);
        let total: u32 = (0..20_000).map(|turn| in_turn(turn / 20)).sum();
        assert_eq!(
            total,
            1_000 + 999,
            "at once, and in the 999 ms from then on"
        );
    }

    #[test]
    fn fractions_count() {
        let rates = ClientRates::default();
        assert_eq!(let_in(&rates, 2_500, 0, 9), 2);
        assert_eq!(let_in(&rates, 2_500, 199, 9), 0);
        assert_eq!(let_in(&rates, 2_500, 200, 9), 1);
    }

    #[test]
    fn the_largest_and_the_smallest_rate_hold() {
        let rates = ClientRates::default();
        assert_eq!(let_in(&rates, 1_000_000_000, 0, 1_000_001), 1_000_000);
        let rates = ClientRates::default();
        assert_eq!(let_in(&rates, 1, 0, 2), 1);
        assert_eq!(let_in(&rates, 1, 999_999, 2), 0);
        assert_eq!(let_in(&rates, 1, 1_000_000, 2), 1);
    }

    #[test]
    fn another_rate_holds_at_once() {
        let rates = ClientRates::default();
        assert_eq!(let_in(&rates, 10_000, 0, 100), 10);
        assert_eq!(let_in(&rates, 1_000, 999, 100), 0);
        assert_eq!(let_in(&rates, 1_000, 1_000, 100), 1);
        assert_eq!(let_in(&rates, 100_000, 1_000, 1_000), 0);
        assert_eq!(let_in(&rates, 100_000, 1_010, 1_000), 1);
    }

    #[test]
    fn a_higher_rate_is_not_kept_waiting_by_a_lower_one() {
        let rates = ClientRates::default();
        assert_eq!(let_in(&rates, 1, 0, 2), 1, "the next one in 1000 seconds");
        assert_eq!(let_in(&rates, 1_000, 10, 2), 0);
        assert_eq!(let_in(&rates, 1_000, 1_009, 2), 0);
        assert_eq!(let_in(&rates, 1_000, 1_010, 2), 1);
    }

    #[test]
    fn more_clients_than_are_remembered_cost_no_memory_and_are_counted() {
        let rates = ClientRates::default();
        let rate = PerSecond::from_thousandths(1_000);
        let clients = 2 * MAX_BUCKETS as u32;
        for number in 0..clients {
            assert!(rates.take(client(number), rate, START), "{number}");
        }
        // Each newcomer beyond the bound has taken one place, wherever the hashes fell.
        assert!(rates.forgotten() >= MAX_BUCKETS as u64);
        let shards = rates.shards.get().expect("asked");
        let sets = shards.iter().map(|shard| shard.lock().unwrap().sets.len());
        assert_eq!(sets.sum::<usize>() * WAYS, MAX_BUCKETS);
        // What is full again is no loss.
        let (later, before) = (START + Duration::from_secs(2), rates.forgotten());
        assert!(rates.take(client(clients), rate, later));
        assert_eq!(rates.forgotten(), before);
    }

    #[test]
    fn who_keeps_on_connecting_is_not_forgotten_for_those_who_come_once() {
        let rates = ClientRates::default();
        let rate = PerSecond::from_thousandths(1_000_000);
        let hammer = || {
            (0..1_000)
                .filter(|_| rates.take(client(0), rate, START))
                .count()
        };
        assert_eq!(hammer(), 1_000);
        for number in 1..=4 * MAX_BUCKETS as u32 {
            assert!(rates.take(client(number), rate, START));
        }
        assert_eq!(hammer(), 0, "its bucket is still empty");
    }
}
