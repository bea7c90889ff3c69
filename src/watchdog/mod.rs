//! Whether the loops turn without which the process is of no use, asked for the service manager.
//!
//! ```text
//! service manager ◀─WATCHDOG=1─ watchdog ──asks──▶ each loop: worker, supervisor, statistics, …
//!                                   ▲                │
//!                                   └──── pulse ─────┘
//! ```
//!
//! A thread of its own asks every loop that has a [`Pulse`], four times within the time that the
//! service manager waits, and tells it that all is well only once each has answered. So a loop that
//! does not turn ends the process, by the service manager, after [`Watchdog`]'s time; before, it is
//! named in the log and in the status. Where nobody watches, there is no thread and nobody is asked.
//!
//! A loop that does something long on purpose says so ([`Pulse::excuse`]) and for how long at most.

mod pulse; // the loops' side
mod rounds; // who is late
#[cfg(test)]
mod tests;

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::service::Service;

pub use pulse::{Excuse, Pulse, Pulses, Question};

use rounds::{Look, Rounds};

/// The thread that asks. At drop it ends.
#[derive(Debug)]
pub struct Watchdog {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Watchdog {
    /// Begins to ask, where the service manager wants to know.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(service: &Service, pulses: &Pulses) -> io::Result<Watchdog> {
        let Some(limit) = service.watchdog() else {
            return Ok(Watchdog { running: None });
        };
        let (stop, stopped) = bounded(0);
        let (service, pulses) = (service.clone(), pulses.clone());
        let watch = move || watch(&service, &pulses, limit, &stopped);
        let builder = std::thread::Builder::new().name("watchdog".to_owned());
        let thread = builder.spawn(watch)?;
        let running = Some((stop, thread));
        Ok(Watchdog { running })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // A thread that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

fn watch(service: &Service, pulses: &Pulses, limit: Duration, stopped: &Receiver<()>) {
    let mut rounds = Rounds::of(limit, Instant::now());
    service.alive();
    pulses.ask();
    loop {
        let wait = rounds.wait(Instant::now());
        match stopped.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let look = rounds.look(Instant::now(), pulses.silent());
        tell(service, &look, limit);
        if look.is_well {
            service.alive();
            pulses.ask();
        }
    }
}

fn tell(service: &Service, look: &Look, limit: Duration) {
    for name in &look.late {
        log::error!(
            "the loop of {name} does not turn any more: unless it does again, the service manager \
             ends the process within {} s (WatchdogSec=)",
            limit.as_secs_f64()
        );
    }
    for (name, silent) in &look.back {
        log::warn!(
            "the loop of {name} turns again, after {:.1} s",
            silent.as_secs_f64()
        );
    }
    if !look.late.is_empty() || !look.back.is_empty() {
        service.late(match look.all_late.as_slice() {
            [] => String::new(),
            names => format!("does not turn: {}", names.join(", ")),
        });
    }
}
