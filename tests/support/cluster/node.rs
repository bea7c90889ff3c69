//! One node: the real binary on its host, with files of its own that outlive its processes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;

use super::network::Network;
use super::plan::Plan;
use super::probe::{self, Standing};
use crate::support::host::{Host, WITH_ITS_PARENT};
use crate::support::proxy::{Answer, State, subcommand};
use crate::support::{Proxy, eventually};

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its number, from 1.
    pub number: usize,
    network: Arc<Network>,
    state: State,
    env: Vec<(String, String)>,
    process: Option<Proxy>,
}

impl Node {
    /// A node that was never started.
    pub fn new(network: &Arc<Network>, number: usize) -> Node {
        Node {
            number,
            network: Arc::clone(network),
            state: State::new(),
            env: Vec::new(),
            process: None,
        }
    }

    /// Its host.
    pub fn host(&self) -> &Host {
        self.network.node(self.number)
    }

    /// An environment variable of its processes to come; another value takes the former's place.
    pub fn env(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Without that variable.
    pub fn env_remove(&mut self, name: &str) {
        self.env.retain(|(known, _)| known != name);
    }

    /// Where its Raft logs are.
    pub fn raft_path(&self) -> PathBuf {
        self.state.path("raft")
    }

    /// A file among its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.state.path(name)
    }

    /// Starts a process and does not wait for it.
    pub fn launch(&mut self, plan: &Plan) {
        assert!(self.process.is_none(), "node {} runs", self.number);
        let builder = Proxy::builder(&plan.for_node(self.number)).state(&self.state);
        let builder = self
            .env
            .iter()
            .fold(builder, |builder, (name, value)| builder.env(name, value));
        let builder = builder
            .env("RUST_LOG", "info,tcpffee::session=off")
            .wrapped(&WITH_ITS_PARENT);
        self.process = Some(self.host().run(|| builder.launch()));
    }

    /// Waits until its process listens.
    pub fn wait_ready(&mut self) {
        self.running_mut().wait_ready();
    }

    /// Whether it has a process, stopped or not.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Its process.
    pub fn running(&self) -> &Proxy {
        let number = self.number;
        let process = self.process.as_ref();
        process.unwrap_or_else(|| panic!("node {number} does not run"))
    }

    fn running_mut(&mut self) -> &mut Proxy {
        let number = self.number;
        let process = self.process.as_mut();
        process.unwrap_or_else(|| panic!("node {number} does not run"))
    }

    /// SIGTERM; it has to end in order.
    pub fn stop(&mut self) {
        let code = self.running_mut().stop();
        let log = self.running().log.clone();
        self.process = None;
        assert_eq!(code, 0, "stop of node {}\n{}", self.number, log.text());
    }

    /// `kill -9`.
    pub fn kill9(&mut self) {
        self.running_mut().kill9();
        self.process = None;
    }

    /// Panics, with its log, if its process has ended by itself.
    pub fn assert_alive(&mut self) {
        let number = self.number;
        let Some(process) = &mut self.process else {
            return;
        };
        if let Some(status) = process.poll_exit() {
            process.log.wait_end();
            panic!("node {number} has ended: {status}\n{}", process.log.text());
        }
    }

    /// Forgets a process that has ended by itself: whether it had.
    pub fn reap(&mut self) -> bool {
        let ended = self
            .process
            .as_mut()
            .is_some_and(|process| process.poll_exit().is_some());
        if ended {
            self.process = None;
        }
        ended
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        self.running().signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.running().signal(Signal::CONT);
    }

    /// `tcpffee reload` with another file, whatever comes of it.
    pub fn reload(&mut self, plan: &Plan) -> Answer {
        let settings = plan.for_node(self.number);
        self.running_mut().reload(&settings)
    }

    /// A subcommand on its host.
    pub fn subcommand(&self, arguments: &[&str]) -> Answer {
        let state = self.state.clone();
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        self.host().run(move || {
            let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            subcommand(&state, &words)
        })
    }

    /// Everything that it had on disk is gone: saves and logs. It must not run.
    pub fn wipe(&mut self) {
        assert!(!self.runs(), "node {} runs", self.number);
        let folder = self.raft_path();
        let files = [self.state.stick_table_path(), self.state.health_path()];
        self.host().run(move || {
            // The folder itself may be a mount.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let removed = match path.is_dir() {
                    true => fs::remove_dir_all(&path),
                    false => fs::remove_file(&path),
                };
                removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
            files.iter().for_each(|file| {
                let _ = fs::remove_file(file);
            });
        });
    }

    /// Puts its logs on a disk of so many bytes. Before its first start.
    pub fn use_small_disk(&self, bytes: u64) {
        self.host().mount_small_disk(&self.raft_path(), bytes);
    }

    /// Fills that disk to the last byte.
    pub fn fill_disk(&self) {
        let file = self.raft_path().join("filler");
        self.host().run(move || {
            let mut command = Command::new("dd");
            command
                .arg("if=/dev/zero")
                .arg(format!("of={}", file.display()));
            let output = command.args(["bs=4096", "status=none"]).output();
            let output = output.expect("dd can be started");
            assert!(!output.status.success(), "the disk did not become full");
        });
    }

    /// Makes room again.
    pub fn free_disk(&self) {
        let file = self.raft_path().join("filler");
        self.host()
            .run(move || fs::remove_file(file))
            .expect("the disk was filled before");
    }

    /// How it stands in the Raft group of the stick table.
    pub fn standing(&self) -> Option<Standing> {
        probe::stick_table(self.host(), self.number)
    }

    /// Whether it says that it may get traffic.
    pub fn is_healthy(&self) -> bool {
        probe::health(self.host(), self.number).is_some_and(|(healthy, _)| healthy)
    }

    /// Entries of its copy of the stick table.
    pub fn sticks(&self) -> u64 {
        let answer = probe::get(self.host(), self.number, "/api/v1/stick_table?limit=1");
        answer.map_or(0, |(_, page)| page["total"].as_u64().unwrap_or(0))
    }

    /// Waits until it says so.
    pub fn wait_healthy(&self) {
        eventually(&format!("node {} may get traffic", self.number), || {
            self.is_healthy()
        });
    }
}
