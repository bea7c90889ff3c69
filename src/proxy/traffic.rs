//! What is counted of each port and each group: cells that one worker writes and anyone reads.
//!
//! A worker asks for a cell once and then writes it without a lock, a locked instruction, or a
//! cache line of another worker's. Readers take the lock only to learn which cells there are, and
//! add them up outside it: no worker waits for a sum. Cells live as long as the process, so that a reload, or a port
//! that is closed and opened again, loses no count.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::config::GroupId;
use crate::histogram::{Histogram, bucket, in_us};

use super::End;
use super::counters::Count;

/// Ports with cells of their own; further ones share [`OTHER_PORT`]'s.
pub const MAX_PORTS: usize = 4_096;
/// Groups with cells of their own; further ones share one.
pub const MAX_GROUPS: usize = 4_096;
/// Stands for all ports beyond [`MAX_PORTS`]; nobody listens on it.
pub const OTHER_PORT: u16 = 0;

/// Bounds of the buckets for connect times.
pub const CONNECT_BOUNDS_US: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000,
];
/// Bounds of the buckets for session times, up to a day.
pub const SESSION_BOUNDS_US: &[u64] = &[
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
    300_000_000,
    1_000_000_000,
    3_600_000_000,
    10_800_000_000,
    36_000_000_000,
    86_400_000_000,
];

/// One worker's counts of one port.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PortCell {
    /// Connections accepted.
    pub accepted: Count,
    /// Those of them that have ended.
    pub closed: Count,
}

/// One worker's counts of one group.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct GroupCell {
    /// Connections that were given to the group.
    pub connections: Count,
    /// Bytes from clients to the group's targets.
    pub bytes_in: Count,
    /// Bytes from the group's targets to clients.
    pub bytes_out: Count,
    /// From a connect's begin to the target connected.
    pub connect_time: Times<{ CONNECT_BOUNDS_US.len() + 1 }>,
    /// From accept to the end, of connections that were connected.
    pub session_time: Times<{ SESSION_BOUNDS_US.len() + 1 }>,
    ends: [Count; End::ALL.len()],
}

impl GroupCell {
    /// The count of connections that ended for this reason, having been given to the group last.
    pub fn ended(&self, end: End) -> &Count {
        &self.ends[end as usize]
    }
}

/// Durations in buckets, written by one worker.
#[derive(Debug)]
pub struct Times<const BUCKETS: usize> {
    counts: [Count; BUCKETS],
    sum_us: Count,
}

impl<const BUCKETS: usize> Default for Times<BUCKETS> {
    fn default() -> Times<BUCKETS> {
        Times {
            counts: std::array::from_fn(|_| Count::default()),
            sum_us: Count::default(),
        }
    }
}

impl<const BUCKETS: usize> Times<BUCKETS> {
    /// Counts one duration, in the buckets of these bounds.
    pub fn note(&self, bounds_us: &[u64], took: Duration) {
        let us = in_us(took);
        self.counts[bucket(bounds_us, us)].add(1);
        self.sum_us.add(us);
    }

    fn add_to(&self, sum: &mut Histogram) {
        sum.add(self.counts.iter().map(Count::get), self.sum_us.get());
    }
}

/// Connections of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortTraffic {
    /// Connections now, those included that have no target yet.
    pub connections: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
}

/// What went to one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTraffic {
    /// Established connections now.
    pub connections: u64,
    /// Connections that were given to it, whether or not a target took them, since the start.
    pub connections_total: u64,
    /// Bytes from clients to its targets, of open connections too.
    pub bytes_in: u64,
    /// Bytes from its targets to clients, of open connections too.
    pub bytes_out: u64,
    /// Connections that ended, having been given to it last, in the order of [`End::ALL`].
    pub ended: [u64; End::ALL.len()],
    /// From a connect's begin to the target connected.
    pub connect_time: Histogram,
    /// From accept to the end, of connections that were connected.
    pub session_time: Histogram,
}

impl Default for GroupTraffic {
    fn default() -> GroupTraffic {
        GroupTraffic {
            connections: 0,
            connections_total: 0,
            bytes_in: 0,
            bytes_out: 0,
            ended: [0; End::ALL.len()],
            connect_time: Histogram::new(CONNECT_BOUNDS_US),
            session_time: Histogram::new(SESSION_BOUNDS_US),
        }
    }
}

impl GroupTraffic {
    /// Connections that ended for this reason.
    pub fn ended(&self, end: End) -> u64 {
        self.ended[end as usize]
    }

    fn add(&mut self, cell: &GroupCell) {
        // Ends first: who reads on meanwhile never sees more ends than connections.
        for (sum, count) in self.ended.iter_mut().zip(&cell.ends) {
            *sum += count.get();
        }
        self.connections_total += cell.connections.get();
        self.bytes_in += cell.bytes_in.get();
        self.bytes_out += cell.bytes_out.get();
        cell.connect_time.add_to(&mut self.connect_time);
        cell.session_time.add_to(&mut self.session_time);
    }
}

impl AddAssign<&GroupTraffic> for GroupTraffic {
    fn add_assign(&mut self, other: &GroupTraffic) {
        self.connections += other.connections;
        self.connections_total += other.connections_total;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        for (sum, count) in self.ended.iter_mut().zip(other.ended) {
            *sum += count;
        }
        self.connect_time.merge(&other.connect_time);
        self.session_time.merge(&other.session_time);
    }
}

/// The cells of all workers.
#[derive(Debug)]
pub struct Traffic {
    ports: Known<u16, PortCell>,
    groups: Known<GroupId, GroupCell>,
}

impl Traffic {
    /// Nothing counted yet.
    pub fn new() -> Traffic {
        Traffic {
            ports: Known::new(MAX_PORTS),
            groups: Known::new(MAX_GROUPS),
        }
    }

    /// Every port that was ever accepted on; [`OTHER_PORT`] stands for those beyond the bound.
    pub fn ports(&self) -> BTreeMap<u16, PortTraffic> {
        let mut sums: BTreeMap<u16, PortTraffic> = BTreeMap::new();
        for &(port, cell) in self.ports.all().iter() {
            let sum = sums.entry(port.unwrap_or(OTHER_PORT)).or_default();
            let closed = cell.closed.get(); // first: it never exceeds what was accepted before
            let accepted = cell.accepted.get();
            sum.accepted += accepted;
            sum.connections += accepted.saturating_sub(closed);
        }
        sums
    }

    /// One group; nothing where no connection was ever given to it.
    pub fn group(&self, id: GroupId) -> GroupTraffic {
        let mut sum = GroupTraffic::default();
        for cell in self.groups.of(id) {
            sum.add(cell);
        }
        sum
    }

    /// All groups but these together, those beyond the bound included.
    pub fn groups_but(&self, is_told: impl Fn(GroupId) -> bool) -> GroupTraffic {
        let mut sum = GroupTraffic::default();
        let all = self.groups.all();
        let cells = all.iter().filter(|(id, _)| !id.is_some_and(&is_told));
        cells.for_each(|(_, cell)| sum.add(cell));
        sum
    }

    /// Has every cell of every group looked at.
    pub fn each_group_cell(&self, mut look: impl FnMut(&GroupCell)) {
        self.groups.all().iter().for_each(|(_, cell)| look(cell));
    }
}

/// One worker's cells, found without a lock.
#[derive(Debug, Default)]
pub struct WorkerCells {
    worker: usize,
    ports: HashMap<u16, &'static PortCell, RandomState>,
    groups: HashMap<GroupId, &'static GroupCell, RandomState>,
}

impl WorkerCells {
    /// None found yet.
    pub fn new(worker: usize) -> WorkerCells {
        WorkerCells {
            worker,
            ..WorkerCells::default()
        }
    }

    /// The worker's cell of a port.
    pub fn port(&mut self, traffic: &Traffic, port: u16) -> &'static PortCell {
        find(&mut self.ports, &traffic.ports, port, self.worker)
    }

    /// The worker's cell of a group.
    pub fn group(&mut self, traffic: &Traffic, id: GroupId) -> &'static GroupCell {
        find(&mut self.groups, &traffic.groups, id, self.worker)
    }
}

fn find<K: Copy + Ord + Hash, C: Default>(
    found: &mut HashMap<K, &'static C, RandomState>,
    known: &Known<K, C>,
    key: K,
    worker: usize,
) -> &'static C {
    if let Some(cell) = found.get(&key) {
        return cell;
    }
    let cell = known.cell(key, worker);
    if found.len() >= known.most {
        found.clear(); // the ones in use come back at once
    }
    found.insert(key, cell);
    cell
}

/// Cells by key, each key's by worker.
#[derive(Debug)]
struct Known<K, C: 'static> {
    most: usize,
    cells: Mutex<Cells<K, C>>,
}

#[derive(Debug)]
struct Cells<K, C: 'static> {
    by_key: BTreeMap<K, ByWorker<C>>,
    other: ByWorker<C>,
    /// Every cell there is: readers share the list as it is.
    all: AllCells<K, C>,
}

/// A worker's cell, once it has asked for it.
type ByWorker<C> = BTreeMap<usize, &'static C>;
/// Cells with their keys; without one those that share what is beyond the bound.
type AllCells<K, C> = Arc<Vec<(Option<K>, &'static C)>>;

impl<K: Copy + Ord, C: Default> Known<K, C> {
    fn new(most: usize) -> Known<K, C> {
        let cells = Cells {
            by_key: BTreeMap::new(),
            other: BTreeMap::new(),
            all: Arc::default(),
        };
        Known {
            most,
            cells: Mutex::new(cells),
        }
    }

    /// The cell of a key for a worker, made by its own thread at first asking. It is never given
    /// back: there are [`Known::most`] and one for each worker at most.
    fn cell(&self, key: K, worker: usize) -> &'static C {
        let mut cells = self.cells();
        let has_own = cells.by_key.len() < self.most || cells.by_key.contains_key(&key);
        let Cells { by_key, other, all } = &mut *cells;
        let by_worker = match has_own {
            true => by_key.entry(key).or_default(),
            false => other,
        };
        by_worker.entry(worker).or_insert_with(|| {
            let cell: &'static C = Box::leak(Box::default());
            // Copied where somebody reads it just now.
            Arc::make_mut(all).push((has_own.then_some(key), cell));
            cell
        })
    }

    /// Every cell there is now.
    fn all(&self) -> AllCells<K, C> {
        Arc::clone(&self.cells().all)
    }

    /// The cells of one key.
    fn of(&self, key: K) -> Vec<&'static C> {
        let cells = self.cells();
        let by_worker = cells.by_key.get(&key).into_iter();
        by_worker.flat_map(BTreeMap::values).copied().collect()
    }

    fn cells(&self) -> MutexGuard<'_, Cells<K, C>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "traffic_tests.rs"]
mod tests;
