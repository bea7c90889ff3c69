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

/// What is asked by whoever decides about this node's traffic: an overload of anything else must not
/// look like a node that is unwell.
const URGENT: &str = "/api/v1/health";

impl Queued {
    /// Whether it goes before all others.
    fn is_urgent(&self) -> bool {
        let target = self.head.target.as_str();
        target.split('?').next() == Some(URGENT)
    }
}

/// Which link a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Only one of those that are for all.
    Ordinary,
    /// The one that is kept free for it as well.
    Urgent,
}

/// Those that wait, in the order they came, urgent ones first.
#[derive(Default)]
pub struct Queue {
    urgent: VecDeque<Queued>,
    waiting: VecDeque<Queued>,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.urgent.len() + self.waiting.len()
    }

    /// One more.
    pub fn push(&mut self, queued: Queued) {
        match queued.is_urgent() {
            true => self.urgent.push_back(queued),
            false => self.waiting.push_back(queued),
        }
    }

    /// What kind of link the next one may take; `None` where nobody waits.
    pub fn next(&self) -> Option<Rank> {
        match (self.urgent.is_empty(), self.waiting.is_empty()) {
            (false, _) => Some(Rank::Urgent),
            (true, false) => Some(Rank::Ordinary),
            (true, true) => None,
        }
    }

    /// The next.
    pub fn pop(&mut self) -> Option<Queued> {
        self.urgent.pop_front().or_else(|| self.waiting.pop_front())
    }

    /// Takes out what this one asked.
    pub fn forget(&mut self, asker: Asker) {
        self.urgent.retain(|queued| queued.asker != asker);
        self.waiting.retain(|queued| queued.asker != asker);
    }

    /// Takes out one of the address that most of them come from, whichever: that of a newcomer is
    /// no likelier than another. Urgent ones only where there is no other.
    pub fn give_way(&mut self) -> Option<Queued> {
        let waiting = match self.waiting.is_empty() {
            true => &mut self.urgent,
            false => &mut self.waiting,
        };
        let mut by_address: HashMap<IpAddr, usize> = HashMap::new();
        for queued in &*waiting {
            *by_address.entry(queued.address).or_default() += 1;
        }
        let most = by_address.values().max().copied();
        let of_most: Vec<usize> = waiting
            .iter()
            .enumerate()
            .filter(|(_, queued)| by_address.get(&queued.address).copied() == most)
            .map(|(at, _)| at)
            .collect();
        let chosen = RandomState::new().hash_one(of_most.len()) as usize % of_most.len().max(1);
        waiting.remove(*of_most.get(chosen)?)
    }
}
