//! The real binary, run with a configuration and state of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wait::{PATIENCE, eventually, holds_within};
use super::{Log, Settings, process};

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_tcpffee");

/// Files of one proxy that outlive a process of it: configuration, PID file, saves.
#[derive(Clone, Debug)]
pub struct State {
    directory: Arc<TempDir>,
}

impl State {
    /// An empty directory, removed with its last user.
    pub fn new() -> State {
        let directory = tempfile::Builder::new().prefix("tcpffee-test-").tempdir();
        State {
            directory: Arc::new(directory.expect("a temporary directory can be made")),
        }
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.path("tcpffee.toml")
    }

    /// The PID file.
    pub fn pid_path(&self) -> PathBuf {
        self.path("tcpffee.pid")
    }

    /// The states of the health checks.
    pub fn health_path(&self) -> PathBuf {
        self.path("healthchecks")
    }

    /// The save of the stick table.
    pub fn stick_table_path(&self) -> PathBuf {
        self.path("stick_table")
    }
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

/// How a proxy is to be started.
#[derive(Debug)]
pub struct Builder {
    text: String,
    state: State,
    env: Vec<(String, String)>,
    descriptors: Option<u32>,
    wrapper: Vec<String>,
    unread_stderr: bool,
}

impl Builder {
    /// An environment variable besides the paths.
    pub fn env(mut self, name: &str, value: &str) -> Builder {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `TCPFFEE_KEY_TYPE=IP_WITH_FIRST_MESSAGE_SLICE` with these bounds.
    pub fn slice_key(self, start: usize, end: usize) -> Builder {
        self.env("TCPFFEE_KEY_TYPE", "IP_WITH_FIRST_MESSAGE_SLICE")
            .env("TCPFFEE_KEY_FIRST_MESSAGE_SLICE_START", &start.to_string())
            .env("TCPFFEE_KEY_FIRST_MESSAGE_SLICE_END", &end.to_string())
    }

    /// The state of an earlier process.
    pub fn state(mut self, state: &State) -> Builder {
        self.state = state.clone();
        self
    }

    /// A file among its own.
    pub fn state_path(&self, name: &str) -> PathBuf {
        self.state.path(name)
    }

    /// Soft and hard limit of descriptors.
    pub fn descriptors(mut self, limit: u32) -> Builder {
        self.descriptors = Some(limit);
        self
    }

    /// Starts it by a command that becomes the proxy in the end (`exec`): the process id stays.
    pub fn wrapped(mut self, command: &[&str]) -> Builder {
        self.wrapper = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Standard error is a pipe that nobody reads.
    pub fn unread_stderr(mut self) -> Builder {
        self.unread_stderr = true;
        self
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Proxy {
        let mut proxy = self.launch();
        proxy.wait_ready();
        proxy
    }

    /// Starts it and expects it to end by itself: its exit code and everything it printed.
    pub fn expect_failure(self) -> (i32, String) {
        let mut proxy = self.launch();
        let status = proxy.wait_exit(PATIENCE);
        proxy.log.wait_end();
        (code(status), proxy.log.text())
    }

    /// Starts it and does not wait: see [`Proxy::wait_ready`].
    pub fn launch(self) -> Proxy {
        let config_path = self.state.config_path();
        std::fs::write(&config_path, &self.text).expect("the configuration can be written");
        let mut command = self.command();
        let mut child = command.spawn().expect("the proxy's binary can be started");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let (log, unread) = match self.unread_stderr {
            true => (Log::default(), Some(stderr)),
            false => (Log::read_from(stderr), None),
        };
        Proxy {
            child,
            log,
            state: self.state,
            env: self.env,
            descriptors: self.descriptors,
            listeners: listeners_of(&self.text),
            statistics: statistics_of(&self.text),
            unread,
            exited: None,
        }
    }

    fn command(&self) -> Command {
        let mut command = match (self.descriptors, self.wrapper.split_first()) {
            (None, None) => Command::new(BINARY),
            (None, Some((program, arguments))) => {
                let mut wrapped = Command::new(program);
                wrapped.args(arguments).arg(BINARY);
                wrapped
            }
            (Some(limit), _) => {
                // The shell sets both limits and becomes the proxy: the process id stays.
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")]);
                shell.arg(BINARY);
                shell
            }
        };
        command
            .args(["run", "--config"])
            .arg(self.state.config_path());
        environment(&mut command, &self.state);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

fn environment(command: &mut Command, state: &State) {
    for name in [
        "TCPFFEE_KEY_TYPE",
        "TCPFFEE_KEY_FIRST_MESSAGE_SLICE_START",
        "TCPFFEE_KEY_FIRST_MESSAGE_SLICE_END",
        "TCPFFEE_MAC_ADDRESS",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
    ] {
        command.env_remove(name);
    }
    command
        .env("TCPFFEE_CONFIG_PATH", state.config_path())
        .env("TCPFFEE_PID_PATH", state.pid_path())
        .env("TCPFFEE_STICK_TABLE_SAVE_PATH", state.stick_table_path())
        .env("TCPFFEE_HEALTHCHECK_SAVE_PATH", state.health_path())
        .env("TCPFFEE_RAFT_PATH", state.path("raft"))
        .env("RUST_LOG", "info,tcpffee::session=info");
}

/// The listeners that a configuration asks for (numbers in `ports` only).
fn listeners_of(text: &str) -> Vec<SocketAddr> {
    let Ok(table) = text.parse::<toml::Table>() else {
        return Vec::new();
    };
    let list = |key: &str| -> Vec<toml::Value> {
        match table.get(key) {
            Some(toml::Value::Array(values)) => values.clone(),
            Some(value) => vec![value.clone()],
            None => Vec::new(),
        }
    };
    let ports = list("ports");
    let ports = ports
        .iter()
        .filter_map(toml::Value::as_integer)
        .filter_map(|port| u16::try_from(port).ok());
    let addresses = list("bind_addr");
    let addresses: Vec<IpAddr> = addresses
        .iter()
        .filter_map(|address| address.as_str()?.parse().ok())
        .collect();
    ports
        .flat_map(|port| addresses.iter().map(move |ip| SocketAddr::new(*ip, port)))
        .collect()
}

/// Where a configuration has statistics served.
fn statistics_of(text: &str) -> Option<SocketAddr> {
    let table = text.parse::<toml::Table>().ok()?;
    table.get("stats_bind_socket")?.as_str()?.parse().ok()
}

fn code(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => -1,
    }
}

/// A subcommand's exit code and what it printed on both streams.
#[derive(Debug)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// Standard output and standard error, one after the other.
    pub text: String,
}

/// Runs the binary with these arguments on a state's files.
pub fn subcommand(state: &State, arguments: &[&str]) -> Answer {
    let mut command = Command::new(BINARY);
    command.args(arguments).stdin(Stdio::null());
    environment(&mut command, state);
    let output = command.output().expect("the binary can be started");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Answer {
        code: code(output.status),
        text,
    }
}

/// A running proxy. At drop the process is ended, and its log printed where the test failed.
#[derive(Debug)]
pub struct Proxy {
    /// What it has written to standard error.
    pub log: Log,
    child: Child,
    state: State,
    env: Vec<(String, String)>,
    descriptors: Option<u32>,
    listeners: Vec<SocketAddr>,
    statistics: Option<SocketAddr>,
    unread: Option<ChildStderr>,
    exited: Option<ExitStatus>,
}

impl Proxy {
    /// Starts the proxy with a configuration and waits until it is ready.
    pub fn start(settings: &Settings) -> Proxy {
        Proxy::builder(settings).start()
    }

    /// A proxy still to be started.
    pub fn builder(settings: &Settings) -> Builder {
        Proxy::builder_from_text(settings.text())
    }

    /// A proxy whose configuration is any text.
    pub fn builder_from_text(text: impl Into<String>) -> Builder {
        Builder {
            text: text.into(),
            state: State::new(),
            env: Vec::new(),
            descriptors: None,
            wrapper: Vec::new(),
            unread_stderr: false,
        }
    }

    /// Where it serves statistics.
    pub fn statistics(&self) -> SocketAddr {
        self.statistics
            .expect("the settings of tests name a socket")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its files.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Open descriptors of the process.
    pub fn descriptors(&self) -> usize {
        process::descriptors(self.pid())
    }

    /// Open descriptors once their number has stayed the same for half a second: files that are
    /// opened in the background after the start are counted in.
    pub fn settled_descriptors(&self) -> usize {
        let mut last = self.descriptors();
        let mut since = Instant::now();
        eventually("the number of descriptors settles", || {
            let now = self.descriptors();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            since.elapsed() > Duration::from_millis(500)
        });
        last
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        process::resident_bytes(self.pid())
    }

    /// Waits until it has said so and listens.
    pub fn wait_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.poll_exit() {
                self.log.wait_end();
                panic!("the proxy ended at start: {status}\n{}", self.log.text());
            }
            if self.is_ready() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the proxy is not ready\n{}",
                self.log.text()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_ready(&self) -> bool {
        let pid = self.pid();
        let said = self.unread.is_some() || self.log.lines().iter().any(|l| l.contains("ready:"));
        said && self.state.pid_path().exists()
            && self
                .listeners
                .iter()
                .all(|place| process::listens(pid, *place))
    }

    /// Writes a configuration to the file; the process does not know yet.
    pub fn write_config(&mut self, text: &str) {
        self.listeners = listeners_of(text);
        std::fs::write(self.state.config_path(), text).expect("the configuration can be written");
    }

    /// `tcpffee reload` with a new configuration, whatever comes of it.
    pub fn reload(&mut self, settings: &Settings) -> Answer {
        self.write_config(&settings.text());
        self.subcommand(&["reload"])
    }

    /// `tcpffee reload` with a new configuration that must be taken.
    pub fn reload_ok(&mut self, settings: &Settings) {
        let answer = self.reload(settings);
        assert_eq!(
            answer.code,
            0,
            "reload: {}\n{}",
            answer.text,
            self.log.text()
        );
    }

    /// Runs the binary with other arguments in this proxy's environment.
    pub fn subcommand(&self, arguments: &[&str]) -> Answer {
        subcommand(&self.state, arguments)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a process id"), signal)
            .expect("the process is there until it is waited for");
    }

    /// The exit status if it has ended.
    pub fn poll_exit(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().expect("a child can be waited for");
        }
        self.exited
    }

    /// Waits for the process to end; panics after `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let ended = holds_within(limit, || self.poll_exit().is_some());
        assert!(ended, "still running after {limit:?}\n{}", self.log.text());
        self.exited.expect("it has ended")
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        let status = self.wait_exit(Duration::from_secs(60));
        if self.unread.is_none() {
            self.log.wait_end();
        }
        code(status)
    }

    /// `kill -9`.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        self.wait_exit(PATIENCE);
    }

    /// Another process on the same state, environment and configuration, after this one ended.
    pub fn start_again(mut self, settings: &Settings) -> Proxy {
        assert!(self.poll_exit().is_some(), "the former process still runs");
        let mut builder = Proxy::builder(settings).state(&self.state);
        builder.env = self.env.clone();
        builder.descriptors = self.descriptors;
        builder.start()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.poll_exit().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of proxy {} ---\n{}", self.pid(), self.log.text());
        }
    }
}
