//! The running process as a whole: starts the parts in order, answers reloads and stops.
//!
//! One thread, one queue of [`Event`]s. A reload either puts the new file in force as a whole or
//! changes nothing and says why.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::clock::Clock;
use crate::cluster::{self, Cluster};
use crate::config::{self, Config, Environment, TargetAddr};
use crate::control::{self, Informant, Reply};
use crate::counted::counted;
use crate::events::Event;
use crate::groups::GroupRegistry;
use crate::health::{self, Health};
use crate::history::{History, Kind};
use crate::operator::{self, Order};
use crate::proxy::{self, End, Parts, Proxy};
use crate::resolve::Names;
use crate::state_file::{LockError, PathLock, lock_path};
use crate::stats::{self, Sources};
use crate::stick::save::{self, Keeper, KeyShape};
use crate::stick::{self, Book, Table};

/// How long the start and a reload wait for first answers about host names.
const FIRST_LOOKUPS: Duration = Duration::from_secs(3);
/// Between looks whether everything has ended, while stopping.
const STOP_POLL: Duration = Duration::from_millis(20);
/// How long workers get to close what was cut.
const CUT_PATIENCE: Duration = Duration::from_secs(2);
/// The exit code of `tcpffee stop` when connections were cut.
pub const EXIT_CONNECTIONS_CUT: u8 = 5;

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
        } = start;
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
        look_up_names(&names, &config);
        let shape = KeyShape {
            key_type: environment.key_type,
            ipv6_prefix: config.key_ipv6_prefix,
        };
        let path = environment.stick_table_save_path.clone();
        let path_lock = lock_path(&path)?;
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
                let keeper = Keeper::start(Arc::clone(&table), &path, shape, interval, clock)?;
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
            })?)),
        };
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
        )
        .map_err(StartError::StatisticsThread)?;
        log::info!("{ready}");
        history.note(Kind::Process, false, ready);
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
        })
    }

    /// Tells how things stand, to the end and whatever the supervisor is busy with.
    pub fn informant(&self) -> Arc<dyn Informant> {
        Arc::clone(&self.sources) as Arc<dyn Informant>
    }

    /// Answers events until told to stop; returns how many connections were cut at the end.
    pub fn run(mut self, events: &Receiver<Event>) -> u64 {
        loop {
            if self.names_changed.swap(false, Ordering::SeqCst) {
                self.refresh_targets();
            }
            match events.recv() {
                Ok(Event::Reload(reply)) => self.reload(reply),
                Ok(Event::NamesChanged) => {} // looked at above
                Ok(Event::Operator { order, reply }) => self.operate(&order, reply),
                Ok(Event::ClusterForm { yes, reply }) => self.form_cluster(yes, reply),
                Ok(Event::Stop(reply)) => return self.stop(reply, events),
                Err(_) => return self.stop(None, events),
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

    fn reload(&mut self, reply: Option<Reply>) {
        let said = operator::words(&self.proxy.generation().groups);
        match self.try_reload() {
            Ok(mut changes) => {
                let number = self.proxy.generation().number;
                let summary = match changes.len() {
                    0 => "configuration read again: nothing has changed".to_owned(),
                    count => {
                        format!(
                            "configuration reloaded: {}, generation {number}",
                            counted(count as u64, "change")
                        )
                    }
                };
                self.sources.note_reload(Ok(&changes));
                changes.extend(said);
                log::info!("{summary}");
                self.note_reload(false, &summary, &changes);
                for change in &changes {
                    log::info!("  {change}");
                }
                if let Some(reply) = reply {
                    reply.done(summary, changes);
                }
            }
            Err(reasons) => {
                // Names that only the refused file has are not looked up any more.
                self.names
                    .retain(&host_names(&self.proxy.generation().config));
                let summary = "reload refused; the running configuration stays as it is";
                log::error!("{summary}");
                self.sources.note_reload(Err(&reasons));
                self.note_reload(true, summary, &reasons);
                for reason in &reasons {
                    log::error!("  {reason}");
                }
                if let Some(reply) = reply {
                    reply.failed(summary, reasons);
                }
            }
        }
    }

    fn note_reload(&self, is_refused: bool, summary: &str, lines: &[String]) {
        let text = match lines {
            [] => summary.to_owned(),
            lines => format!("{summary}: {}", lines.join("; ")),
        };
        self.history.note(Kind::Reload, is_refused, text);
    }

    /// Reads and applies the file; the lines say what changed, or all that speaks against it.
    fn try_reload(&mut self) -> Result<Vec<String>, Vec<String>> {
        let Some(path) = &self.config_path else {
            return Err(vec![
                "the configuration is built in; there is no file to read".to_owned(),
            ]);
        };
        let loaded = config::read(path, &self.environment)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        // The environment's warnings were told at the start.
        for warning in &loaded.warnings {
            if !self.environment.warnings.contains(warning) {
                log::warn!("{warning}");
            }
        }
        let new = loaded.config;
        let changes = config::diff(&self.proxy.generation().config, &new);
        if !changes.needs_restart.is_empty() {
            let say = |change| format!("{change}: needs a restart");
            return Err(changes.needs_restart.iter().map(say).collect());
        }
        let lines: Vec<String> = changes.changed.iter().map(ToString::to_string).collect();
        self.sticking.check(&self.proxy.generation().config, &new)?;
        if lines.is_empty() {
            operator::forget_words(&self.proxy);
            // The secret's file may say something else.
            self.sticking.adopt(&new);
            return Ok(lines);
        }
        look_up_names(&self.names, &new);
        let names = Arc::clone(&self.names);
        let in_force = new.clone();
        let used = host_names(&new);
        let change = self.health.change_to(&new);
        let checks = proxy::Health {
            of: &|id| change.plan().status(id),
            descriptors: change.descriptors(),
        };
        self.proxy
            .reload(new, checks, &|host| answer(&names, host))
            .map_err(|error| vec![error.to_string()])?;
        change.adopt();
        self.sticking.adopt(&in_force);
        self.names.retain(&used);
        Ok(lines)
    }

    /// Ends in order: no new clients, `shutdown_grace` for open connections, the table saved.
    fn stop(self, reply: Option<Reply>, events: &Receiver<Event>) -> u64 {
        let grace = self.proxy.generation().config.shutdown_grace;
        self.proxy.stop_accepting();
        let open = counted(self.proxy.connections() as u64, "open connection");
        let text = format!(
            "stopping: up to {} s for {open}; a second signal ends at once",
            grace.as_secs_f64()
        );
        log::info!("{text}");
        self.history.note(Kind::Process, false, &*text);
        let mut replies: Vec<Reply> = reply.into_iter().collect();
        for reply in &replies {
            reply.progress(text.clone());
        }
        let is_quiet = self.await_quiet(grace, events, &mut replies);
        let before = self.proxy.view().ended(End::Shutdown);
        if !is_quiet {
            self.proxy.cut_all(End::Shutdown);
            self.await_closed();
        }
        let cut = self.proxy.view().ended(End::Shutdown) - before;
        self.log_totals();
        let states_saved = self.health.stop();
        self.proxy.quit();
        let table_saved = self.sticking.stop();
        drop(self.path_lock);
        drop(self.statistics);
        let mut text = match cut {
            0 => "stopped: every connection had ended".to_owned(),
            cut => format!("stopped: {} cut", counted(cut, "connection")),
        };
        log::info!("{text}");
        let mut exit = if cut == 0 { 0 } else { EXIT_CONNECTIONS_CUT };
        let failures = [
            table_saved.err().map(|error| error.to_string()),
            states_saved.err().map(|error| error.to_string()),
        ];
        for error in failures.into_iter().flatten() {
            log::error!("{error}");
            text = format!("{text}; {error}");
            exit = control::EXIT_FAILED;
        }
        for reply in replies {
            reply.done_but(exit, text.clone(), Vec::new());
        }
        cut
    }

    /// Waits until nothing is open; false where the time was over, or a signal to stop came, first.
    /// Who asks to stop meanwhile is added to `replies`.
    fn await_quiet(
        &self,
        grace: Duration,
        events: &Receiver<Event>,
        replies: &mut Vec<Reply>,
    ) -> bool {
        let deadline = Instant::now() + grace;
        while !self.proxy.is_quiet() {
            if Instant::now() >= deadline {
                return false;
            }
            match events.recv_timeout(STOP_POLL) {
                // Who asks by command waits with the first; only a signal is impatience.
                Ok(Event::Stop(Some(reply))) => replies.push(reply),
                Ok(Event::Stop(None)) => {
                    log::warn!("told to stop a second time: ending at once");
                    return false;
                }
                Ok(
                    Event::Reload(Some(reply))
                    | Event::ClusterForm { reply, .. }
                    | Event::Operator { reply, .. },
                ) => {
                    reply.failed("the process is stopping", Vec::new());
                }
                Ok(Event::Reload(None) | Event::NamesChanged) => {}
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(STOP_POLL),
            }
        }
        true
    }

    fn await_closed(&self) {
        let deadline = Instant::now() + CUT_PATIENCE;
        while self.proxy.connections() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn log_totals(&self) {
        let view = self.proxy.view();
        let totals = view.totals();
        let ends: Vec<String> = End::ALL
            .iter()
            .zip(view.ends())
            .filter(|&(_, count)| count > 0)
            .map(|(end, count)| format!("{end}={count}"))
            .collect();
        log::info!(
            "{} connections served, {} bytes in, {} bytes out; {}",
            totals.accepted,
            totals.bytes_in,
            totals.bytes_out,
            if ends.is_empty() {
                "none ended".to_owned()
            } else {
                ends.join(" ")
            },
        );
        log::info!(
            "{} accept pauses, {} late key slices, {} failed connects, {} moves to another group, \
             {} turns at the bound on held bytes",
            totals.accept_pauses,
            totals.slice_timeouts,
            totals.connect_failures,
            totals.moves,
            totals.buffer_pressure,
        );
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
        TargetAddr::Socket(_) => None,
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

fn answer(names: &Names, host: &str) -> Option<IpAddr> {
    let name = names.get(host).ok()?;
    let answer = name.answer.load();
    answer.as_deref().copied()
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
