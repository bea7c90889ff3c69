//! What happened, as one number always, and in words when a seed is run again because it failed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Events that a failure shows.
const SHOWN: usize = 200;

/// The record of a run. A clone is the same record, so that it outlives a panic in the world.
#[derive(Clone, Default)]
pub struct Trace(Rc<RefCell<Record>>);

#[derive(Default)]
struct Record {
    in_words: bool,
    print_all: bool,
    step: u64,
    digest: u64,
    last: VecDeque<String>,
}

impl Trace {
    /// A record that keeps the last events in words; with `print_all` it prints them all.
    pub fn in_words(print_all: bool) -> Trace {
        let trace = Trace::default();
        trace.0.borrow_mut().in_words = true;
        trace.0.borrow_mut().print_all = print_all;
        trace
    }

    /// A step begins.
    pub fn step(&self, at_us: u64, mark: u64) {
        let mut record = self.0.borrow_mut();
        record.step += 1;
        for word in [at_us, mark] {
            record.digest = (record.digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            record.digest ^= record.digest >> 31;
        }
    }

    /// Something worth showing.
    pub fn say(&self, at_us: u64, words: impl FnOnce() -> String) {
        let mut record = self.0.borrow_mut();
        if !record.in_words {
            return;
        }
        let step = record.step;
        let line = format!(
            "{step:>7} {:>6}.{:03} ms  {}",
            at_us / 1000,
            at_us % 1000,
            words()
        );
        if record.print_all {
            println!("{line}");
        }
        if record.last.len() == SHOWN {
            record.last.pop_front();
        }
        record.last.push_back(line);
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.0.borrow().step
    }

    /// Everything so far as one number.
    pub fn digest(&self) -> u64 {
        self.0.borrow().digest
    }

    /// The last events in words.
    pub fn last(&self) -> String {
        let record = self.0.borrow();
        record.last.iter().cloned().collect::<Vec<_>>().join("\n")
    }
}
