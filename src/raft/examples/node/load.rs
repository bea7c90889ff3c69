//! Load made within the node itself, at the proposal interface.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use bytes::Bytes;
use tcpffee_raft::driver::{Handle, boot_time};
use tcpffee_raft::proposals::ProposalError;

use crate::register::VERSION;

/// How long a proposal may take.
const PATIENCE_MS: u64 = 30_000;

type Answered = (Instant, Result<Bytes, ProposalError>);

/// Proposes `count` commands with bodies of `bytes` bytes, at most `out` of them without an answer
/// at once. Answers `ok count=… failed=… elapsed_us=… p50_us=… p99_us=… max_us=…`; the times are
/// from the proposal to the answer.
pub fn run(node: &Handle, count: usize, out: usize, bytes: usize) -> String {
    let body = body(bytes);
    let (sender, answers) = channel();
    let sender = Arc::new(sender);
    let begun = Instant::now();
    let mut figures = Figures::default();
    for number in 0..count {
        if number >= out.max(1) {
            figures.take(&answers);
        }
        propose(node, body.clone(), &sender);
    }
    for _ in 0..count.min(out.max(1)) {
        figures.take(&answers);
    }
    figures.shown(count, begun)
}

/// `put load xxx…`: the same value again and again.
fn body(bytes: usize) -> Bytes {
    let mut text = b"put load ".to_vec();
    text.resize(bytes.max(text.len() + 1), b'x');
    text.into()
}

fn propose(node: &Handle, body: Bytes, sender: &Arc<Sender<Answered>>) {
    let sender = Arc::clone(sender);
    let begun = Instant::now();
    let done = Box::new(move |result| {
        // Whoever asked for the load waits for all of it.
        let _ = sender.send((begun, result));
    });
    node.propose(body, VERSION, boot_time().plus(PATIENCE_MS), done);
}

#[derive(Default)]
struct Figures {
    failed: usize,
    took_us: Vec<u64>,
}

impl Figures {
    fn take(&mut self, answers: &Receiver<Answered>) {
        match answers.recv() {
            Ok((begun, Ok(_))) => self.took_us.push(begun.elapsed().as_micros() as u64),
            Ok((_, Err(error))) => {
                if self.failed == 0 {
                    log::warn!("load: {error}");
                }
                self.failed += 1;
            }
            Err(_) => self.failed += 1,
        }
    }

    fn shown(mut self, count: usize, begun: Instant) -> String {
        let elapsed_us = begun.elapsed().as_micros();
        self.took_us.sort_unstable();
        let at = |part: usize| {
            let place = self.took_us.len() * part / 100;
            let place = place.min(self.took_us.len().saturating_sub(1));
            self.took_us.get(place).copied().unwrap_or(0)
        };
        format!(
            "ok count={count} failed={} elapsed_us={elapsed_us} p50_us={} p99_us={} max_us={}",
            self.failed,
            at(50),
            at(99),
            at(100),
        )
    }
}
