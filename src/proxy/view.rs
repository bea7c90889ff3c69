//! The proxy as statistics see it: counts of all workers, summed when they are read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::GroupId;
use crate::groups::GroupRegistry;

use super::counters::{Count, Counters};
use super::generation::Generation;
use super::shared::Shared;
use super::traffic::{GroupTraffic, PortTraffic};
use super::{End, Proxy};

/// Looks at a proxy from any thread, and goes on to work when the proxy has stopped.
#[derive(Clone)]
pub struct View {
    shared: Arc<Shared>,
    registry: Arc<GroupRegistry>,
}

/// What the proxy as a whole has counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Times that accepting paused for want of descriptors or memory.
    pub accept_pauses: u64,
    /// Connections whose key slice did not come in time: their key is the address alone.
    pub slice_timeouts: u64,
    /// Connects that failed by the target's fault.
    pub connect_failures: u64,
    /// Entries of new keys moved to another group: from one that could not be connected or cannot
    /// see the client (`transparent`), and from a full one.
    pub moves: u64,
    /// Turns that found the bound on held bytes reached.
    pub buffer_pressure: u64,
    /// Bytes from clients to targets, of open connections too.
    pub bytes_in: u64,
    /// Bytes from targets to clients, of open connections too.
    pub bytes_out: u64,
}

impl Proxy {
    /// The proxy as statistics see it.
    pub fn view(&self) -> View {
        View {
            shared: Arc::clone(&self.shared),
            registry: Arc::clone(&self.registry),
        }
    }
}

impl View {
    /// The generation in force.
    pub fn generation(&self) -> Arc<Generation> {
        self.shared.generation.load_full()
    }

    /// Open connections.
    pub fn connections(&self) -> u64 {
        self.shared.admission.connections() as u64
    }

    /// Most connections at once.
    pub fn max_connections(&self) -> u64 {
        self.shared.admission.max() as u64
    }

    /// Whether new clients are let in: until the proxy is told to stop.
    pub fn is_accepting(&self) -> bool {
        self.shared.is_accepting.load(Ordering::Relaxed)
    }

    /// Bytes held for slow receivers.
    pub fn held_bytes(&self) -> u64 {
        self.shared.buffered.bytes()
    }

    /// The bound on them.
    pub fn max_held_bytes(&self) -> u64 {
        self.shared.buffered.max()
    }

    /// Clients whose connections are counted now, because they are bounded.
    pub fn clients_tracked(&self) -> u64 {
        self.shared.clients.tracked()
    }

    /// Clients whose rate was forgotten early, because more came than are remembered.
    pub fn client_rates_forgotten(&self) -> u64 {
        self.shared.client_rates.forgotten()
    }

    /// Counts of the proxy as a whole.
    pub fn totals(&self) -> Totals {
        let sum = |pick| self.sum(pick);
        let mut totals = Totals {
            accepted: self.ports().values().map(|port| port.accepted).sum(),
            accept_pauses: self.accept_pauses(),
            slice_timeouts: sum(|counters| &counters.slice_timeouts),
            connect_failures: sum(|counters| &counters.connect_failures),
            moves: sum(|counters| &counters.moves),
            buffer_pressure: sum(|counters| &counters.buffer_pressure),
            bytes_in: 0,
            bytes_out: 0,
        };
        self.shared.traffic.each_group_cell(|cell| {
            totals.bytes_in += cell.bytes_in.get();
            totals.bytes_out += cell.bytes_out.get();
        });
        totals
    }

    /// Times that accepting paused for want of descriptors or memory, as in the totals.
    pub fn accept_pauses(&self) -> u64 {
        self.sum(|counters| &counters.accept_pauses)
    }

    fn sum(&self, pick: fn(&Counters) -> &Count) -> u64 {
        let counters = self.shared.counters.iter();
        counters.map(|counters| pick(counters).get()).sum()
    }

    /// Connections that ended, whatever their group, in the order of [`End::ALL`].
    pub fn ends(&self) -> [u64; End::ALL.len()] {
        let mut sums = End::ALL.map(|end| self.ended_without_group(end));
        self.shared.traffic.each_group_cell(|cell| {
            for (sum, end) in sums.iter_mut().zip(End::ALL) {
                *sum += cell.ended(end).get();
            }
        });
        sums
    }

    /// Those of them that ended for this reason.
    pub fn ended(&self, end: End) -> u64 {
        let mut sum = self.ended_without_group(end);
        let traffic = &self.shared.traffic;
        traffic.each_group_cell(|cell| sum += cell.ended(end).get());
        sum
    }

    /// Those of them that had no group yet.
    pub fn ended_without_group(&self, end: End) -> u64 {
        let counters = self.shared.counters.iter();
        counters.map(|counters| counters.ended(end).get()).sum()
    }

    /// Connections of each port that was ever accepted on. Ports beyond
    /// [`MAX_PORTS`](super::MAX_PORTS) are summed under [`OTHER_PORT`](super::OTHER_PORT).
    pub fn ports(&self) -> BTreeMap<u16, PortTraffic> {
        self.shared.traffic.ports()
    }

    /// What went to a group since the start, under whichever configuration.
    pub fn group(&self, id: GroupId) -> GroupTraffic {
        GroupTraffic {
            connections: self.registry.connections(id),
            ..self.shared.traffic.group(id)
        }
    }

    /// What went to all groups but those of a generation together, under whichever configuration,
    /// but for their connections now. Those beyond [`MAX_GROUPS`](super::MAX_GROUPS) are among them.
    pub fn other_groups(&self, generation: &Generation) -> GroupTraffic {
        let is_told = |id| generation.groups.get(id).is_some();
        self.shared.traffic.groups_but(is_told)
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}
