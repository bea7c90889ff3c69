//! The running process as a whole: starts the parts in order, answers reloads and stops.
//!
//! One thread, one queue of [`Event`]s. A reload either puts the new file in force as a whole or
//! changes nothing and says why. The service manager is told of every step.

mod reload; // another configuration
mod stop; // the end in order

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::clock::Clock;
use crate::cluster::{self, Cluster};
use crate::config::{self, Config, Environment, TargetAddr};
use crate::control::{Informant, Reply};
use crate::events::Event;
use crate::groups::GroupRegistry;
use crate::health::{self, Health};
use crate::history::{History, Kind};
use crate::operator::{self, Order};
use crate::proxy::{self, Parts, Proxy};
use crate::resolve::Names;
use crate::service::{STEP_LIMIT, Service};
use crate::state_file::{LockError, PathLock, lock_path};
use crate::stats::{self, Sources};
use crate::stick::save::{self, Keeper, KeyShape};
use crate::stick::{self, Book, Table};
use crate::watchdog::{Pulse, Pulses, Watchdog};

pub use stop::EXIT_CONNECTIONS_CUT;

/// How long the start and a reload wait for first answers about host names.
const FIRST_LOOKUPS: Duration = Duration::from_secs(3);
/// The longest that one event may keep the supervisor: a reload waits 3 s for look-ups, an operator's
/// word 2 s for the cluster and the removal of a stick 16 s, an order to form one 5 s for each answer
/// of a Raft group.
const EVENT_LIMIT: Duration = Duration::from_secs(60);

/// What a start needs.
pub struct Start {
    /// The configuration, as read.
    pub config: Config,
    /// The environment it was read with.
    pub environment: Environment,
    /// Where reloads read it from; `None`: it is built in and cannot be reloaded.
    pub config_path: Option<PathBuf>,
    /// For parts that report to the supervisor.
    pub events: Sender<Event>,
    /// Who is told how the start, and everything after it, comes along.
    pub service: Service,
}

/// The proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Listeners, workers or descriptors.
    #[error(transparent)]
    Proxy(#[from] proxy::StartError),
    /// Another process uses the stick table's files, or they cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The stick table's files cannot be read.
    #[error(transparent)]
    Load(#[from] save::LoadError),
    /// The health checks.
    #[error(transparent)]
    Health(#[from] health::StartError),
    /// The stick table cannot be kept.
    #[error(transparent)]
    Keeper(#[from] save::StartError),
    /// The statistics server's socket.
    #[error(transparent)]
    Statistics(#[from] stats::ListenError),
    /// The node of a cluster.
    #[error(transparent)]
    Cluster(#[from] cluster::StartError),
    /// The system gave no event loop or thread for statistics.
    #[error("cannot start the statistics server: {0}")]
    StatisticsThread(#[source] io::Error),
    /// The system gave no thread for the watchdog.
    #[error("cannot start the thread that feeds the service manager's watchdog: {0}")]
    Watchdog(#[source] io::Error),
}

/// A running tcpffee.
pub struct Supervisor {
    proxy: Proxy,
    health: Health,
    sticking: Sticking,
    clock: Clock,
    /// Held until everything is saved.
    path_lock: PathLock,
    names: Arc<Names>,
    /// A name has another address, and targets do not follow it yet.
    names_changed: Arc<AtomicBool>,
    history: Arc<History>,
    sources: Arc<Sources>,
    /// Goes on to the very end.
    statistics: stats::Server,
    environment: Environment,
    config_path: Option<PathBuf>,
    service: Service,
    /// What is said when clients are let in.
    ready: String,
    pulse: Pulse,
    /// Rung to see whether this turns.
    bell: Receiver<()>,
    /// Asks until the very end.
    watchdog: Watchdog,
}

/// Who decides which key belongs to which group.
enum Sticking {
    /// This node alone.
    Lone { table: Arc<Table>, keeper: Keeper },
    /// The cluster.
    Agreed(Box<Cluster>),
}

impl Supervisor {
    /// Restores the stick table, opens the listeners, and lets clients in.
    ///
    /// # Errors
    /// Whatever keeps it from starting; nothing is left behind.
    pub fn start(start: Start) -> Result<Supervisor, StartError> {
        let Start {
            config,
            environment,
            config_path,
            events,
            service,
        } = start;
        let progress = service.extend(STEP_LIMIT);
        let pulses = Pulses::default();
        let clock = Clock::start();
        let history = Arc::new(History::default());
        let workers = config.workers.unwrap_or_else(available_cpus);
        let registry = Arc::new(GroupRegistry::new(workers));
        let names_changed = Arc::new(AtomicBool::new(false));
        let changed = Arc::clone(&names_changed);
        let names = Arc::new(Names::new(Box::new(move |_| {
            changed.store(true, Ordering::SeqCst);
            // With the queue full the note is found after the event that is being handled.
            let _ = events.try_send(Event::NamesChanged);
        })));
        progress.step("starting: looking up host names");
        look_up_names(&names, &config);
        let shape = KeyShape {
            key_type: environment.key_type,
            ipv6_prefix: config.key_ipv6_prefix,
        };
        let path = environment.stick_table_save_path.clone();
        let path_lock = lock_path(&path)?;
        progress.step("starting: restoring the stick table");
        let restored = save::load(&path, &shape, SystemTime::now())?;
        let alone = config.peers.is_empty();
        let mut sticking = match alone {
            true => {
                let table = Table::new(table_settings(&config), Arc::clone(&registry));
                let table = Arc::new(table);
                let count = table.restore(restored.entries, clock.now());
                log::info!("{count} stick entries restored from {}", path.display());
                let interval = config.stick_table_save_interval;
                // Before the first client: from then on the journal knows every stick.
                let keeper =
                    Keeper::start(Arc::clone(&table), &path, shape, interval, clock, &pulses)?;
                Sticking::Lone { table, keeper }
            }
            false => Sticking::Agreed(Box::new(Cluster::start(cluster::Parts {
                config: &config,
                environment: &environment,
                registry: Arc::clone(&registry),
                names: Arc::clone(&names),
                history: Arc::clone(&history),
                lone: restored.entries,
                lone_path: path.clone(),
                pulses: pulses.clone(),
            })?)),
        };
        progress.step("starting: opening listeners");
        let prepared = health::Prepared::new(&config, &environment.healthcheck_save_path)?;
        let (failed_sender, failed_targets) = bounded(health::QUEUE_FAILED_TARGETS);
        let descriptor_limit = proxy::raise_limit();
        let parts = Parts {
            workers,
            key_type: environment.key_type,
            sticks: sticking.sticks(),
            registry,
            clock,
            failed_targets: failed_sender,
            descriptor_limit,
            statistics_descriptors: stats::descriptors(descriptor_limit),
            history: Arc::clone(&history),
            pulses: pulses.clone(),
        };
        let ready = ready_line(&config, workers, &sticking);
        let statistics_listener = stats::listen(config.stats_bind_socket)?;
        let plan = prepared.plan();
        let checks = proxy::Health {
            of: &|id| plan.status(id),
            descriptors: health::descriptors(plan, descriptor_limit),
        };
        let proxy = Proxy::start(config, parts, checks, &|host| answer(&names, host))?;
        let statuses = proxy.statuses();
        let health = prepared.start(health::Outside {
            names: Arc::clone(&names),
            clock,
            on_status: Box::new(move |group, because, level| {
                statuses.review(group, because, level);
            }),
            failed_targets,
            descriptor_limit,
            council: sticking.council(),
            pulses: pulses.clone(),
        })?;
        if let Sticking::Agreed(cluster) = &mut sticking {
            let (completer, view) = (proxy.completer(), proxy.view());
            let (verdicts, checks) = (health.view(), cluster.checks_lease());
            // Without a lease of the checks' log it is not known here what the cluster has found.
            let verdicts = Box::new(move || {
                let lease = checks.until(tcpffee_raft::driver::boot_time());
                lease.map(|_| verdicts.statuses())
            });
            cluster.connect(completer, view, proxy.statuses(), verdicts)?;
        }
        let sources = Arc::new(Sources::new(stats::Parts {
            clock,
            key_type: environment.key_type,
            config_path: config_path.clone(),
            proxy: proxy.view(),
            health: health.view(),
            table: sticking.book(),
            saves: sticking.saves(),
            history: Arc::clone(&history),
            cluster: sticking.observed(),
        }));
        let statistics = stats::Server::start(
            statistics_listener,
            stats::descriptors(descriptor_limit),
            run_directory(&environment),
            Arc::clone(&sources),
            &pulses,
        )
        .map_err(StartError::StatisticsThread)?;
        let (pulse, bell) = pulses.register_bell("supervisor");
        let watchdog = Watchdog::start(&service, &pulses).map_err(StartError::Watchdog)?;
        drop(progress);
        log::info!("{ready}");
        history.note(Kind::Process, false, &*ready);
        Ok(Supervisor {
            proxy,
            health,
            sticking,
            clock,
            path_lock,
            names,
            names_changed,
            history,
            sources,
            statistics,
            environment,
            config_path,
            service,
            ready,
            pulse,
            bell,
            watchdog,
        })
    }

    /// Tells how things stand, to the end and whatever the supervisor is busy with.
    pub fn informant(&self) -> Arc<dyn Informant> {
        Arc::clone(&self.sources) as Arc<dyn Informant>
    }

    /// Says that it is ready, and answers events until told to stop; the exit code tells how it
    /// ended. Whatever else is to answer does by now.
    pub fn run(mut self, events: &Receiver<Event>) -> u8 {
        self.service.ready(&self.ready);
        loop {
            self.pulse.beat();
            if self.names_changed.swap(false, Ordering::SeqCst) {
                self.refresh_targets();
            }
            let event = select! {
                recv(events) -> event => event,
                recv(self.bell) -> _ => continue,
            };
            let busy = self.pulse.excuse(EVENT_LIMIT);
            match event {
                Ok(Event::Reload(reply)) => self.reload(reply),
                Ok(Event::NamesChanged) => {} // looked at above
                Ok(Event::Operator { order, reply }) => self.operate(&order, reply),
                Ok(Event::ClusterForm { yes, reply }) => self.form_cluster(yes, reply),
                Ok(Event::Stop(reply)) => {
                    drop(busy);
                    return self.stop(reply, events);
                }
                Err(_) => {
                    drop(busy);
                    return self.stop(None, events);
                }
            }
        }
    }

    fn refresh_targets(&mut self) {
        let names = Arc::clone(&self.names);
        self.proxy.refresh_targets(&|host| answer(&names, host));
        if let Sticking::Agreed(cluster) = &self.sticking {
            cluster.look_again(&self.proxy.generation().config);
        }
    }

    fn form_cluster(&mut self, yes: bool, reply: Reply) {
        match &mut self.sticking {
            Sticking::Lone { .. } => cluster::form(&mut [], yes, reply),
            Sticking::Agreed(cluster) => {
                let generation = self.proxy.generation();
                cluster.operate(&generation.config, |groups| {
                    cluster::form(groups, yes, reply)
                });
            }
        }
    }

    fn operate(&self, order: &Order, reply: Reply) {
        let done = match order {
            Order::SetStatus { group, status } => {
                operator::set_status(&self.proxy, group, *status, || {
                    if let Sticking::Agreed(cluster) = &self.sticking {
                        cluster.await_word(&self.proxy.generation());
                    }
                })
            }
            Order::RemoveStick { key } => {
                let generation = self.proxy.generation();
                let book = self.sticking.book();
                operator::remove_stick(&generation, key, |key| match &self.sticking {
                    Sticking::Lone { table, .. } => {
                        Ok(table.remove(key.as_ref(), self.clock.now()))
                    }
                    Sticking::Agreed(cluster) => {
                        let found = book.get(key.as_ref(), self.clock.now());
                        match found.filter(|_| cluster.has(&key)) {
                            Some(found) => cluster.remove(key).map(|()| Some(found)),
                            None => Ok(None),
                        }
                    }
                })
            }
        };
        match done {
            Ok(done) => {
                let text = format!("{order}: {}", done.text);
                self.history.note(Kind::Operator, false, text);
                reply.done(done.text, done.lines);
            }
            Err(text) => reply.failed(text, Vec::new()),
        }
    }
}

impl Sticking {
    fn sticks(&self) -> Arc<dyn stick::Sticks> {
        match self {
            Sticking::Lone { table, .. } => Arc::clone(table) as Arc<dyn stick::Sticks>,
            Sticking::Agreed(cluster) => cluster.node(),
        }
    }

    fn council(&self) -> Option<health::replicated::Council> {
        match self {
            Sticking::Lone { .. } => None,
            Sticking::Agreed(cluster) => Some(cluster.council()),
        }
    }

    fn book(&self) -> Book {
        match self {
            Sticking::Lone { table, .. } => Book::Lone(Arc::clone(table)),
            Sticking::Agreed(cluster) => Book::Agreed(cluster.node()),
        }
    }

    fn saves(&self) -> Option<save::Watch> {
        match self {
            Sticking::Lone { keeper, .. } => Some(keeper.watch()),
            Sticking::Agreed(_) => None,
        }
    }

    fn observed(&self) -> Option<cluster::ObservedCluster> {
        match self {
            Sticking::Lone { .. } => None,
            Sticking::Agreed(cluster) => Some(cluster.observed()),
        }
    }

    /// What speaks against another configuration.
    fn check(&self, old: &Config, new: &Config) -> Result<(), Vec<String>> {
        let refused = match (self, new.peers.is_empty()) {
            (Sticking::Lone { .. }, true) => return Ok(()),
            (Sticking::Lone { .. }, false) => {
                "peers: a node that runs alone joins a cluster by a restart; its sticks come along"
                    .to_owned()
            }
            (Sticking::Agreed(_), true) if old.peers.len() > 1 => {
                "peers: this node belongs to a cluster with other members; have them leave it out of \
                 their [[peers]] first, then restart it to run alone"
                    .to_owned()
            }
            (Sticking::Agreed(_), true) => {
                "peers: a node leaves its cluster, to run alone, by a restart".to_owned()
            }
            (Sticking::Agreed(cluster), false) => match cluster.check(new) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
        };
        Err(vec![refused])
    }

    /// Another configuration is in force.
    fn adopt(&mut self, new: &Config) {
        match self {
            Sticking::Lone { table, keeper } => {
                table.apply(table_settings(new));
                keeper.set_save_interval(new.stick_table_save_interval);
            }
            Sticking::Agreed(cluster) => cluster.adopt(new),
        }
    }

    fn stop(self) -> Result<(), save::StopError> {
        match self {
            Sticking::Lone { keeper, .. } => keeper.stop(),
            Sticking::Agreed(cluster) => {
                cluster.stop();
                Ok(())
            }
        }
    }
}

/// Where the process may make short-lived files: beside its PID file.
fn run_directory(environment: &Environment) -> PathBuf {
    let directory = environment.pid_path().parent().map(Path::to_owned);
    directory.unwrap_or_else(std::env::temp_dir)
}

fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn table_settings(config: &Config) -> stick::Settings {
    stick::Settings {
        expiration: config.expiration,
        max_entries: config.stick_table_max_entries,
        full: config.stick_table_full,
        balance: config.balance,
    }
}

fn host_names(config: &Config) -> BTreeSet<String> {
    let targets = config
        .groups
        .iter()
        .flat_map(|group| group.targets.values());
    let of_targets = targets.filter_map(|target| match target {
        TargetAddr::Name { host, .. } => Some(host.clone()),
        TargetAddr::Socket(_) | TargetAddr::Unix(_) => None,
    });
    of_targets.chain(cluster::host_names(config)).collect()
}

/// Has every name of a configuration looked up, and waits a moment for the first answers.
fn look_up_names(names: &Names, config: &Config) {
    let hosts = host_names(config);
    if hosts.is_empty() {
        return;
    }
    for host in &hosts {
        if let Err(error) = names.get(host) {
            log::error!("cannot look up {host}: {error}");
        }
    }
    for host in names.resolve_first(FIRST_LOOKUPS) {
        log::warn!("{host} is not resolved; targets that name it are left out until it is");
    }
}

fn answer(names: &Names, host: &str) -> Vec<IpAddr> {
    let name = names.get(host).ok();
    name.map(|name| name.addresses()).unwrap_or_default()
}

/// The line that says that clients are let in.
fn ready_line(config: &Config, workers: usize, sticking: &Sticking) -> String {
    let addresses: Vec<String> = config.bind_addrs.iter().map(ToString::to_string).collect();
    let groups: Vec<String> = config
        .groups
        .iter()
        .map(|group| match &group.name {
            Some(name) => format!("{} ({name})", group.id),
            None => group.id.to_string(),
        })
        .collect();
    format!(
        "tcpffee {} ready: node {}, {} workers, listening on {} ports {}, groups {}",
        env!("CARGO_PKG_VERSION"),
        match sticking {
            Sticking::Lone { .. } => node_name(),
            Sticking::Agreed(cluster) => {
                format!("{} of a cluster of {}", cluster.id(), config.peers.len())
            }
        },
        workers,
        addresses.join(", "),
        config::show_ports(config.ports.iter().copied()),
        groups.join(", "),
    )
}

/// The host's name: what a lone node is called.
fn node_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
