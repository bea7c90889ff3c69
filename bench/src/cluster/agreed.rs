//! New keys at the proposal interface, recovery of what they have made, and a wiped node.
//!
//! Three processes of `cluster-node`: the stick table's log and state machine without a proxy, so
//! that nothing but agreement is measured, and a million entries are made in a minute.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

use crate::figure::median;
use crate::process::peak_bytes;
use crate::raft::client::{Load, Status};
use crate::raft::node::{NODES, Nodes, PATIENCE, Program};
use crate::raft::report::Goal;

use super::Stage;

/// Keys that one node has under way at once: four batches, as many as a node of tcpffee has.
const WINDOW: usize = 4 * 512;
/// New keys of one round.
const KEYS: u64 = 100_000;
/// Entries in the table that is recovered.
const ENTRIES: u64 = 1_000_000;
/// What each of the loads takes at a time that go on until they are told to end.
const CHUNK: u64 = 10_000;
/// Assignments before, and after, a node is wiped.
const AROUND: Duration = Duration::from_secs(2);
/// No snapshot is taken by itself: it is measured without one first.
const NO_SNAPSHOT: [&str; 2] = ["--snapshot-after-bytes", "1000000000000"];
const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn measure(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let program = Program::own("cluster-node")?;
    let mut nodes = Nodes::start(&program, stage.directory, &NO_SNAPSHOT)?;
    let mut keys = Keys::default();
    rates(stage, &nodes, &mut keys)?;
    let entries = stage.amount(ENTRIES);
    let rest = entries.saturating_sub(keys.made());
    at_node(&nodes, nodes.leader()?, rest, &keys)?;
    recovery(stage, &mut nodes, entries, "log")?;
    take_snapshots(&nodes)?;
    recovery(stage, &mut nodes, entries, "snapshot")?;
    wiped(stage, &mut nodes, &keys)
}

/// Which keys are new.
#[derive(Debug, Default)]
struct Keys(Mutex<u64>);

impl Keys {
    /// The first of so many that nobody else has.
    fn take(&self, count: u64) -> u64 {
        let mut next = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let first = *next;
        *next += count;
        first
    }

    fn made(&self) -> u64 {
        self.take(0)
    }
}

fn at_node(nodes: &Nodes, node: usize, count: u64, keys: &Keys) -> anyhow::Result<Load> {
    let first = keys.take(count);
    nodes.client(node, PATIENCE)?.load(count, WINDOW, first)
}

fn rates(stage: &mut Stage<'_>, nodes: &Nodes, keys: &mut Keys) -> anyhow::Result<()> {
    let goal = Goal::AtLeast(20_000.0);
    let count = stage.amount(KEYS);
    let leader = nodes.leader()?;
    // The first ones find cold caches and connections.
    at_node(nodes, leader, count / 10, keys)?;
    let (mut at_leader, mut at_all, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..stage.rounds() {
        let load = at_node(nodes, leader, count, keys)?;
        at_leader.push(load.count as f64 / load.time.as_secs_f64());
        let keys = &*keys;
        let start = Instant::now();
        let loads = thread::scope(|scope| {
            let share = count / NODES as u64;
            let loads: Vec<_> = (0..NODES)
                .map(|node| scope.spawn(move || at_node(nodes, node, share, keys)))
                .collect();
            let join = |load: thread::ScopedJoinHandle<'_, _>| {
                load.join().map_err(|_| anyhow!("a load panicked"))?
            };
            loads
                .into_iter()
                .map(join)
                .collect::<anyhow::Result<Vec<Load>>>()
        })?;
        let done: u64 = loads.iter().map(|load| load.count).sum();
        at_all.push(done as f64 / start.elapsed().as_secs_f64());
        p99.extend(loads.iter().map(|load| load.p99.as_secs_f64() * 1e3));
    }
    let report = &mut stage.report;
    report.add(
        "new keys agreed, proposed at three nodes, /s",
        median(at_all),
        goal,
    );
    report.add("  a key's wait, p99, ms", median(p99), Goal::None);
    report.add("  proposed at the leader, /s", median(at_leader), goal);
    Ok(())
}

/// A follower is killed and started again.
fn recovery(
    stage: &mut Stage<'_>,
    nodes: &mut Nodes,
    entries: u64,
    from: &str,
) -> anyhow::Result<()> {
    nodes.wait_until_caught_up()?;
    let leader = nodes.leader()?;
    let follower = (leader + 1) % NODES;
    let Status {
        applied,
        entries: held,
        ..
    } = nodes.status(follower)?;
    let mut answered = Vec::new();
    let mut recovered = Vec::new();
    let mut cpu = Vec::new();
    for _ in 0..stage.rounds() {
        nodes.kill(follower)?;
        let start = Instant::now();
        nodes.spawn(follower)?;
        let mut status = nodes.wait_until_it_answers(follower)?;
        answered.push(start.elapsed().as_secs_f64());
        while status.applied < applied {
            ensure!(
                start.elapsed() < PATIENCE,
                "{applied} is not applied: {status:?}"
            );
            sleep(Duration::from_millis(1));
            status = nodes.status(follower)?;
        }
        recovered.push(start.elapsed().as_secs_f64());
        cpu.push(nodes.cpu(follower)?.as_secs_f64());
        ensure!(
            held >= Some(entries) && status.entries == held,
            "of {held:?} entries, {entries} of them at least to be expected, it has {:?}",
            status.entries
        );
    }
    let part = entries as f64 / ENTRIES as f64;
    let label = format!("{entries} entries recovered from a {from}, s");
    let report = &mut stage.report;
    report.add(&label, median(recovered), Goal::AtMost(2.0 * part));
    report.add(
        "  until the node answers at all, s",
        median(answered),
        Goal::None,
    );
    report.add(
        "  CPU time of the node meanwhile, s",
        median(cpu),
        Goal::None,
    );
    Ok(())
}

fn take_snapshots(nodes: &Nodes) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for node in 0..NODES {
        let before = nodes.status(node)?;
        nodes.client(node, PATIENCE)?.snapshot()?;
        while nodes.status(node)?.snapshot < before.applied {
            ensure!(Instant::now() < deadline, "node {node} takes no snapshot");
            sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

/// A follower comes back with an empty disk while keys are given groups at the other two nodes.
fn wiped(stage: &mut Stage<'_>, nodes: &mut Nodes, keys: &Keys) -> anyhow::Result<()> {
    let leader = nodes.leader()?;
    let lost = (leader + 1) % NODES;
    let others = [leader, (leader + 2) % NODES];
    nodes.kill(lost)?;
    nodes.wipe(lost)?;
    let clients = others.map(|node| nodes.client(node, PATIENCE));
    let is_over = AtomicBool::new(false);
    let phase = Mutex::new(Phases::default());
    let caught_up = thread::scope(|scope| {
        let loads: Vec<_> = clients
            .into_iter()
            .map(|client| {
                scope.spawn(|| {
                    let mut client = client?;
                    while !is_over.load(Ordering::Acquire) {
                        let load = client.load(CHUNK, WINDOW, keys.take(CHUNK))?;
                        phase.lock().map_err(|_| anyhow!("poisoned"))?.add(&load);
                    }
                    Ok::<_, anyhow::Error>(())
                })
            })
            .collect();
        let mut act = || -> anyhow::Result<Duration> {
            sleep(AROUND);
            Phases::next(&phase)?;
            nodes.spawn(lost)?;
            let taken = until_it_votes(nodes, lost, leader)?;
            Phases::next(&phase)?;
            Ok(taken)
        };
        let taken = act();
        is_over.store(true, Ordering::Release);
        for load in loads {
            load.join().map_err(|_| anyhow!("a load panicked"))??;
        }
        taken
    })?;
    let peak = |node: usize| -> anyhow::Result<f64> {
        let tree = nodes.tree(node)?;
        let pid = tree.pids().first().context("the node runs")?;
        Ok(peak_bytes(*pid)? as f64 / MIB)
    };
    let Phases { done, .. } = phase.into_inner().map_err(|_| anyhow!("poisoned"))?;
    let report = &mut stage.report;
    report.add(
        "a wiped node has caught up and votes, s",
        caught_up.as_secs_f64(),
        Goal::None,
    );
    let [before, meanwhile, ..] = done;
    report.add(
        "  keys assigned meanwhile, /s",
        meanwhile.rate(),
        Goal::None,
    );
    report.add("  before, with two nodes, /s", before.rate(), Goal::None);
    report.add(
        "  longest wait of a key meanwhile, s",
        meanwhile.longest(),
        Goal::AtMost(1.0),
    );
    report.add("  before, s", before.longest(), Goal::None);
    report.add("  entries at the end", keys.made() as f64, Goal::None);
    report.add(
        "  most memory of the leader, MiB",
        peak(leader)?,
        Goal::None,
    );
    report.add(
        "  most memory of the wiped node, MiB",
        peak(lost)?,
        Goal::None,
    );
    Ok(())
}

/// From now until the wiped node votes again and has applied what is committed now.
fn until_it_votes(nodes: &mut Nodes, lost: usize, leader: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let committed = nodes.status(leader)?.commit;
    nodes.wait_until_it_answers(lost)?;
    loop {
        let votes = |status: Status| status.voters == NODES as u64;
        let is_member = votes(nodes.status(leader)?);
        let own = nodes.status(lost)?;
        if is_member && votes(own) && own.applied >= committed {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < PATIENCE, "it has not caught up: {own:?}");
        sleep(Duration::from_millis(5));
    }
}

/// What loads have done before, while and after something goes on.
#[derive(Debug, Default)]
struct Phases {
    now: usize,
    since: Option<Instant>,
    done: [Phase; 3],
}

#[derive(Clone, Copy, Debug, Default)]
struct Phase {
    keys: u64,
    longest: Duration,
    time: Duration,
}

impl Phases {
    fn add(&mut self, load: &Load) {
        self.since.get_or_insert_with(|| Instant::now() - load.time);
        let phase = &mut self.done[self.now];
        phase.keys += load.count;
        phase.longest = phase.longest.max(load.longest);
    }

    fn next(phases: &Mutex<Phases>) -> anyhow::Result<()> {
        let mut phases = phases.lock().map_err(|_| anyhow!("poisoned"))?;
        let now = Instant::now();
        let since = phases.since.replace(now).context("no load has ended")?;
        let at = phases.now;
        phases.done[at].time = now - since;
        phases.now += 1;
        Ok(())
    }
}

impl Phase {
    fn rate(&self) -> f64 {
        self.keys as f64 / self.time.as_secs_f64()
    }

    fn longest(&self) -> f64 {
        self.longest.as_secs_f64()
    }
}
