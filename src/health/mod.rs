//! Health checks: what this node finds out about the groups' servers, and what follows for the
//! groups.
//!
//! ```text
//! timetable → pool of threads: probe → board: streak → observation → verdict → group's status
//! ```
//!
//! One thread, the [`scheduler`], starts checks when they are due and takes in their results;
//! the checks themselves block threads of a pool. The [`board`] holds where every check stands
//! and knows neither threads nor time. A group's status is written where every worker reads it at
//! each route ([`HealthStatus`](crate::groups::HealthStatus)), so it holds for the next connection.
//!
//! What a node sees is an [`Observation`], what holds is a [`Verdict`]; alone, the one becomes the
//! other directly. In a cluster the nodes vote ([`replicated`]).

mod board; // where every check stands
mod definition; // what identifies a check
mod jitter; // chance, for spreading
mod plan; // what a configuration has checked
mod pool; // the threads that check
mod probe; // one check of one target: TCP, HTTP
mod record; // what became of checks, for people to look at
pub mod replicated; // verdicts that a cluster votes on
mod save; // states kept across restarts
mod scheduler; // the thread that has checks made
mod shared_board; // the board as threads share it
mod streak; // rise and fall
mod timetable; // the queue of timers
mod verdict; // what was seen, what holds
mod view; // the checks as statistics see them

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use log::Level;

use crate::clock::Clock;
use crate::config::{Config, GroupId};
use crate::groups::TargetState;
use crate::resolve::Names;
use crate::state_file::{LockError, PathLock, lock_path};
use crate::watchdog::Pulses;

use board::{Board, Runs};
use jitter::Jitter;
use plan::Way;
use pool::{MAX_THREADS, Pool};
use replicated::{Council, Seat, Sitting};
use save::Saver;
use scheduler::Scheduler;
use shared_board::{Claim, SharedBoard};
use timetable::Timetable;

pub use definition::CheckId;
pub use plan::Plan;
pub use probe::{Failure, NotRun, Outcome, Probe};
pub use record::{Conclusion, Durations, MAX_HISTORY};
pub use save::SaveError;
pub use streak::{State, Streak};
pub use verdict::{Observation, Verdict};
pub use view::{CheckView, CheckedAgo, MostTargets, TargetView, View};

/// Targets that real traffic could not connect to, waiting to be heard; beyond it their checks
/// come at their interval.
pub const QUEUE_FAILED_TARGETS: usize = 1024;
/// The part of the process's descriptors that checks may take: one in so many.
const DESCRIPTOR_SHARE: usize = 8;

/// Told that a check of a group has come to a state, for this reason, that deserves this level in
/// the log; the group's status is set already.
pub type OnStatus = Box<dyn Fn(GroupId, &str, Level) + Send + Sync>;
/// The same for several threads.
type SharedOnStatus = Arc<dyn Fn(GroupId, &str, Level) + Send + Sync>;

/// Health checks that have not begun: what an earlier process knew, and the first plan.
#[derive(Debug)]
pub struct Prepared {
    board: Board,
    plan: Plan,
    saver: Saver,
    lock: Option<PathLock>,
}

/// What running checks need from outside.
pub struct Outside {
    /// Where host names are now.
    pub names: Arc<Names>,
    /// The process's clock.
    pub clock: Clock,
    /// Told of every check that comes to another state.
    pub on_status: OnStatus,
    /// Targets that real traffic could not connect to.
    pub failed_targets: Receiver<Arc<TargetState>>,
    /// Descriptors that the process may open.
    pub descriptor_limit: usize,
    /// In a cluster: where verdicts come from. Alone, what this node sees is what holds.
    pub council: Option<Council>,
    /// Where the threads' loops are looked after.
    pub pulses: Pulses,
}

/// Running health checks.
#[derive(Debug)]
pub struct Health {
    board: Arc<SharedBoard>,
    clock: Clock,
    commands: Sender<Command>,
    saver: Arc<Saver>,
    thread: JoinHandle<()>,
    council: Option<(Arc<Seat>, Sitting)>,
    descriptor_limit: usize,
    /// Held until everything is saved.
    lock: Option<PathLock>,
}

/// A configuration that is about to come into force.
#[derive(Debug)]
pub struct Change<'a> {
    health: &'a Health,
    claim: Claim<'a>,
    next: Board,
    plan: Plan,
}

/// What the scheduler is told; it stops when nobody is left to tell it anything.
#[derive(Debug)]
enum Command {
    /// The board is another one.
    FollowBoard { way: Way, max_threads: usize },
}

/// Health checks cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process uses the state file.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The system gave no thread.
    #[error("cannot start the threads of the health checks: {0}")]
    Thread(#[from] io::Error),
}

impl Prepared {
    /// Reads what an earlier process saved at `path`, and plans the checks of a configuration: a
    /// group that was out is out from the start. A file that cannot be used is told in the log.
    ///
    /// # Errors
    /// Another process uses the path, or there is no thread to be had.
    pub fn new(config: &Config, path: &Path) -> Result<Prepared, StartError> {
        let lock = match lock_path(path) {
            Ok(lock) => Some(lock),
            Err(error @ LockError::InUse { .. }) => return Err(error.into()),
            Err(error) => {
                log::error!("the states of health checks are kept without a lock: {error}");
                None
            }
        };
        let saved = save::load(path);
        let plan = Plan::of(config);
        let mut board = Board::default().successor(&plan);
        let failing = board.restore(&saved);
        if failing > 0 {
            log::info!(
                "{failing} failing health checks restored from {}",
                path.display()
            );
        }
        let saver = Saver::start(path)?;
        // Checks that are gone and runs that go on from here must not be taken up a second time.
        let kept = board.saved(Runs::Left);
        if !saved.is_empty() && kept != saved {
            saver.save(kept);
        }
        Ok(Prepared {
            board,
            plan,
            saver,
            lock,
        })
    }

    /// The plan of the configuration.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Begins to check.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(self, outside: Outside) -> Result<Health, StartError> {
        let (commands, received) = unbounded();
        let (clock, descriptor_limit) = (outside.clock, outside.descriptor_limit);
        let max_threads = descriptors(&self.plan, descriptor_limit);
        let (pool, results) = Pool::new(max_threads, Instant::now());
        let mut board = self.board;
        if outside.council.is_some() {
            board.enter_council();
        }
        let board = Arc::new(SharedBoard::new(board));
        let saver = Arc::new(self.saver);
        let on_status: SharedOnStatus = Arc::from(outside.on_status);
        let council = match outside.council {
            Some(council) => {
                Some(council.sit(Arc::clone(&board), Arc::clone(&on_status), &outside.pulses)?)
            }
            None => None,
        };
        let (pulse, bell) = outside.pulses.register_bell("health");
        let scheduler = Scheduler {
            pulse,
            bell,
            board: Arc::clone(&board),
            names: outside.names,
            way: self.plan.way,
            on_status,
            seat: council.as_ref().map(|(seat, _)| Arc::clone(seat)),
            saver: Arc::clone(&saver),
            clock,
            pool,
            results,
            failed_targets: outside.failed_targets,
            commands: received,
            timetable: Timetable::default(),
            jitter: Jitter::new(),
            reported: Vec::new(),
            is_unsaved: false,
        };
        let thread = std::thread::Builder::new().name("health".to_owned());
        let thread = thread.spawn(move || scheduler.run())?;
        Ok(Health {
            board,
            clock,
            commands,
            saver,
            thread,
            council,
            descriptor_limit,
            lock: self.lock,
        })
    }
}

impl Health {
    /// Plans the checks of a configuration that may come into force. Until the change is adopted or
    /// dropped no result is taken in: nothing can turn between the plan and its being in force. Who only
    /// looks at the checks does not wait for it.
    pub fn change_to(&self, config: &Config) -> Change<'_> {
        let plan = Plan::of(config);
        let claim = self.board.claim();
        let mut next = claim.board().successor(&plan);
        // Of checks that are new here the cluster may know something.
        if let Some(agreed) = self.seat().and_then(|seat| seat.in_force()) {
            next.follow(&agreed);
        }
        Change {
            health: self,
            claim,
            next,
            plan,
        }
    }

    /// Ends the checks; those under way are not waited for. What they know is saved.
    ///
    /// # Errors
    /// The states could not be saved.
    pub fn stop(self) -> Result<(), SaveError> {
        drop(self.commands);
        // A scheduler that panicked has ended the process already.
        let _ = self.thread.join();
        if let Some((_, sitting)) = self.council {
            sitting.end();
        }
        let board = self.board.hold();
        if board.targets().next().is_some() {
            self.saver.save(board.saved(Runs::Kept));
        }
        let result = match Arc::try_unwrap(self.saver) {
            Ok(saver) => saver.stop(),
            Err(_) => unreachable!("the scheduler has ended, and nobody else has the saver"),
        };
        drop(self.lock);
        result
    }
}

impl Health {
    fn seat(&self) -> Option<&Arc<Seat>> {
        self.council.as_ref().map(|(seat, _)| seat)
    }
}

impl Change<'_> {
    /// The plan of the configuration.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The descriptors, and threads, that its checks may take at once.
    pub fn descriptors(&self) -> usize {
        descriptors(&self.plan, self.health.descriptor_limit)
    }

    /// Has its checks take the place of those before: the configuration is in force.
    pub fn adopt(self) {
        let max_threads = self.descriptors();
        let saved = self.next.saved(Runs::Left);
        *self.claim.board() = self.next;
        self.health.saver.save(saved);
        if let Some(seat) = self.health.seat() {
            seat.ring();
        }
        // The scheduler ends after the handle only.
        let _ = self.health.commands.send(Command::FollowBoard {
            way: self.plan.way,
            max_threads,
        });
    }
}

/// The descriptors, and threads, that the checks of a plan may take at once out of `limit`.
pub fn descriptors(plan: &Plan, limit: usize) -> usize {
    let most = MAX_THREADS.min(limit / DESCRIPTOR_SHARE);
    plan.target_count().min(most)
}
