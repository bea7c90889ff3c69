//! The proxy: workers, listeners, sessions and the relay between them.
//!
//! ```text
//! accept (acceptor) → key, route (opening) → connect (connecting, failover)
//!     → relay, close (established, relay)
//! ```
//!
//! [`Proxy`] is the handle of the rest of the program. Each `worker` runs its own event loop over
//! its own listeners; what workers share is in `shared`: the generation of the configuration, the
//! stick table behind its trait, and the process's bounds.

mod acceptor;
mod access;
mod arena;
mod client_rates;
mod clients;
mod connect;
mod connecting;
mod counters;
mod counting;
mod descriptors;
mod early_data;
mod ending;
mod enforce;
mod established;
mod failover;
mod generation;
mod held_total;
mod limits;
mod listener;
mod opening;
mod pipe;
mod proxy_header;
mod queue;
mod refusal;
mod relay;
mod routes;
mod session;
mod shared;
mod side;
mod statuses;
mod traffic;
mod transparent;
mod upstream;
mod view;
mod wheel;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use crossbeam_channel::Sender;
use mio::Waker;

use crate::clock::Clock;
use crate::config::{Config, KeyType};
use crate::groups::{GroupRegistry, HealthStatus, TargetState};
use crate::history::History;
use crate::sources::{SourceError, Sources};
use crate::stick::{Route, Sticks, Ticket};
use crate::sys;
use crate::watchdog::Pulses;

pub use descriptors::{Split, raise_limit};
pub use ending::End;
pub use generation::{Generation, HealthOf, Lookup};
pub use listener::ListenError;
pub use statuses::Statuses;
pub use traffic::{GroupTraffic, MAX_GROUPS, MAX_PORTS, OTHER_PORT, PortTraffic};
pub use transparent::TransparentError;
pub use view::{Totals, View};

use client_rates::ClientRates;
use clients::Clients;
use counters::Counters;
use held_total::HeldTotal;
use listener::BindOptions;
use queue::PlaceBoxes;
use shared::{Admission, Shared};
use traffic::Traffic;
use worker::{Order, Worker, WorkerHandle};

/// What the proxy needs besides its configuration.
pub struct Parts {
    /// Number of workers.
    pub workers: usize,
    /// What makes a key.
    pub key_type: KeyType,
    /// The stick table.
    pub sticks: Arc<dyn Sticks>,
    /// Counters of the groups, made for `workers`.
    pub registry: Arc<GroupRegistry>,
    /// The process's clock.
    pub clock: Clock,
    /// Told of targets that did not take a connection ([`TargetState::note_failed_connect`]).
    pub failed_targets: Sender<Arc<TargetState>>,
    /// Descriptors that the process may open ([`raise_limit`]).
    pub descriptor_limit: usize,
    /// Those of them that are the statistics server's.
    pub statistics_descriptors: usize,
    /// Where changes of the groups' statuses are noted.
    pub history: Arc<History>,
    /// Where the workers' loops are looked after.
    pub pulses: Pulses,
}

/// What the proxy needs of the health checks.
#[derive(Clone, Copy)]
pub struct Health<'a> {
    /// What they make of each group.
    pub of: HealthOf<'a>,
    /// Descriptors that they may have open at once.
    pub descriptors: usize,
}

/// The proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// It may not connect or listen as the configuration says.
    #[error(transparent)]
    Transparent(#[from] TransparentError),
    /// The system gave no event loop or thread.
    #[error("cannot start the workers: {0}")]
    Workers(#[from] io::Error),
    /// An address of `bind_source` cannot be connected from.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The descriptor limit leaves no room for a single connection.
    #[error(
        "{0}: none is left for connections; raise the limit (`ulimit -n`, LimitNOFILE=) or \
         listen on fewer ports"
    )]
    Descriptors(Split),
}

/// A configuration cannot be put in force; the one before stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// An address of `bind_source` cannot be connected from.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A listener could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// This process may not connect or listen so.
    #[error(transparent)]
    Transparent(#[from] TransparentError),
    /// With so many listeners no descriptors would be left for connections.
    #[error("{0}: none would be left for connections; listen on fewer ports")]
    Descriptors(Split),
}

/// A running proxy.
pub struct Proxy {
    shared: Arc<Shared>,
    statuses: Arc<Statuses>,
    registry: Arc<GroupRegistry>,
    handles: Vec<WorkerHandle>,
    threads: Vec<JoinHandle<()>>,
    descriptor_limit: usize,
    statistics_descriptors: usize,
    /// Descriptors that were open before the proxy opened its own.
    own_descriptors: usize,
}

/// Completes the tickets of connections that wait for the stick table.
#[derive(Clone)]
pub struct Completer {
    handles: Vec<WorkerHandle>,
}

impl Completer {
    /// Hands the answer to the connection that the ticket names; never waits for it.
    pub fn complete(&self, ticket: Ticket, route: Route) {
        if let Some(handle) = self.handles.get(ticket.worker as usize) {
            handle.complete(ticket, route);
        }
    }
}

/// What becomes of what operators have said of the groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    /// The configuration is the same.
    Kept,
    /// It is another one.
    Forgotten,
}

/// Sockets bound for a generation, one for each worker and address, not listening yet.
type Bound = BTreeMap<SocketAddr, Vec<OwnedFd>>;

impl Proxy {
    /// Binds every listener, starts the workers, and accepts.
    ///
    /// # Errors
    /// An address that cannot be bound, no descriptors or threads to be had, or a capability that
    /// is missing. Nothing is left behind then.
    pub fn start(
        config: Config,
        parts: Parts,
        health: Health<'_>,
        lookup: Lookup<'_>,
    ) -> Result<Proxy, StartError> {
        transparent::check(&config)?;
        let addresses = config.listen_addresses();
        let own_descriptors = descriptors::open_now();
        let split = Split::new(
            parts.descriptor_limit,
            addresses.len() * parts.workers,
            health.descriptors,
            parts.statistics_descriptors,
            own_descriptors,
        );
        if split.connections == 0 {
            return Err(StartError::Descriptors(split));
        }
        log::info!("{split}");
        Sources::of(&config).probe(config.freebind)?;
        let bound = bind(&addresses, &config, parts.workers, &[])?;
        for (address, sockets) in &bound {
            prepare(*address, sockets, &config)?;
        }
        let seats = (0..parts.workers)
            .map(|_| worker::seat())
            .collect::<io::Result<Vec<_>>>()?;
        let (handles, seats): (Vec<_>, Vec<_>) = seats.into_iter().unzip();
        let max_connections = max_connections(&config, split);
        let max_buffered = config.max_buffered_bytes;
        let generation = Generation::new(1, config, &parts.registry, health.of, lookup);
        let shared = Arc::new(Shared {
            generation: ArcSwap::from_pointee(generation),
            sticks: parts.sticks,
            key_type: parts.key_type,
            clock: parts.clock,
            buffered: HeldTotal::new(max_buffered),
            admission: Admission::new(max_connections, wakers_of(&handles)),
            clients: Clients::default(),
            client_rates: ClientRates::default(),
            places: PlaceBoxes::new(wakers_of(&handles)),
            open_listeners: AtomicUsize::new(0),
            ending_listeners: Mutex::default(),
            failed_targets: parts.failed_targets,
            counters: (0..parts.workers).map(|_| Counters::default()).collect(),
            traffic: Traffic::new(),
            is_accepting: AtomicBool::new(true),
            is_cutting: AtomicBool::new(false),
        });
        let statuses = Statuses::new(Arc::clone(&shared), handles.clone(), parts.history);
        let statuses = Arc::new(statuses);
        shared.set_bounds(&shared.generation.load());
        announce(&shared.generation.load(), None, &parts.registry, &statuses);
        let max_pipes = split.pipes / parts.workers;
        let mut threads = Vec::new();
        for (index, seat) in seats.into_iter().enumerate() {
            let worker = Arc::clone(&shared);
            let name = format!("worker-{index}");
            let handle = handles[index].clone();
            let pulse = parts.pulses.register(&*name, move |_| handle.wake());
            let run = move || Worker::new(index, seat, worker, max_pipes).run(&pulse);
            let thread = std::thread::Builder::new().name(name);
            threads.push(thread.spawn(run)?);
        }
        let proxy = Proxy {
            shared,
            statuses,
            registry: parts.registry,
            handles,
            threads,
            descriptor_limit: parts.descriptor_limit,
            statistics_descriptors: parts.statistics_descriptors,
            own_descriptors,
        };
        proxy.hand_out(bound);
        Ok(proxy)
    }

    /// Puts a new configuration in force: binds what is new, publishes, then opens and closes
    /// listeners. Open connections are cut only where the configuration says so.
    ///
    /// # Errors
    /// What speaks against it; the configuration in force stays.
    pub fn reload(
        &mut self,
        config: Config,
        health: Health<'_>,
        lookup: Lookup<'_>,
    ) -> Result<(), ReloadError> {
        transparent::check(&config)?;
        let old = self.shared.generation.load_full();
        let before = old.config.listen_addresses();
        let after = config.listen_addresses();
        // Whether an IPv6 socket takes IPv4 as well cannot be changed once it is bound.
        let turns = old.config.is_v6only() != config.is_v6only();
        let is_in = |list: &[SocketAddr], address: &SocketAddr| {
            list.contains(address) && !(turns && address.is_ipv6())
        };
        let new: Vec<SocketAddr> = after
            .iter()
            .copied()
            .filter(|address| !is_in(&before, address))
            .collect();
        let gone: Vec<SocketAddr> = before
            .iter()
            .copied()
            .filter(|address| !is_in(&after, address))
            .collect();
        let split = Split::new(
            self.descriptor_limit,
            after.len() * self.handles.len(),
            health.descriptors,
            self.statistics_descriptors,
            self.own_descriptors,
        );
        if split.connections == 0 {
            return Err(ReloadError::Descriptors(split));
        }
        let own = [before, self.shared.ending()].concat();
        if config.bind_source != old.config.bind_source {
            Sources::of(&config).probe(config.freebind)?;
        }
        let bound = bind(&new, &config, self.handles.len(), &own)?;
        for (address, sockets) in &bound {
            prepare(*address, sockets, &config)?;
        }
        let max_connections = max_connections(&config, split);
        let max_buffered = config.max_buffered_bytes;
        self.publish(&old, config, health.of, lookup, Words::Forgotten);
        self.shared.admission.set_max(max_connections);
        self.shared.buffered.set_max(max_buffered);
        self.end_listeners(&gone); // before new ones of the same address come
        self.hand_out(bound);
        for handle in &self.handles {
            handle.order(Order::NewGeneration);
        }
        Ok(())
    }

    /// Publishes the configuration in force once more, with host names looked up anew.
    pub fn refresh_targets(&mut self, lookup: Lookup<'_>) {
        let old = self.shared.generation.load_full();
        // The same configuration has the same groups.
        let health = |id| match old.groups.get(id) {
            Some(group) => Arc::clone(&group.health),
            None => Arc::new(HealthStatus::up()),
        };
        self.publish(&old, old.config.clone(), &health, lookup, Words::Kept);
        for handle in &self.handles {
            handle.order(Order::NewGeneration);
        }
    }

    /// Builds the generation after `old` and puts it in force by one pointer swap.
    fn publish(
        &self,
        old: &Generation,
        config: Config,
        health: HealthOf<'_>,
        lookup: Lookup<'_>,
        words: Words,
    ) {
        let number = old.number + 1;
        let mut generation = Generation::new(number, config, &self.registry, health, lookup);
        if words == Words::Kept {
            generation.groups.keep_words_of(&old.groups);
        }
        announce(&generation, Some(old), &self.registry, &self.statuses);
        let generation = Arc::new(generation);
        self.shared.set_bounds(&generation);
        self.shared.generation.store(Arc::clone(&generation));
        self.shared.lift_bounds(&generation, old);
        self.registry.forget_unused_targets();
    }

    /// For health checks: their way to make a change of status known.
    pub fn statuses(&self) -> Arc<Statuses> {
        Arc::clone(&self.statuses)
    }

    /// The generation in force.
    pub fn generation(&self) -> Arc<Generation> {
        self.shared.generation.load_full()
    }

    /// Ends all listeners; clients already queued are still served.
    pub fn stop_accepting(&self) {
        self.shared.is_accepting.store(false, Ordering::Relaxed);
        self.end_listeners(&self.shared.generation.load().config.listen_addresses());
    }

    /// Has every worker end its listeners of these addresses.
    fn end_listeners(&self, addresses: &[SocketAddr]) {
        if addresses.is_empty() {
            return;
        }
        for handle in &self.handles {
            // Noted before the order is given: the next reload must not take them for strangers'.
            self.shared.note_ending(addresses);
            handle.order(Order::EndListeners(addresses.to_vec()));
        }
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.shared.admission.connections()
    }

    /// Whether every listener is closed and every connection has ended.
    pub fn is_quiet(&self) -> bool {
        self.shared.open_listeners.load(Ordering::SeqCst) == 0 && self.connections() == 0
    }

    /// Resets all connections, for good.
    pub fn cut_all(&self, end: End) {
        self.shared.is_cutting.store(true, Ordering::SeqCst);
        for handle in &self.handles {
            handle.order(Order::CutAll(end));
        }
    }

    /// For whoever completes tickets.
    pub fn completer(&self) -> Completer {
        Completer {
            handles: self.handles.clone(),
        }
    }

    /// Ends the workers and waits for them.
    pub fn quit(mut self) {
        for handle in &self.handles {
            handle.order(Order::Quit);
        }
        for thread in self.threads.drain(..) {
            // A worker that panicked has ended the process already.
            let _ = thread.join();
        }
    }

    /// Gives each worker its sockets.
    fn hand_out(&self, bound: Bound) {
        let mut shares: Vec<Vec<(SocketAddr, OwnedFd)>> =
            self.handles.iter().map(|_| Vec::new()).collect();
        for (address, sockets) in bound {
            self.shared
                .open_listeners
                .fetch_add(sockets.len(), Ordering::SeqCst);
            for (share, socket) in shares.iter_mut().zip(sockets) {
                share.push((address, socket));
            }
        }
        for (handle, share) in self.handles.iter().zip(shares) {
            if !share.is_empty() {
                handle.order(Order::Adopt(share));
            }
        }
    }
}

fn wakers_of(handles: &[WorkerHandle]) -> Vec<Arc<Waker>> {
    handles.iter().map(WorkerHandle::waker).collect()
}

/// Binds `addresses`. What this process has already, at its `own` addresses, is shared with itself;
/// all else must be free.
fn bind(
    addresses: &[SocketAddr],
    config: &Config,
    workers: usize,
    own: &[SocketAddr],
) -> Result<Bound, ListenError> {
    let options = BindOptions {
        freebind: config.freebind,
        v6only: config.is_v6only(),
    };
    let bind = |&address: &SocketAddr| {
        let claim = !own.iter().any(|&own| overlap(own, address));
        Ok((
            address,
            listener::bind_all(address, workers, options, claim)?,
        ))
    };
    addresses.iter().map(bind).collect()
}

/// Whether two listeners may meet the same clients.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (any || one.ip() == other.ip())
}

/// Starts to listen: from here on clients queue.
fn prepare(address: SocketAddr, sockets: &[OwnedFd], config: &Config) -> Result<(), ListenError> {
    for socket in sockets {
        listener::set_keepalive(socket, config.tcp_keepalive)
            .map_err(|source| ListenError::Other { address, source })?;
        // Once bound: `freebind` alone says whether the address may be another host's.
        if config.transparent_listen {
            sys::set_transparent(socket, address.is_ipv6(), true)
                .map_err(|source| ListenError::Other { address, source })?;
        }
        listener::listen(socket, address, config.listen_backlog)?;
    }
    Ok(())
}

fn max_connections(config: &Config, split: Split) -> usize {
    match config.max_connections {
        Some(wanted) if wanted > split.connections => {
            log::warn!(
                "max_connections = {wanted} needs more file descriptors than there are; {} hold",
                split.connections
            );
            split.connections
        }
        Some(wanted) => wanted,
        None => split.connections,
    }
}

/// Says what a generation changes of the groups, and what the operator should know and does not yet.
fn announce(
    generation: &Generation,
    before: Option<&Generation>,
    registry: &GroupRegistry,
    statuses: &Statuses,
) {
    registry.forget_draining(|id| generation.groups.get(id).is_none());
    let told = before.map(Generation::warnings).unwrap_or_default();
    for warning in generation
        .warnings()
        .iter()
        .filter(|warning| !told.contains(warning))
    {
        log::warn!("{warning}");
    }
    statuses.review_all(generation);
}

#[cfg(test)]
#[path = "ticket_tests.rs"]
mod ticket_tests;

#[cfg(test)]
#[path = "view_tests.rs"]
mod view_tests;
