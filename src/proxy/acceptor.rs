//! A worker's listeners: accepting within a budget, pausing when something runs out, and ending
//! without losing a queued client.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use crate::canonical::canonical;
use crate::clock::Millis;
use crate::logging::RateLimit;
use crate::sys;

use super::arena::Subject;
use super::early_data::EarlyData;
use super::generation::LocalGeneration;
use super::listener;
use super::worker::{Ready, Worker};

/// Connections accepted from one listener in one turn.
const TURN_ACCEPTS: usize = 64;
/// How long accepting pauses when descriptors or memory run out.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an ending listener waits for handshakes under way.
const ENDING_LINGER: Duration = Duration::from_secs(1);

static PAUSED: RateLimit = RateLimit::new();
static AT_MAX: RateLimit = RateLimit::new();
static ACCEPT_FAILED: RateLimit = RateLimit::new();

/// The listeners of one worker.
#[derive(Debug, Default)]
pub struct Acceptor {
    listeners: Vec<Option<Listener>>,
    /// Nothing is accepted before this time.
    paused_until: Option<Millis>,
}

#[derive(Debug)]
struct Listener {
    socket: OwnedFd,
    address: SocketAddr,
    /// Clients may be queued.
    is_readable: bool,
    /// It is in the ready list.
    is_queued: bool,
    /// Whether the first bytes tend to be there when a client is accepted.
    early: EarlyData,
    /// It is ending: when it may close, once its queue is empty.
    closes_at: Option<Millis>,
    /// The latest generation that listens here. Clients still queued when the port closes are
    /// routed by it: the groups of the next one have no targets for the port.
    generation: Rc<LocalGeneration>,
}

impl Acceptor {
    /// When the acceptor has something to do without an event.
    pub fn next_moment(&self) -> Option<Millis> {
        let closing = self
            .listeners
            .iter()
            .flatten()
            .filter(|listener| !listener.is_readable);
        closing
            .filter_map(|listener| listener.closes_at)
            .chain(self.paused_until)
            .min()
    }
}

impl Worker {
    pub(super) fn adopt(&mut self, listeners: Vec<(SocketAddr, OwnedFd)>) {
        self.refresh_generation();
        for (address, socket) in listeners {
            let free = self.acceptor.listeners.iter().position(Option::is_none);
            let index = free.unwrap_or(self.acceptor.listeners.len());
            let token = Subject::Listener(index as u32).token();
            let fd = socket.as_raw_fd();
            self.poll
                .registry()
                .register(&mut SourceFd(&fd), token, Interest::READABLE)
                .unwrap_or_else(|error| panic!("watching the listener of {address}: {error}"));
            let listener = Listener {
                socket,
                address,
                is_readable: true,
                is_queued: false,
                early: EarlyData::new(),
                closes_at: None,
                generation: Rc::clone(&self.generation),
            };
            match free {
                Some(free) => self.acceptor.listeners[free] = Some(listener),
                None => self.acceptor.listeners.push(Some(listener)),
            }
            self.queue_listener(index as u32);
        }
    }

    /// Brings the sockets of listeners that stay in line with a new generation.
    pub(super) fn update_listeners(&mut self) {
        let config = &self.generation.config;
        for listener in self.acceptor.listeners.iter_mut().flatten() {
            if listener.closes_at.is_some() {
                continue;
            }
            if self.generation.listens_on(listener.address.port()) {
                listener.generation = Rc::clone(&self.generation);
            }
            if let Err(error) =
                listener::listen(&listener.socket, listener.address, config.listen_backlog)
            {
                log::error!("{error}");
            }
            if let Err(error) = listener::set_keepalive(&listener.socket, config.tcp_keepalive) {
                log::error!("setting keep-alive for {}: {error}", listener.address);
            }
            let is_ipv6 = listener.address.is_ipv6();
            let wanted = config.transparent_listen;
            if let Err(error) = sys::set_transparent(&listener.socket, is_ipv6, wanted) {
                log::error!("transparent_listen for {}: {error}", listener.address);
            }
        }
    }

    pub(super) fn end_listeners(&mut self, addresses: &[SocketAddr]) {
        for index in 0..self.acceptor.listeners.len() {
            let Some(listener) = &mut self.acceptor.listeners[index] else {
                continue;
            };
            if !addresses.contains(&listener.address) || listener.closes_at.is_some() {
                continue;
            }
            if let Err(error) = listener::refuse_new_handshakes(&listener.socket) {
                log::warn!("ending the listener of {}: {error}", listener.address);
            }
            listener.closes_at = Some(self.now + ENDING_LINGER);
            listener.is_readable = true;
            self.queue_listener(index as u32);
        }
    }

    pub(super) fn listener_event(&mut self, index: u32) {
        if let Some(Some(listener)) = self.acceptor.listeners.get_mut(index as usize) {
            listener.is_readable = true;
            self.listener_turn(index);
        }
    }

    /// A listener's turn has come.
    pub(super) fn queued_listener_turn(&mut self, index: u32) {
        if let Some(Some(listener)) = self.acceptor.listeners.get_mut(index as usize) {
            listener.is_queued = false;
            self.listener_turn(index);
        }
    }

    /// Room has appeared, or a pause is over: everybody with queued clients gets a turn.
    pub(super) fn resume_accepting(&mut self) {
        for index in 0..self.acceptor.listeners.len() {
            if self.acceptor.listeners[index]
                .as_ref()
                .is_some_and(|listener| listener.is_readable)
            {
                self.queue_listener(index as u32);
            }
        }
    }

    /// Ends pauses and closes listeners whose time has come.
    pub(super) fn tend_listeners(&mut self) {
        if self
            .acceptor
            .paused_until
            .is_some_and(|until| until <= self.now)
        {
            self.acceptor.paused_until = None;
            self.resume_accepting();
        }
        for index in 0..self.acceptor.listeners.len() {
            let due = self.acceptor.listeners[index]
                .as_ref()
                .is_some_and(|listener| {
                    !listener.is_readable && listener.closes_at.is_some_and(|at| at <= self.now)
                });
            if due {
                self.close_listener(index);
            }
        }
    }

    /// Closes an ending listener, after one more look at its queue.
    fn close_listener(&mut self, index: usize) {
        self.accept_some(index);
        let Some(listener) = &mut self.acceptor.listeners[index] else {
            return;
        };
        if listener.is_readable {
            self.queue_listener(index as u32);
            return;
        }
        let address = listener.address;
        log::debug!("listener of {address} closed");
        self.acceptor.listeners[index] = None;
        self.shared.note_closed(address);
    }

    fn queue_listener(&mut self, index: u32) {
        if let Some(Some(listener)) = self.acceptor.listeners.get_mut(index as usize)
            && !std::mem::replace(&mut listener.is_queued, true)
        {
            self.ready.push_back(Ready::Listener(index));
        }
    }

    pub(super) fn listener_turn(&mut self, index: u32) {
        if self.accept_some(index as usize) {
            self.queue_listener(index);
        }
    }

    /// Accepts within the budget of one turn; true where the budget ended it.
    fn accept_some(&mut self, index: usize) -> bool {
        for _ in 0..TURN_ACCEPTS {
            if self.acceptor.paused_until.is_some() {
                return false;
            }
            if !self.shared.admission.enter(self.index) {
                self.note_at_max();
                return false;
            }
            let Some(listener) = &mut self.acceptor.listeners[index] else {
                return false;
            };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match acceptfrom_with(&listener.socket, flags) {
                Ok((socket, Some(peer))) => {
                    let port = listener.address.port();
                    let generation = Rc::clone(&listener.generation);
                    let mut early = listener.early;
                    let reads = early.is_expected();
                    let peer = SocketAddr::try_from(peer).expect("TCP peers have IP addresses");
                    let peer = canonical(peer);
                    if listener.closes_at.is_some()
                        && let Err(error) = listener::release_from_refusal(&socket)
                    {
                        log::warn!("a client of {}, which ends: {error}", listener.address);
                    }
                    if let Some(was_there) =
                        self.start_session(socket, peer, port, generation, reads)
                    {
                        early.learn(was_there);
                    }
                    if let Some(Some(listener)) = self.acceptor.listeners.get_mut(index) {
                        listener.early = early;
                    }
                }
                Ok((_, None)) => self.shared.admission.leave(),
                Err(error) => {
                    self.shared.admission.leave();
                    if !self.accept_failed(index, error) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Judges a failed accept; true where the next one may do better.
    fn accept_failed(&mut self, index: usize, error: Errno) -> bool {
        match error {
            Errno::AGAIN => {
                if let Some(listener) = &mut self.acceptor.listeners[index] {
                    listener.is_readable = false;
                }
                false
            }
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => {
                self.acceptor.paused_until = Some(self.now + PAUSE);
                self.counters().accept_pauses.add(1);
                if let Some(left_out) = PAUSED.admit(self.now) {
                    log::error!(
                        "accepting pauses for {} ms: {error}; new clients wait in the \
                         backlog{left_out}",
                        PAUSE.as_millis()
                    );
                }
                false
            }
            // The client has gone again, or the network has passed on an error of its own
            // (accept(2) lists them): nothing is wrong with the listener.
            _ => {
                if let Some(left_out) = ACCEPT_FAILED.admit(self.now) {
                    log::debug!("a client was gone before it was accepted: {error}{left_out}");
                }
                true
            }
        }
    }

    fn note_at_max(&self) {
        if let Some(left_out) = AT_MAX.admit(self.now) {
            log::warn!(
                "max_connections ({}) reached; new clients wait in the backlog{left_out}",
                self.shared.admission.max()
            );
        }
    }
}
