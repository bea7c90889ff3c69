//! Starting and stopping the balancers.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::cli::{BalancerName, CompareOptions};
use crate::config;
use crate::core::{self, Cores};
use crate::places::Places;
use crate::process::Tree;

/// How long a balancer may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after a signal a balancer may take to end, before the next, harder one.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A balancer that can be started.
#[derive(Clone, Debug)]
pub struct Balancer {
    /// Which one.
    pub name: BalancerName,
    program: PathBuf,
    nginx_stream_module: PathBuf,
}

impl Balancer {
    /// The balancer that the options name, its program found.
    pub fn find(name: BalancerName, options: &CompareOptions) -> anyhow::Result<Balancer> {
        let (program, hint) = match name {
            BalancerName::Tcpffee => (
                options.tcpffee.clone(),
                "build it with `cargo build --release`, or name it with --tcpffee",
            ),
            BalancerName::Other => (
                options.other_tcpffee.clone().context("--other-tcpffee")?,
                "name it with --other-tcpffee",
            ),
            BalancerName::Haproxy => (
                options.haproxy.clone(),
                "install the package haproxy, or name it with --haproxy",
            ),
            BalancerName::Nginx => (
                options.nginx.clone(),
                "install the packages nginx and libnginx-mod-stream, or name it with --nginx",
            ),
            BalancerName::Bare => (
                std::env::current_exe().context("find this program's own path")?,
                "this program's own path",
            ),
        };
        ensure!(
            program.is_file(),
            "{}: there is no program {}; {hint}",
            name.as_str(),
            program.display()
        );
        Ok(Balancer {
            name,
            program,
            nginx_stream_module: options.nginx_stream_module.clone(),
        })
    }

    /// Starts it on a core and waits until it listens.
    pub fn start(&self, places: &Places, cores: Cores) -> anyhow::Result<Running> {
        let dir = tempfile::Builder::new()
            .prefix("tcpffee-bench-")
            .tempdir()
            .context("make a directory for the balancer")?;
        let mut command = self.command(places, dir.path())?;
        let log = dir.path().join("log");
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("share the balancer's log")?)
            .stderr(file);
        end_with_this_process(&mut command);
        core::pin(cores.proxy)?;
        let child = command.spawn();
        core::pin(cores.load)?;
        let child = child.with_context(|| format!("start {}", self.program.display()))?;
        let mut running = Running { child, dir, log };
        running.wait_until_listening(places)?;
        Ok(running)
    }

    fn command(&self, places: &Places, dir: &Path) -> anyhow::Result<Command> {
        let path = dir.join("config");
        let mut command = Command::new(&self.program);
        let text = match self.name {
            BalancerName::Tcpffee | BalancerName::Other => {
                run_in(&mut command, dir, &path);
                config::tcpffee(places)
            }
            BalancerName::Haproxy => {
                command.arg("-db").arg("-f").arg(&path);
                config::haproxy(places)
            }
            BalancerName::Nginx => {
                command.arg("-p").arg(dir).arg("-c").arg(&path);
                config::nginx(places, dir, &self.nginx_stream_module)
            }
            BalancerName::Bare => {
                let listen: Vec<_> = places.listens().map(|a| a.to_string()).collect();
                let to: Vec<_> = places.groups().map(|a| a.to_string()).collect();
                command.args(["bare", "--listen", &listen.join(","), "--to", &to.join(",")]);
                String::new()
            }
        };
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(command)
    }
}

/// Has tcpffee keep everything in one directory.
pub fn run_in(tcpffee: &mut Command, dir: &Path, config: &Path) {
    tcpffee
        .arg("run")
        .env("TCPFFEE_CONFIG_PATH", config)
        .env("TCPFFEE_PID_PATH", dir.join("pid"))
        .env("TCPFFEE_STICK_TABLE_SAVE_PATH", dir.join("stick_table"))
        .env("TCPFFEE_HEALTHCHECK_SAVE_PATH", dir.join("healthchecks"))
        .env("TCPFFEE_RAFT_PATH", dir.join("raft"))
        .env_remove("TCPFFEE_KEY_TYPE")
        .env_remove("RUST_LOG");
}

/// A balancer that dies with its parent, should this program be killed.
pub fn end_with_this_process(command: &mut Command) {
    let set = || Ok(set_parent_process_death_signal(Some(Signal::TERM))?);
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// A balancer that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Holds its files; removed with it.
    dir: tempfile::TempDir,
    log: PathBuf,
}

impl Running {
    /// Its processes of this moment.
    pub fn tree(&self) -> anyhow::Result<Tree> {
        Tree::of(self.child.id())
    }

    /// Ends it, and says so when it did not end as asked.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let tree = self.tree()?;
        self.signal(Signal::TERM);
        if self.ended_within(STOP_TIMEOUT)?.is_none() {
            eprintln!("note: a balancer took more than {STOP_TIMEOUT:?} to end; asked again");
            self.signal(Signal::TERM);
            if self.ended_within(STOP_TIMEOUT)?.is_none() {
                bail!(
                    "processes {:?} did not end {STOP_TIMEOUT:?} after a second SIGTERM",
                    tree.pids()
                );
            }
        }
        Ok(())
    }

    fn wait_until_listening(&mut self, places: &Places) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        for address in places.listens() {
            while TcpStream::connect(address).is_err() {
                if let Some(status) = self.child.try_wait().context("wait for the balancer")? {
                    bail!("the balancer ended, {status}:\n{}", self.log_text());
                }
                ensure!(
                    Instant::now() < deadline,
                    "the balancer does not listen on {address} after {START_TIMEOUT:?}:\n{}",
                    self.log_text()
                );
                sleep(POLL_INTERVAL);
            }
        }
        Ok(())
    }

    fn log_text(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let config = fs::read_to_string(self.dir.path().join("config")).unwrap_or_default();
        format!(
            "{}\nconfiguration:\n{config}",
            String::from_utf8_lossy(&text)
        )
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It fails where the process has ended, which is what is wanted.
            let _ = kill_process(pid, signal);
        }
    }

    fn ended_within(&mut self, time: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + time;
        loop {
            let status = self.child.try_wait().context("wait for the balancer")?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // nginx's master passes this on to its worker; SIGKILL would leave the worker alone.
        self.signal(Signal::TERM);
        if !matches!(self.ended_within(STOP_TIMEOUT), Ok(Some(_))) {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
