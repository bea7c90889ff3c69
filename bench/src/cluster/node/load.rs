//! Assignments of new keys, proposed within the node itself, in the batches that tcpffee's nodes
//! make.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tcpffee::config::GroupId;
use tcpffee::stick::replicated::command::{Answer, Op, Outcome, Wanted};
use tcpffee::stick::{ClientIp, Key};

use super::start::{GROUPS, Sticky};

/// Operations of one batch at most, as in a node of tcpffee.
const BATCH: u64 = 512;
/// How long the nodes may take to agree on groups before there is any load.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first key's address: 10.0.0.0.
const FIRST_ADDRESS: u32 = 10 << 24;

/// A batch's keys, when it was proposed, and what came of it.
struct Done {
    keys: u64,
    begun: Instant,
    result: Result<Answer, String>,
}

/// Has `count` keys from the `first` on given groups, at most `out` of them without an answer at
/// once. Answers `ok count=… failed=… elapsed_us=… p50_us=… p99_us=… max_us=…`; the times are a
/// key's, from the proposal to its answer.
pub fn run(node: &Sticky, count: u64, out: u64, first: u64) -> String {
    let asked = Instant::now();
    while !node.is_agreed() {
        if asked.elapsed() > PATIENCE {
            return format!("fail nothing is agreed on: {:?}", node.replica.agreed());
        }
        sleep(Duration::from_millis(5));
    }
    let (sender, answers) = channel();
    let mut figures = Figures::default();
    let (mut next, end) = (first, first + count);
    let mut under_way = 0;
    let begun = Instant::now();
    while next < end || under_way > 0 {
        let size = BATCH.min(out.max(1)).min(end - next);
        if size > 0 && under_way + size <= out.max(1) {
            propose(node, next..next + size, &sender);
            next += size;
            under_way += size;
        } else {
            under_way -= figures.take(&answers);
        }
    }
    figures.shown(count, begun)
}

fn propose(node: &Sticky, keys: Range<u64>, sender: &Sender<Done>) {
    let sender = sender.clone();
    let size = keys.end - keys.start;
    let ops = keys.map(assign).collect();
    let begun = Instant::now();
    node.propose(ops, move |result| {
        // Whoever asked for the load waits for all of it.
        let _ = sender.send(Done {
            keys: size,
            begun,
            result,
        });
    });
}

fn assign(number: u64) -> Op {
    let address = Ipv4Addr::from(FIRST_ADDRESS.wrapping_add(number as u32));
    Op::Assign {
        client: Wanted::Key(Key {
            ip: ClientIp::new(IpAddr::V4(address), 128),
            slice: None,
        }),
        group: Some(GroupId(number as u32 % GROUPS)),
    }
}

#[derive(Default)]
struct Figures {
    failed: u64,
    /// Of each batch: what it took, and how many keys.
    took: Vec<(Duration, u64)>,
}

impl Figures {
    /// One answer; how many keys it was for.
    fn take(&mut self, answers: &Receiver<Done>) -> u64 {
        let done = answers.recv().expect("this thread holds a sender itself");
        let given = match &done.result {
            Ok(answer) => {
                let is_given = |outcome: &&Outcome| matches!(outcome, Outcome::Entry(_));
                answer.outcomes.iter().filter(is_given).count() as u64
            }
            Err(_) => 0,
        };
        if given < done.keys && self.failed == 0 {
            let outcome = done.result.map(|answer| {
                let mut outcomes = answer.outcomes.into_iter();
                outcomes.find(|outcome| !matches!(outcome, Outcome::Entry(_)))
            });
            log::warn!("load: {outcome:?}");
        }
        self.failed += done.keys - given.min(done.keys);
        self.took.push((done.begun.elapsed(), done.keys));
        done.keys
    }

    fn shown(mut self, count: u64, begun: Instant) -> String {
        let elapsed_us = begun.elapsed().as_micros();
        self.took.sort_unstable();
        let at = |part: f64| {
            let mut rest = (count as f64 * part) as u64;
            let place = self.took.iter().find(|(_, keys)| {
                let is_there = rest <= *keys;
                rest = rest.saturating_sub(*keys);
                is_there
            });
            place.map_or(0, |(took, _)| took.as_micros())
        };
        format!(
            "ok count={count} failed={} elapsed_us={elapsed_us} p50_us={} p99_us={} max_us={}",
            self.failed,
            at(0.5),
            at(0.99),
            self.took.last().map_or(0, |(took, _)| took.as_micros()),
        )
    }
}
