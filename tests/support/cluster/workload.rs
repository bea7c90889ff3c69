//! Clients in the background: keys by the thousand, each of them in bursts to several nodes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::burst::{Call, burst};
use super::plan::PORTS;
use super::{Answer, Chronicle, Random, network};
use crate::support::host::Host;

/// How clients behave.
#[derive(Clone, Debug)]
pub struct Habits {
    /// How many there are.
    pub keys: u32,
    /// The number of the first of them.
    pub first_key: u32,
    /// The nodes that they know.
    pub nodes: Vec<usize>,
    /// How many of them act at once.
    pub threads: u32,
    /// How long they wait for an answer.
    pub patience: Duration,
    /// Of so many connections one stays open until the key's next burst; 0 for none.
    pub one_held_of: u64,
    /// Rest of a thread after a burst.
    pub rest: Duration,
}

impl Habits {
    /// So many keys at these nodes.
    pub fn new(keys: u32, nodes: &[usize]) -> Habits {
        Habits {
            keys,
            first_key: 0,
            nodes: nodes.to_vec(),
            threads: 12,
            patience: Duration::from_secs(15),
            one_held_of: 40,
            rest: Duration::from_millis(10),
        }
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Workload {
    threads: Vec<JoinHandle<Vec<Answer>>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    habits: Habits,
    chronicle: Arc<Chronicle>,
    ends: AtomicBool,
    /// By whom every key was asked for at least once.
    rounds: Vec<AtomicU64>,
    answered: AtomicUsize,
}

impl Workload {
    /// Starts the clients on their host.
    pub fn start(host: &Host, chronicle: &Arc<Chronicle>, habits: Habits, seed: u64) -> Workload {
        let shared = Arc::new(Shared {
            rounds: (0..habits.threads).map(|_| AtomicU64::new(0)).collect(),
            habits,
            chronicle: Arc::clone(chronicle),
            ends: AtomicBool::new(false),
            answered: AtomicUsize::new(0),
        });
        let own = Arc::clone(&shared);
        let threads = host.run(move || {
            let threads = 0..own.habits.threads;
            threads
                .map(|number| {
                    let client = Client::new(number, seed, &own);
                    std::thread::spawn(move || client.run())
                })
                .collect()
        });
        Workload { threads, shared }
    }

    /// How often every key was asked for.
    pub fn rounds(&self) -> u64 {
        let rounds = self.shared.rounds.iter();
        let rounds = rounds.map(|rounds| rounds.load(Ordering::Relaxed));
        rounds.min().unwrap_or(0)
    }

    /// Answers that named a group, so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Ends the clients after the burst that each is in; what they saw.
    pub fn end(self) -> Vec<Answer> {
        self.shared.ends.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(JoinHandle::join);
        ended
            .flat_map(|answers| answers.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    }
}

/// One thread: every `threads`th key, in any order, again and again.
struct Client {
    number: u32,
    keys: Vec<u32>,
    held: Vec<Option<Call>>,
    random: Random,
    answers: Vec<Answer>,
    shared: Arc<Shared>,
}

impl Client {
    fn new(number: u32, seed: u64, shared: &Arc<Shared>) -> Client {
        let Habits {
            keys,
            first_key,
            threads,
            ..
        } = shared.habits;
        let keys: Vec<u32> = (first_key..first_key + keys)
            .filter(|key| key % threads == number)
            .collect();
        Client {
            number,
            held: keys.iter().map(|_| None).collect(),
            keys,
            random: Random::new(seed.wrapping_add(u64::from(number))),
            answers: Vec::new(),
            shared: Arc::clone(shared),
        }
    }

    fn run(mut self) -> Vec<Answer> {
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        loop {
            self.random.shuffle(&mut order);
            for at in &order {
                if self.shared.ends.load(Ordering::Relaxed) {
                    return self.finish();
                }
                self.one_burst(*at);
                std::thread::sleep(self.shared.habits.rest);
            }
            let rounds = &self.shared.rounds[self.number as usize];
            rounds.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn one_burst(&mut self, at: usize) {
        let key = self.keys[at];
        let targets = self.targets();
        let shared = Arc::clone(&self.shared);
        let from = network::client(key);
        let patience = shared.habits.patience;
        let calls = burst(key, from, &targets, &shared.chronicle, patience);
        if let Some(held) = self.held[at].take() {
            self.answers.push(held.close(&shared.chronicle));
        }
        for call in calls {
            if call.answer.is_served() {
                shared.answered.fetch_add(1, Ordering::Relaxed);
            }
            let one_of = shared.habits.one_held_of;
            let holds = one_of > 0 && call.is_open() && self.random.below(one_of) == 0;
            if holds && self.held[at].is_none() {
                self.held[at] = Some(call);
            } else {
                self.answers.push(call.close(&shared.chronicle));
            }
        }
    }

    /// Two or three nodes (as many as there are), each on a port of its own choice.
    fn targets(&mut self) -> Vec<(usize, SocketAddr)> {
        let mut nodes = self.shared.habits.nodes.clone();
        self.random.shuffle(&mut nodes);
        nodes.truncate(if self.random.below(3) == 0 { 3 } else { 2 });
        let mut target = |node: usize| {
            let port = PORTS[usize::from(self.random.below(2) == 1)];
            (node, (network::address(node), port).into())
        };
        nodes.into_iter().map(&mut target).collect()
    }

    fn finish(mut self) -> Vec<Answer> {
        let held = self.held.drain(..).flatten();
        let closed = held.map(|call| call.close(&self.shared.chronicle));
        self.answers.extend(closed);
        self.answers
    }
}
