//! The door of the statistics server: everything that comes from outside, bounded.
//!
//! ```text
//! listener → client: head → queue → link → backend (tiny_http, routes) → link → client: answer
//! ```
//!
//! One thread, one event loop of its own, apart from the proxy's workers and less urgent than they.
//! It holds a fixed number of clients; who comes when the house is full takes the place of the one
//! that has kept it longest without having delivered a request. So slow, silent and hostile clients
//! keep nobody out, however many they are.

mod behind; // the backend with the links to it
mod client; // one client's connection
mod head; // the head of a request
mod host; // names that this server goes by
mod link; // one connection to the backend
mod listen; // the listening socket
mod queue; // requests that wait for a link
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

use super::answer::Answer;
use super::backend::{Answers, LINKS};
use crate::watchdog::{Pulse, Pulses};
use behind::Behind;
use client::{Client, Standing, Turn};
use link::{Asker, Link};
use queue::{Queue, Queued};

pub use listen::{ListenError, listen};

/// Most clients at once.
pub const MAX_CLIENTS: usize = 256;
/// Descriptors besides the clients': both ends of each link, the backend's copies of its own, its
/// sockets and their directory, the listener, the event loop, and one client more while another gives way.
pub const OTHER_DESCRIPTORS: usize = LINKS * 3 + 8;

/// Bytes of answers that are held for their clients, all together.
const MAX_HELD_BYTES: usize = 32 << 20;
/// Clients let in before others get their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// After a failed accept (out of descriptors, above all), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest sleep: what changes by itself is looked at as often.
const TICK: Duration = Duration::from_secs(1);
/// How much less urgent than the proxy's workers this thread and those it starts are.
const NICENESS: i32 = 5;

const LISTENER: Token = Token(0);
pub(super) const WAKER: Token = Token(1);
const FIRST_LINK: usize = 2;
const FIRST_CLIENT: usize = FIRST_LINK + LINKS;

/// The event loop with all that it holds.
pub struct Front {
    poll: Poll,
    pulse: Pulse,
    listener: TcpListener,
    is_accept_due: bool,
    accept_again: Option<Instant>,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    last_serial: u64,
    queue: Queue,
    /// Most clients that wait for an answer: three in four of a full house, so that there is always
    /// room to let a newcomer in and hear it. The dearest answers take 10 ms of one of three threads,
    /// so in the largest house the last waits for a second.
    max_waiting: usize,
    behind: Behind,
    answers: Arc<dyn Answers>,
    own_name: String,
    now: Instant,
}

impl Front {
    /// A front for at most `max_clients`, and what wakes it. To be made on the thread that runs it:
    /// that one becomes less urgent, with those of the backend.
    ///
    /// # Errors
    /// The system gives no event loop, or the backend cannot be started.
    pub fn new(
        listener: std::net::TcpListener,
        max_clients: usize,
        directory: PathBuf,
        answers: Arc<dyn Answers>,
        pulses: &Pulses,
    ) -> io::Result<(Front, Arc<Waker>)> {
        // Where it is refused, statistics are as urgent as connections.
        let _ = rustix::process::nice(NICENESS);
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut listener = TcpListener::from_std(listener);
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let max_clients = max_clients.clamp(1, MAX_CLIENTS);
        let now = Instant::now();
        let behind = Behind::start(poll.registry(), directory, Arc::clone(&answers), now)?;
        let woken = Arc::clone(&waker);
        let pulse = pulses.register("stats", move |_| {
            // It fails only where the kernel has no memory for a counter that exists already; then
            // the loop turns by itself within a tick.
            let _ = woken.wake();
        });
        let front = Front {
            poll,
            pulse,
            listener,
            is_accept_due: true,
            accept_again: None,
            clients: (0..max_clients).map(|_| None).collect(),
            free: (0..max_clients).rev().collect(),
            last_serial: 0,
            queue: Queue::default(),
            max_waiting: (max_clients * 3 / 4).max(1),
            behind,
            answers,
            own_name: super::host_name(),
            now,
        };
        Ok((front, waker))
    }

    /// Serves until told to stop.
    pub fn run(mut self, is_stopped: &AtomicBool) {
        let mut events = Events::with_capacity(MAX_CLIENTS);
        let mut next_tick = self.now;
        while !is_stopped.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, Some(self.sleep())) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.expect("an event loop that was made can be waited on"),
            }
            self.pulse.beat();
            self.now = Instant::now();
            for event in &events {
                match event.token() {
                    LISTENER => self.is_accept_due = true,
                    WAKER => {}
                    Token(token) if token < FIRST_CLIENT => self.turn_link(token - FIRST_LINK),
                    Token(token) => self.turn_client(token - FIRST_CLIENT),
                }
            }
            self.accept();
            self.expire();
            self.behind.keep(self.poll.registry(), self.now);
            self.hand_out();
            if self.now >= next_tick {
                self.answers.tick();
                next_tick = self.now + TICK;
            }
        }
    }

    /// How long nothing is to be done unless something comes.
    fn sleep(&self) -> Duration {
        let deadlines = self.clients.iter().flatten().map(|client| client.deadline);
        let accept = match (self.is_accept_due, self.accept_again) {
            (true, None) => return Duration::ZERO,
            (true, again) => again,
            (false, _) => None,
        };
        let first = deadlines.chain(accept).chain(self.behind.due()).min();
        let until = first.map_or(TICK, |first| first.saturating_duration_since(self.now));
        // The event loop counts in whole milliseconds, rounded up: no spinning before a deadline.
        until.min(TICK)
    }

    fn accept(&mut self) {
        if self.accept_again.is_some_and(|again| self.now < again) {
            return;
        }
        self.accept_again = None;
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.is_accept_due {
                return;
            }
            match self.listener.accept() {
                Ok((stream, address)) => self.admit(stream, address.ip()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_accept_due = false,
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    log::debug!("cannot accept a client of the statistics server: {error}");
                    self.accept_again = Some(self.now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: mio::net::TcpStream, address: IpAddr) {
        if self.free.is_empty() {
            self.make_room();
        }
        let Some(slot) = self.free.pop() else {
            return; // cannot be: fewer wait for their answers than have room
        };
        let _ = stream.set_nodelay(true);
        self.last_serial += 1;
        let mut client = Client::new(stream, address, self.last_serial, self.now);
        let both = Interest::READABLE | Interest::WRITABLE;
        let token = Token(FIRST_CLIENT + slot);
        if let Err(error) = self.poll.registry().register(client.stream(), token, both) {
            log::debug!("cannot watch a client of the statistics server: {error}");
            self.free.push(slot);
            return;
        }
        self.clients[slot] = Some(client);
        // Its request may have come with it.
        self.turn_client(slot);
    }

    /// Closes the client that has been longest without a whole request; where there is none, the
    /// one that takes longest to read its answer.
    fn make_room(&mut self) {
        let clients = self.clients.iter().enumerate();
        let present = clients.filter_map(|(slot, client)| Some((slot, client.as_ref()?)));
        let may_go = present.filter(|(_, client)| client.standing() != Standing::Waiting);
        let chosen = may_go.min_by_key(|(_, client)| (client.standing(), client.since));
        if let Some(slot) = chosen.map(|(slot, _)| slot) {
            self.close(slot);
        }
    }

    fn close(&mut self, slot: usize) {
        if let Some(mut client) = self.clients[slot].take() {
            // Closing takes it off the event loop in any case.
            let _ = self.poll.registry().deregister(client.stream());
            self.free.push(slot);
        }
    }

    /// Does what a client's socket permits.
    fn turn_client(&mut self, slot: usize) {
        while let Some(client) = &mut self.clients[slot] {
            match client.advance(&self.own_name, self.now) {
                Turn::Wait => return,
                Turn::Closed => return self.close(slot),
                Turn::Request(head) => {
                    let asker = Asker {
                        slot,
                        serial: client.serial,
                    };
                    let address = client.address;
                    self.enqueue(Queued {
                        asker,
                        address,
                        head,
                    });
                }
            }
        }
    }

    /// Lets a request wait for a link. Where too many wait, one of them gives way.
    fn enqueue(&mut self, queued: Queued) {
        self.queue.push(queued);
        if self.queue.len() + self.behind.busy() <= self.max_waiting {
            return;
        }
        if let Some(refused) = self.queue.give_way() {
            let detail = "too many requests wait already; come back in a second";
            self.refuse(refused.asker, detail);
        }
    }

    /// Says to who waits for an answer that there will be none now.
    fn refuse(&mut self, asker: Asker, detail: &str) {
        let now = self.now;
        if let Some(client) = self.client_of(asker) {
            let answer = Answer::problem(503, detail).with_header("Retry-After", "1");
            client.refuse(answer, now);
            self.turn_client(asker.slot);
        }
    }

    /// Gives waiting requests to free links.
    fn hand_out(&mut self) {
        while let Some(free) = self.queue.next().and_then(|rank| self.behind.free(rank)) {
            let Some(queued) = self.queue.pop() else {
                return;
            };
            if self.client_of(queued.asker).is_some()
                && let Some(link) = self.behind.link(free)
            {
                link.give(queued.asker, &queued.head);
                self.turn_link(free);
            }
        }
    }

    fn client_of(&mut self, asker: Asker) -> Option<&mut Client> {
        let client = self.clients.get_mut(asker.slot)?.as_mut()?;
        (client.serial == asker.serial).then_some(client)
    }

    fn turn_link(&mut self, at: usize) {
        match self.behind.link(at).map(Link::advance) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some((asker, answer)))) => self.deliver(asker, answer),
            Some(Err(error)) => {
                for asker in self.behind.lose(&error, self.now) {
                    self.refuse(asker, "what makes the answer failed; come back in a second");
                }
            }
        }
    }

    /// Gives a client its answer; one that has gone misses it.
    fn deliver(&mut self, asker: Asker, wire: Vec<u8>) {
        let now = self.now;
        if let Some(client) = self.client_of(asker) {
            client.answer(wire, now);
            self.turn_client(asker.slot);
            self.bound_held();
        }
    }

    /// Closes who takes longest to read, where too much is held for all together.
    fn bound_held(&mut self) {
        let held = |client: &Client| client.held_bytes();
        while self.clients.iter().flatten().map(held).sum::<usize>() > MAX_HELD_BYTES {
            let clients = self.clients.iter().enumerate();
            let present = clients.filter_map(|(slot, client)| Some((slot, client.as_ref()?)));
            let taking = present.filter(|(_, client)| client.standing() == Standing::Taking);
            match taking.min_by_key(|(_, client)| client.since) {
                Some((slot, _)) => self.close(slot),
                None => return,
            }
        }
    }

    /// Closes clients whose time is over; one that waits for its answer is told so.
    fn expire(&mut self) {
        for slot in 0..self.clients.len() {
            match &self.clients[slot] {
                Some(client) if client.deadline <= self.now => {
                    let (standing, serial) = (client.standing(), client.serial);
                    match standing {
                        Standing::Waiting => self.give_up(Asker { slot, serial }),
                        Standing::Asking | Standing::Taking => self.close(slot),
                    }
                }
                _ => {}
            }
        }
    }

    fn give_up(&mut self, asker: Asker) {
        self.queue.forget(asker);
        self.refuse(
            asker,
            "the answer takes too long to be made; come back later",
        );
    }
}

/// Whether a failed accept concerns that one client only.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
