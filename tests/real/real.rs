//! Real programs that the tests put in front of and behind the proxy.
//!
//! They come from the distribution's packages. Where a program is missing its tests are skipped and
//! name the package; `.ci/run` installs them all and lets none be skipped.

#![allow(dead_code, clippy::unwrap_used)]

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::process::listens;
use crate::support::scaled;
use crate::support::wait::{PATIENCE, holds_within};

/// How long a client program may run.
pub fn run_limit() -> Duration {
    Duration::from_secs(scaled(180, 3600))
}

/// Whether all these programs, each with its package, are there. Where one is not, the test is
/// skipped and says so; with TESTS_NEED_PROGRAMS set, as in `.ci/run`, it fails.
pub fn has_all(programs: &[(&str, &str)]) -> bool {
    for (program, package) in programs {
        if look_for(program).is_none() {
            let missing = format!("{program} is missing: install the package {package}");
            assert!(
                std::env::var_os("TESTS_NEED_PROGRAMS").is_none(),
                "{missing}"
            );
            println!("SKIPPED: {missing}");
            eprintln!("SKIPPED: {missing}");
            return false;
        }
    }
    true
}

/// A program of a package.
pub fn find(program: &str, package: &str) -> PathBuf {
    look_for(program).unwrap_or_else(|| {
        panic!("{program} is missing: install the package {package} (as .ci/run does)")
    })
}

/// Looks where packages put programs, `sbin` and versioned directories included.
fn look_for(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    directories.extend(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    directories.extend(postgres_directories());
    let mut paths = directories.iter().map(|directory| directory.join(program));
    paths.find(|path| path.is_file())
}

/// `/usr/lib/postgresql/VERSION/bin`, the latest version first.
fn postgres_directories() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut found: Vec<PathBuf> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    found.sort();
    found.reverse();
    found
}

/// Who a program runs as.
#[derive(Clone, Copy, Debug)]
pub enum User<'a> {
    /// The user of the tests.
    Same,
    /// This one, where the tests run as root; else the user of the tests.
    Named(&'a str),
}

/// A command that ends with the test's thread even if the test is killed.
pub fn command(program: &Path, user: User<'_>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if let User::Named(name) = user
        && is_root()
    {
        command.args(["--reuid", name, "--regid", name, "--init-groups"]);
    }
    command.arg(program);
    command
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A server program that runs. At drop it is asked to end, then killed, and its output printed
/// where the test failed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    output: PathBuf,
    end_by: Signal,
}

impl Server {
    /// Starts it and waits until it listens at every one of `places`. Its output goes to a file
    /// in `directory`.
    pub fn start(mut command: Command, directory: &Path, places: &[SocketAddr]) -> Server {
        let output = directory.join("output");
        let file = File::create(&output).expect("a file for a server's output can be made");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let mut server = Server {
            child,
            output,
            end_by: Signal::TERM,
        };
        let listening = holds_within(PATIENCE, || {
            let ended = server.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "{command:?} ended: {}", server.output());
            // It may be in a network namespace of its own.
            let pid = server.child.id();
            places.iter().all(|place| listens(pid, *place))
        });
        assert!(
            listening,
            "{command:?} does not listen: {}",
            server.output()
        );
        server
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a process id"), signal)
            .expect("the process is there until it is waited for");
    }

    /// Ends by another signal than SIGTERM.
    pub fn ended_by(mut self, signal: Signal) -> Server {
        self.end_by = signal;
        self
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn ended_within(&mut self, limit: Duration) -> bool {
        holds_within(limit, || !matches!(self.child.try_wait(), Ok(None)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && !self.ended_within(Duration::ZERO)
        {
            let _ = kill_process(pid, self.end_by);
            if !self.ended_within(Duration::from_secs(10)) {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        if std::thread::panicking() {
            eprintln!("--- output of a server ---\n{}", self.output());
        }
    }
}

/// Runs a command to its end within [`run_limit`], whatever comes of it.
pub fn outcome(mut command: Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let stdout = read_aside(child.stdout.take());
    let stderr = read_aside(child.stderr.take());
    let status = wait(&mut child, &command);
    Output {
        status,
        stdout: stdout.join().expect("a reading thread does not panic"),
        stderr: stderr.join().expect("a reading thread does not panic"),
    }
}

/// Runs a command that must succeed; its standard output.
pub fn run(command: Command) -> String {
    let told = format!("{command:?}");
    let output = outcome(command);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{told}: {}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

fn wait(child: &mut Child, command: &Command) -> ExitStatus {
    let limit = run_limit();
    let ended = holds_within(limit, || !matches!(child.try_wait(), Ok(None)));
    if !ended {
        let _ = child.kill();
    }
    let status = child.wait().expect("a child can be waited for");
    assert!(ended, "{command:?} still ran after {limit:?}");
    status
}

fn read_aside(source: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut source) = source {
            let _ = source.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// A directory for one server's files, removed at drop.
pub fn directory() -> tempfile::TempDir {
    let made = tempfile::Builder::new().prefix("tcpffee-real-").tempdir();
    made.expect("a temporary directory can be made")
}

/// Opens a directory to every user: servers drop root's rights.
pub fn open_to_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, mode).expect("an own directory's mode can be set");
}

/// The SHA-256 of what a reader gives, in hexadecimal, by coreutils.
pub fn sha256(source: impl Into<Stdio>) -> String {
    let output = Command::new("sha256sum")
        .stdin(source)
        .output()
        .expect("sha256sum (package coreutils) can be started");
    let text = String::from_utf8(output.stdout).expect("a hash is text");
    let hash = text
        .split_whitespace()
        .next()
        .expect("sha256sum prints a hash");
    hash.to_owned()
}

/// The SHA-256 of a file.
pub fn sha256_of_file(path: &Path) -> String {
    sha256(File::open(path).expect("the file can be opened"))
}
