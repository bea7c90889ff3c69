//! A virtual IP by keepalived, with the files of docs/CLUSTER.md as they stand there.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Plan, Stage, network, plan::PORTS};
use crate::support::guide::block;
use crate::support::host::WITH_ITS_PARENT;
use crate::support::wait::{eventually_some, holds_within};
use crate::support::{Log, client, eventually, process};

/// Where the files are.
const GUIDE: &str = "CLUSTER.md";
/// The address that clients know, as the guide has it.
const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const ALL: [usize; 3] = [1, 2, 3];
const CLIENTS: u32 = 40;
/// Long enough for keepalived to have run its script and for an address to have moved.
const A_WHILE: Duration = Duration::from_secs(6);

/// The guide's three nodes, before anything runs; none where that cannot be tried here.
fn stage() -> Option<Stage> {
    if !has_programs(&["keepalived", "curl"]) {
        return None;
    }
    let plan = Plan::of_file(&block(GUIDE, "# /etc/tcpffee/tcpffee.toml"));
    let mut stage = Stage::new(3, 3, plan)?;
    let secret = stage.node(1).path("secret");
    std::fs::write(&secret, "what the nodes of the guide share\n").unwrap();
    let secret = secret.to_str().unwrap().to_owned();
    stage.plan = stage.plan.clone().set("peer_secret_file", secret);
    Some(stage)
}

/// Whether all these programs are there; where one is not, the test is skipped and says so.
pub fn has_programs(programs: &[&str]) -> bool {
    let mut programs = programs.iter();
    let missing = programs.find(|program| find(program).is_none());
    let Some(program) = missing else {
        return true;
    };
    let needed = std::env::var_os("TESTS_NEED_PROGRAMS").is_some();
    assert!(!needed, "{program} is missing: apt install {program}");
    println!("SKIPPED: {program} is not installed");
    eprintln!("SKIPPED: {program} is not installed");
    false
}

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let mut files = folders.iter().map(|folder| folder.join(program));
    files.find(|file| file.is_file())
}

/// keepalived on one node. Ended in order at drop: it takes its address along.
#[derive(Debug)]
struct Keepalived {
    child: Child,
    log: Log,
}

impl Keepalived {
    fn start(stage: &Stage, node: usize) -> Keepalived {
        let priority = 104 - node;
        let text = block(GUIDE, "# /etc/keepalived/keepalived.conf");
        assert_eq!(text.matches("priority 103").count(), 1);
        let text = text.replace("priority 103", &format!("priority {priority}"));
        let folder = stage.node(node);
        let file = folder.path("keepalived.conf");
        std::fs::write(&file, text).unwrap();
        let [program, pid, vrrp_pid] = [
            find("keepalived").unwrap(),
            folder.path("keepalived.pid"),
            folder.path("vrrp.pid"),
        ];
        let mut child = folder.host().run(move || {
            let [first, rest @ ..] = WITH_ITS_PARENT;
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command.args(["--dont-fork", "--log-console", "--log-detail", "--vrrp"]);
            command.arg("--use-file").arg(file);
            command.arg("--pid").arg(pid);
            command.arg("--vrrp_pid").arg(vrrp_pid);
            command.stdin(Stdio::null()).stderr(Stdio::null());
            command.stdout(Stdio::piped()).spawn().unwrap()
        });
        let log = Log::read_from(child.stdout.take().unwrap());
        Keepalived { child, log }
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = kill_process(pid.unwrap(), Signal::TERM);
        let ended = holds_within(Duration::from_secs(10), || {
            matches!(self.child.try_wait(), Ok(Some(_)))
        });
        if !ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of keepalived ---\n{}", self.log.text());
        }
    }
}

fn start_all(stage: &Stage) -> Vec<Keepalived> {
    let start = |node| Keepalived::start(stage, node);
    ALL.into_iter().map(start).collect()
}

/// The nodes on which the virtual IP is.
fn holders(stage: &Stage) -> Vec<usize> {
    let holds = |node: &usize| {
        let host = stage.node(*node).host();
        let output = host.run(|| Command::new("ip").args(["-4", "-o", "address"]).output());
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.contains(&format!(" {VIRTUAL}/"))
    };
    ALL.into_iter().filter(holds).collect()
}

/// Waits until exactly one node holds the address, and none of these.
fn wait_holder(stage: &Stage, not: &[usize]) -> usize {
    eventually_some("one node holds the virtual IP", || {
        match holders(stage).as_slice() {
            [holder] if !not.contains(holder) => Some(*holder),
            _ => None,
        }
    })
}

/// Whose server answers this client at the virtual IP; none where nobody does.
fn ask(stage: &Stage, key: u32, port: u16) -> Option<String> {
    let from = IpAddr::from(network::client(key));
    let to = (IpAddr::from(VIRTUAL), port).into();
    let clients = &stage.network.clients;
    clients.run(move || client::ask(from, to)).ok()
}

/// The servers of all clients, each the same on all ports.
fn servers(stage: &Stage) -> Vec<String> {
    let server = |key| {
        let what = format!("client {key} is served");
        let [first, second] = PORTS.map(|port| eventually_some(&what, || ask(stage, key, port)));
        assert_eq!(first, second, "client {key} on {PORTS:?}");
        first
    };
    (0..CLIENTS).map(server).collect()
}

#[test]
fn a_virtual_ip_leaves_a_killed_node_and_clients_keep_their_servers() {
    let Some(mut stage) = stage() else {
        return;
    };
    let keepers = start_all(&stage);
    assert!(
        !holds_within(A_WHILE, || !holders(&stage).is_empty()),
        "where no proxy runs no node holds the address"
    );
    stage.start(&ALL);
    let first = wait_holder(&stage, &[]);
    let before = servers(&stage);
    for group in ["0", "1", "2"] {
        assert!(before.iter().any(|server| server == group), "{before:?}");
    }

    let killed = Instant::now();
    stage.kill(&[first]);
    eventually("a client is served again", || {
        ask(&stage, 0, PORTS[0]).is_some()
    });
    let outage = killed.elapsed();
    println!("kill -9 of the holder's process: a client was served after {outage:.1?}");
    let second = wait_holder(&stage, &[first]);
    assert_eq!(servers(&stage), before, "from node {first} to {second}");
    assert!(
        outage < Duration::from_secs(15),
        "some seconds, not {outage:?}"
    );

    stage.start(&[first]);
    assert!(
        !holds_within(A_WHILE, || holders(&stage) != [second]),
        "the address stays where it is well"
    );
    assert_eq!(servers(&stage), before);
    stage.node_mut(second).stop();
    let third = wait_holder(&stage, &[second]);
    assert_eq!(servers(&stage), before, "from node {second} to {third}");
    drop(keepers);
    assert!(holders(&stage).is_empty());
}

#[test]
fn a_node_that_may_get_no_traffic_does_not_hold_the_virtual_ip() {
    let Some(mut stage) = stage() else {
        return;
    };
    stage.start(&ALL);
    let keepers = start_all(&stage);
    let first = wait_holder(&stage, &[]);
    let before = servers(&stage);

    // It runs, it is reachable, and it has no leader.
    stage.cut_off(&[first]);
    let second = wait_holder(&stage, &[first]);
    assert!(!stage.node(first).is_healthy());
    assert!(process::listens(
        stage.node(first).running().pid(),
        (VIRTUAL, PORTS[0]).into()
    ));
    assert_eq!(servers(&stage), before, "from node {first} to {second}");
    stage.heal();
    assert_eq!(wait_holder(&stage, &[]), second);

    // Without a majority no node may get any.
    let others: Vec<usize> = ALL.into_iter().filter(|node| *node != second).collect();
    stage.kill(&others);
    eventually("nobody holds the address", || holders(&stage).is_empty());
    stage.start(&others);
    wait_holder(&stage, &[]);
    assert_eq!(servers(&stage), before);
    drop(keepers);
}
