//! Three real node processes, each on a loopback address of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::block::Block;
use crate::client::{Connection, Status};
use crate::wait::{eventually, eventually_some};

/// Nodes of the cluster.
pub const NODES: usize = 3;

const LOGS_PORT: u16 = 9301;
const PROPOSALS_PORT: u16 = 9302;
const CLIENTS_PORT: u16 = 9303;

/// How long an answer to `status` may take before the node counts as silent.
const STATUS_LIMIT: Duration = Duration::from_millis(300);

/// What a node is asked to read from for a `get`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    /// The log.
    Agreed,
    /// Whatever it holds itself, lease or not: wrong on purpose.
    Local,
}

/// Three nodes with their directories. Ends the processes that it started, and no other.
pub struct Cluster {
    reads: Reads,
    block: Block,
    directory: TempDir,
    nodes: [State; NODES],
}

enum State {
    Ended,
    Runs(Child),
    Stopped(Child),
}

impl Cluster {
    /// Starts three nodes that form a cluster.
    pub fn start(reads: Reads) -> Cluster {
        let mut cluster = Cluster {
            reads,
            block: Block::claim(),
            directory: TempDir::with_prefix("tcpffee-raft-").expect("a temporary directory"),
            nodes: [const { State::Ended }; NODES],
        };
        for node in 0..NODES {
            cluster.restart(node);
        }
        cluster
    }

    /// Where a node listens for clients.
    pub fn clients(&self, node: usize) -> SocketAddr {
        self.address(node, CLIENTS_PORT)
    }

    /// Starts a node that has ended, on the directory that it had, and waits until it answers.
    pub fn restart(&mut self, node: usize) {
        assert!(matches!(self.nodes[node], State::Ended), "{node} has ended");
        let child = self.spawn(node);
        self.nodes[node] = State::Runs(child);
        eventually(&format!("node {node} answers"), || {
            self.assert_alive(node);
            self.status(node).is_some()
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self, node: usize) {
        match std::mem::replace(&mut self.nodes[node], State::Ended) {
            State::Ended => {}
            State::Runs(child) | State::Stopped(child) => end(child),
        }
    }

    /// SIGSTOP: the node does nothing until [`Cluster::go_on`], and does not notice.
    pub fn stop(&mut self, node: usize) {
        self.nodes[node] = match std::mem::replace(&mut self.nodes[node], State::Ended) {
            State::Runs(child) => {
                signal(&child, Signal::STOP);
                State::Stopped(child)
            }
            state => state,
        };
    }

    /// SIGCONT.
    pub fn go_on(&mut self, node: usize) {
        self.nodes[node] = match std::mem::replace(&mut self.nodes[node], State::Ended) {
            State::Stopped(child) => {
                signal(&child, Signal::CONT);
                State::Runs(child)
            }
            state => state,
        };
    }

    /// Starts and continues whatever does not run.
    pub fn heal(&mut self) {
        for node in 0..NODES {
            match self.nodes[node] {
                State::Ended => self.restart(node),
                State::Stopped(_) => self.go_on(node),
                State::Runs(_) => {}
            }
        }
    }

    /// What a node says of itself; none where it does not say so soon.
    pub fn status(&self, node: usize) -> Option<Status> {
        if !matches!(self.nodes[node], State::Runs(_)) {
            return None;
        }
        Connection::open(self.clients(node), STATUS_LIMIT)
            .ok()?
            .status()
    }

    /// The node that leads in the highest term, once there is one.
    pub fn leader(&self) -> usize {
        eventually_some("a leader", || {
            (0..NODES)
                .filter_map(|node| Some((self.status(node)?, node)))
                .filter(|(status, _)| status.leads)
                .max_by_key(|(status, _)| status.term)
                .map(|(_, node)| node)
        })
    }

    /// Fails with the node's last words where it has ended by itself.
    pub fn assert_alive(&mut self, node: usize) {
        if let State::Runs(child) = &mut self.nodes[node]
            && let Some(status) = child.try_wait().expect("a child can be asked")
        {
            panic!("node {node} ended, {status}\n{}", self.last_words(node));
        }
    }

    /// The end of what each node has logged.
    pub fn logs(&self) -> String {
        (0..NODES)
            .map(|node| format!("--- node {node}\n{}", self.last_words(node)))
            .collect()
    }

    fn address(&self, node: usize, port: u16) -> SocketAddr {
        let fourth = u8::try_from(node + 1).expect("few nodes");
        SocketAddr::from((self.block.address(2, fourth), port))
    }

    fn log_path(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("{node}.log"))
    }

    fn last_words(&self, node: usize) -> String {
        const LINES: usize = 40;
        let text = std::fs::read(self.log_path(node)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n") + "\n"
    }

    fn spawn(&self, node: usize) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(node))
            .expect("a log file");
        let mut command = Command::new(program());
        command
            .arg("--id")
            .arg((node + 1).to_string())
            .arg("--directory")
            .arg(self.directory.path().join(node.to_string()))
            .arg("--clients")
            .arg(self.clients(node).to_string())
            .arg("--form")
            // Shorter than clients wait.
            .args(["--patience-ms", "2000"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        for peer in 0..NODES {
            command.arg("--peer").arg(format!(
                "{}={},{}",
                peer + 1,
                self.address(peer, LOGS_PORT),
                self.address(peer, PROPOSALS_PORT)
            ));
        }
        if self.reads == Reads::Local {
            command.arg("--local-reads");
        }
        command.spawn().expect("the node can be started")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 0..NODES {
            self.kill(node);
        }
    }
}

/// The example `node`, which `cargo test` builds beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let built = test.parent().and_then(Path::parent).expect("target/debug");
    let program = built.join("examples/node");
    assert!(
        program.exists(),
        "{} is missing: cargo build -p tcpffee-raft --example node",
        program.display()
    );
    program
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a child can be signalled");
}

fn end(mut child: Child) {
    child.kill().expect("a child can be killed");
    child.wait().expect("a child can be waited for");
}
