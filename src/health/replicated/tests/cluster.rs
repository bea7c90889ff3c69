//! Whole nodes in one process: health checks of real listeners, councils, drivers with real sockets
//! and files.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::never;
use tcpffee_raft::core::Role;
use tcpffee_raft::driver::{
    self, Config as RaftConfig, Handle, Network, ProposalLimits, SNAPSHOT_AFTER_BYTES,
};
use tcpffee_raft::ids::NodeId;
use tcpffee_raft::membership::Statement;
use tcpffee_raft::settings::Settings;
use tcpffee_raft::store::files::SystemFiles;
use tcpffee_raft::transport::PeerAddress;
use tcpffee_raft::wire::hello::Agreement;
use tcpffee_raft::wire::secrets::Secrets;
use tcpffee_raft::{store, transport};
use tempfile::TempDir;

use crate::clock::Clock;
use crate::config::{self, Environment, GroupId};
use crate::groups::{HealthStatus, Status};
use crate::health::replicated::{Agreed, Council, Minutes, VERSION, machine};
use crate::health::{Health, Outside, Prepared, State};
use crate::resolve::Names;
use crate::watchdog::Pulses;

/// Conditions that do not come about by then fail the test.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the servers listen.
const SERVER_PORT: u16 = 9480;

/// Waits until the condition holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub struct Cluster {
    folder: TempDir,
    peers: Vec<PeerAddress>,
    pub nodes: Vec<Node>,
}

/// One of its nodes, running or not.
pub struct Node {
    /// What it checks: every node has a server of its own, and the check's definition is the same.
    server: SocketAddr,
    listener: Option<TcpListener>,
    /// Whether its configuration has the check.
    pub has_check: bool,
    told: Arc<Mutex<Vec<String>>>,
    runs: Option<Running>,
}

struct Running {
    handle: Handle,
    minutes: Minutes,
    health: Health,
    status: Arc<HealthStatus>,
}

impl Cluster {
    /// Nodes that do not run yet, each with the check of a server that is well.
    pub fn prepare(count: u8) -> Cluster {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let place = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = (std::process::id() % 200) as u8 + 40;
        let host = |number| Ipv4Addr::new(127, process, place + 100, number);
        let peer = |number: u8| PeerAddress {
            id: NodeId(number.into()),
            logs: SocketAddr::from((host(number), 9411)),
            proposals: SocketAddr::from((host(number), 9413)),
        };
        let node = |number: u8| Node {
            server: SocketAddr::from((host(number), SERVER_PORT)),
            listener: None,
            has_check: true,
            told: Arc::default(),
            runs: None,
        };
        let mut cluster = Cluster {
            folder: TempDir::with_prefix("health-council-").expect("a temporary folder"),
            peers: (1..=count).map(peer).collect(),
            nodes: (1..=count).map(node).collect(),
        };
        for number in 0..usize::from(count) {
            cluster.set_well(number, true);
        }
        cluster
    }

    /// Nodes that run, have a leader, and know what each of them sees.
    pub fn start(count: u8) -> Cluster {
        let mut cluster = Cluster::prepare(count);
        for number in 0..usize::from(count) {
            cluster.run(number);
        }
        cluster.settled();
        cluster
    }

    /// Waits until all nodes count as alive and every one has said what it sees.
    #[track_caller]
    pub fn settled(&self) {
        eventually("all nodes have spoken", || {
            self.running().all(|number| {
                let agreed = self.agreed(number);
                agreed.alive().len() == self.running().count()
                    && agreed.said.values().filter(|said| said.in_session).count()
                        == self.running().count()
            })
        });
    }

    /// Starts a node on the folder that it has.
    pub fn run(&mut self, number: usize) {
        let config = self.raft_config(number);
        let minutes = Minutes::default();
        let made = minutes.clone();
        let make = Box::new(move || machine(&made));
        let handle = driver::start(SystemFiles, config, make, None, Box::new(|_| ()));
        let handle = handle.expect("the node starts");
        let config = self.checks_config(number, "");
        let saved = self.folder.path().join(format!("{number}.healthchecks"));
        let prepared = Prepared::new(&config, &saved).expect("health checks");
        let status = prepared.plan().status(GroupId(1));
        let told = Arc::clone(&self.nodes[number].told);
        let health = prepared.start(Outside {
            names: Arc::new(Names::new(Box::new(|_| ()))),
            clock: Clock::start(),
            on_status: Box::new(move |_, because, _| {
                told.lock().expect("no panic").push(because.to_owned());
            }),
            failed_targets: never(),
            descriptor_limit: 1024,
            council: Some(Council::new(minutes.clone(), handle.clone())),
            pulses: Pulses::default(),
        });
        self.nodes[number].runs = Some(Running {
            handle,
            minutes,
            health: health.expect("health checks"),
            status,
        });
    }

    fn checks_config(&self, number: usize, more: &str) -> config::Config {
        let Node {
            server, has_check, ..
        } = &self.nodes[number];
        let check = match has_check {
            true => {
                "[[groups.1.healthchecks]]\nfall = 1\nrise = 1\ninterval = 0.1\ntimeout = 0.1\n"
            }
            false => "",
        };
        let text = format!(
            "ports = [1000]\nexpiration = 10\n[groups.1.portmap]\n1000 = \"{server}\"\n{check}{more}"
        );
        let environment = Environment::from_vars(|_| None).expect("an empty environment");
        let loaded = config::load(&text, Path::new("test.toml"), &environment);
        loaded.expect("sound").config
    }

    fn raft_config(&self, number: usize) -> RaftConfig {
        let own = self.peers[number];
        RaftConfig {
            group: "health checks".to_owned(),
            node: own.id,
            folder: self.folder.path().join(number.to_string()),
            store: store::Limits {
                segment_bytes: 64 * 1024,
            },
            settings: Settings::default(),
            proposals: ProposalLimits::default(),
            snapshot_after_bytes: SNAPSHOT_AFTER_BYTES,
            statement: Statement {
                peers: self.peers.iter().map(|peer| peer.id).collect(),
                version: VERSION,
            },
            network: Network {
                listen_logs: own.logs,
                listen_proposals: own.proposals,
                peers: self.peers.clone(),
                agreement: Agreement {
                    hash: [7; 32],
                    text: "test".to_owned(),
                },
                secrets: Secrets::none(),
                limits: transport::Limits::default(),
            },
        }
    }

    /// Puts another configuration of the checks in force; returns the group's status by it.
    pub fn reload(&mut self, number: usize, more: &str) {
        let config = self.checks_config(number, more);
        let runs = self.nodes[number].runs.as_mut().expect("it runs");
        let change = runs.health.change_to(&config);
        runs.status = change.plan().status(GroupId(1));
        change.adopt();
    }

    /// Stops a node in good order.
    pub fn stop(&mut self, number: usize) {
        if let Some(runs) = self.nodes[number].runs.take() {
            runs.handle.stop();
            runs.health.stop().expect("its states are saved");
        }
    }

    /// Whether the server that a node checks takes connections.
    pub fn set_well(&mut self, number: usize, is_well: bool) {
        let node = &mut self.nodes[number];
        node.listener = None;
        if is_well {
            node.listener = Some(TcpListener::bind(node.server).expect("an address of its own"));
        }
    }

    pub fn running(&self) -> impl Iterator<Item = usize> + '_ {
        let numbers = 0..self.nodes.len();
        numbers.filter(|number| self.nodes[*number].runs.is_some())
    }

    fn runs(&self, number: usize) -> &Running {
        self.nodes[number].runs.as_ref().expect("it runs")
    }

    pub fn agreed(&self, number: usize) -> Arc<Agreed> {
        self.runs(number).minutes.agreed()
    }

    /// What the checks make of the group, as clients of that node feel it.
    pub fn status(&self, number: usize) -> Status {
        self.runs(number).status.status()
    }

    pub fn reason(&self, number: usize) -> String {
        self.runs(number).status.with_reason().1.to_string()
    }

    /// Whether what its log amounts to is in force.
    pub fn is_up_to_date(&self, number: usize) -> bool {
        let in_force = self.health(number).seat().and_then(|seat| seat.in_force());
        in_force.is_some_and(|in_force| Arc::ptr_eq(&in_force, &self.agreed(number)))
    }

    pub fn health(&self, number: usize) -> &Health {
        &self.runs(number).health
    }

    pub fn handle(&self, number: usize) -> &Handle {
        &self.runs(number).handle
    }

    /// The node that leads.
    #[track_caller]
    pub fn leader(&self) -> usize {
        let mut found = None;
        eventually("a leader", || {
            let mut running = self.running();
            found = running.find(|number| self.handle(*number).status().role == Role::Leader);
            found.is_some()
        });
        found.expect("found above")
    }

    /// Waits until the group has this status at all nodes that run.
    #[track_caller]
    pub fn all_have(&self, status: Status) {
        eventually("the status is everywhere", || {
            self.running().all(|number| self.status(number) == status)
        });
    }

    /// Waits until the log of every node that runs has that node `of` sees this.
    #[track_caller]
    pub fn all_know(&self, of: usize, state: State) {
        let of = self.peers[of].id;
        eventually("what it sees is in every log", || {
            self.running().all(|number| {
                let agreed = self.agreed(number);
                let said = agreed.said.get(&of).filter(|said| said.in_session);
                said.is_some_and(|said| said.checks.values().any(|seen| *seen == state))
            })
        });
    }

    /// Whether a node has told of something with these words in it.
    pub fn has_told(&self, number: usize, words: &str) -> bool {
        let told = self.nodes[number].told.lock().expect("no panic");
        told.iter().any(|line| line.contains(words))
    }
}

impl Node {
    pub fn forget_told(&self) {
        self.told.lock().expect("no panic").clear();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 0..self.nodes.len() {
            self.stop(number);
        }
    }
}
