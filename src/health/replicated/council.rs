//! The node's side: a thread that has the log told what the node sees, and lets take effect what the
//! log says.

mod errand; // a proposal on its way

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::Level;
use tcpffee_raft::driver::{Handle, boot_time};
use tcpffee_raft::ids::{NodeId, Term};
use tcpffee_raft::lease::LeaseReader;

use crate::config::HealthCheck;
use crate::health::SharedOnStatus;
use crate::health::shared_board::SharedBoard;
use crate::health::streak::State;
use crate::watchdog::{Pulse, Pulses};

use super::agreed::{Agreed, CheckKey};
use super::command::Command;
use super::dissent::Dissent;
use super::heads;
use super::minutes::Minutes;
use super::speech;
use errand::Errand;

/// As often the leader counts heads, and everything is looked at though nothing rang.
const TICK: Duration = Duration::from_millis(500);
/// How long the log may take to take what this node sees, before that is looked at anew.
const SPEECH_PATIENCE: Duration = Duration::from_secs(5);
/// The same for who is alive, which is out of date sooner.
const HEADS_PATIENCE: Duration = Duration::from_secs(1);

/// A node's membership in the Raft group of the health checks, to be given to
/// [`Outside`](crate::health::Outside): with it verdicts are what the cluster has agreed.
#[derive(Clone)]
pub struct Council {
    minutes: Minutes,
    handle: Handle,
    node: NodeId,
    boot: u64,
}

/// What others see of the council.
pub(in crate::health) struct Seat {
    minutes: Minutes,
    node: NodeId,
    dissent: Mutex<Dissent>,
    /// What the board has of what was agreed; changed under the board's claim.
    in_force: ArcSwapOption<Agreed>,
}

/// The council at work. It ends when this is ended.
pub(in crate::health) struct Sitting {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// What the thread owns.
struct Clerk {
    seat: Arc<Seat>,
    handle: Handle,
    boot: u64,
    board: Arc<SharedBoard>,
    on_status: SharedOnStatus,
    /// Whether what this node's log amounts to is what was agreed, and not some time ago.
    lease: LeaseReader,
    /// What this node has to say.
    speech: Errand,
    /// As leader: who is alive.
    heads: Errand,
    /// Since when this node leads.
    leads: Option<(Term, Instant)>,
    heads_due: Instant,
}

impl Council {
    /// The council of a node: `handle` is its Raft group's, whose state machine is a
    /// [`machine`](super::machine()) of these minutes.
    pub fn new(minutes: Minutes, handle: Handle) -> Council {
        let status = handle.status();
        Council {
            minutes,
            handle,
            node: status.node,
            boot: status.incarnation.boot,
        }
    }

    /// Begins to speak and to listen.
    pub(in crate::health) fn sit(
        self,
        board: Arc<SharedBoard>,
        on_status: SharedOnStatus,
        pulses: &Pulses,
    ) -> io::Result<(Arc<Seat>, Sitting)> {
        let Council {
            minutes,
            handle,
            node,
            boot,
        } = self;
        let rung = minutes.rung();
        let seat = Arc::new(Seat {
            minutes,
            node,
            dissent: Mutex::default(),
            in_force: ArcSwapOption::empty(),
        });
        let now = Instant::now();
        let clerk = Clerk {
            seat: Arc::clone(&seat),
            lease: handle.lease(),
            handle,
            boot,
            board,
            on_status,
            speech: Errand::new(SPEECH_PATIENCE, now),
            heads: Errand::new(HEADS_PATIENCE, now),
            leads: None,
            heads_due: now,
        };
        let (stop, stopped) = bounded(0);
        let (pulse, bell) = pulses.register_bell("health-council");
        let thread = std::thread::Builder::new().name("health-council".to_owned());
        let thread = thread.spawn(move || clerk.run(&rung, &stopped, &pulse, &bell))?;
        Ok((seat, Sitting { stop, thread }))
    }
}

impl Sitting {
    /// Ends the thread; what it was about to say is not said.
    pub fn end(self) {
        drop(self.stop);
        // A thread that panicked has ended the process already.
        let _ = self.thread.join();
    }
}

impl Seat {
    /// What was agreed, as far as this node's log has it.
    pub fn agreed(&self) -> Arc<Agreed> {
        self.minutes.agreed()
    }

    /// What the board has of it; to be asked by who has claimed the board.
    pub fn in_force(&self) -> Option<Arc<Agreed>> {
        self.in_force.load_full()
    }

    /// This node sees something else now, or has other checks.
    pub fn ring(&self) {
        self.minutes.ring();
    }

    /// What there is to say about a check of which this node has long seen something else than what
    /// holds.
    pub fn dissent(&self, key: CheckKey, check: &HealthCheck, seen: State) -> Option<String> {
        let agreed = self.agreed();
        let now = Instant::now();
        self.lock().on(&agreed, self.node, (key, check), seen, now)
    }

    fn lock(&self) -> MutexGuard<'_, Dissent> {
        self.dissent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clerk {
    fn run(
        mut self,
        rung: &Receiver<()>,
        stopped: &Receiver<()>,
        pulse: &Pulse,
        bell: &Receiver<()>,
    ) {
        loop {
            pulse.beat();
            let (speech, heads) = (self.speech.answers(), self.heads.answers());
            select! {
                recv(stopped) -> _ => return,
                recv(rung) -> _ => {}
                recv(bell) -> _ => {}
                recv(speech) -> answer => if let Ok(answer) = answer {
                    self.speech.answered(answer, Instant::now());
                },
                recv(heads) -> answer => if let Ok(answer) = answer {
                    self.heads.answered(answer, Instant::now());
                },
                default(TICK) => {}
            }
            self.take_effect();
            self.speak();
            self.count_heads();
        }
    }

    /// Has what was agreed since the last time hold on the board, while the log here is up to date:
    /// a node that reads its log again, or catches up, does not pass through old verdicts. The board
    /// stays claimed until the changes are told, as with results of checks.
    fn take_effect(&self) {
        if self.lease.until(boot_time()).is_none() {
            return;
        }
        let agreed = self.seat.agreed();
        let in_force = self.seat.in_force();
        if in_force.is_some_and(|in_force| Arc::ptr_eq(&in_force, &agreed)) {
            return;
        }
        let claim = self.board.claim();
        let decisions = claim.board().follow(&agreed);
        for decision in decisions {
            let level = match decision.state {
                State::Failing => Level::Warn,
                State::Passing => Level::Info,
            };
            (self.on_status)(decision.group, &decision.because, level);
        }
        self.seat.in_force.store(Some(agreed));
    }

    /// Has the log told what it lacks of this node.
    fn speak(&mut self) {
        let now = Instant::now();
        let own: BTreeMap<CheckKey, State> = self.board.look().observations();
        let agreed = self.seat.agreed();
        self.seat.lock().note(&agreed, &own, now);
        if !self.speech.is_free(&agreed, now) {
            return;
        }
        if let Some(command) = speech::due(&agreed, self.seat.node, self.boot, &own) {
            self.speech.send(&self.handle, &command);
        }
    }

    /// As leader, has the log told who is alive.
    fn count_heads(&mut self) {
        let now = Instant::now();
        self.leads = match (self.seat.minutes.leads(), self.leads) {
            (None, _) => None,
            (Some(term), Some(known)) if known.0 == term => Some(known),
            (Some(term), _) => {
                self.heads_due = now;
                Some((term, now))
            }
        };
        let Some((_, since)) = self.leads else {
            return;
        };
        if now < self.heads_due {
            return;
        }
        let agreed = self.seat.agreed();
        if !self.heads.is_free(&agreed, now) {
            return;
        }
        self.heads_due = now + TICK;
        let status = self.handle.status();
        let silent_ms = status.members.iter();
        let silent_ms = silent_ms.map(|member| (member.id, member.silent_ms));
        let nodes = heads::alive(&agreed, self.seat.node, now - since, silent_ms);
        if nodes != agreed.alive {
            self.heads.send(&self.handle, &Command::Alive { nodes });
        }
    }
}

impl fmt::Debug for Council {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Council")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sitting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sitting").finish_non_exhaustive()
    }
}
