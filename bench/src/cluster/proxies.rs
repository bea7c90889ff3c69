//! Processes of proxies: three nodes, or one alone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::balancer;
use crate::process::Tree;

use super::api;
use super::configuration;
use super::site::{NODES, Site};
use super::visits;

/// How long nodes may take to answer clients after they were started.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a client waits that only asks whether a node serves.
const PROBE: Duration = Duration::from_secs(2);

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nodes of a cluster.
    Tcpffee,
    /// tcpffee without peers, at the nodes' address that is named.
    LoneTcpffee,
    /// Nodes with `peers`.
    Haproxy,
}

/// Processes by node. Dropping them ends them.
#[derive(Debug)]
pub struct Proxies {
    kind: Kind,
    program: PathBuf,
    site: Site,
    stick_seconds: u32,
    /// Holds their files; removed with it.
    directory: tempfile::TempDir,
    children: Vec<Option<Child>>,
}

impl Proxies {
    /// None of them runs yet. A client is remembered for so many seconds.
    pub fn new(
        kind: Kind,
        program: &Path,
        site: Site,
        stick_seconds: u32,
        parent: &Path,
    ) -> anyhow::Result<Proxies> {
        ensure!(
            program.is_file(),
            "there is no program {}; --tcpffee and --haproxy say where they are",
            program.display()
        );
        let directory = tempfile::tempdir_in(parent)
            .with_context(|| format!("make a directory in {}", parent.display()))?;
        Ok(Proxies {
            kind,
            program: program.to_owned(),
            site,
            stick_seconds,
            directory,
            children: (0..=NODES).map(|_| None).collect(),
        })
    }

    /// Starts all three nodes and waits until each serves.
    pub fn start_all(&mut self) -> anyhow::Result<()> {
        for node in 0..NODES {
            self.spawn(node)?;
        }
        (0..NODES).try_for_each(|node| self.wait_until_serving(node))
    }

    /// Where they are.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Starts a node, without waiting for it.
    pub fn spawn(&mut self, node: usize) -> anyhow::Result<()> {
        let dir = self.directory.path().join(node.to_string());
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let config = dir.join("config");
        let (site, seconds) = (&self.site, self.stick_seconds);
        let text = match self.kind {
            Kind::Tcpffee => configuration::tcpffee(site, node, seconds),
            Kind::LoneTcpffee => configuration::lone_tcpffee(site, node, seconds),
            Kind::Haproxy => configuration::haproxy(site, node, seconds),
        };
        fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(node));
        let log = log.context("open a node's log")?;
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Tcpffee | Kind::LoneTcpffee => {
                balancer::run_in(&mut command, &dir, &config);
                command.env("TCPFFEE_MAC_ADDRESS", configuration::mac(node));
            }
            Kind::Haproxy => {
                let name = configuration::peer_name(node);
                command
                    .arg("-db")
                    .arg("-f")
                    .arg(&config)
                    .args(["-L", &name]);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share a node's log")?)
            .stderr(log);
        balancer::end_with_this_process(&mut command);
        let child = command.spawn();
        let child = child.with_context(|| format!("start {}", self.program.display()))?;
        self.children[node] = Some(child);
        Ok(())
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

    /// Waits until a client gets a server's answer through a node.
    pub fn wait_until_serving(&mut self, node: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while visits::probe(self.site.listen(node, 0), PROBE).is_err() {
            let child = self.children[node]
                .as_mut()
                .context("the node was started")?;
            let ended = child.try_wait().context("wait for a node")?;
            ensure!(
                ended.is_none() && Instant::now() < deadline,
                "node {node} does not serve after {PATIENCE:?} (ended: {ended:?}):\n{}",
                self.logs()
            );
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Waits until all three nodes say the same of who leads the stick table.
    pub fn leader(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let states: Vec<_> = (0..NODES)
                .filter_map(|node| api::stick_table(self.site.statistics(node)).ok())
                .collect();
            let leads = states.iter().position(|state| state.leads);
            let is_one = states.iter().all(|state| state.term == states[0].term);
            if let Some(leader) = leads.filter(|_| is_one && states.len() == NODES) {
                return Ok(leader);
            }
            ensure!(
                Instant::now() < deadline,
                "no leader after {PATIENCE:?}: {states:?}\n{}",
                self.logs()
            );
            sleep(POLL_INTERVAL);
        }
    }

    /// The processes of a node.
    pub fn tree(&self, node: usize) -> anyhow::Result<Tree> {
        let child = self.children[node].as_ref().context("the node runs")?;
        Tree::of(child.id())
    }

    fn log_path(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("{node}.log"))
    }

    /// The end of what the nodes have said.
    fn logs(&self) -> String {
        const SHOWN_BYTES: usize = 4_000;
        let log = |node| {
            let text = fs::read(self.log_path(node)).unwrap_or_default();
            let shown = &text[text.len().saturating_sub(SHOWN_BYTES)..];
            format!("node {node}:\n{}", String::from_utf8_lossy(shown))
        };
        (0..=NODES).map(log).collect()
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        for node in 0..=NODES {
            if let Err(error) = self.kill(node) {
                eprintln!("note: {error:#}");
            }
        }
    }
}
