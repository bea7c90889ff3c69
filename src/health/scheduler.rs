//! The thread that has checks made when they are due, and has their results take effect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, select};
use log::Level;

use crate::clock::Clock;
use crate::config::TargetAddr;
use crate::endpoint::Endpoint;
use crate::groups::TargetState;
use crate::logging::RateLimit;
use crate::resolve::Names;
use crate::watchdog::Pulse;

use super::board::{Runs, TargetKey};
use super::jitter::Jitter;
use super::plan::Way;
use super::pool::{Done, Job, Pool};
use super::probe::Outcome;
use super::record::{Conclusion, PastCheck};
use super::replicated::Seat;
use super::save::Saver;
use super::shared_board::{Held, SharedBoard};
use super::streak::State;
use super::timetable::{Due, Timetable};
use super::verdict::Verdict;
use super::{Command, SharedOnStatus};

/// First checks are spread over this long for each target, and over [`MAX_SPREAD`] at most.
const SPREAD_PER_TARGET: Duration = Duration::from_millis(1);
/// The longest that the first check of a new target waits.
const MAX_SPREAD: Duration = Duration::from_secs(1);
/// A check that begins later than this part of its interval is worth a warning.
const LATE_PART: u32 = 10;

static NOT_RUN: RateLimit = RateLimit::new();
static OWN_LISTENER: RateLimit = RateLimit::new();
static LATE: RateLimit = RateLimit::new();
static NO_THREAD: RateLimit = RateLimit::new();

/// All that the scheduler's thread owns.
pub(super) struct Scheduler {
    pub pulse: Pulse,
    /// Rung to see whether this turns.
    pub bell: Receiver<()>,
    pub board: Arc<SharedBoard>,
    pub names: Arc<Names>,
    pub way: Way,
    pub on_status: SharedOnStatus,
    /// In a cluster: who votes on verdicts.
    pub seat: Option<Arc<Seat>>,
    pub saver: Arc<Saver>,
    pub clock: Clock,
    pub pool: Pool,
    pub results: Receiver<Done>,
    pub failed_targets: Receiver<Arc<TargetState>>,
    pub commands: Receiver<Command>,
    pub timetable: Timetable,
    pub jitter: Jitter,
    /// Targets reported by real traffic whose check has not begun since.
    pub reported: Vec<(TargetKey, Arc<TargetState>)>,
    /// A state has turned and was not saved yet.
    pub is_unsaved: bool,
}

impl Scheduler {
    /// Runs until told to stop.
    pub fn run(mut self) {
        self.follow_board();
        loop {
            self.pulse.beat();
            select! {
                recv(self.bell) -> _ => {}
                recv(self.results) -> done => if let Ok(done) = done {
                    self.settle(done);
                },
                recv(self.failed_targets) -> failed => match failed {
                    Ok(state) => self.hurry(state),
                    // The proxy is gone; the checks may go on a little.
                    Err(_) => self.failed_targets = never(),
                },
                recv(self.commands) -> command => match command {
                    Ok(Command::FollowBoard { way, max_threads }) => {
                        self.way = way;
                        self.pool.set_max_threads(max_threads);
                        self.follow_board();
                    }
                    Err(_) => return,
                },
                default(self.time_to_next()) => {}
            }
            self.start_due();
            self.save();
            if let Err(error) = self.pool.tend(Instant::now())
                && let Some(left_out) = NO_THREAD.admit(self.clock.now())
            {
                let threads = self.pool.threads();
                log::error!(
                    "no further thread for health checks: {error}; {threads} do the work, checks \
                     may come late{left_out}"
                );
            }
        }
    }

    /// Hands over what has changed, once for all results that have come at the same time.
    fn save(&mut self) {
        if self.is_unsaved && self.results.is_empty() {
            self.is_unsaved = false;
            // Under the board's lock: what comes into force meanwhile is saved after this.
            let board = self.board();
            self.saver.save(board.saved(Runs::Left));
        }
    }

    fn board(&self) -> Held<'_> {
        self.board.hold()
    }

    fn time_to_next(&self) -> Duration {
        // Any time does while nothing is to be done.
        const IDLE: Duration = Duration::from_secs(3_600);
        let moments = [self.timetable.next(), self.pool.next_moment()];
        let next = moments.into_iter().flatten().min();
        next.map_or(IDLE, |next| next.saturating_duration_since(Instant::now()))
    }

    /// Has the timetable hold just the targets that are on the board.
    fn follow_board(&mut self) {
        let board = Arc::clone(&self.board);
        let board = board.hold();
        let now = Instant::now();
        let new: Vec<_> = board
            .targets()
            .filter(|(_, _, target)| !self.timetable.has(target.key))
            .map(|(_, definition, target)| (target.key, definition.interval))
            .collect();
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        let spread = SPREAD_PER_TARGET.saturating_mul(count).min(MAX_SPREAD);
        for (key, interval) in new {
            let first = now + self.jitter.within(spread.min(interval));
            self.timetable.add(key, interval, first);
        }
        let abandoned = self.timetable.retain(|key| board.has(key));
        self.pool.abandon(abandoned);
        for (_, state) in self.reported.drain(..) {
            state.forget_report();
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while let Some(due) = self.timetable.take_due(now) {
            let (Due::Start(key) | Due::LeftOut(key)) = due;
            self.reported.retain(|(reported, state)| {
                if *reported == key {
                    state.forget_report();
                }
                *reported != key
            });
            match due {
                Due::Start(key) => self.start(key, now),
                Due::LeftOut(key) => self.warn_late(key, None),
            }
        }
    }

    fn start(&mut self, key: TargetKey, now: Instant) {
        let board = self.board();
        let Some((_, _, target)) = board.target(key) else {
            return;
        };
        let (probe, target) = (Arc::clone(&target.probe), target.target.clone());
        drop(board);
        match self.endpoints(&target) {
            Ok(endpoints) => self.pool.submit(Job {
                key,
                probe,
                endpoints,
                sources: Arc::clone(&self.way.sources),
                submitted: now,
            }),
            Err(Absent::Unresolved) => {
                self.timetable.finished(key, now);
                self.take_in(key, Err("the name does not resolve"), Duration::ZERO);
            }
            Err(Absent::OwnListener) => {
                self.timetable.finished(key, now);
                self.record_not_run(
                    key,
                    "that is a listener of this proxy itself",
                    Duration::ZERO,
                );
                if let Some(left_out) = OWN_LISTENER.admit(self.clock.now()) {
                    log::warn!(
                        "{}: that is a listener of this proxy itself, which is never \
                         checked{left_out}",
                        self.title(key)
                    );
                }
            }
        }
    }

    fn endpoints(&self, target: &TargetAddr) -> Result<Vec<Endpoint>, Absent> {
        let mut addresses = match target {
            TargetAddr::Socket(address) => vec![*address],
            TargetAddr::Unix(path) => return Ok(vec![Endpoint::Unix(path.clone())]),
            TargetAddr::Name { host, port } => {
                let name = self.names.get(host).ok();
                let ips = name.map(|name| name.addresses()).unwrap_or_default();
                let with_port = |ip| SocketAddr::new(ip, *port);
                ips.into_iter().map(with_port).collect()
            }
        };
        if addresses.is_empty() {
            return Err(Absent::Unresolved);
        }
        addresses.retain(|&address| !self.way.own_listeners.contains(address));
        match addresses.is_empty() {
            true => Err(Absent::OwnListener),
            false => Ok(addresses.into_iter().map(Endpoint::Ip).collect()),
        }
    }

    /// One check is made.
    fn settle(&mut self, done: Done) {
        self.pool.note_done();
        if !self.timetable.has(done.key) {
            self.pool.note_abandoned_done();
        }
        self.timetable.finished(done.key, Instant::now());
        if log::log_enabled!(Level::Debug) {
            let (title, took_ms) = (self.title(done.key), done.took.as_millis());
            match &done.outcome {
                Outcome::Passed => log::debug!("{title}: passed in {took_ms} ms"),
                Outcome::Failed(why) => log::debug!("{title}: failed in {took_ms} ms: {why}"),
                Outcome::NotRun(why) => log::debug!("{title}: not run: {why}"),
            }
        }
        self.warn_late(done.key, Some(done.queued));
        match done.outcome {
            Outcome::Passed => self.take_in(done.key, Ok(()), done.took),
            Outcome::Failed(why) => self.take_in(done.key, Err(&why.to_string()), done.took),
            Outcome::NotRun(why) => {
                self.record_not_run(done.key, &why.to_string(), done.took);
                if let Some(left_out) = NOT_RUN.admit(self.clock.now()) {
                    log::error!(
                        "{} could not be run by this host: {why}; that says nothing about the \
                         target{left_out}",
                        self.title(done.key)
                    );
                }
            }
        }
    }

    /// Takes in what was found out about a target, and has what follows take effect.
    /// The board stays claimed until the change is told: a configuration that comes into force
    /// meanwhile would be told the wrong way round.
    fn take_in(&mut self, key: TargetKey, result: Result<(), &str>, took: Duration) {
        let shared = Arc::clone(&self.board);
        let claim = shared.claim();
        let mut board = claim.board();
        let conclusion = match result {
            Ok(()) => Conclusion::Passed,
            Err(_) => Conclusion::Failed,
        };
        board.record(key, self.past(conclusion, took), result.err());
        let Some(turn) = board.note(key, result) else {
            return;
        };
        match (turn.observation, &self.seat) {
            (None, _) => {}
            (Some(observation), None) => board.apply(Verdict::alone(observation)),
            // What follows is not for this node to say.
            (Some(_), Some(seat)) => seat.ring(),
        }
        drop(board);
        self.is_unsaved = true;
        let level = match turn.state {
            State::Failing => Level::Warn,
            State::Passing => Level::Info,
        };
        (self.on_status)(turn.group, &turn.because, level);
    }

    fn record_not_run(&self, key: TargetKey, why: &str, took: Duration) {
        let check = self.past(Conclusion::NotRun, took);
        self.board().record(key, check, Some(why));
    }

    /// A check that has just ended.
    fn past(&self, conclusion: Conclusion, took: Duration) -> PastCheck {
        PastCheck {
            conclusion,
            took,
            at: self.clock.now(),
        }
    }

    /// Real traffic could not connect to a target: its next check comes at once.
    fn hurry(&mut self, failed: Arc<TargetState>) {
        let keys = self.board().keys_serving(failed.group, &failed.configured);
        let now = Instant::now();
        for &key in &keys {
            self.timetable.hurry(key, now);
            self.reported.push((key, Arc::clone(&failed)));
        }
        if keys.is_empty() {
            // No check of the group: nothing to be told until there is one.
            self.reported.push((TargetKey::NONE, failed));
        }
    }

    fn warn_late(&self, key: TargetKey, queued: Option<Duration>) {
        let board = self.board();
        let Some((_, definition, _)) = board.target(key) else {
            return;
        };
        let interval = definition.interval;
        drop(board);
        let late = queued.unwrap_or(interval);
        if late >= interval / LATE_PART
            && late >= MIN_LATE
            && let Some(left_out) = LATE.admit(self.clock.now())
        {
            log::warn!(
                "{} comes {:.2} s late: {} checks are under way, the bound on threads is {}{left_out}",
                self.title(key),
                late.as_secs_f64(),
                self.pool.under_way(),
                self.pool.max_threads()
            );
        }
    }

    fn title(&self, key: TargetKey) -> String {
        let board = self.board();
        match board.target(key) {
            Some((group, definition, target)) => {
                format!("group {group}, {}", target.title(definition))
            }
            None => "a health check that is no more".to_owned(),
        }
    }
}

/// Why a target cannot be checked now.
enum Absent {
    Unresolved,
    OwnListener,
}

/// No check is called late for less: that is the machine's, not the pool's.
const MIN_LATE: Duration = Duration::from_millis(50);
