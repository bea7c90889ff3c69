//! A cluster, its clients and servers, and the record of it all.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::burst::burst;
use super::checker::{Verdict, judge};
use super::plan::PORTS;
use super::probe;
use super::{
    Answer, Chronicle, Habits, History, Network, Node, Outcome, Plan, Random, Workload, network,
};
use crate::support::wait::{eventually_some, eventually_within, holds_within};
use crate::support::{Backend, eventually};

/// Clusters are heavy, and mostly wait: so many at a time.
const MOST: usize = 3;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// How long a cluster may take to come to rest.
const SETTLING: Duration = Duration::from_secs(30);

/// Everything of one test.
#[derive(Debug)]
pub struct Stage {
    /// Who reaches whom.
    pub network: Arc<Network>,
    /// What nodes that are started get.
    pub plan: Plan,
    /// The clock.
    pub chronicle: Arc<Chronicle>,
    /// Choices.
    pub random: Random,
    nodes: Vec<Node>,
    seed: u64,
    servers: Vec<Backend>,
    workload: Option<Workload>,
    answers: Vec<Answer>,
    expiration: Duration,
    _place: Place,
}

impl Stage {
    /// So many hosts, and a server for each of so many groups; nothing runs yet. Where this process
    /// may not make hosts, it says so and there is none.
    pub fn new(hosts: usize, groups: u32, plan: Plan) -> Option<Stage> {
        let place = Place::take();
        let network = Arc::new(Network::new(hosts)?);
        let servers = network.servers.run(move || {
            let start =
                |group: u32| Backend::echo(&group.to_string(), network::server(group), &PORTS);
            (0..groups).map(start).collect()
        });
        let seed = seed();
        println!("CLUSTER_SEED={seed}");
        Some(Stage {
            nodes: (1..=hosts).map(|node| Node::new(&network, node)).collect(),
            expiration: Duration::from_secs_f64(plan.expiration_seconds()),
            network,
            plan,
            chronicle: Arc::new(Chronicle::begin()),
            random: Random::new(seed),
            seed,
            servers,
            workload: None,
            answers: Vec::new(),
            _place: place,
        })
    }

    /// A cluster of so many nodes with 4 groups, that runs.
    pub fn running(nodes: usize) -> Option<Stage> {
        let numbers: Vec<usize> = (1..=nodes).collect();
        Stage::running_with(Plan::cluster(&numbers, 4), nodes)
    }

    /// The same with a plan of its own.
    pub fn running_with(plan: Plan, nodes: usize) -> Option<Stage> {
        let mut stage = Stage::new(nodes, 4, plan)?;
        let numbers: Vec<usize> = (1..=nodes).collect();
        stage.start(&numbers);
        Some(stage)
    }

    /// A node.
    pub fn node(&self, node: usize) -> &Node {
        &self.nodes[node - 1]
    }

    /// A node, to be changed.
    pub fn node_mut(&mut self, node: usize) -> &mut Node {
        &mut self.nodes[node - 1]
    }

    /// A group's server.
    pub fn server(&self, group: u32) -> &Backend {
        &self.servers[usize::try_from(group).expect("few groups")]
    }

    /// The nodes that have a process.
    pub fn running_nodes(&self) -> Vec<usize> {
        let running = self.nodes.iter().filter(|node| node.runs());
        running.map(|node| node.number).collect()
    }

    // Orders.

    /// Starts these nodes at once and waits until all of them may get traffic.
    pub fn start(&mut self, nodes: &[usize]) {
        let plan = self.plan.clone();
        for node in nodes {
            self.node_mut(*node).launch(&plan);
        }
        for node in nodes {
            self.node_mut(*node).wait_ready();
        }
        self.wait_healthy(nodes);
        for node in nodes {
            self.chronicle.fault_ends(*node);
        }
    }

    /// `kill -9` of these at once.
    pub fn kill(&mut self, nodes: &[usize]) {
        for node in nodes {
            self.chronicle.fault_begins(*node);
        }
        for node in nodes {
            self.node_mut(*node).kill9();
        }
    }

    /// SIGSTOP for a while, and until it is back.
    pub fn pause(&mut self, node: usize, length: Duration) {
        self.chronicle.fault_begins(node);
        self.node(node).pause();
        self.pass(length);
        self.node(node).resume();
        self.wait_healthy(&[node]);
        self.chronicle.fault_ends(node);
    }

    /// What `from` sends to `to` is lost from now on, until [`Stage::heal`].
    pub fn cut(&self, from: usize, to: usize) {
        self.chronicle.fault_begins(from);
        self.chronicle.fault_begins(to);
        self.network.cut(from, to);
    }

    /// These nodes and the others are cut off from each other until [`Stage::heal`].
    pub fn cut_off(&self, minority: &[usize]) {
        for node in self.running_nodes() {
            self.chronicle.fault_begins(node);
        }
        self.network.cut_off(minority);
    }

    /// All cuts are over; waits until all nodes may get traffic.
    pub fn heal(&mut self) {
        self.network.heal_all();
        let running = self.running_nodes();
        self.wait_healthy(&running);
        for node in running {
            self.chronicle.fault_ends(node);
        }
    }

    /// Reloads the plan on these nodes, one after the other; each has to take it.
    pub fn reload(&mut self, plan: &Plan, nodes: &[usize]) {
        for node in nodes {
            let answer = self.node_mut(*node).reload(plan);
            let log = &self.node(*node).running().log;
            assert_eq!(answer.code, 0, "reload: {}\n{}", answer.text, log.text());
        }
        self.plan = plan.clone();
    }

    /// Disables a group by reloads on all running nodes.
    pub fn disable(&mut self, group: u32) {
        self.chronicle.outage_begins(group);
        self.set_group(group, "disabled", true, "Disabled");
    }

    /// Takes [`Stage::disable`] back.
    pub fn enable(&mut self, group: u32) {
        self.set_group(group, "disabled", false, "Up");
        self.chronicle.outage_ends(group);
    }

    /// Has a group drain, or no longer.
    pub fn drain(&mut self, group: u32, drains: bool) {
        let status = if drains { "Draining" } else { "Up" };
        self.set_group(group, "drain", drains, status);
    }

    fn set_group(&mut self, group: u32, key: &str, value: bool, status: &str) {
        let plan = self.plan.clone().group_set(group, key, value);
        let nodes = self.running_nodes();
        self.reload(&plan, &nodes);
        for node in nodes {
            let what = format!("group {group} is {status} at node {node}");
            let host = self.network.node(node);
            eventually(&what, || {
                probe::group_status(host, node, group).as_deref() == Some(status)
            });
        }
    }

    // What is waited for.

    /// Waits until all of these may get traffic.
    pub fn wait_healthy(&mut self, nodes: &[usize]) {
        for node in nodes {
            let mut last = None;
            let healthy = holds_within(SETTLING, || {
                self.node_mut(*node).assert_alive();
                last = probe::health(self.network.node(*node), *node);
                matches!(last, Some((true, _)))
            });
            assert!(healthy, "node {node} may get no traffic: {last:?}");
        }
    }

    /// The node that leads the stick table's Raft group.
    pub fn leader(&self) -> usize {
        eventually_some("a node leads", || self.leader_now())
    }

    /// The one with the newest term among those that say they lead.
    pub fn leader_now(&self) -> Option<usize> {
        let standings = self.running_nodes().into_iter().filter_map(|node| {
            let standing = self.node(node).standing()?;
            (standing.role == "leader").then_some((standing.term, node))
        });
        standings.max().map(|(_, node)| node)
    }

    /// A running node that does not lead.
    pub fn follower(&mut self) -> usize {
        let leader = self.leader();
        let mut others = self.running_nodes();
        others.retain(|node| *node != leader);
        let chosen = self.random.below(others.len() as u64);
        others[usize::try_from(chosen).expect("few nodes")]
    }

    /// Waits until these nodes, and no others, vote about the stick table.
    pub fn wait_voters(&self, nodes: &[usize]) {
        let wanted: Vec<String> = nodes.iter().map(|node| network::mac(*node)).collect();
        eventually_within(SETTLING, &format!("the voters are {nodes:?}"), || {
            let leader = self.leader_now();
            let standing = leader.and_then(|leader| self.node(leader).standing());
            standing.is_some_and(|standing| standing.voters == wanted)
        });
    }

    /// Waits until every running node votes.
    pub fn wait_all_vote(&self) {
        self.wait_voters(&self.running_nodes());
    }

    /// Lets time pass while clients go on.
    pub fn pass(&self, length: Duration) {
        std::thread::sleep(length);
    }

    // Clients.

    /// Starts clients in the background.
    pub fn work(&mut self, habits: Habits) {
        assert!(self.workload.is_none(), "clients are at work");
        let clients = &self.network.clients;
        let seed = self.random.any();
        self.workload = Some(Workload::start(clients, &self.chronicle, habits, seed));
    }

    /// Waits until every key has been asked for so many times more.
    pub fn rounds(&self, more: u64) {
        let workload = self.workload.as_ref().expect("clients are at work");
        let before = workload.rounds();
        let limit = Duration::from_secs(120);
        eventually_within(limit, "every key is asked for", || {
            workload.rounds() > before + more
        });
    }

    /// Waits until some keys more were told a group: the cluster serves.
    pub fn serves(&self) {
        let workload = self.workload.as_ref().expect("clients are at work");
        let before = workload.answered();
        eventually("clients are told groups", || {
            workload.answered() > before + 100
        });
    }

    /// Ends the clients.
    pub fn rest(&mut self) {
        if let Some(workload) = self.workload.take() {
            self.answers.extend(workload.end());
        }
    }

    /// Every key once at the nodes it knows: what came of it, which is on record too.
    pub fn ask_everyone(&mut self, habits: Habits) -> Vec<Answer> {
        let before = self.answers.len();
        self.work(habits);
        self.rounds(0);
        self.rest();
        self.answers[before..].to_vec()
    }

    /// One key once at each of these nodes, at once.
    pub fn ask(&mut self, key: u32, nodes: &[usize], patience: Duration) -> Vec<Answer> {
        let target = |node: &usize| (*node, (network::address(*node), PORTS[0]).into());
        let targets: Vec<_> = nodes.iter().map(target).collect();
        let chronicle = Arc::clone(&self.chronicle);
        let answers: Vec<Answer> = self.network.clients.run(move || {
            let from = network::client(key);
            let calls = burst(key, from, &targets, &chronicle, patience);
            calls
                .into_iter()
                .map(|call| call.close(&chronicle))
                .collect()
        });
        self.answers.extend(&answers);
        answers
    }

    /// The group that a node gives a key, which has to be given one.
    pub fn group_of(&mut self, key: u32, node: usize) -> u32 {
        let answer = self.ask(key, &[node], Duration::from_secs(10))[0];
        answer
            .group()
            .unwrap_or_else(|| panic!("no group: {answer}"))
    }

    // The record.

    /// Notes a shorter `expiration` than the plan had at first.
    pub fn note_expiration(&mut self, expiration: Duration) {
        self.expiration = self.expiration.min(expiration);
    }

    /// What happened up to now; ends the clients.
    pub fn history(&mut self) -> History {
        self.rest();
        History {
            expiration: self.expiration,
            answers: self.answers.clone(),
            faults: self.chronicle.faults(),
            outages: self.chronicle.outages(),
        }
    }

    /// Ends the clients, judges all they saw, and says so.
    pub fn verdict(&mut self) -> Verdict {
        let history = self.history();
        let started = Instant::now();
        let verdict = judge(&history);
        println!("{verdict}");
        println!(
            "{} refused, {} reset, {} ended, {} timed out; {:.1} s, judged in {:.1} s, seed {}",
            history.count(|outcome| outcome == Outcome::Refused),
            history.count(|outcome| outcome == Outcome::Reset),
            history.count(|outcome| outcome == Outcome::Ended),
            history.count(|outcome| outcome == Outcome::TimedOut),
            self.chronicle.now().as_secs_f64(),
            started.elapsed().as_secs_f64(),
            self.seed
        );
        verdict
    }

    /// The promise was kept, to clients who were served, and no process ended by itself.
    pub fn assert_kept(&mut self) {
        self.nodes.iter_mut().for_each(Node::assert_alive);
        let verdict = self.verdict();
        verdict.assert_kept();
        assert!(verdict.answers > 0, "nobody was served");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The clients first: without servers their errors would be no one's fault.
        self.workload.take().map(Workload::end);
        self.nodes.clear();
        self.servers.clear();
    }
}

/// One of the [`MOST`] clusters that run at a time.
#[derive(Debug)]
struct Place;

impl Place {
    fn take() -> Place {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = ENDED.wait_while(running, |running| *running >= MOST);
        *wait.unwrap_or_else(PoisonError::into_inner) += 1;
        Place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

/// `CLUSTER_SEED`, or another one each time.
fn seed() -> u64 {
    if let Ok(text) = std::env::var("CLUSTER_SEED") {
        return text.parse().expect("CLUSTER_SEED is a number");
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.expect("the clock is set").as_millis()).expect("centuries")
}
