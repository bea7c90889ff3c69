//! The cluster that this process is a node of: its Raft groups, and what they have to do with the
//! rest of the process.
//!
//! ```text
//! workers ─ Sticks ─▶ Node ─ Outside ─▶ Raft of the stick table ─▶ Replica
//!                      ▲                        │ leader, agreed
//!             keeper ──┘ (renewals)    clerk ◀──┘ statements, sessions, verdicts, fences
//! ```

mod addresses; // where the peers are
mod clerk; // what this node states, and a leader's duties
mod differences; // where this node's file differs from what is agreed on
mod form; // `tcpffee cluster form`
mod happenings; // what Raft tells, for people
pub mod hosts; // what people call the nodes
mod members; // who comes and who leaves
mod observed; // what statistics see of a node
mod outside; // what surrounds the stick table's node
mod peerage; // whom this node speaks to
mod seed; // a lone node's table, from which a cluster begins
mod start; // what the Raft groups are started with

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tcpffee_raft::driver::{self, Handle};
use tcpffee_raft::ids::NodeId;
use tcpffee_raft::lease::LeaseReader;
use tcpffee_raft::store::files::SystemFiles;
use tcpffee_raft::wire::hello::Agreement;

use crate::config::{Config, Environment, KeyType, Peer};
use crate::groups::GroupRegistry;
use crate::health::replicated::{Council, Minutes, machine as health_machine};
use crate::history::History;
use crate::node_id::{self, NodeIdError, Own};
use crate::proxy::{Completer, Generation, Statuses, View};
use crate::resolve::Names;
use crate::stick::replicated::Replica;
use crate::stick::replicated::node::{Identity, Node, Policy, Rounds, TICK_MS};
use crate::stick::{Key, RestoredEntry};
use crate::watchdog::{Pulse, Pulses};

use clerk::{Clerk, Verdicts};
use happenings::Hearers;
use hosts::Hosts;
use outside::Surroundings;
use peerage::Peerage;
use start::Group;

pub use form::{RaftGroup, form};
pub use observed::{ObservedCluster, ObservedRaft};
pub use start::SecretFileError;

/// A node of a cluster cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is not clear which of the peers it is.
    #[error(transparent)]
    Own(#[from] NodeIdError),
    /// Peers are on other hosts, and cannot reach this one.
    #[error(
        "the other peers cannot reach this node: {sockets} on a loopback address, and {host} is \
         another host; give them an address that the other peers reach"
    )]
    Unreachable {
        /// The settings.
        sockets: String,
        /// The peer.
        host: String,
    },
    /// The shared secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// A Raft group.
    #[error(transparent)]
    Raft(#[from] driver::StartError),
    /// The system gave no thread.
    #[error("cannot start the threads of the cluster: {0}")]
    Thread(#[source] std::io::Error),
    /// The system gave no random number.
    #[error("cannot draw the number of this process: {0}")]
    Random(#[source] std::io::Error),
}

/// What a node of a cluster needs.
pub struct Parts<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The environment.
    pub environment: &'a Environment,
    /// Counters of the groups.
    pub registry: Arc<GroupRegistry>,
    /// Host names.
    pub names: Arc<Names>,
    /// Where elections are noted.
    pub history: Arc<History>,
    /// What a lone node has left behind.
    pub lone: Vec<RestoredEntry>,
    /// Where a lone node's table is saved.
    pub lone_path: PathBuf,
    /// Where the loops of drivers and threads are looked after.
    pub pulses: Pulses,
}

/// How long an operator waits for the cluster to hear his word.
const WORD_PATIENCE: Duration = Duration::from_secs(2);

/// This process as a node of its cluster.
pub struct Cluster {
    own: NodeId,
    mac: Own,
    key_type: KeyType,
    /// What must be the same on all nodes, as last told.
    agreement: Agreement,
    node: Arc<Node>,
    sticks: Handle,
    checks: Handle,
    minutes: Minutes,
    surroundings: Arc<Surroundings>,
    peerage: Arc<Peerage>,
    clerk: Arc<Clerk>,
    history: Arc<History>,
    hosts: Arc<Hosts>,
    /// Leaders that this node has come to know, of the stick table's log and of the checks'.
    leaders: [Arc<AtomicU64>; 2],
    is_stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    pulses: Pulses,
    /// The Raft groups' drivers'.
    drivers: [Pulse; 2],
}

impl Cluster {
    /// Starts the Raft groups and joins, or forms, the cluster in the background. Connections
    /// wait until [`Cluster::connect`] has been called.
    ///
    /// # Errors
    /// Whatever keeps the node from starting; nothing is left behind.
    pub fn start(parts: Parts<'_>) -> Result<Cluster, StartError> {
        let Parts {
            config,
            environment,
            ..
        } = parts;
        let mac = Own::find(environment.mac_address)?;
        let own = node_id::node_id(node_id::own_peer(&config.peers, &mac)?.mac_address);
        let secrets = start::secrets(config)?;
        addresses::check_reach(config, &parts.names)?;
        let identity = Identity {
            node: own,
            boot: start::draw().map_err(StartError::Random)?,
        };
        let replica = Replica::new(Arc::clone(&parts.registry));
        let clerk = Arc::new(Clerk::new(identity));
        let raft = start::config(
            Group::StickTable,
            config,
            environment,
            own,
            &parts.names,
            secrets.clone(),
        );
        let seed = seed::of(parts.lone, config);
        let hosts = Arc::new(Hosts::new(own, config));
        let leaders = [Arc::default(), Arc::default()];
        let hearers = |leaders: &Arc<AtomicU64>| Hearers {
            history: Arc::clone(&parts.history),
            hosts: Arc::clone(&hosts),
            leaders: Arc::clone(leaders),
            lone_path: parts.lone_path.clone(),
        };
        let sticks = driver::start(
            SystemFiles,
            raft,
            clerk.machines(Arc::clone(&replica), own),
            seed,
            happenings::notify(Group::StickTable, hearers(&leaders[0])),
        )?;
        if sticks.status().cluster.is_some() {
            // Whatever a lone node has left behind is older than the cluster.
            seed::set_aside(&parts.lone_path);
        }
        let minutes = Minutes::default();
        let raft = start::config(
            Group::HealthChecks,
            config,
            environment,
            own,
            &parts.names,
            secrets,
        );
        let made = minutes.clone();
        let notify = happenings::notify(Group::HealthChecks, hearers(&leaders[1]));
        let make = Box::new(move || health_machine(&made));
        let checks = driver::start(SystemFiles, raft, make, None, notify)?;
        let surroundings = Arc::new(Surroundings::new(
            sticks.clone(),
            Arc::clone(&parts.history),
        ));
        let node = Node::new(
            identity,
            replica,
            parts.registry,
            sticks.lease(),
            policy(config),
            Box::new(Arc::clone(&surroundings)),
        );
        let pulse = |group: Group, handle: &Handle| {
            let handle = handle.clone();
            let name = format!("raft {}", group.name());
            parts.pulses.register(name, move |question| {
                handle.on_turn(Box::new(move || question.answer()));
            })
        };
        let drivers = [
            pulse(Group::StickTable, &sticks),
            pulse(Group::HealthChecks, &checks),
        ];
        let peerage = Arc::new(Peerage::new(parts.names, sticks.clone(), checks.clone()));
        peerage.refresh(config);
        Ok(Cluster {
            own,
            mac,
            key_type: environment.key_type,
            agreement: start::agreement(config, environment.key_type),
            node,
            sticks,
            checks,
            minutes,
            surroundings,
            peerage,
            clerk,
            history: parts.history,
            hosts,
            leaders,
            is_stopping: Arc::default(),
            threads: Vec::new(),
            drivers,
            pulses: parts.pulses,
        })
    }

    /// What the proxy asks for groups.
    pub fn node(&self) -> Arc<Node> {
        Arc::clone(&self.node)
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.own
    }

    /// What statistics see of it.
    pub fn observed(&self) -> ObservedCluster {
        let clerk = Arc::clone(&self.clerk);
        let raft = |handle: &Handle, leaders: &Arc<AtomicU64>| {
            let handle = handle.clone();
            ObservedRaft {
                status: Box::new(move || handle.status()),
                leaders: Arc::clone(leaders),
            }
        };
        ObservedCluster {
            id: self.own.to_string(),
            node: self.node(),
            stick_table: raft(&self.sticks, &self.leaders[0]),
            healthchecks: raft(&self.checks, &self.leaders[1]),
            differences: Box::new(move || clerk.differences()),
        }
    }

    /// Until when this node knows what the checks' log says.
    pub fn checks_lease(&self) -> LeaseReader {
        self.checks.lease()
    }

    /// What has health checks voted on.
    pub fn council(&self) -> Council {
        Council::new(self.minutes.clone(), self.checks.clone())
    }

    /// The proxy runs: connections that wait get their answers from now on, and what is agreed on
    /// takes effect there.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn connect(
        &mut self,
        completer: Completer,
        view: View,
        statuses: Arc<Statuses>,
        verdicts: Verdicts,
    ) -> Result<(), StartError> {
        self.surroundings.connect(completer, view.clone());
        let (node, is_stopping) = (Arc::clone(&self.node), Arc::clone(&self.is_stopping));
        // Both turn by themselves several times in a second: nobody need wake them.
        let pulse = self.pulses.register("sticks", |_| ());
        self.spawn("sticks", move || {
            let mut rounds = Rounds::default();
            while !is_stopping.load(Ordering::Acquire) {
                pulse.beat();
                node.tick(&mut rounds);
                std::thread::sleep(Duration::from_millis(TICK_MS));
            }
        })?;
        let run = clerk::Run {
            clerk: Arc::clone(&self.clerk),
            history: Arc::clone(&self.history),
            hosts: Arc::clone(&self.hosts),
            node: Arc::clone(&self.node),
            handle: self.sticks.clone(),
            view,
            statuses,
            verdicts,
            peerage: Arc::clone(&self.peerage),
            is_stopping: Arc::clone(&self.is_stopping),
            pulse: self.pulses.register("clerk", |_| ()),
        };
        self.spawn("clerk", move || run.run())
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        self.threads
            .push(thread.spawn(run).map_err(StartError::Thread)?);
        Ok(())
    }

    /// What speaks against putting another configuration in force.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self, new: &Config) -> Result<(), String> {
        node_id::own_peer(&new.peers, &self.mac)
            .map_err(|error| error.to_string())
            .and_then(|peer| match node_id::node_id(peer.mac_address) {
                id if id == self.own => Ok(()),
                other => Err(format!(
                    "this node runs as {} and would be {other}: needs a restart",
                    self.own
                )),
            })?;
        start::secrets(new)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Another configuration is in force.
    pub fn adopt(&mut self, new: &Config) {
        self.hosts.adopt(new);
        self.node.set_policy(policy(new));
        let agreement = start::agreement(new, self.key_type);
        for handle in [&self.sticks, &self.checks] {
            handle.state(start::statement(&new.peers));
            // Connections begin anew by that.
            if self.agreement != agreement {
                handle.set_agreement(agreement.clone());
            }
        }
        self.agreement = agreement;
        self.peerage.refresh(new);
        match start::secrets(new) {
            Ok(secrets) => {
                self.sticks.set_secrets(secrets.clone());
                self.checks.set_secrets(secrets);
            }
            Err(error) => log::error!("{error}; the secrets in use stay"),
        }
        self.clerk.wake();
    }

    /// An operator has said something of a group, or a name has another address.
    pub fn look_again(&self, config: &Config) {
        self.peerage.refresh(config);
        self.clerk.wake();
    }

    /// Waits a little until the cluster has heard what this node's file and operators say.
    pub fn await_word(&self, generation: &Generation) {
        self.clerk.wake();
        let deadline = Instant::now() + WORD_PATIENCE;
        while !clerk::has_taken_effect(&self.node.replica().agreed(), self.own, generation)
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the table has an entry that no operator has removed.
    pub fn has(&self, key: &Key) -> bool {
        let seen = self.node.replica().look(key.as_ref());
        seen.is_some_and(|seen| !seen.removed)
    }

    /// Has an operator's wish that an entry be gone put into the log; waits for it.
    ///
    /// # Errors
    /// In words.
    pub fn remove(&self, key: Key) -> Result<(), String> {
        self.node.remove(key)
    }

    /// The Raft groups, for whoever forms a cluster by hand.
    pub fn operate<T>(
        &mut self,
        config: &Config,
        act: impl FnOnce(&mut [RaftGroup<'_>]) -> T,
    ) -> T {
        let hosts = || hosts::by_id(&config.peers).into_iter().collect();
        act(&mut [
            RaftGroup {
                name: Group::StickTable.name(),
                operator: &mut self.sticks,
                hosts: hosts(),
            },
            RaftGroup {
                name: Group::HealthChecks.name(),
                operator: &mut self.checks,
                hosts: hosts(),
            },
        ])
    }

    /// Ends the node's part in good order: what it knows of connections is told, leadership is
    /// handed over.
    pub fn stop(mut self) {
        drop(self.drivers);
        self.node.tell_last();
        self.is_stopping.store(true, Ordering::Release);
        self.clerk.wake();
        // Each hands leadership over first, where it has it: both at once.
        std::thread::scope(|scope| {
            scope.spawn(|| self.checks.stop());
            self.sticks.stop();
        });
        for thread in self.threads.drain(..) {
            // One that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

/// The host names by which peers are known.
pub fn host_names(config: &Config) -> BTreeSet<String> {
    config.peers.iter().filter_map(addresses::name).collect()
}

/// Whether two lists name the same nodes, wherever they are.
pub fn names_others(old: &[Peer], new: &[Peer]) -> bool {
    let ids =
        |peers: &[Peer]| -> BTreeSet<_> { peers.iter().map(|peer| peer.mac_address).collect() };
    ids(old) != ids(new)
}

fn policy(config: &Config) -> Policy {
    Policy {
        balance: config.balance,
        no_quorum: config.no_quorum,
        no_quorum_after_ms: milliseconds(config.no_quorum_after),
        connect_timeout_ms: milliseconds(config.connect_timeout),
        max_entries: config.stick_table_max_entries,
    }
}

/// Configured times are years at most.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
