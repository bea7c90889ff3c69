//! Three node processes.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::places;
use crate::process::Tree;

use super::client::{Client, Status};

/// Nodes of the cluster.
pub const NODES: usize = 3;

/// How long the cluster may take for anything that must come by itself.
pub const PATIENCE: Duration = Duration::from_secs(120);
const STATUS_LIMIT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

const FIRST_PORT: u16 = 27_000;
const LAST_PORT: u16 = 32_000;
/// Ports of a node: logs, proposals, clients.
const PORTS: usize = 3;

/// What runs as a node: the example `node` of the Raft crate, or what understands the same
/// options and lines.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// Comes before the options.
    subcommand: Option<&'static str>,
}

impl Program {
    /// The program at a path.
    pub fn find(path: &Path) -> anyhow::Result<Program> {
        ensure!(
            path.is_file(),
            "there is no program {}; build it with `cargo build --release -p tcpffee-raft \
             --example node`, or name it with --node",
            path.display()
        );
        Ok(Program {
            path: path.to_owned(),
            subcommand: None,
        })
    }

    /// A subcommand of this very program.
    pub fn own(subcommand: &'static str) -> anyhow::Result<Program> {
        Ok(Program {
            path: std::env::current_exe().context("find this program's own path")?,
            subcommand: Some(subcommand),
        })
    }
}

/// Three nodes that form a cluster. Dropping them ends them.
#[derive(Debug)]
pub struct Nodes {
    program: Program,
    /// Holds their directories and logs; removed with it.
    directory: tempfile::TempDir,
    options: Vec<String>,
    first_port: u16,
    children: [Option<Child>; NODES],
}

impl Nodes {
    /// Starts them in a new directory below `parent` and waits for a leader.
    pub fn start(program: &Program, parent: &Path, options: &[&str]) -> anyhow::Result<Nodes> {
        let directory = tempfile::tempdir_in(parent)
            .with_context(|| format!("make a directory in {}", parent.display()))?;
        let mut nodes = Nodes {
            program: program.clone(),
            directory,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            first_port: free_ports()?,
            children: [const { None }; NODES],
        };
        for node in 0..NODES {
            nodes.spawn(node)?;
        }
        for node in 0..NODES {
            nodes.wait_until_it_answers(node)?;
        }
        nodes.leader()?;
        Ok(nodes)
    }

    /// A connection to a node, whose answers are waited for at most `limit`.
    pub fn client(&self, node: usize, limit: Duration) -> anyhow::Result<Client> {
        Client::connect(self.address(node, 2), limit)
    }

    /// What a node says of itself.
    pub fn status(&self, node: usize) -> anyhow::Result<Status> {
        self.client(node, STATUS_LIMIT)?.status()
    }

    /// The node that leads, once there is one that all running nodes follow.
    pub fn leader(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let running = (0..NODES).filter(|node| self.children[*node].is_some());
            let states: Vec<(usize, Status)> = running
                .filter_map(|node| Some((node, self.status(node).ok()?)))
                .collect();
            let leads = states.iter().filter(|(_, status)| status.leads);
            if let Some((leader, state)) = leads.max_by_key(|(_, status)| status.term)
                && states.iter().all(|(_, status)| status.term == state.term)
                && state.commit == state.last
            {
                return Ok(*leader);
            }
            ensure!(
                Instant::now() < deadline,
                "no leader after {PATIENCE:?}:\n{}",
                self.logs()
            );
            sleep(POLL_INTERVAL);
        }
    }

    /// Starts a node that was killed, without waiting for it.
    pub fn spawn(&mut self, node: usize) -> anyhow::Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(node))
            .with_context(|| format!("open {}", self.log_path(node).display()))?;
        let mut command = Command::new(&self.program.path);
        command
            .args(self.program.subcommand)
            .args(["--id", &(node + 1).to_string()])
            .arg("--directory")
            .arg(self.folder(node))
            .args(["--clients", &self.address(node, 2).to_string()])
            .arg("--form")
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share a node's log")?)
            .stderr(log);
        for peer in 0..NODES {
            let (logs, proposals) = (self.address(peer, 0), self.address(peer, 1));
            command.args(["--peer", &format!("{}={logs},{proposals}", peer + 1)]);
        }
        let set = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(set) };
        let child = command
            .spawn()
            .with_context(|| format!("start {}", self.program.path.display()))?;
        self.children[node] = Some(child);
        Ok(())
    }

    /// Waits until a started node answers with its status.
    pub fn wait_until_it_answers(&mut self, node: usize) -> anyhow::Result<Status> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(status) = self.status(node) {
                return Ok(status);
            }
            let child = self.children[node]
                .as_mut()
                .context("the node was started")?;
            if let Some(status) = child.try_wait().context("wait for a node")? {
                bail!("node {node} ended, {status}:\n{}", self.logs());
            }
            ensure!(
                Instant::now() < deadline,
                "node {node} does not answer after {PATIENCE:?}:\n{}",
                self.logs()
            );
            sleep(POLL_INTERVAL);
        }
    }

    /// `kill -9`. Answers the moment at which the process was gone.
    pub fn kill(&mut self, node: usize) -> anyhow::Result<Instant> {
        if let Some(mut child) = self.children[node].take() {
            child.kill().with_context(|| format!("kill node {node}"))?;
            child
                .wait()
                .with_context(|| format!("wait for node {node}"))?;
        }
        Ok(Instant::now())
    }

    /// Removes whatever a killed node had written.
    pub fn wipe(&self, node: usize) -> anyhow::Result<()> {
        let folder = self.folder(node);
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))
    }

    /// Waits until every node has applied what the leader has committed by now.
    pub fn wait_until_caught_up(&self) -> anyhow::Result<()> {
        let committed = self.status(self.leader()?)?.commit;
        let deadline = Instant::now() + PATIENCE;
        for node in 0..NODES {
            while self
                .status(node)
                .is_ok_and(|status| status.applied < committed)
            {
                ensure!(
                    Instant::now() < deadline,
                    "node {node} has not applied {committed} entries after {PATIENCE:?}"
                );
                sleep(POLL_INTERVAL);
            }
        }
        Ok(())
    }

    /// The process of a node.
    pub fn tree(&self, node: usize) -> anyhow::Result<Tree> {
        let child = self.children[node].as_ref().context("the node runs")?;
        Ok(Tree::alone(child.id()))
    }

    /// The CPU time of a node up to now.
    pub fn cpu(&self, node: usize) -> anyhow::Result<Duration> {
        Ok(self.tree(node)?.cpu()?.total)
    }

    fn folder(&self, node: usize) -> PathBuf {
        self.directory.path().join(node.to_string())
    }

    fn address(&self, node: usize, port: u16) -> SocketAddr {
        SocketAddrV4::new(host(node), self.first_port + port).into()
    }

    fn log_path(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("{node}.log"))
    }

    fn logs(&self) -> String {
        let log = |node| {
            let text = fs::read(self.log_path(node)).unwrap_or_default();
            format!("node {node}:\n{}", String::from_utf8_lossy(&text))
        };
        (0..NODES).map(log).collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in 0..NODES {
            if let Err(error) = self.kill(node) {
                eprintln!("note: {error:#}");
            }
        }
    }
}

/// One address for each node, in a network chosen by process id, as `places` does.
fn host(node: usize) -> Ipv4Addr {
    let network = 64 + u8::try_from(std::process::id() % 64).expect("below 64");
    Ipv4Addr::new(127, network, 2, u8::try_from(node + 1).expect("few nodes"))
}

fn free_ports() -> anyhow::Result<u16> {
    let is_free = |first: &u16| {
        let ports = *first..*first + PORTS as u16;
        (0..NODES).all(|node| {
            ports
                .clone()
                .all(|port| places::listener(SocketAddrV4::new(host(node), port)).is_ok())
        })
    };
    (FIRST_PORT..LAST_PORT)
        .step_by(PORTS)
        .find(is_free)
        .with_context(|| format!("no {PORTS} free ports from {FIRST_PORT} on {}", host(0)))
}
