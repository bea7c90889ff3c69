//! A throw-away Debian system: processes, mounts, network and control groups of its own, on a copy
//! of a bare Debian that is thrown away.

use std::fs::File;
use std::io::{self, Seek};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::deb;
use crate::support::host::{Host, WITH_ITS_PARENT};
use crate::support::wait::{PATIENCE, eventually, eventually_some, holds_within};
use crate::support::{Backend, client};

/// Commands start with this environment and nothing else.
const ENVIRONMENT: [&str; 4] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
    "DEBIAN_FRONTEND=noninteractive",
];

/// One system. At drop every process of it is killed, and nothing is left behind.
pub struct Machine {
    host: Host,
    /// Process 1 of it, as its parent sees it.
    init: u32,
    unshare: Child,
    place: tempfile::TempDir,
}

/// What came of a command.
#[derive(Debug)]
pub struct Done {
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output and error, in the order of writing.
    pub output: String,
}

impl Machine {
    /// One with systemd, up and running. None, and why, where this process may not make one.
    pub fn booted() -> Option<Machine> {
        let machine = Machine::start("init")?;
        let states = ["running", "degraded"];
        eventually("systemd has started everything", || {
            let state = machine.run("systemctl is-system-running").output;
            states.contains(&state.trim())
        });
        Some(machine)
    }

    /// One without a service manager.
    pub fn bare() -> Option<Machine> {
        Machine::start("bare")
    }

    fn start(kind: &str) -> Option<Machine> {
        let base = deb::base()?;
        let host = match Host::new() {
            Ok(host) => host,
            Err(reason) => {
                deb::skip(&format!("no namespaces for this test: {reason}"));
                return None;
            }
        };
        let place = tempfile::Builder::new()
            .prefix("tcpffee-package-")
            .tempdir()
            .expect("a temporary directory can be made");
        let mut command = Command::new(WITH_ITS_PARENT[0]);
        command.args(&WITH_ITS_PARENT[1..]);
        command.args(["bash", "-c", include_str!("boot.sh"), "boot.sh"]);
        command.arg(base).arg(place.path()).arg(kind);
        let log = tempfile::tempfile().expect("a temporary file can be made");
        let written = log.try_clone().expect("a file can be shared");
        command.stdin(Stdio::null()).stderr(written);
        let unshare = host.run(move || command.spawn().expect("bash can be started"));
        let mut machine = Machine {
            host,
            init: 0,
            unshare,
            place,
        };
        let children = format!("/proc/{0}/task/{0}/children", machine.unshare.id());
        let init = eventually_some("the system's first process runs", || {
            let ended = machine.unshare.try_wait().expect("a child can be asked");
            if ended.is_some() {
                return Some(None);
            }
            let child = std::fs::read_to_string(&children).ok()?;
            let pid: u32 = child.split_whitespace().next()?.parse().ok()?;
            // Before that it is still on its way.
            let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            let is_up = ["systemd", "sleep"].contains(&command.trim());
            is_up.then_some(Some(pid))
        });
        match init {
            Some(init) => machine.init = init,
            None => {
                let said = io::read_to_string(rewound(log)).unwrap_or_default();
                deb::skip(&format!("no Debian system for this test: {said}"));
                return None;
            }
        }
        Some(machine)
    }

    /// Runs a command line of the system's shell.
    pub fn run(&self, line: &str) -> Done {
        let mut command = self.command(line);
        let output = command.output().expect("nsenter can be started");
        Done {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }

    /// The same; it has to succeed. What it printed.
    pub fn ok(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!(done.code, Some(0), "{line}\n{}", done.output);
        done.output
    }

    /// Starts a command line without waiting for it, changed by `prepare` before.
    pub fn start_command_with(&self, line: &str, prepare: impl FnOnce(&mut Command)) -> Child {
        let mut command = self.command(line);
        prepare(&mut command);
        command.spawn().expect("nsenter can be started")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string()]);
        command.args(["--all", "--root", "--wd", "--", "env", "-i"]);
        command.args(ENVIRONMENT);
        command.args(["sh", "-c", &format!("exec 2>&1\n{line}")]);
        command.stdin(Stdio::null());
        command
    }

    /// A file of it, as this process reaches it.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.init)).join(path.trim_start_matches('/'))
    }

    /// What a file holds.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Writes a file; its directory is made.
    pub fn write(&self, path: &str, text: &str) {
        let place = self.path(path);
        let directory = place.parent().expect("a file has a directory");
        std::fs::create_dir_all(directory).unwrap_or_else(|error| panic!("{path}: {error}"));
        std::fs::write(place, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Changes a file's text, in which `from` has to stand.
    pub fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{from:?} is not in {path}:\n{text}");
        self.write(path, &text.replacen(from, to, 1));
    }

    /// Installs a package file, or takes another version of it.
    pub fn install(&self, deb: &Path) -> String {
        std::fs::copy(deb, self.path("/tmp/package.deb")).expect("a package can be copied");
        self.ok("dpkg --install --force-confold /tmp/package.deb")
    }

    /// Runs something in its network.
    pub fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.host.run(job)
    }

    /// Runs `ip` with these words in its network.
    pub fn link(&self, words: &str) {
        self.host.ip(words);
    }

    /// The three servers that the example configuration expects.
    pub fn servers(&self) -> Vec<Backend> {
        self.inside(|| {
            let server = |(name, last)| {
                Backend::echo(name, Ipv4Addr::new(127, 0, 0, last), &[5280, 5281, 5282])
            };
            [("alder", 11), ("birch", 12), ("cedar", 13)]
                .map(server)
                .into()
        })
    }

    /// Which server answers a client of 127.0.0.0/8 with this last number at a port of the proxy.
    pub fn ask(&self, client: u8, port: u16) -> io::Result<String> {
        self.inside(move || client::ask(client_address(client), proxy(port)))
    }

    /// The main process of the service.
    pub fn service_pid(&self) -> u32 {
        let shown = self.ok("systemctl show --property MainPID --value tcpffee");
        shown.trim().parse().expect("a process id")
    }

    /// How the service stands, as `systemctl show` has this property.
    pub fn service(&self, property: &str) -> String {
        let shown = self.ok(&format!(
            "systemctl show --property {property} --value tcpffee"
        ));
        shown.trim().to_owned()
    }

    /// Waits until the service runs.
    pub fn await_active(&self) {
        eventually("the service is active", || {
            self.service("ActiveState") == "active"
        });
    }

    /// The log of the service.
    pub fn journal(&self) -> String {
        self.ok("journalctl --sync && journalctl --unit tcpffee --output cat --no-pager")
    }
}

fn rewound(mut file: File) -> File {
    let _ = file.rewind();
    file
}

/// A client's address.
pub fn client_address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// A port of the proxy of the example configuration.
pub fn proxy(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() && self.init != 0 {
            eprintln!("{}", self.run("journalctl --no-pager | tail -n 60").output);
        }
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        // Its groups are named after the first process of all, which became `unshare`.
        let name = format!("tcpffee-test-{}", self.unshare.id());
        let root = self.place.path().to_owned();
        self.host.run(move || {
            // Its processes have been killed, and end one by one.
            holds_within(PATIENCE, || is_without_groups(&root, &name));
        });
    }
}

/// Removes the control groups that the system has made; whether there are none any more.
fn is_without_groups(root: &Path, name: &str) -> bool {
    ["unified", "systemd"].into_iter().all(|hierarchy| {
        let top = root.join(hierarchy).join(name);
        let find = Command::new("find")
            .arg(&top)
            .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
            .stderr(Stdio::null())
            .status();
        find.is_err() || !top.exists()
    })
}
