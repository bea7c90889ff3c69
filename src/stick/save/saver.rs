//! The thread that writes full saves, so that waiting for the disk never delays the journal.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::clock::Millis;
use crate::stick::Table;

use super::codec::Header;
use super::full;
use super::paths::Paths;

/// The thread's name.
pub(super) const NAME: &str = "stick-saver";

/// A save to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub header: Header,
    pub now: Millis,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub order: Order,
    /// Number of entries saved.
    pub result: io::Result<u64>,
}

/// The thread, with at most one save on its hands.
#[derive(Debug)]
pub(super) struct Saver {
    orders: Sender<Order>,
    outcomes: Receiver<Outcome>,
    thread: JoinHandle<()>,
    busy: bool,
}

impl Saver {
    /// Starts the thread.
    pub fn start(table: Arc<Table>, paths: Paths) -> io::Result<Saver> {
        let (orders, incoming) = bounded::<Order>(1);
        let (outgoing, outcomes) = bounded(1);
        let save_all = move || {
            for order in incoming {
                let result = full::write(&table, &paths, &order.header, order.now);
                if outgoing.send(Outcome { order, result }).is_err() {
                    return; // the customer is gone
                }
            }
        };
        let thread = Builder::new().name(NAME.into()).spawn(save_all)?;
        Ok(Saver {
            orders,
            outcomes,
            thread,
            busy: false,
        })
    }

    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Begins a save; not while one is being written.
    pub fn begin(&mut self, order: Order) {
        assert!(!self.busy, "one save at a time");
        self.busy = self.orders.try_send(order).is_ok();
        debug_assert!(self.busy, "the thread lives as long as its orders");
    }

    /// The outcome of the save that was begun, once it is there.
    pub fn outcome(&mut self) -> Option<Outcome> {
        let outcome = self.outcomes.try_recv().ok()?;
        self.busy = false;
        Some(outcome)
    }

    /// Waits for the save being written, if any, and ends the thread.
    pub fn finish(self) -> Option<Outcome> {
        drop(self.orders);
        let outcome = self.outcomes.iter().last();
        // It can only have ended: a panic ends the process.
        let _ = self.thread.join();
        outcome
    }
}
