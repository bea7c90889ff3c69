//! Requests that wait for a link.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use super::head::Head;
use super::link::Asker;

/// A request that waits.
pub struct Queued {
    /// Who waits for the answer.
    pub asker: Asker,
    /// Where it comes from.
    pub address: IpAddr,
    /// What is asked.
    pub head: Head,
}

/// Those that wait, in the order they came.
#[derive(Default)]
pub struct Queue {
    waiting: VecDeque<Queued>,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// One more.
    pub fn push(&mut self, queued: Queued) {
        self.waiting.push_back(queued);
    }

    /// The next.
    pub fn pop(&mut self) -> Option<Queued> {
        self.waiting.pop_front()
    }

    /// Takes out what this one asked.
    pub fn forget(&mut self, asker: Asker) {
        self.waiting.retain(|queued| queued.asker != asker);
    }

    /// Takes out one of the address that most of them come from, whichever: that of a newcomer is
    /// no likelier than another.
    pub fn give_way(&mut self) -> Option<Queued> {
        let mut by_address: HashMap<IpAddr, usize> = HashMap::new();
        for queued in &self.waiting {
            *by_address.entry(queued.address).or_default() += 1;
        }
        let most = by_address.values().max().copied();
        let waiting = self.waiting.iter().enumerate();
        let of_most: Vec<usize> = waiting
            .filter(|(_, queued)| by_address.get(&queued.address).copied() == most)
            .map(|(at, _)| at)
            .collect();
        let chosen = RandomState::new().hash_one(of_most.len()) as usize % of_most.len().max(1);
        self.waiting.remove(*of_most.get(chosen)?)
    }
}
