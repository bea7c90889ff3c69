//! Known keys: CPU time per connection of a node, beside a lone proxy's.
//!
//! The same exchanges as in `compare`. All proxies run all the time, on one core; each is put to
//! work in turn.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::core::{self, Cores};
use crate::figure::{Sample, Span, median};
use crate::raft::report::Goal;
use crate::work::{CONNECT_AT_ONCE, Exchange};

use super::Stage;
use super::proxies::{Kind, Proxies};
use super::servers::Servers;
use super::site::{LONE, NODES, Site};

const STICK_SECONDS: u32 = 60;
/// Connections of one round.
const CONNECTIONS: u64 = 40_000;
/// What a node may cost, as a part of the lone proxy's cost.
const GOAL: f64 = 1.05;

/// How long a proxy is watched while nobody comes.
const IDLE: Duration = Duration::from_secs(3);

/// Who is measured.
const WHO: [&str; 3] = ["lone proxy", "follower", "leader"];

pub(super) fn measure(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let cores = Cores::choose(None, None)?;
    let site = Site::choose()?;
    core::pin(cores.proxy)?;
    let (cluster, lone) = start(stage, site)?;
    core::pin(cores.load)?;

    let connections = stage.amount(CONNECTIONS);
    let mut samples: [Vec<Sample>; 3] = Default::default();
    let find = |who: usize| -> anyhow::Result<(&Proxies, usize)> {
        let leader = cluster.leader()?;
        Ok(match who {
            0 => (&lone, LONE),
            1 => (&cluster, (leader + 1) % NODES),
            _ => (&cluster, leader),
        })
    };
    for round in 0..stage.rounds() {
        for turn in 0..WHO.len() {
            let who = (round + turn) % WHO.len();
            let (proxies, node) = find(who)?;
            let sample = connect_and_close(proxies, node, connections)?;
            eprintln!(
                "round {}  {:<10}  {:.2} CPU µs per connection  {:.0}/s  core {:.0} %  load {:.0} %",
                round + 1,
                WHO[who],
                sample.cost / 1e3,
                sample.rate,
                sample.proxy_busy * 100.0,
                sample.load_busy * 100.0,
            );
            samples[who].push(sample);
        }
    }
    let cost = |who: usize| median(samples[who].iter().map(|sample| sample.cost)) / 1e3;
    let mut idle = [0.0; WHO.len()];
    for (who, idle) in idle.iter_mut().enumerate() {
        let (proxies, node) = find(who)?;
        *idle = idle_percent(proxies, node)?;
    }
    let report = &mut stage.report;
    report.add(
        "known keys, lone proxy, CPU µs per connection",
        cost(0),
        Goal::None,
    );
    for (who, name) in WHO.iter().enumerate().skip(1) {
        report.add(&format!("  {name}"), cost(who), Goal::None);
        let label = format!("  {name}'s ratio to the lone proxy");
        report.add(&label, cost(who) / cost(0), Goal::AtMost(GOAL));
    }
    for (who, idle) in WHO.iter().zip(idle) {
        let label = format!("  {who} while nobody comes, % of a core");
        report.add(&label, idle, Goal::None);
    }
    let errors: u64 = samples.iter().flatten().map(|sample| sample.errors).sum();
    report.add("  failed connections", errors as f64, Goal::AtMost(0.0));
    Ok(())
}

/// A cluster and a lone proxy; both serve.
fn start(stage: &Stage<'_>, site: Site) -> anyhow::Result<(Proxies, Proxies)> {
    let _servers = Servers::start(&site.places(0))?;
    let mut cluster = stage.proxies(Kind::Tcpffee, site, STICK_SECONDS)?;
    cluster.start_all()?;
    let mut lone = stage.proxies(Kind::LoneTcpffee, site, STICK_SECONDS)?;
    lone.spawn(LONE)?;
    lone.wait_until_serving(LONE)?;
    Ok((cluster, lone))
}

fn connect_and_close(proxies: &Proxies, node: usize, connections: u64) -> anyhow::Result<Sample> {
    let places = proxies.site().places(node);
    let mut exchange = Exchange::listen(&places)?;
    // After it, every key is known.
    exchange.connect_and_close(connections / 10, CONNECT_AT_ONCE)?;
    let span = Span::of(proxies.tree(node)?)?;
    exchange.connect_and_close(connections, CONNECT_AT_ONCE)?;
    span.end(connections as f64, exchange.errors())
}

/// What a proxy takes that does nothing.
fn idle_percent(proxies: &Proxies, node: usize) -> anyhow::Result<f64> {
    let tree = proxies.tree(node)?;
    let (before, start) = (tree.cpu()?.total, Instant::now());
    sleep(IDLE);
    let taken = tree.cpu()?.total - before;
    Ok(taken.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0)
}
