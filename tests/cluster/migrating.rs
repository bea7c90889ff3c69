//! From three HAProxy with `peers`: the files of docs/MIGRATING.md, and what it says about them.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Plan, Stage, network, plan::PORTS};
use crate::keepalived::{find, has_programs};
use crate::support::guide::{block, changed};
use crate::support::host::WITH_ITS_PARENT;
use crate::support::wait::holds_within;
use crate::support::{Log, client, eventually, process};

const GUIDE: &str = "MIGRATING.md";
const BEFORE: &str = "# Before: /etc/haproxy/haproxy.cfg, the same on three nodes";
const AFTER: &str = "# After: /etc/tcpffee/tcpffee.toml, the same on three nodes";
const ALL: [usize; 3] = [1, 2, 3];
const CLIENTS: u32 = 12;
/// From here on nobody has been a client before.
const NEWCOMERS: u32 = 1_000;

/// The guide's three nodes, before anything runs; none where that cannot be tried here.
fn stage() -> Option<Stage> {
    if !has_programs(&["haproxy"]) {
        return None;
    }
    let mut stage = Stage::new(3, 3, Plan::of_file(&block(GUIDE, AFTER)))?;
    let secret = stage.node(1).path("secret");
    std::fs::write(&secret, "what the nodes of the guide share\n").unwrap();
    let secret = secret.to_str().unwrap().to_owned();
    stage.plan = stage.plan.clone().set("peer_secret_file", secret);
    Some(stage)
}

/// HAProxy on one node.
#[derive(Debug)]
struct Haproxy {
    child: Child,
    log: Log,
    socket: PathBuf,
}

impl Haproxy {
    fn start(stage: &Stage, node: usize) -> Haproxy {
        let folder = stage.node(node);
        let [file, socket] = ["haproxy.cfg", "admin.sock"].map(|name| folder.path(name));
        let own = socket.to_str().unwrap();
        let text = changed(&block(GUIDE, BEFORE), "/run/haproxy/admin.sock", own);
        std::fs::write(&file, text).unwrap();
        let program = find("haproxy").unwrap();
        let command = move || {
            let [first, rest @ ..] = WITH_ITS_PARENT;
            let mut command = Command::new(first);
            command.args(rest).arg(&program).arg("-f").arg(&file);
            command.arg("-L").arg(format!("node{node}"));
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(Stdio::piped());
            command
        };
        let checked = command().arg("-c").output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "haproxy -c: {said}");
        assert!(!said.contains("[WARNING]"), "haproxy -c: {said}");
        let start = move || command().arg("-db").spawn().unwrap();
        let mut child = folder.host().run(start);
        let log = Log::read_from(child.stderr.take().unwrap());
        let haproxy = Haproxy { child, log, socket };
        eventually("HAProxy listens and answers", || {
            let listens = |port| process::listens(haproxy.child.id(), ([0, 0, 0, 0], port).into());
            PORTS.into_iter().all(listens) && UnixStream::connect(&haproxy.socket).is_ok()
        });
        haproxy
    }

    /// How many entries its table holds.
    fn entries(&self) -> u32 {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(b"show table licences\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut table = String::new();
        stream.read_to_string(&mut table).unwrap();
        let (_, used) = table
            .split_once("used:")
            .unwrap_or_else(|| panic!("{table}"));
        used.lines().next().unwrap().parse().unwrap()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = kill_process(pid.unwrap(), Signal::TERM);
        let ended = || matches!(self.child.try_wait(), Ok(Some(_)));
        if !holds_within(Duration::from_secs(10), ended) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of haproxy ---\n{}", self.log.text());
        }
    }
}

/// The server that a client gets through a node; none where it serves nobody.
fn ask(stage: &Stage, node: usize, key: u32, port: u16) -> Option<String> {
    let from = IpAddr::from(network::client(key));
    let to = (IpAddr::from(network::address(node)), port).into();
    let clients = &stage.network.clients;
    clients.run(move || client::ask(from, to)).ok()
}

/// Clients that come through this node get the same server on all ports.
fn servers(stage: &Stage, node: usize) -> Vec<String> {
    let server = |key| {
        let [first, second] = PORTS.map(|port| ask(stage, node, key, port));
        assert_eq!(first, second, "client {key} through node {node}");
        first.unwrap_or_else(|| panic!("node {node} does not serve client {key}"))
    };
    (0..CLIENTS).map(server).collect()
}

#[test]
fn an_entry_of_one_haproxy_counts_on_the_others_once_they_have_been_told() {
    let Some(stage) = stage() else {
        return;
    };
    let nodes = ALL.map(|node| Haproxy::start(&stage, node));
    let through_first = servers(&stage, 1);
    eventually("the others have the entries", || {
        nodes.iter().all(|node| node.entries() == CLIENTS)
    });
    assert_eq!(servers(&stage, 2), through_first);
    assert_eq!(servers(&stage, 3), through_first);

    // Nobody can tell anybody: each decides for itself.
    stage.network.cut_off(&[1]);
    let newcomers = NEWCOMERS..NEWCOMERS + 30;
    let ask_all = |node, keys: &mut dyn Iterator<Item = u32>| {
        let answer = |key| (key, ask(&stage, node, key, PORTS[0]).unwrap());
        let mut answers: Vec<(u32, String)> = keys.map(answer).collect();
        answers.sort();
        answers
    };
    let first = ask_all(1, &mut newcomers.clone());
    let second = ask_all(2, &mut newcomers.rev());
    let differing = first.iter().zip(&second).filter(|(a, b)| a != b).count();
    println!("HAProxy: {differing} of 30 clients have two servers");
    assert!(differing > 0);
}

#[test]
fn an_entry_of_one_node_counts_on_the_others_and_no_client_has_two_servers() {
    let Some(mut stage) = stage() else {
        return;
    };
    stage.start(&ALL);
    let answer = stage.node(1).subcommand(&["check"]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert!(answer.text.ends_with("no warnings\n"), "{}", answer.text);
    let through_first = servers(&stage, 1);
    assert_eq!(servers(&stage, 2), through_first);
    assert_eq!(servers(&stage, 3), through_first);

    stage.cut_off(&[1]);
    eventually("the node knows that it is alone", || {
        !stage.node(1).is_healthy()
    });
    let newcomers = NEWCOMERS..NEWCOMERS + CLIENTS;
    for key in newcomers.clone() {
        assert_eq!(ask(&stage, 1, key, PORTS[0]), None, "client {key}");
    }
    let served = |stage: &Stage, node| -> Vec<Option<String>> {
        let keys = newcomers.clone().rev();
        keys.map(|key| ask(stage, node, key, PORTS[0])).collect()
    };
    let through_second = served(&stage, 2);
    assert!(through_second.iter().all(Option::is_some));
    stage.heal();
    assert_eq!(served(&stage, 1), through_second);
    assert_eq!(servers(&stage, 1), through_first);

    // Said on one node, done on all.
    let answer = stage.node(1).subcommand(&["drain", "alder"]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    let mut fresh = 2 * NEWCOMERS..3 * NEWCOMERS;
    eventually("node 2 gives alder no new clients", || {
        let keys = fresh.by_ref().take(CLIENTS as usize);
        let mut answers = keys.map(|key| ask(&stage, 2, key, PORTS[0]).unwrap());
        answers.all(|server| server != "0")
    });
    assert_eq!(servers(&stage, 2), through_first, "known clients stay");
}
