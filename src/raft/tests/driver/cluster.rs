//! Drivers in one process: real sockets on loopback addresses, real files in fresh folders.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tcpffee_raft::core::Role;
use tcpffee_raft::driver::{
    Config, Event, Handle, Network, ProposalLimits, SNAPSHOT_AFTER_BYTES, Seed, Status, boot_time,
};
use tcpffee_raft::ids::NodeId;
use tcpffee_raft::membership::Statement;
use tcpffee_raft::proposals::ProposalError;
use tcpffee_raft::settings::Settings;
use tcpffee_raft::transport::PeerAddress;
use tcpffee_raft::wire::hello::Agreement;
use tcpffee_raft::wire::secrets::Secrets;
use tcpffee_raft::{driver, store, transport};
use tempfile::TempDir;

use crate::disk::{Disk, Switches};
use crate::register::{VERSION, View};

/// Conditions that do not come about by then fail the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster of drivers.
pub struct Cluster {
    folder: TempDir,
    pub addresses: Vec<PeerAddress>,
    /// Changes to what nodes are started with.
    pub adjust: fn(&mut Config),
    pub nodes: Vec<Node>,
}

/// One of its nodes, running or not.
pub struct Node {
    pub handle: Option<Handle>,
    pub view: View,
    pub switches: Arc<Switches>,
    pub events: Arc<Mutex<Vec<Event>>>,
}

/// Waits until the condition holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Addresses that nothing else on this machine uses.
fn addresses(count: usize) -> Vec<PeerAddress> {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let place = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = (std::process::id() % 200) as u8 + 40;
    (1..=count as u8)
        .map(|number| {
            let host = Ipv4Addr::new(127, process, place, number);
            PeerAddress {
                id: NodeId(number.into()),
                logs: SocketAddr::from((host, 9401)),
                proposals: SocketAddr::from((host, 9402)),
            }
        })
        .collect()
}

/// What was logged as a warning or worse, by all clusters of this process.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether a warning was logged that begins so.
pub fn has_warned(start: &str) -> bool {
    let warnings = WARNINGS.lock().expect("no panic");
    warnings.iter().any(|line| line.starts_with(start))
}

fn listen_to_log() {
    static ONCE: Once = Once::new();
    static SHOWN: AtomicBool = AtomicBool::new(false);
    struct Lines;
    impl log::Log for Lines {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            if SHOWN.load(Ordering::Relaxed) {
                eprintln!("{:>8} {} {}", boot_time(), record.level(), record.args());
            }
            if record.level() <= log::Level::Warn {
                let mut warnings = WARNINGS.lock().expect("no panic");
                warnings.push(record.args().to_string());
            }
        }
        fn flush(&self) {}
    }
    ONCE.call_once(|| {
        let shown = std::env::var_os("RAFT_TEST_LOG").is_some();
        SHOWN.store(shown, Ordering::Relaxed);
        log::set_logger(&Lines).expect("no other logger");
        log::set_max_level(match shown {
            true => log::LevelFilter::Info,
            false => log::LevelFilter::Warn,
        });
    });
}

impl Cluster {
    /// Starts nodes that form a cluster, and waits for a leader.
    pub fn start(count: usize) -> Cluster {
        Cluster::start_adjusted(count, |_| {})
    }

    /// The same, with other settings.
    pub fn start_adjusted(count: usize, adjust: fn(&mut Config)) -> Cluster {
        let mut cluster = Cluster::prepare(count, adjust);
        for number in 0..count {
            cluster.run(number);
        }
        cluster.leader();
        cluster
    }

    /// Nodes that do not run yet.
    pub fn prepare(count: usize, adjust: fn(&mut Config)) -> Cluster {
        listen_to_log();
        let node = |_| Node {
            handle: None,
            view: View::default(),
            switches: Arc::default(),
            events: Arc::default(),
        };
        Cluster {
            folder: TempDir::with_prefix("raft-driver-").expect("a temporary folder"),
            addresses: addresses(count),
            adjust,
            nodes: (0..count).map(node).collect(),
        }
    }

    /// Starts a node on the folder that it has.
    pub fn run(&mut self, number: usize) {
        self.run_with_seed(number, None);
    }

    pub fn run_with_seed(&mut self, number: usize, seed: Option<Seed>) {
        let config = self.config(number);
        let node = &mut self.nodes[number];
        let disk = Disk::new(Arc::clone(&node.switches));
        let (view, events) = (node.view.clone(), Arc::clone(&node.events));
        let make = Box::new(move || view.begin());
        let notify = Box::new(move |event| events.lock().expect("no panic").push(event));
        let handle = driver::start(disk, config, make, seed, notify);
        node.handle = Some(handle.expect("the node starts"));
    }

    pub fn config(&self, number: usize) -> Config {
        let own = self.addresses[number];
        let mut config = Config {
            group: "test".to_owned(),
            node: own.id,
            folder: self.folder_of(number),
            store: store::Limits {
                segment_bytes: 64 * 1024,
            },
            settings: Settings::default(),
            proposals: ProposalLimits::default(),
            snapshot_after_bytes: SNAPSHOT_AFTER_BYTES,
            statement: Statement {
                peers: self.addresses.iter().map(|peer| peer.id).collect(),
                version: VERSION,
            },
            network: Network {
                listen_logs: own.logs,
                listen_proposals: own.proposals,
                peers: self.addresses.clone(),
                agreement: Agreement {
                    hash: [7; 32],
                    text: "test".to_owned(),
                },
                secrets: Secrets::none(),
                limits: transport::Limits::default(),
            },
        };
        (self.adjust)(&mut config);
        config
    }

    pub fn folder_of(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    /// Stops a node in good order.
    pub fn stop(&mut self, number: usize) {
        if let Some(handle) = self.nodes[number].handle.take() {
            handle.stop();
        }
    }

    /// Empties the disk of a node that is stopped.
    pub fn wipe(&mut self, number: usize) {
        assert!(self.nodes[number].handle.is_none());
        std::fs::remove_dir_all(self.folder_of(number)).expect("its folder");
    }

    pub fn handle(&self, number: usize) -> &Handle {
        self.nodes[number].handle.as_ref().expect("it runs")
    }

    pub fn status(&self, number: usize) -> Status {
        self.handle(number).status()
    }

    /// Waits until a node has begun anew with an empty store and votes with that.
    pub fn begins_anew(&self, number: usize) {
        eventually("it begins anew", || {
            let events = self.nodes[number].events.lock().expect("no panic");
            events
                .iter()
                .any(|event| matches!(event, Event::BegunAnew { .. }))
        });
        eventually("it votes again", || {
            let status = self.status(number);
            status.voters.contains(&status.node)
        });
    }

    pub fn running(&self) -> Vec<usize> {
        let numbers = 0..self.nodes.len();
        numbers
            .filter(|number| self.nodes[*number].handle.is_some())
            .collect()
    }

    /// The leader that all running nodes follow, once there is one.
    #[track_caller]
    pub fn leader(&self) -> usize {
        let mut found = None;
        eventually("one leader for all", || {
            let running = self.running();
            let leads = |number: &usize| self.status(*number).role == Role::Leader;
            found = running.iter().copied().find(leads);
            found.is_some_and(|leader| {
                let id = Some(self.addresses[leader].id);
                running
                    .iter()
                    .all(|number| self.status(*number).leader == id)
            })
        });
        found.expect("found above")
    }

    /// A node that does not lead.
    pub fn follower(&self) -> usize {
        let leader = self.leader();
        let running = self.running();
        let other = running.into_iter().find(|number| *number != leader);
        other.expect("another one runs")
    }

    /// Proposes through a node and waits for the answer.
    pub fn propose(&self, through: usize, command: &str) -> Result<String, ProposalError> {
        self.propose_within(through, command, 15_000)
    }

    pub fn propose_within(
        &self,
        through: usize,
        command: &str,
        ms: u64,
    ) -> Result<String, ProposalError> {
        let body = Bytes::copy_from_slice(command.as_bytes());
        let deadline = boot_time().plus(ms);
        self.handle(through)
            .propose_and_wait(body, VERSION, deadline)
            .map(|answer| String::from_utf8_lossy(&answer).into_owned())
    }

    /// Waits until all running nodes have applied the same.
    #[track_caller]
    pub fn agree(&self) {
        eventually("all nodes hold the same", || {
            let running = self.running();
            let first = self.nodes[running[0]].view.look().values.clone();
            running
                .iter()
                .all(|number| self.nodes[*number].view.look().values == first)
        });
    }

    pub fn value(&self, number: usize, name: &str) -> Option<String> {
        self.nodes[number].view.look().values.get(name).cloned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 0..self.nodes.len() {
            self.nodes[number].switches.mend();
            self.stop(number);
        }
    }
}
