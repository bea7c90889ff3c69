//! Statistics: what this node knows about itself, for people and programs, read-only over HTTP on
//! `stats_bind_socket`.
//!
//! ```text
//! client → front (bounded: clients, times, sizes) → backend (tiny_http) → routes → sources
//! ```
//!
//! [`Sources`] makes every answer, as one of the types of [`api`]; the command line and metrics ask
//! it for the same.

mod answer; // status, headers, body
pub mod api; // the types that answer, each field documented
mod backend; // tiny_http behind the front
mod front; // the door: everything that comes from outside, bounded
pub mod metrics; // `/metrics` for Prometheus
mod query; // what stands behind a question mark
mod routes; // the paths
mod sources; // what answers are made of
mod spec; // the OpenAPI document
pub mod ui; // what a browser gets: the dashboard and the API's explorer

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use mio::Waker;

use backend::Answers;
use front::Front;

use crate::watchdog::Pulses;

pub use front::ListenError;
pub use sources::{Parts, Sources, StickQuery};

/// Descriptors that the server takes besides its clients'.
const OTHER_DESCRIPTORS: usize = front::OTHER_DESCRIPTORS;
/// The fewest clients that are worth a server.
const MIN_CLIENTS: usize = 4;

/// Descriptors that the server may have open, out of `limit` for the whole process: for a full
/// house where the limit is generous.
pub fn descriptors(limit: usize) -> usize {
    let most = front::MAX_CLIENTS + OTHER_DESCRIPTORS;
    (limit / 16).clamp(MIN_CLIENTS + OTHER_DESCRIPTORS, most)
}

/// Listens on `stats_bind_socket`; clients wait until a [`Server`] serves them.
///
/// # Errors
/// The address cannot be had.
pub fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    front::listen(address)
}

/// The statistics server. At drop it ends.
pub struct Server {
    is_stopped: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves whoever comes to `listener`, with at most so many descriptors. In `directory` lies,
    /// for a moment, the socket of the server within. The event loop is looked after by `pulses`.
    ///
    /// # Errors
    /// The system gives no event loop or thread, or no socket in `directory`.
    pub fn start(
        listener: TcpListener,
        descriptors: usize,
        directory: PathBuf,
        sources: Arc<Sources>,
        pulses: &Pulses,
    ) -> io::Result<Server> {
        Server::serve(listener, descriptors, directory, sources, pulses)
    }

    fn serve(
        listener: TcpListener,
        descriptors: usize,
        directory: PathBuf,
        answers: Arc<dyn Answers>,
        pulses: &Pulses,
    ) -> io::Result<Server> {
        let max_clients = descriptors.saturating_sub(OTHER_DESCRIPTORS);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&is_stopped);
        let (sender, started) = mpsc::channel();
        let pulses = pulses.clone();
        let thread = std::thread::Builder::new().name("stats".to_owned());
        let thread = thread.spawn(move || {
            let front = Front::new(listener, max_clients, directory, answers, &pulses);
            let (front, waker) = front.map_or_else(|e| (None, Err(e)), |(f, w)| (Some(f), Ok(w)));
            // Who started this waits for it.
            let _ = sender.send(waker);
            if let Some(front) = front {
                front.run(&stopped);
            }
        })?;
        let waker = started.recv().map_err(io::Error::other)??;
        Ok(Server {
            is_stopped,
            waker,
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            // A thread that panicked has ended the process already.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// This host's own name.
fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}
