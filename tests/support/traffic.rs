//! Clients in the background that tolerate no fault.

use std::net::{IpAddr, SocketAddr};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client;

/// Threads that talk to the proxy until they are told to finish.
#[derive(Debug, Default)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    exchanges: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// No traffic yet.
    pub fn new() -> Traffic {
        Traffic::default()
    }

    /// One connection that stays open and exchanges messages all the time. It is established when
    /// this returns; the name of its backend is given.
    pub fn long(&mut self, from: IpAddr, to: SocketAddr) -> String {
        let (name, stream) = client::greet(from, to).expect("a long connection can be made");
        self.spawn(move || {
            client::exchange(&stream, &[42; 700]).expect("a long connection is not cut");
        });
        name
    }

    /// One short connection after the other.
    pub fn short(&mut self, from: IpAddr, to: SocketAddr) {
        self.spawn(move || {
            client::ask(from, to).expect("every connection is served");
            std::thread::sleep(Duration::from_millis(2));
        });
    }

    /// `step` again and again.
    pub fn spawn(&mut self, mut step: impl FnMut() + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        let exchanges = Arc::clone(&self.exchanges);
        self.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                step();
                exchanges.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }

    /// Steps done so far, over all threads.
    pub fn exchanges(&self) -> u64 {
        self.exchanges.load(Ordering::Relaxed)
    }

    /// Ends the clients; panics as the first one did that met a fault.
    pub fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Round trips of a connection, timed while `busy` says so and at least `least` of them: sorted.
pub fn round_trips(
    from: IpAddr,
    to: SocketAddr,
    least: usize,
    mut busy: impl FnMut() -> bool,
) -> Vec<Duration> {
    let (_, stream) = client::greet(from, to).expect("the timed connection can be made");
    let mut times = Vec::new();
    while times.len() < least || busy() {
        let started = Instant::now();
        client::exchange(&stream, &[1; 64]).expect("the timed connection is not cut");
        times.push(started.elapsed());
    }
    times.sort();
    times
}
