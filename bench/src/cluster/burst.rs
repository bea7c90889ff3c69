//! Clients that connect to two nodes at once while each node in turn is killed and restarted.
//!
//! A connection that fails is tried again at the next node, as a client behind a virtual address
//! would. Afterwards every client comes once more, to the third node. A client that any two
//! answers of disagree about the server is broken.

use std::collections::VecDeque;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use crate::raft::report::Goal;

use super::Stage;
use super::proxies::{Kind, Proxies};
use super::servers::Servers;
use super::site::{self, NODES, Site};
use super::visits::{Ended, Plan, Visit, Visits};

/// How long clients are remembered: longer than a run takes.
const STICK_SECONDS: u32 = 60;
/// Clients that return at this age at most: their entries have not expired, whatever they did.
const MAX_AGE: Duration = Duration::from_secs(45);
/// New clients per second.
const CLIENTS_PER_SECOND: u64 = 1_000;
/// Visits under way at once, lest descriptors run out.
const MAX_OPEN: usize = 2_000;
/// Between a failed connection and the next attempt.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a client goes on trying.
const PERSISTENCE: Duration = Duration::from_secs(20);

/// What became of all clients.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    /// Whose connections of the burst were answered by different servers.
    split: u64,
    /// Who was sent to another server when it came back.
    forgotten: u64,
    /// Who had a connection that was never answered.
    unanswered: u64,
    /// Who came back.
    returned: u64,
    /// Attempts that failed.
    failures: u64,
}

pub(super) fn measure(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let clients = if stage.options.quick { 3_000 } else { 20_000 };
    for (kind, name) in [
        (Kind::Tcpffee, "tcpffee"),
        (Kind::Haproxy, "haproxy, peers"),
    ] {
        let figures = run(stage, kind, clients).with_context(|| format!("burst test, {name}"))?;
        let goal = |most| match kind {
            Kind::Haproxy => Goal::None,
            Kind::Tcpffee | Kind::LoneTcpffee => Goal::AtMost(most),
        };
        let broken = (figures.split + figures.forgotten) as f64;
        let label = format!("burst, kills: {name}: broken of {clients} clients");
        let report = &mut stage.report;
        report.add(&label, broken, goal(0.0));
        report.add(
            "  by two connections at once",
            figures.split as f64,
            Goal::None,
        );
        let label = format!("  when they came back ({} did)", figures.returned);
        report.add(&label, figures.forgotten as f64, Goal::None);
        report.add(
            "  clients without an answer",
            figures.unanswered as f64,
            goal(0.0),
        );
        report.add(
            "  attempts that failed",
            figures.failures as f64,
            Goal::None,
        );
    }
    Ok(())
}

fn run(stage: &Stage<'_>, kind: Kind, clients: u64) -> anyhow::Result<Figures> {
    let site = Site::choose()?;
    let _servers = Servers::start(&site.places(0))?;
    let mut proxies = stage.proxies(kind, site, STICK_SECONDS)?;
    proxies.start_all()?;
    let mut visits = Visits::new()?;
    let mut pairs = Pairs::new(site, clients);
    let length = Duration::from_secs(1) * (clients / CLIENTS_PER_SECOND) as u32;
    thread::scope(|scope| {
        let visiting = scope.spawn(|| visits.run(&mut pairs));
        // Here and not in another thread: nodes end with the thread that started them.
        kill_each_in_turn(&mut proxies, length)?;
        visiting
            .join()
            .map_err(|_| anyhow!("the clients panicked"))?
    })?;
    (0..NODES).try_for_each(|node| proxies.wait_until_serving(node))?;
    let mut returns = Returns::after(pairs);
    visits.run(&mut returns)?;
    Ok(returns.figures())
}

/// Each node is away for a tenth of the time.
fn kill_each_in_turn(proxies: &mut Proxies, length: Duration) -> anyhow::Result<()> {
    for node in 0..NODES {
        sleep(length / 10);
        proxies.kill(node)?;
        sleep(length / 10);
        proxies.spawn(node)?;
        proxies.wait_until_serving(node)?;
        sleep(length / 10);
    }
    Ok(())
}

/// What is known of one client.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    servers: [Option<u8>; 2],
    began: Option<Instant>,
}

/// Two connections at once for each client.
struct Pairs {
    site: Site,
    records: Vec<Record>,
    start: Instant,
    /// Connections of new clients that were begun.
    begun: u64,
    again: VecDeque<(Instant, u64)>,
    failures: u64,
    /// How often each was tried.
    attempts: Vec<u32>,
}

impl Pairs {
    fn new(site: Site, clients: u64) -> Pairs {
        Pairs {
            site,
            records: vec![Record::default(); clients as usize],
            start: Instant::now(),
            begun: 0,
            again: VecDeque::new(),
            failures: 0,
            attempts: vec![0; 2 * clients as usize],
        }
    }

    fn visit(&self, tag: u64) -> Visit {
        let nodes = nodes_of(tag / 2);
        let first = nodes[(tag % 2) as usize];
        let node = (first + self.attempts[tag as usize] as usize) % NODES;
        Visit {
            client: site::client((tag / 2) as u32),
            to: self.site.listen(node, tag),
            tag,
            stays: false,
        }
    }
}

/// The two nodes that a client goes to at once, and the one that it comes back to.
fn nodes_of(client: u64) -> [usize; 3] {
    let first = (client % 3) as usize;
    let second = (first + 1 + (client / 3 % 2) as usize) % 3;
    [first, second, 3 - first - second]
}

impl Plan for Pairs {
    fn due(&mut self, now: Instant, open: usize) -> Option<Visit> {
        if let Some(&(at, tag)) = self.again.front()
            && at <= now
        {
            self.again.pop_front();
            return Some(self.visit(tag));
        }
        let is_second = self.begun % 2 == 1;
        let since = now.duration_since(self.start).as_secs_f64();
        let wanted = 2 * (since * CLIENTS_PER_SECOND as f64) as u64;
        let is_wanted = self.begun < wanted && open < MAX_OPEN;
        let is_there = self.begun < 2 * self.records.len() as u64;
        (is_there && (is_second || is_wanted)).then(|| {
            let tag = self.begun;
            self.begun += 1;
            self.records[(tag / 2) as usize].began.get_or_insert(now);
            self.visit(tag)
        })
    }

    fn ended(&mut self, ended: &Ended) {
        let record = &mut self.records[(ended.tag / 2) as usize];
        record.servers[(ended.tag % 2) as usize] = ended.server;
        if ended.server.is_none() {
            self.failures += 1;
            self.attempts[ended.tag as usize] += 1;
            if record
                .began
                .is_some_and(|began| began.elapsed() < PERSISTENCE)
            {
                self.again.push_back((Instant::now() + PAUSE, ended.tag));
            }
        }
    }

    fn is_over(&self) -> bool {
        self.begun == 2 * self.records.len() as u64 && self.again.is_empty()
    }
}

/// One more connection of each client that is not too old.
struct Returns {
    pairs: Pairs,
    next: usize,
    returned: u64,
    forgotten: u64,
}

impl Returns {
    /// Visits at once.
    const AT_ONCE: usize = 64;

    fn after(pairs: Pairs) -> Returns {
        Returns {
            pairs,
            next: 0,
            returned: 0,
            forgotten: 0,
        }
    }

    fn figures(&self) -> Figures {
        let records = &self.pairs.records;
        let count = |is: fn(&&Record) -> bool| records.iter().filter(is).count() as u64;
        Figures {
            split: count(|record| matches!(record.servers, [Some(one), Some(two)] if one != two)),
            unanswered: count(|record| record.servers.contains(&None)),
            forgotten: self.forgotten,
            returned: self.returned,
            failures: self.pairs.failures,
        }
    }
}

impl Plan for Returns {
    fn due(&mut self, _: Instant, open: usize) -> Option<Visit> {
        while open < Self::AT_ONCE && self.next < self.pairs.records.len() {
            let client = self.next;
            self.next += 1;
            let record = &self.pairs.records[client];
            let is_young = record.began.is_some_and(|began| began.elapsed() < MAX_AGE);
            let is_whole = matches!(record.servers, [Some(one), Some(two)] if one == two);
            if is_young && is_whole {
                let [_, _, node] = nodes_of(client as u64);
                return Some(Visit {
                    client: site::client(client as u32),
                    to: self.pairs.site.listen(node, client as u64),
                    tag: client as u64,
                    stays: false,
                });
            }
        }
        None
    }

    fn ended(&mut self, ended: &Ended) {
        if ended.server.is_some() {
            self.returned += 1;
            let before = self.pairs.records[ended.tag as usize].servers[0];
            self.forgotten += u64::from(ended.server != before);
        }
    }

    fn is_over(&self) -> bool {
        self.next == self.pairs.records.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_meets_each_node_once() {
        for client in 0..12 {
            let mut nodes = nodes_of(client);
            nodes.sort_unstable();
            assert_eq!(nodes, [0, 1, 2]);
        }
    }
}
