//! Running seeds: one, or many on all processors, and telling how one failed.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::coverage::Coverage;
use super::history::Violation;
use super::plan::Plan;
use super::rng::Rng;
use super::trace::Trace;
use super::{Checks, World};

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What a seed came to.
pub struct Outcome {
    /// The run as one number.
    pub digest: u64,
    /// Steps.
    pub steps: u64,
    /// What was seen.
    pub coverage: Coverage,
    /// Commands that were answered.
    pub answered: usize,
    /// Entries that were committed.
    pub committed: u64,
    /// How long after the last fault the world came to rest.
    pub rested_ms: u64,
}

/// How a seed failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The step at which it was seen.
    pub step: u64,
    /// What was violated.
    pub violation: Violation,
    /// The plan and the last events, where they were kept.
    pub story: String,
}

/// How worlds differ from their seeds' plans, if at all.
#[derive(Clone)]
pub struct Runs {
    /// Which checks are made.
    pub checks: Checks,
    /// Changes the plan.
    pub adapt: fn(&mut Plan),
    /// What is done on each thread before it runs anything.
    pub prepare: Arc<dyn Fn() + Send + Sync>,
}

impl Default for Runs {
    fn default() -> Runs {
        Runs {
            checks: Checks::All,
            adapt: |_| (),
            prepare: Arc::new(|| ()),
        }
    }
}

/// Panics of a core are failures of a seed: their words are kept, not printed.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANIC.with(|panic| *panic.borrow_mut() = Some(info.to_string()));
    }));
}

impl Runs {
    /// Runs one seed.
    pub fn seed(&self, seed: u64, trace: &Trace) -> Result<Outcome, Failure> {
        let mut rng = Rng::new(seed);
        let mut plan = Plan::of(&mut rng);
        (self.adapt)(&mut plan);
        let words = format!("{plan:#?}");
        let (checks, kept) = (self.checks, trace.clone());
        let ran = catch_unwind(AssertUnwindSafe(move || {
            let mut world = World::new(plan, rng, checks, kept)?;
            world.run()?;
            Ok(world)
        }));
        let ran: Result<World, Violation> = ran.unwrap_or_else(|_| {
            let what = PANIC.with(|panic| panic.borrow_mut().take());
            Err(Violation {
                invariant: "nothing panics",
                detail: what.unwrap_or_default(),
            })
        });
        match ran {
            Ok(world) => {
                let (answered, committed) = world.amount();
                Ok(Outcome {
                    digest: trace.digest(),
                    steps: trace.steps(),
                    coverage: world.coverage().clone(),
                    answered,
                    committed,
                    rested_ms: world.rested_ms(),
                })
            }
            Err(violation) => Err(Failure {
                seed,
                step: trace.steps(),
                violation,
                story: format!("{words}\n{}", trace.last()),
            }),
        }
    }

    /// Runs seeds on all processors until one fails. Of several that failed at once, the lowest.
    pub fn many(&self, first: u64, count: u64) -> Result<Summary, Failure> {
        let next = AtomicU64::new(first);
        let stop = AtomicBool::new(false);
        let total = Mutex::new((Summary::default(), None::<Failure>));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    (self.prepare)();
                    while !stop.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= first + count {
                            break;
                        }
                        let ran = self.seed(seed, &Trace::default());
                        let mut total = total.lock().expect("no thread panics while it holds it");
                        match ran {
                            Ok(outcome) => total.0.add(&outcome),
                            Err(failure) => {
                                stop.store(true, Ordering::Relaxed);
                                let known = total.1.as_ref().map(|failure| failure.seed);
                                if known.is_none_or(|known| failure.seed < known) {
                                    total.1 = Some(failure);
                                }
                            }
                        }
                    }
                });
            }
        });
        let (summary, failure) = total
            .into_inner()
            .expect("no thread panics while it holds it");
        match failure {
            None => Ok(summary),
            Some(failure) => Err(failure),
        }
    }

    /// Runs a seed that failed once more, in words.
    pub fn tell(&self, failure: &Failure) -> String {
        (self.prepare)();
        let again = self.seed(failure.seed, &Trace::in_words(false));
        let (same, story) = match &again {
            Ok(_) => (false, String::new()),
            Err(again) => (again.step == failure.step, again.story.clone()),
        };
        let way = match same {
            true => "",
            false => " (which went another way: it is not deterministic)",
        };
        format!(
            "{story}\n\nThis was the run in words{way}.\nSeed {} failed at step {}: {}\n{}\nAgain: \
             RAFT_SEED={} cargo test -p tcpffee-raft --test simulation replay -- --nocapture",
            failure.seed,
            failure.step,
            failure.violation.invariant,
            failure.violation.detail,
            failure.seed
        )
    }
}

/// What many seeds came to.
#[derive(Default)]
pub struct Summary {
    /// Seeds.
    pub seeds: u64,
    /// Steps.
    pub steps: u64,
    /// Commands that were answered.
    pub answered: usize,
    /// Entries that were committed.
    pub committed: u64,
    /// The longest way to rest.
    pub rested_ms: u64,
    /// Seeds by what was seen.
    pub coverage: Coverage,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        self.answered += outcome.answered;
        self.committed += outcome.committed;
        self.rested_ms = self.rested_ms.max(outcome.rested_ms);
        self.coverage.add_seed(&outcome.coverage);
    }
}
