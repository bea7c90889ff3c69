//! What is measured, one function each.

use std::path::Path;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};

use super::client::Load;
use super::machine::{Machine, percentile};
use super::node::{NODES, Nodes, PATIENCE};
use super::report::{Goal, Report};

/// Bytes of a proposal.
const BYTES: u64 = 64;
/// Turns of lone proposals and of the machine by itself.
const LONE_ROUNDS: usize = 10;
/// Proposals that one node has under way at once.
const WINDOW: usize = 1_000;
/// After this long without work a cluster is idle.
const SETTLED: Duration = Duration::from_secs(1);
/// How long an attempt to write may take after the leader was killed.
const ATTEMPT: Duration = Duration::from_secs(5);

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Amounts {
    /// Syncs of each of three files.
    pub syncs: usize,
    lone: u64,
    proposals: u64,
    kills: usize,
    recovered: u64,
    idle: Duration,
}

impl Amounts {
    /// The full amounts, or about a tenth.
    pub fn of(quick: bool) -> Amounts {
        let part = if quick { 10 } else { 1 };
        Amounts {
            syncs: 500 / part,
            lone: 1_000 / part as u64,
            proposals: 500_000 / part as u64,
            kills: if quick { 2 } else { 10 },
            recovered: 1_000_000 / part as u64,
            idle: Duration::from_secs(if quick { 3 } else { 20 }),
        }
    }
}

/// One proposal at a time through a follower, in turn with what the machine takes by itself: other
/// work on the disk then blurs both alike.
pub fn lone_proposals(
    nodes: &Nodes,
    directory: &Path,
    amounts: &Amounts,
    report: &mut Report,
) -> anyhow::Result<()> {
    let follower = (nodes.leader()? + 1) % NODES;
    let mut client = nodes.client(follower, PATIENCE)?;
    let (mut least, mut medians, mut p99s) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..LONE_ROUNDS {
        let syncs = amounts.syncs / LONE_ROUNDS;
        least.push(Machine::measure(directory, syncs)?.lone_proposal());
        let load = client.load(amounts.lone / LONE_ROUNDS as u64, 1, BYTES)?;
        medians.push(load.median);
        p99s.push(load.p99);
    }
    let ms = |times: &[Duration]| percentile(times, 0.5).as_secs_f64() * 1e3;
    report.add(
        "sync and two round trips, in turn, ms",
        ms(&least),
        Goal::None,
    );
    report.add(
        "a lone proposal through a follower, median, ms",
        ms(&medians),
        Goal::AtMost(1.5 * ms(&least)),
    );
    report.add("  p99, ms", ms(&p99s), Goal::None);
    Ok(())
}

/// As many as go, at the leader and at all three.
pub fn throughput(nodes: &Nodes, amounts: &Amounts, report: &mut Report) -> anyhow::Result<()> {
    let goal = Goal::AtLeast(50_000.0);
    let leader = nodes.leader()?;
    let load = |node: usize, count: u64| -> anyhow::Result<Load> {
        nodes.client(node, PATIENCE)?.load(count, WINDOW, BYTES)
    };
    // The first proposals find cold caches and connections.
    load(leader, amounts.proposals / 20)?;
    let alone = load(leader, amounts.proposals)?;
    let rate = alone.count as f64 / alone.time.as_secs_f64();
    report.add("proposals of 64 bytes at the leader, /s", rate, goal);

    let start = Instant::now();
    let all = thread::scope(|scope| {
        let share = amounts.proposals / NODES as u64;
        let load = &load;
        let loads: Vec<_> = (0..NODES)
            .map(|node| scope.spawn(move || load(node, share)))
            .collect();
        let mut done = 0;
        for load in loads {
            done += load.join().map_err(|_| anyhow!("a load panicked"))??.count;
        }
        Ok::<_, anyhow::Error>(done)
    })?;
    let rate = all as f64 / start.elapsed().as_secs_f64();
    report.add("  at all three nodes at once, /s", rate, goal);
    Ok(())
}

/// From the leader's death to the first new proposal that is answered.
pub fn killed_leader(
    nodes: &mut Nodes,
    amounts: &Amounts,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut taken = Vec::with_capacity(amounts.kills);
    for round in 0..amounts.kills {
        let leader = nodes.leader()?;
        let follower = (leader + 1 + round % 2) % NODES;
        let mut client = nodes.client(follower, ATTEMPT)?;
        ensure!(client.put("k", 0)?, "a write before the leader is killed");
        let dead = nodes.kill(leader)?;
        while !client.put("k", round as u64)? {
            ensure!(dead.elapsed() < PATIENCE, "no write after {PATIENCE:?}");
        }
        taken.push(dead.elapsed());
        nodes.spawn(leader)?;
        nodes.wait_until_it_answers(leader)?;
        nodes.wait_until_caught_up()?;
    }
    let goal = Goal::AtMost(1.0);
    let seconds = |part: f64| percentile(&taken, part).as_secs_f64();
    let label = format!(
        "killed leader, a new proposal, longest of {}, s",
        taken.len()
    );
    report.add(&label, seconds(1.0), goal);
    report.add("  median, s", seconds(0.5), Goal::None);
    Ok(())
}

/// From the start of a process to its first word about a long log, and to its having applied it.
pub fn recovery(nodes: &mut Nodes, amounts: &Amounts, report: &mut Report) -> anyhow::Result<()> {
    let leader = nodes.leader()?;
    nodes
        .client(leader, PATIENCE)?
        .load(amounts.recovered, WINDOW, BYTES)?;
    nodes.wait_until_caught_up()?;
    let follower = (leader + 1) % NODES;
    nodes.kill(follower)?;
    let start = Instant::now();
    nodes.spawn(follower)?;
    let status = nodes.wait_until_it_answers(follower)?;
    let recovered = start.elapsed().as_secs_f64();
    ensure!(
        status.last >= amounts.recovered,
        "{} entries were recovered, of {}",
        status.last,
        amounts.recovered
    );
    let label = format!("recovery of a log of {} entries, s", status.last);
    let part = amounts.recovered as f64 / 1e6;
    report.add(&label, recovered, Goal::AtMost(2.0 * part));
    nodes.wait_until_caught_up()?;
    let applied = start.elapsed().as_secs_f64();
    report.add("  until they are applied too, s", applied, Goal::None);
    Ok(())
}

/// What a cluster without work does.
pub fn idle(nodes: &Nodes, amounts: &Amounts, report: &mut Report) -> anyhow::Result<()> {
    let leader = nodes.leader()?;
    let cpu = || -> anyhow::Result<Vec<Duration>> { (0..NODES).map(|n| nodes.cpu(n)).collect() };
    // What a node says of itself may be some turns old; nothing is to be left of earlier work.
    sleep(SETTLED);
    let (before, cpu_before, start) = (nodes.status(leader)?, cpu()?, Instant::now());
    sleep(amounts.idle);
    let (after, cpu_after, time) = (nodes.status(leader)?, cpu()?, start.elapsed());
    let seconds = time.as_secs_f64();
    // One more may fall into the span than its length tells.
    let goal = Goal::AtMost(1.0 + 1.0 / seconds);
    let entries = (after.last - before.last) as f64 / seconds;
    report.add("idle: time entries, /s", entries, goal);
    let bytes = after.log_bytes.saturating_sub(before.log_bytes) as f64 / seconds;
    report.add("  log growth, bytes/s", bytes, Goal::None);
    for node in 0..NODES {
        let busy = (cpu_after[node] - cpu_before[node]).as_secs_f64() / seconds;
        let role = if node == leader { "leader" } else { "follower" };
        report.add(
            &format!("  CPU of the {role}, % of a core"),
            busy * 100.0,
            Goal::None,
        );
    }
    Ok(())
}
