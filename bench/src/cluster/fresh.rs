//! New keys through real connections: how many per second, in a cluster and alone.

use std::time::Instant;

use crate::figure::median;
use crate::raft::report::Goal;

use super::Stage;
use super::proxies::{Kind, Proxies};
use super::servers::Servers;
use super::site::{self, LONE, NODES, Site};
use super::visits::{Ended, Plan, Visit, Visits};

const STICK_SECONDS: u32 = 600;
/// New clients of one round.
const CLIENTS: u64 = 20_000;
/// Connections under way at once.
const AT_ONCE: usize = 256;
/// Clients before those that count.
const WARM_UP: u64 = 2_000;

pub(super) fn measure(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let site = Site::choose()?;
    let _servers = Servers::start(&site.places(0))?;
    let mut cluster = stage.proxies(Kind::Tcpffee, site, STICK_SECONDS)?;
    cluster.start_all()?;
    let mut lone = stage.proxies(Kind::LoneTcpffee, site, STICK_SECONDS)?;
    lone.spawn(LONE)?;
    lone.wait_until_serving(LONE)?;

    let clients = stage.amount(CLIENTS);
    let mut figures = Figures::default();
    let mut next_client = 0;
    let mut rate = |nodes: &[usize], clients: u64, failed: &mut u64| -> anyhow::Result<f64> {
        let mut plan = New {
            site,
            nodes: nodes.to_vec(),
            first: next_client,
            begun: 0,
            clients,
            failed: 0,
        };
        next_client += clients;
        let start = Instant::now();
        Visits::new()?.run(&mut plan)?;
        *failed += plan.failed;
        Ok(clients as f64 / start.elapsed().as_secs_f64())
    };
    let all: Vec<usize> = (0..NODES).collect();
    let warm_up = stage.amount(WARM_UP);
    rate(&all, warm_up, &mut figures.failed)?;
    rate(&[LONE], warm_up, &mut figures.failed)?;
    for round in 0..stage.rounds() {
        // Each round begins with the other one.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                figures
                    .cluster
                    .push(rate(&all, clients, &mut figures.failed)?);
            } else {
                figures
                    .lone
                    .push(rate(&[LONE], clients, &mut figures.failed)?);
            }
        }
    }
    figures.tell(stage);
    drop::<[Proxies; 2]>([cluster, lone]);
    Ok(())
}

#[derive(Default)]
struct Figures {
    cluster: Vec<f64>,
    lone: Vec<f64>,
    failed: u64,
}

impl Figures {
    fn tell(self, stage: &mut Stage<'_>) {
        let (cluster, lone) = (median(self.cluster), median(self.lone));
        let report = &mut stage.report;
        report.add(
            "new keys by connections, three nodes, /s",
            cluster,
            Goal::None,
        );
        report.add("  a lone proxy, same clients, /s", lone, Goal::None);
        report.add("  ratio to the lone proxy", cluster / lone, Goal::None);
        report.add(
            "  failed connections",
            self.failed as f64,
            Goal::AtMost(0.0),
        );
    }
}

/// Clients that nobody knows, some at a time.
struct New {
    site: Site,
    nodes: Vec<usize>,
    first: u64,
    begun: u64,
    clients: u64,
    failed: u64,
}

impl Plan for New {
    fn due(&mut self, _: Instant, open: usize) -> Option<Visit> {
        (self.begun < self.clients && open < AT_ONCE).then(|| {
            let tag = self.first + self.begun;
            self.begun += 1;
            let node = self.nodes[(tag % self.nodes.len() as u64) as usize];
            Visit {
                client: site::client(tag as u32),
                to: self.site.listen(node, tag / 3),
                tag,
                stays: false,
            }
        })
    }

    fn ended(&mut self, ended: &Ended) {
        self.failed += u64::from(ended.server.is_none());
    }

    fn is_over(&self) -> bool {
        self.begun == self.clients
    }
}
