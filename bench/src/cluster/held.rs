//! Idle connections that are held: what the nodes write and tell each other meanwhile.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::raft::report::Goal;

use super::Stage;
use super::api;
use super::proxies::{Kind, Proxies};
use super::servers::Servers;
use super::site::{self, NODES, Site};
use super::visits::{Ended, Plan, Visit, Visits};

/// So short that whatever depends on it happens more than once in a span.
const STICK_SECONDS: u32 = 12;
/// Time is written into an idle log as often in it, by CLUSTER.md.
const TIME_ENTRIES: f64 = 20.0;
const CONNECTIONS: u64 = 1_000;
const AT_ONCE: usize = 64;
/// After which the log has heard that the connections stay.
const SETTLED: Duration = Duration::from_secs(6);
/// Bytes with held connections, as a part of those without.
const BYTES_GOAL: f64 = 1.05;

/// What happened per second.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    entries: f64,
    log_bytes: f64,
    /// Between all nodes; none where it cannot be told.
    peer_bytes: Option<f64>,
}

pub(super) fn measure(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let span = Duration::from_secs(if stage.options.quick { 5 } else { 24 });
    let site = Site::choose()?;
    let _servers = Servers::start(&site.places(0))?;
    let mut cluster = stage.proxies(Kind::Tcpffee, site, STICK_SECONDS)?;
    cluster.start_all()?;
    // The clients that asked whether the nodes serve are to be forgotten.
    sleep(SETTLED + Duration::from_secs(STICK_SECONDS.into()));
    let without = traffic(&cluster, span)?;

    let mut visits = Visits::new()?;
    let mut plan = Stay {
        site,
        begun: 0,
        failed: 0,
    };
    visits.run(&mut plan)?;
    ensure!(plan.failed == 0, "{} connections failed", plan.failed);
    sleep(SETTLED);
    let with = traffic(&cluster, span)?;

    // One more may fall into the span than its length tells.
    let most = TIME_ENTRIES / f64::from(STICK_SECONDS) + 1.0 / span.as_secs_f64();
    let report = &mut stage.report;
    let label = format!("{} idle held connections: entries, /s", visits.staying());
    report.add(&label, with.entries, Goal::AtMost(most));
    report.add("  without connections, /s", without.entries, Goal::None);
    report.add("  log growth, bytes/s", with.log_bytes, Goal::None);
    if let (Some(with), Some(without)) = (with.peer_bytes, without.peer_bytes) {
        let goal = Goal::AtMost(without * BYTES_GOAL);
        report.add("  between the nodes, bytes/s", with, goal);
        report.add("  without connections, bytes/s", without, Goal::None);
    }
    Ok(())
}

fn traffic(cluster: &Proxies, span: Duration) -> anyhow::Result<Traffic> {
    let site = cluster.site();
    let leader = cluster.leader()?;
    let look = || -> anyhow::Result<_> {
        let group = api::stick_table(site.statistics(leader))?;
        Ok((group, peer_bytes(site)?, Instant::now()))
    };
    let (group, bytes, start) = look()?;
    sleep(span);
    let (group_after, bytes_after, end) = look()?;
    ensure!(
        group.term == group_after.term,
        "there was an election meanwhile"
    );
    let seconds = end.duration_since(start).as_secs_f64();
    let per_second = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
    Ok(Traffic {
        entries: per_second(group.last, group_after.last),
        log_bytes: per_second(group.log_bytes, group_after.log_bytes),
        peer_bytes: bytes
            .zip(bytes_after)
            .map(|(before, after)| per_second(before, after)),
    })
}

/// What all connections between nodes have carried, by `ss`; none where there is no `ss`.
fn peer_bytes(site: &Site) -> anyhow::Result<Option<u64>> {
    let ports = site.peer_ports();
    let (first, last) = (ports[0], ports[ports.len() - 1]);
    let mut command = Command::new("ss");
    command.args(["-Htin", "state", "established"]);
    for node in 0..NODES {
        let host = site.host(node);
        let or = if node == 0 { "( " } else { "or " };
        command.arg(format!(
            "{or}( src {host} and sport >= :{first} and sport <= :{last} )"
        ));
        let or = "or ";
        command.arg(format!(
            "{or}( dst {host} and dport >= :{first} and dport <= :{last} )"
        ));
    }
    command.arg(")");
    let Ok(output) = command.output() else {
        eprintln!("note: there is no `ss`, so bytes between the nodes are not counted");
        return Ok(None);
    };
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {told}");
    let text = String::from_utf8(output.stdout).context("read what ss says")?;
    Ok(Some(sent_bytes(&text)))
}

/// Both ends of each connection are told of: what they sent is what they carried.
fn sent_bytes(text: &str) -> u64 {
    let fields = text.split_ascii_whitespace();
    let sent = fields.filter_map(|field| field.strip_prefix("bytes_sent:")?.parse::<u64>().ok());
    sent.sum()
}

/// Connections that stay, spread over all nodes.
struct Stay {
    site: Site,
    begun: u64,
    failed: u64,
}

impl Plan for Stay {
    fn due(&mut self, _: Instant, open: usize) -> Option<Visit> {
        (self.begun < CONNECTIONS && open < AT_ONCE).then(|| {
            let tag = self.begun;
            self.begun += 1;
            Visit {
                client: site::client(tag as u32),
                to: self.site.listen((tag % NODES as u64) as usize, tag / 3),
                tag,
                stays: true,
            }
        })
    }

    fn ended(&mut self, ended: &Ended) {
        self.failed += u64::from(ended.server.is_none());
    }

    fn is_over(&self) -> bool {
        self.begun == CONNECTIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_ends_sent_is_summed() {
        let text = "0 0 127.0.0.1:1 127.0.0.2:2\n\t cubic bytes_sent:120 bytes_acked:119\n\
                    0 0 127.0.0.2:2 127.0.0.1:1\n\t cubic bytes_received:119\n";
        assert_eq!(sent_bytes(text), 120);
    }
}
