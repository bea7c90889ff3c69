//! The leader is killed: how long connections through the other nodes wait meanwhile.

use std::time::{Duration, Instant};

use crate::raft::machine::percentile;
use crate::raft::report::Goal;

use super::Stage;
use super::proxies::{Kind, Proxies};
use super::servers::Servers;
use super::site::{self, NODES, Site};
use super::visits::{Ended, Plan, Visit, Visits};

const STICK_SECONDS: u32 = 60;
/// Clients that are known to all nodes before.
const KNOWN: u64 = 200;
/// Between two visits of the same sort.
const INTERVAL: Duration = Duration::from_millis(5);
/// Without a kill, for comparison; then after it.
const SPAN: Duration = Duration::from_secs(3);
/// What a new client may wait, in seconds.
const NEW_GOAL: f64 = 1.0;
/// What a known one may take, in seconds: whatever the machine is busy with, and no election.
const KNOWN_GOAL: f64 = 0.1;
/// Tags from here on are new clients.
const FIRST_NEW: u64 = 1 << 20;

/// Times from a connection's begin to its answer.
#[derive(Debug, Default)]
struct Times {
    known_before: Vec<Duration>,
    known: Vec<Duration>,
    new_before: Vec<Duration>,
    /// The longest of each round.
    new: Vec<Duration>,
    failed: u64,
}

pub(super) fn measure(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let site = Site::choose()?;
    let _servers = Servers::start(&site.places(0))?;
    let mut cluster = stage.proxies(Kind::Tcpffee, site, STICK_SECONDS)?;
    cluster.start_all()?;
    let mut times = Times::default();
    let mut next_new = FIRST_NEW;
    let rounds = 2 * stage.rounds();
    for _ in 0..rounds {
        round(&mut cluster, &mut times, &mut next_new)?;
    }
    let (longest, middle, high) = (1.0, 0.5, 0.99);
    let seconds = |times: &[Duration], part: f64| percentile(times, part).as_secs_f64();
    let report = &mut stage.report;
    let label = format!("killed leader: a new key, longest of {rounds} kills, s");
    report.add(&label, seconds(&times.new, longest), Goal::AtMost(NEW_GOAL));
    report.add(
        "  median of the kills, s",
        seconds(&times.new, middle),
        Goal::None,
    );
    report.add(
        "  longest without a kill, s",
        seconds(&times.new_before, longest),
        Goal::None,
    );
    report.add(
        "  a known key, longest, s",
        seconds(&times.known, longest),
        Goal::AtMost(KNOWN_GOAL),
    );
    report.add("  p99, s", seconds(&times.known, high), Goal::None);
    report.add(
        "  longest without a kill, s",
        seconds(&times.known_before, longest),
        Goal::None,
    );
    report.add(
        "  p99 without a kill, s",
        seconds(&times.known_before, high),
        Goal::None,
    );
    report.add(
        "  failed connections",
        times.failed as f64,
        Goal::AtMost(0.0),
    );
    Ok(())
}

fn round(cluster: &mut Proxies, times: &mut Times, next_new: &mut u64) -> anyhow::Result<()> {
    let leader = cluster.leader()?;
    let others: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
    let site = *cluster.site();
    let mut visits = Visits::new()?;
    let mut make = |span: Duration, nodes: &[usize]| {
        let mut plan = Steady::new(site, nodes, *next_new, span);
        visits.run(&mut plan).map(|()| {
            *next_new = plan.next_new;
            plan
        })
    };
    // Every known client is seen by both nodes.
    for node in &others {
        make(INTERVAL * 2 * KNOWN as u32, &[*node])?;
    }
    let calm = make(SPAN, &others)?;
    cluster.kill(leader)?;
    let stirred = make(SPAN, &others)?;
    times.known_before.extend(calm.known);
    times.new_before.extend(calm.new);
    times.known.extend(stirred.known);
    times.new.extend(stirred.new.into_iter().max());
    times.failed += calm.failed + stirred.failed;
    cluster.spawn(leader)?;
    cluster.wait_until_serving(leader)
}

/// Known and new clients in turn, at a steady pace.
struct Steady {
    site: Site,
    nodes: Vec<usize>,
    start: Instant,
    span: Duration,
    begun: u64,
    next_known: u64,
    next_new: u64,
    known: Vec<Duration>,
    new: Vec<Duration>,
    failed: u64,
}

impl Steady {
    fn new(site: Site, nodes: &[usize], next_new: u64, span: Duration) -> Steady {
        Steady {
            site,
            nodes: nodes.to_vec(),
            start: Instant::now(),
            span,
            begun: 0,
            next_known: 0,
            next_new,
            known: Vec::new(),
            new: Vec::new(),
            failed: 0,
        }
    }
}

impl Plan for Steady {
    fn due(&mut self, now: Instant, _: usize) -> Option<Visit> {
        let at = INTERVAL / 2 * self.begun as u32;
        if at >= self.span || now < self.start + at {
            return None;
        }
        let turn = self.begun / 2;
        let counter = if self.begun.is_multiple_of(2) {
            &mut self.next_known
        } else {
            &mut self.next_new
        };
        let mut tag = *counter;
        *counter += 1;
        if tag < FIRST_NEW {
            tag %= KNOWN;
        }
        self.begun += 1;
        let node = self.nodes[(turn % self.nodes.len() as u64) as usize];
        Some(Visit {
            client: site::client(tag as u32),
            to: self.site.listen(node, turn),
            tag,
            stays: false,
        })
    }

    fn ended(&mut self, ended: &Ended) {
        if ended.server.is_none() {
            self.failed += 1;
        } else if ended.tag < FIRST_NEW {
            self.known.push(ended.took);
        } else {
            self.new.push(ended.took);
        }
    }

    fn is_over(&self) -> bool {
        INTERVAL / 2 * self.begun as u32 >= self.span
    }
}
