//! Signals, turned into events.
//!
//! SIGINT and SIGTERM ask to stop, SIGUSR1 and SIGHUP to reload. SIGPIPE is ignored by Rust's
//! start-up code in every program. A signal that arrives while the same one is being delivered
//! is not lost: it is delivered once more after it.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{process, thread};

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGHUP, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::control::EXIT_FAILED;
use crate::events::Event;

/// A signal could not be caught.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// SIGINT.
    #[error("cannot catch SIGINT: {0}")]
    Interrupt(#[from] ctrlc::Error),
    /// One of the others.
    #[error("cannot catch SIGTERM, SIGUSR1 and SIGHUP: {0}")]
    Others(#[from] io::Error),
}

/// From here on, signals are events; once in a process.
///
/// # Errors
/// When the system refuses a handler or a thread.
pub fn listen(events: Sender<Event>) -> Result<(), SignalError> {
    let interrupts = events.clone();
    ctrlc::set_handler(move || deliver_stop(&interrupts, "SIGINT"))?;
    let mut signals = Signals::new([SIGTERM, SIGUSR1, SIGHUP])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGTERM => deliver_stop(&events, "SIGTERM"),
                    SIGUSR1 => deliver(&events, "SIGUSR1", Event::Reload(None)),
                    _ => deliver(&events, "SIGHUP", Event::Reload(None)),
                }
            }
        })?;
    Ok(())
}

/// How long the rest of the process has to end after a second signal to stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// Signals to stop so far.
static STOPS: AtomicU32 = AtomicU32::new(0);

/// The second signal to stop ends the process at once: the supervisor does it, or, where that
/// hangs in a system call, this thread.
fn deliver_stop(events: &Sender<Event>, name: &str) {
    if STOPS.fetch_add(1, Ordering::SeqCst) == 1 {
        let watchdog = thread::Builder::new()
            .name("last-resort".to_owned())
            .spawn(|| {
                thread::sleep(PATIENCE);
                log::error!("the process does not come to an end; it is ended as it is");
                process::exit(i32::from(EXIT_FAILED));
            });
        if watchdog.is_err() {
            process::exit(i32::from(EXIT_FAILED));
        }
    }
    deliver(events, name, Event::Stop(None));
}

/// Waits while the queue is full; meanwhile the kernel keeps further signals pending.
fn deliver(events: &Sender<Event>, name: &str, event: Event) {
    log::info!("{name} received");
    if events.send(event).is_err() {
        log::warn!("{name} comes too late: the process is ending");
    }
}
