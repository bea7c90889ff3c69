//! How many connections each client has, over all workers.
//!
//! Only clients with connections are remembered, so there are never more of them than connections.
//! A client is its address as keys use it, cut to `key_ipv6_prefix`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use foldhash::quality::RandomState;

use crate::stick::ClientIp;

/// Parts with a lock each, so that workers seldom wait for each other.
const SHARDS: usize = 64;

type Counts = HashMap<ClientIp, u32, RandomState>;

/// The counts.
#[derive(Debug)]
pub struct Clients {
    shards: Box<[CachePadded<Mutex<Counts>>]>,
    hasher: RandomState,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients {
            shards: (0..SHARDS).map(|_| CachePadded::default()).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl Clients {
    /// Counts a connection more where the client has fewer than `max`; false where it has not.
    pub fn enter(&self, client: ClientIp, max: u32) -> bool {
        let mut counts = self.counts_of(client);
        let count = counts.get(&client).copied().unwrap_or(0);
        if count >= max {
            return false;
        }
        counts.insert(client, count + 1);
        true
    }

    /// Counts a connection that is open already, whatever the bound.
    pub fn count_in(&self, client: ClientIp) {
        self.enter(client, u32::MAX);
    }

    /// A connection that was counted has ended.
    pub fn leave(&self, client: ClientIp) {
        let mut counts = self.counts_of(client);
        if let Entry::Occupied(mut entry) = counts.entry(client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        } else {
            debug_assert!(false, "{client} leaves without having entered");
        }
    }

    /// Clients that have connections.
    pub fn tracked(&self) -> u64 {
        let shards = self.shards.iter();
        shards.map(|shard| locked(shard).len() as u64).sum()
    }

    fn counts_of(&self, client: ClientIp) -> MutexGuard<'_, Counts> {
        let hash = self.hasher.hash_one(client);
        locked(&self.shards[hash as usize % SHARDS])
    }
}

fn locked(shard: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> ClientIp {
        ClientIp::new(std::net::Ipv4Addr::from(number).into(), 128)
    }

    #[test]
    fn a_client_has_so_many_connections_and_no_more() {
        let clients = Clients::default();
        assert!((0..3).all(|_| clients.enter(client(1), 3)));
        assert!(!clients.enter(client(1), 3));
        assert!(clients.enter(client(2), 3), "another one is not concerned");
        clients.leave(client(1));
        assert!(clients.enter(client(1), 3));
        assert!(!clients.enter(client(1), 3));
    }

    #[test]
    fn a_lower_bound_waits_until_enough_have_left() {
        let clients = Clients::default();
        (0..3).for_each(|_| clients.count_in(client(1)));
        for _ in 0..2 {
            assert!(!clients.enter(client(1), 2));
            clients.leave(client(1));
        }
        assert!(clients.enter(client(1), 2));
        assert!(!clients.enter(client(1), 2));
    }

    #[test]
    fn who_has_no_connection_is_forgotten() {
        let clients = Clients::default();
        (0..1000).for_each(|number| clients.count_in(client(number % 100)));
        assert_eq!(clients.tracked(), 100);
        (0..1000).for_each(|number| clients.leave(client(number % 100)));
        assert_eq!(clients.tracked(), 0);
        assert!(!clients.enter(client(1), 0));
        assert_eq!(clients.tracked(), 0, "a refusal leaves nothing behind");
    }

    #[test]
    fn the_bound_holds_for_all_threads_together() {
        let clients = Clients::default();
        let entered: u32 = std::thread::scope(|scope| {
            let count = || {
                (0..1000)
                    .map(|_| u32::from(clients.enter(client(1), 100)))
                    .sum::<u32>()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            let counts = threads.into_iter().map(|thread| thread.join());
            counts.map(|count| count.expect("no thread panics")).sum()
        });
        assert_eq!(entered, 100);
    }
}
