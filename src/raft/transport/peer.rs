//! What a transport keeps of each peer from one connection to the next.

use crate::ids::{NodeId, NodeTime};
use crate::wire::Purpose;

use super::config::{Limits, PeerAddress};
use super::status::Counters;

/// A connection that lasted as long was a success: the next attempt comes at once.
const LASTING_MS: u64 = 2_000;

/// Both purposes, in the order of arrays by purpose.
pub(super) const PURPOSES: [Purpose; 2] = [Purpose::Logs, Purpose::Proposals];

/// Where a purpose stands in arrays by purpose.
pub(super) fn place(purpose: Purpose) -> usize {
    match purpose {
        Purpose::Logs => 0,
        Purpose::Proposals => 1,
    }
}

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub address: PeerAddress,
    /// By purpose.
    pub outgoing: [Link; 2],
    /// By purpose.
    pub incoming: [Link; 2],
}

/// One direction and purpose.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The slot of its connection; of an incoming one only once it is open.
    pub slot: Option<usize>,
    /// When it is dialled again.
    pub dial_at: NodeTime,
    /// Attempts that failed in a row.
    failures: u32,
    /// Which secret it is dialled with.
    pub key: usize,
    pub last_error: Option<String>,
    /// Of connections that are over.
    pub counters: Counters,
}

impl Peer {
    pub fn new(address: PeerAddress, now: NodeTime) -> Peer {
        let link = || Link {
            dial_at: now,
            ..Link::default()
        };
        Peer {
            address,
            outgoing: [link(), link()],
            incoming: [link(), link()],
        }
    }
}

impl Link {
    /// Its connection has ended or did not come about; `open_ms`: how long it was open.
    pub fn down(&mut self, now: NodeTime, open_ms: u64, limits: &Limits, random: &mut Random) {
        self.slot = None;
        if open_ms >= LASTING_MS {
            self.failures = 0;
        }
        let doubled = limits.redial_min_ms.max(1) << self.failures.min(20);
        let wait = doubled.min(limits.redial_max_ms.max(1));
        self.failures = self.failures.saturating_add(1);
        // Half of it by chance, so that nodes that lost each other do not meet in step.
        self.dial_at = now.plus(wait - random.below(wait / 2 + 1));
    }

    /// The peer does not know the secret: another one is tried at once, where there is one that
    /// was not tried yet.
    pub fn try_next_key(&mut self, keys: usize, now: NodeTime) -> bool {
        self.key += 1;
        let another = self.key < keys;
        if another {
            self.dial_at = now;
        } else {
            self.key = 0;
        }
        another
    }

    /// Everything is new: it is dialled at once.
    pub fn renew(&mut self, now: NodeTime) {
        self.key = 0;
        self.failures = 0;
        self.dial_at = now;
    }
}

/// Random numbers for jitter alone (splitmix64, Steele et al. 2014).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Differs from node to node and from start to start.
    pub fn new(id: NodeId, boot: u64) -> Random {
        Random(id.0 ^ boot)
    }

    /// From 0 to `bound`, which is excluded.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound.max(1)
    }
}
