//! What all workers share: the generation in force, the stick table, and the process's bounds.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use crossbeam_channel::Sender;
use mio::Waker;

use crate::clock::Clock;
use crate::config::KeyType;
use crate::groups::TargetState;
use crate::stick::Sticks;

use super::client_rates::ClientRates;
use super::clients::Clients;
use super::counters::Counters;
use super::generation::Generation;
use super::held_total::HeldTotal;
use super::queue::PlaceBoxes;
use super::traffic::Traffic;

/// Shared by the proxy's handle and its workers.
pub struct Shared {
    /// The configuration in force.
    pub generation: ArcSwap<Generation>,
    /// The stick table.
    pub sticks: Arc<dyn Sticks>,
    /// What makes a key.
    pub key_type: KeyType,
    /// The process's clock.
    pub clock: Clock,
    /// Bytes held for slow receivers.
    pub buffered: HeldTotal,
    /// Connections at once, and who waits for room.
    pub admission: Admission,
    /// Connections of each client, where they are bounded.
    pub clients: Clients,
    /// How fast each client connects, where that is bounded.
    pub client_rates: ClientRates,
    /// Places with groups that have passed to sessions which waited for them.
    pub places: PlaceBoxes,
    /// Listeners that are open, ending ones included.
    pub open_listeners: AtomicUsize,
    /// Addresses of listeners that are ending, one entry for each socket.
    pub ending_listeners: Mutex<Vec<SocketAddr>>,
    /// Told of targets that did not take a connection.
    pub failed_targets: Sender<Arc<TargetState>>,
    /// By worker.
    pub counters: Vec<Counters>,
    /// By port and group.
    pub traffic: Traffic,
    /// Until the proxy is told to stop.
    pub is_accepting: AtomicBool,
    /// All connections are being cut: no place that this frees is for anybody.
    pub is_cutting: AtomicBool,
}

impl Shared {
    /// One worker's listeners of these addresses begin to end.
    pub fn note_ending(&self, addresses: &[SocketAddr]) {
        self.ending_listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(addresses);
    }

    /// An ending listener is closed.
    pub fn note_closed(&self, address: SocketAddr) {
        let mut ending = self
            .ending_listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = ending.iter().position(|&listed| listed == address) {
            ending.swap_remove(at);
        }
        self.open_listeners.fetch_sub(1, Ordering::SeqCst);
    }

    /// Addresses whose listeners are ending.
    pub fn ending(&self) -> Vec<SocketAddr> {
        self.ending_listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// One count of connections for all workers, with its bound.
pub struct Admission {
    connections: AtomicUsize,
    max: AtomicUsize,
    waiting: Vec<AtomicBool>,
    wakers: Vec<Arc<Waker>>,
}

impl Admission {
    /// No connections yet, at most `max`; one waker for each worker.
    pub fn new(max: usize, wakers: Vec<Arc<Waker>>) -> Admission {
        Admission {
            connections: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
            waiting: wakers.iter().map(|_| AtomicBool::new(false)).collect(),
            wakers,
        }
    }

    /// Connections now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The bound.
    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Changes the bound; connections beyond it stay.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::SeqCst);
        self.wake_waiting();
    }

    /// Room for one connection of `worker`. Where there is none, the worker is woken when there
    /// may be.
    pub fn enter(&self, worker: usize) -> bool {
        if self.try_enter() {
            return true;
        }
        self.waiting[worker].store(true, Ordering::SeqCst);
        // A connection may have ended between the attempt and the note.
        if self.try_enter() {
            self.waiting[worker].store(false, Ordering::SeqCst);
            return true;
        }
        false
    }

    fn try_enter(&self) -> bool {
        if self.connections.fetch_add(1, Ordering::SeqCst) < self.max.load(Ordering::SeqCst) {
            return true;
        }
        self.connections.fetch_sub(1, Ordering::SeqCst);
        false
    }

    /// Gives back the room of one connection.
    pub fn leave(&self) {
        self.connections.fetch_sub(1, Ordering::SeqCst);
        self.wake_waiting();
    }

    fn wake_waiting(&self) {
        for (waiting, waker) in self.waiting.iter().zip(&self.wakers) {
            // Read first: the common case writes no shared cache line.
            if waiting.load(Ordering::SeqCst) && waiting.swap(false, Ordering::SeqCst) {
                waker
                    .wake()
                    .expect("the worker's eventfd is open as long as the process");
            }
        }
    }
}
