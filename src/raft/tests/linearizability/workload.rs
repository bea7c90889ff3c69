//! Client threads that read, write and exchange registers on all nodes and note what they saw.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Answer, Connection};
use crate::history::{Call, Operation, Outcome, Value};
use crate::random::Random;

/// Registers in use at a time.
const REGISTERS: u64 = 4;

/// New registers are taken as often, so that the writes without an answer that a checker must
/// keep in mind for one register stay few.
const EPOCH: Duration = Duration::from_secs(3);

/// How long a client waits for an answer: longer than a node's own deadline.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Between two tries to reach a node that is not there.
const RETRY: Duration = Duration::from_millis(10);

/// Running client threads.
pub struct Workload {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Operation>>>,
}

struct Shared {
    start: Instant,
    ends: AtomicBool,
    /// Every value is written once, so that a read tells which write it saw.
    next_value: AtomicU64,
    /// Operations with an answer.
    answered: AtomicU64,
}

impl Workload {
    /// Starts `clients` threads over the nodes at `addresses`.
    pub fn start(addresses: &[SocketAddr], clients: usize, seed: u64) -> Workload {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            ends: AtomicBool::new(false),
            next_value: AtomicU64::new(1),
            answered: AtomicU64::new(0),
        });
        let thread = |number: usize| {
            let client = Client {
                number,
                addresses: addresses.to_vec(),
                node: number % addresses.len(),
                connection: None,
                random: Random::new(seed.wrapping_add(number as u64)),
                last_seen: [None; REGISTERS as usize],
                history: Vec::new(),
                shared: Arc::clone(&shared),
            };
            std::thread::Builder::new()
                .name(format!("client {number}"))
                .spawn(move || client.run())
                .expect("a thread can be started")
        };
        Workload {
            threads: (0..clients).map(thread).collect(),
            shared,
        }
    }

    /// Operations with an answer so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Ends the threads after the operation that each is in; what they saw.
    pub fn end(self) -> Vec<Operation> {
        self.shared.ends.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        ended.flatten().collect()
    }
}

struct Client {
    number: usize,
    addresses: Vec<SocketAddr>,
    node: usize,
    connection: Option<Connection>,
    random: Random,
    /// What it last knew each register to hold: what its exchanges build on.
    last_seen: [Value; REGISTERS as usize],
    history: Vec<Operation>,
    shared: Arc<Shared>,
}

impl Client {
    fn run(mut self) -> Vec<Operation> {
        let mut epoch = 0;
        while !self.shared.ends.load(Ordering::Relaxed) {
            let now = self.now_ns() / u64::try_from(EPOCH.as_nanos()).expect("seconds");
            if now != epoch {
                epoch = now;
                self.last_seen = [None; REGISTERS as usize];
            }
            self.one_operation(epoch);
        }
        self.history
    }

    fn one_operation(&mut self, epoch: u64) {
        let Some(mut connection) = self.connection.take().or_else(|| self.connect()) else {
            return;
        };
        let register = self.random.below(REGISTERS);
        let call = self.choose(register);
        let key = epoch * REGISTERS + register;
        let asked_ns = self.now_ns();
        let answer = connection.call(key, call);
        let answered_ns = self.now_ns();
        let outcome = match answer {
            Ok(Answer::Refused) => {
                self.leave_node();
                return;
            }
            Ok(Answer::Outcome(outcome)) => {
                self.connection = Some(connection);
                outcome
            }
            Err(_) => {
                self.leave_node();
                Outcome::Unknown
            }
        };
        self.learn(register, call, outcome);
        self.history.push(Operation {
            client: self.number,
            key,
            call,
            outcome,
            asked_ns,
            answered_ns,
        });
    }

    fn choose(&mut self, register: u64) -> Call {
        let new = || self.shared.next_value.fetch_add(1, Ordering::Relaxed);
        match self.random.below(100) {
            0..45 => Call::Get,
            45..75 => Call::Put(new()),
            _ => Call::Cas {
                old: self.last_seen[usize::try_from(register).expect("few")],
                new: new(),
            },
        }
    }

    fn learn(&mut self, register: u64, call: Call, outcome: Outcome) {
        if outcome != Outcome::Unknown {
            self.shared.answered.fetch_add(1, Ordering::Relaxed);
        }
        let seen = match (call, outcome) {
            (Call::Get, Outcome::Read(value)) => value,
            (Call::Put(new) | Call::Cas { new, .. }, Outcome::Written) => Some(new),
            _ => return,
        };
        self.last_seen[usize::try_from(register).expect("few")] = seen;
    }

    fn connect(&mut self) -> Option<Connection> {
        let connection = Connection::open(self.addresses[self.node], ANSWER_LIMIT);
        if connection.is_err() {
            self.leave_node();
        }
        connection.ok()
    }

    /// Goes to the next node, not at once: one that is not there would keep the machine busy.
    fn leave_node(&mut self) {
        self.node = (self.node + 1) % self.addresses.len();
        std::thread::sleep(RETRY);
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.shared.start.elapsed().as_nanos()).expect("centuries")
    }
}
