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

mod client; // one client's connection
mod head; // the head of a request
mod host; // names that this server goes by
mod link; // one connection to the backend
mod listen; // the listening socket

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

use super::Sources;
use super::answer::Answer;
use super::backend::{Backend, LINKS};
use client::{Client, Standing, Turn};
use head::Head;
use link::{Asker, Link};

pub use listen::{ListenError, listen};

/// Most clients at once.
pub const MAX_CLIENTS: usize = 256;
/// Descriptors besides the clients': both ends of each link, the backend's copies of its own, its
/// sockets, the listener, the event loop, and one client more while another gives way.
pub const OTHER_DESCRIPTORS: usize = LINKS * 3 + 8;

/// Requests that wait for a link: three in four of a full house. The dearest take 10 ms of one of
/// two threads, so the last of them waits for a second.
const QUEUE_REQUESTS: usize = 192;
/// Bytes of answers that are held for their clients, all together.
const MAX_HELD_BYTES: usize = 32 << 20;
/// Clients let in before others get their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// After a failed accept (out of descriptors, above all), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// After a backend could not be started, before the next attempt.
const BACKEND_PAUSE: Duration = Duration::from_secs(1);
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
    listener: TcpListener,
    is_accept_due: bool,
    accept_again: Option<Instant>,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    last_serial: u64,
    queue: VecDeque<Queued>,
    links: Vec<Link>,
    backend: Option<Backend>,
    backend_again: Instant,
    directory: PathBuf,
    sources: Arc<Sources>,
    own_name: String,
    now: Instant,
}

/// A request that waits for a link.
struct Queued {
    asker: Asker,
    address: IpAddr,
    head: Head,
}

impl Front {
    /// A front for at most `max_clients`, and what wakes it.
    ///
    /// # Errors
    /// The system gives no event loop.
    pub fn new(
        listener: std::net::TcpListener,
        max_clients: usize,
        directory: PathBuf,
        sources: Arc<Sources>,
    ) -> io::Result<(Front, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let mut listener = TcpListener::from_std(listener);
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let max_clients = max_clients.clamp(1, MAX_CLIENTS);
        let now = Instant::now();
        let front = Front {
            poll,
            listener,
            is_accept_due: true,
            accept_again: None,
            clients: (0..max_clients).map(|_| None).collect(),
            free: (0..max_clients).rev().collect(),
            last_serial: 0,
            queue: VecDeque::new(),
            links: Vec::new(),
            backend: None,
            backend_again: now,
            directory,
            sources,
            own_name: super::host_name(),
            now,
        };
        Ok((front, waker))
    }

    /// Serves until told to stop.
    pub fn run(mut self, is_stopped: &AtomicBool) {
        // Where it is refused, statistics are as urgent as connections.
        let _ = rustix::process::nice(NICENESS);
        let mut events = Events::with_capacity(MAX_CLIENTS);
        let mut next_tick = self.now;
        while !is_stopped.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, Some(self.sleep())) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.expect("an event loop that was made can be waited on"),
            }
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
            self.keep_backend();
            self.hand_out();
            if self.now >= next_tick {
                self.sources.tick();
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
        let first = deadlines.chain(accept).min();
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
            return; // all wait for their answers
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

    /// Lets a request wait for a link. Where too many wait, one of the address that most of them
    /// come from gives way, whichever: that of a newcomer is no likelier than another.
    fn enqueue(&mut self, queued: Queued) {
        self.queue.push_back(queued);
        if self.queue.len() <= QUEUE_REQUESTS {
            return;
        }
        let mut by_address: HashMap<IpAddr, usize> = HashMap::new();
        for queued in &self.queue {
            *by_address.entry(queued.address).or_default() += 1;
        }
        let most = by_address.values().max().copied();
        let waiting = self.queue.iter().enumerate();
        let of_most: Vec<usize> = waiting
            .filter(|(_, queued)| by_address.get(&queued.address).copied() == most)
            .map(|(at, _)| at)
            .collect();
        let chosen = RandomState::new().hash_one(self.last_serial) as usize % of_most.len().max(1);
        let refused = of_most.get(chosen).copied();
        if let Some(refused) = refused.and_then(|at| self.queue.remove(at)) {
            let answer =
                Answer::problem(503, "too many requests wait already; come back in a second")
                    .with_header("Retry-After", "1")
                    .finished(false);
            let (asker, wire, now) = (
                refused.asker,
                answer.to_wire(refused.head.is_head),
                self.now,
            );
            if let Some(client) = self.client_of(asker) {
                client.refuse(wire, now);
                self.turn_client(asker.slot);
            }
        }
    }

    /// Gives waiting requests to free links.
    fn hand_out(&mut self) {
        while let Some(free) = self.links.iter().position(Link::is_free) {
            let Some(queued) = self.queue.pop_front() else {
                return;
            };
            if self.client_of(queued.asker).is_some() {
                self.links[free].give(queued.asker, &queued.head);
                self.turn_link(free);
            }
        }
    }

    fn client_of(&mut self, asker: Asker) -> Option<&mut Client> {
        let client = self.clients.get_mut(asker.slot)?.as_mut()?;
        (client.serial == asker.serial).then_some(client)
    }

    fn turn_link(&mut self, at: usize) {
        let Some(link) = self.links.get_mut(at) else {
            return;
        };
        match link.advance() {
            Ok(None) => {}
            Ok(Some((asker, answer))) => {
                self.deliver(asker, answer);
            }
            Err(error) => {
                log::error!("the statistics server lost its backend ({error}) and starts another");
                self.links.clear();
                self.backend = None;
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

    /// Closes clients whose time is over.
    fn expire(&mut self) {
        for slot in 0..self.clients.len() {
            let client = self.clients[slot].as_ref();
            if client.is_some_and(|client| client.deadline <= self.now) {
                self.close(slot);
            }
        }
    }

    /// Starts a backend where there is none.
    fn keep_backend(&mut self) {
        if self.backend.is_some() || self.now < self.backend_again {
            return;
        }
        match self.start_backend() {
            Ok((backend, links)) => {
                self.backend = Some(backend);
                self.links = links;
            }
            Err(error) => {
                let place = self.directory.display();
                log::error!("cannot start the statistics server's backend in {place}: {error}");
                self.backend_again = self.now + BACKEND_PAUSE;
            }
        }
    }

    fn start_backend(&self) -> io::Result<(Backend, Vec<Link>)> {
        let (backend, streams) = Backend::start(&self.sources, &self.directory)?;
        let mut links = Vec::new();
        for (number, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut link = Link::new(mio::net::UnixStream::from_std(stream));
            let both = Interest::READABLE | Interest::WRITABLE;
            let token = Token(FIRST_LINK + number);
            self.poll.registry().register(link.stream(), token, both)?;
            links.push(link);
        }
        Ok((backend, links))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // The backend's threads end with the links that they serve.
        self.links.clear();
    }
}

/// Whether a failed accept concerns that one client only.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
