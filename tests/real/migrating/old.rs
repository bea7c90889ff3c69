//! HAProxy and nginx with files of the guide.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{BALANCER, eventually, real};
use crate::real::{Server, User};
use crate::support::process::listens;
use crate::support::wait::PATIENCE;

/// Programs and their packages.
pub const HAPROXY: &[(&str, &str)] = &[("haproxy", "haproxy")];
/// The package of nginx's stream module puts a file here that has it loaded.
const STREAM_MODULE: &str = "/etc/nginx/modules-enabled/50-mod-stream.conf";
pub const NGINX: &[(&str, &str)] = &[("nginx", "nginx"), (STREAM_MODULE, "libnginx-mod-stream")];

const ADMIN_SOCKET: &str = "/run/haproxy/admin.sock";

/// HAProxy as a master with a worker, as systemd starts it.
#[derive(Debug)]
pub struct Haproxy {
    directory: TempDir,
    server: Server,
}

impl Haproxy {
    /// Starts it; `haproxy -c` has nothing to say about the file.
    pub fn start(text: &str, ports: &[u16]) -> Haproxy {
        let directory = real::directory();
        let file = directory.path().join("haproxy.cfg");
        write_haproxy(&file, text);
        let mut check = haproxy();
        check.arg("-c").arg("-f").arg(&file);
        let checked = real::outcome(check);
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "haproxy -c: {said}");
        assert!(!said.contains("[WARNING]"), "haproxy -c: {said}");
        let mut command = haproxy();
        command.arg("-W").arg("-f").arg(&file);
        command.arg("-S").arg(directory.path().join("master.sock"));
        let server = Server::start(command, directory.path(), &places(ports));
        let haproxy = Haproxy { directory, server };
        if text.contains(ADMIN_SOCKET) {
            eventually("HAProxy answers on its socket", || {
                order(&haproxy.admin_socket(), "show info").is_ok()
            });
        }
        haproxy
    }

    /// What a command on its stats socket answers.
    pub fn order(&self, command: &str) -> String {
        let answer = order(&self.admin_socket(), command);
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// How many entries its table holds.
    pub fn entries(&self) -> u32 {
        self.entries_if_asked().expect("HAProxy says what it holds")
    }

    /// The same; none while it reloads, when its socket may not be there.
    pub fn entries_if_asked(&self) -> Option<u32> {
        let table = order(&self.admin_socket(), "show table licences").ok()?;
        let (_, used) = table.split_once("used:")?;
        used.lines().next()?.parse().ok()
    }

    fn admin_socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    /// Reloads it with another file.
    pub fn reload(&self, text: &str) {
        write_haproxy(&self.directory.path().join("haproxy.cfg"), text);
        // Before it answers here it may miss a signal.
        let master = self.directory.path().join("master.sock");
        eventually("the master of HAProxy is ready", || {
            order(&master, "show proc").is_ok_and(|answer| answer.contains("worker"))
        });
        let _ = order(&master, "reload");
    }

    /// The master's process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

fn order(socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{command}")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn haproxy() -> Command {
    real::command(&real::find("haproxy", "haproxy"), User::Same)
}

fn write_haproxy(file: &Path, text: &str) {
    let own = file.with_file_name("admin.sock");
    let text = text.replace(ADMIN_SOCKET, own.to_str().unwrap());
    fs::write(file, text).unwrap();
}

/// nginx, in the foreground.
#[derive(Debug)]
pub struct Nginx {
    directory: TempDir,
    server: Server,
}

impl Nginx {
    /// Starts it; `nginx -t` takes the file.
    pub fn start(text: &str, ports: &[u16]) -> Nginx {
        let directory = real::directory();
        real::open_to_all(directory.path());
        fs::write(Nginx::file(&directory), text).unwrap();
        let mut check = Nginx::command(&directory);
        check.arg("-t");
        let checked = real::outcome(check);
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "nginx -t: {said}");
        assert!(!said.contains("[warn]"), "nginx -t: {said}");
        let command = Nginx::command(&directory);
        let server = Server::start(command, directory.path(), &places(ports));
        Nginx { directory, server }
    }

    fn file(directory: &TempDir) -> PathBuf {
        directory.path().join("nginx.conf")
    }

    fn command(directory: &TempDir) -> Command {
        let pid = directory.path().join("nginx.pid");
        let mut command = real::command(&real::find("nginx", "nginx"), User::Same);
        command
            .args(["-e", "stderr", "-c"])
            .arg(Nginx::file(directory));
        command
            .arg("-g")
            .arg(format!("daemon off; pid {};", pid.display()));
        command
    }

    /// Reloads it with another file.
    pub fn reload(&self, text: &str) {
        fs::write(Nginx::file(&self.directory), text).unwrap();
        self.server.signal(Signal::HUP);
    }

    /// The master's process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

/// Waits until the process has given up these ports of the balancer.
pub fn wait_given_up(pid: u32, ports: &[u16]) {
    eventually("the old one listens no more", || {
        places(ports).iter().all(|place| !listens(pid, *place))
    });
}

/// How many workers a master has.
pub fn workers(master: u32) -> usize {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
    children.unwrap().split_whitespace().count()
}

fn places(ports: &[u16]) -> Vec<SocketAddr> {
    let place = |port: &u16| (BALANCER, *port).into();
    ports.iter().map(place).collect()
}
