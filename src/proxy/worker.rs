//! One worker: an event loop over its own listeners and sessions.
//!
//! A turn of the loop: wait for readiness (not at all while somebody is on the ready list), handle
//! the batch of events, take orders and answers from other threads, give everybody on the ready
//! list one turn, fire timers, and only then let emptied slots be used again.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use mio::event::Event;
use mio::{Events, Poll, Waker};

use crate::clock::Millis;
use crate::stick::{Route, Ticket};
use crate::watchdog::Pulse;

use super::End;
use super::acceptor::Acceptor;
use super::arena::{Arena, SessionId, Subject};
use super::counters::Counters;
use super::generation::LocalGeneration;
use super::pipe::PipePool;
use super::relay::BUFFER_BYTES;
use super::shared::Shared;
use super::traffic::WorkerCells;
use super::wheel::Wheel;

/// Events taken from the kernel at once.
const BATCH: usize = 1024;
/// Bytes that one session may move in one turn, both directions together: at least the first
/// number, at most the second, so that all who are ready move about [`ROUND_BYTES`] before it is
/// anybody's turn again. Few heavy flows then move in large pieces, which cost a third less CPU
/// time per byte (fewer wake-ups of the receiver), and many wait no longer for each other.
const TURN_BYTES: (usize, usize) = (256 * 1024, 1024 * 1024);
/// See [`TURN_BYTES`]; about 1.5 ms of work.
const ROUND_BYTES: usize = 4 * 1024 * 1024;
/// Orders that may wait for one worker.
const MAX_ORDERS: usize = 64;

/// What the proxy's handle tells a worker.
#[derive(Debug)]
pub enum Order {
    /// Accept from these listening sockets.
    Adopt(Vec<(SocketAddr, OwnedFd)>),
    /// End the listeners of these addresses.
    EndListeners(Vec<SocketAddr>),
    /// A generation was published: bring listeners and open connections in line with it.
    NewGeneration,
    /// Reset every connection, for this reason.
    CutAll(End),
    /// End the thread.
    Quit,
}

/// The way to a worker from other threads.
#[derive(Clone)]
pub struct WorkerHandle {
    orders: Sender<Order>,
    answers: Arc<Mutex<Vec<(Ticket, Route)>>>,
    statuses_changed: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl WorkerHandle {
    /// Gives an order; waits while too many are pending.
    pub fn order(&self, order: Order) {
        // A worker that is gone has taken the process with it, or was told to quit.
        let _ = self.orders.send(order);
        self.wake();
    }

    /// Completes a ticket of this worker.
    pub fn complete(&self, ticket: Ticket, route: Route) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push((ticket, route));
        // Where others wait already, the worker is on its way.
        let is_first = answers.len() == 1;
        drop(answers);
        if is_first {
            self.wake();
        }
    }

    /// Has the worker bring open connections in line with the groups' statuses; never waits.
    pub fn enforce_statuses(&self) {
        self.statuses_changed.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Its waker.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Has the worker's loop turn.
    pub fn wake(&self) {
        self.waker
            .wake()
            .expect("the worker's eventfd is open as long as the process");
    }
}

/// The receiving ends of a worker, before its thread starts.
pub struct WorkerSeat {
    poll: Poll,
    orders: Receiver<Order>,
    answers: Arc<Mutex<Vec<(Ticket, Route)>>>,
    statuses_changed: Arc<AtomicBool>,
}

/// Makes the two ends of a worker's connection to the other threads.
///
/// # Errors
/// No descriptor for epoll or its eventfd.
pub fn seat() -> io::Result<(WorkerHandle, WorkerSeat)> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), Subject::Waker.token())?);
    let (sender, orders) = crossbeam_channel::bounded(MAX_ORDERS);
    let answers = Arc::new(Mutex::new(Vec::new()));
    let statuses_changed = Arc::new(AtomicBool::new(false));
    let handle = WorkerHandle {
        orders: sender,
        answers: Arc::clone(&answers),
        statuses_changed: Arc::clone(&statuses_changed),
        waker,
    };
    Ok((
        handle,
        WorkerSeat {
            poll,
            orders,
            answers,
            statuses_changed,
        },
    ))
}

/// Who is owed another turn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ready {
    Session(SessionId),
    Listener(u32),
}

/// The state of one worker thread.
pub struct Worker {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) poll: Poll,
    pub(super) arena: Arena,
    pub(super) wheel: Wheel,
    pub(super) ready: VecDeque<Ready>,
    pub(super) acceptor: Acceptor,
    pub(super) buffer: Box<[u8]>,
    pub(super) pipes: PipePool,
    pub(super) generation: Rc<LocalGeneration>,
    /// Where it counts what ports and groups have to do.
    pub(super) cells: WorkerCells,
    /// What a session may move in this turn.
    pub(super) turn_bytes: usize,
    /// The time of this turn.
    pub(super) now: Millis,
    /// Sessions that wait for a place with their group, by when they came, in numbers.
    pub(super) queued: HashMap<SessionId, u64>,
    /// The number of the last of them.
    pub(super) queued_so_far: u64,
    /// Whose turn it is among the source addresses of `bind_source`.
    pub(super) source_turn: usize,
    /// When connections of Draining groups are to be looked at next.
    pub(super) next_drain_check: Option<Millis>,
    /// When it is looked next whether those who wait for a place find one elsewhere.
    pub(super) next_look_for_room: Option<Millis>,
    orders: Receiver<Order>,
    answers: Arc<Mutex<Vec<(Ticket, Route)>>>,
    statuses_changed: Arc<AtomicBool>,
    quits: bool,
}

impl Worker {
    /// A worker in its seat.
    pub fn new(index: usize, seat: WorkerSeat, shared: Arc<Shared>, max_pipes: usize) -> Worker {
        let now = shared.clock.now();
        Worker {
            index,
            poll: seat.poll,
            arena: Arena::default(),
            wheel: Wheel::new(now),
            ready: VecDeque::new(),
            acceptor: Acceptor::default(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            pipes: PipePool::new(max_pipes),
            generation: Rc::new(LocalGeneration(shared.generation.load_full())),
            cells: WorkerCells::new(index),
            turn_bytes: TURN_BYTES.0,
            now,
            queued: HashMap::new(),
            queued_so_far: 0,
            source_turn: index,
            next_drain_check: None,
            next_look_for_room: None,
            orders: seat.orders,
            answers: seat.answers,
            statuses_changed: seat.statuses_changed,
            quits: false,
            shared,
        }
    }

    /// Runs until told to quit; with each wake-up the pulse beats.
    pub fn run(mut self, pulse: &Pulse) {
        let mut events = Events::with_capacity(BATCH);
        let mut due = Vec::new();
        while !self.quits {
            self.wait(&mut events);
            self.now = self.shared.clock.now();
            let waiting = events.iter().count() + self.ready.len();
            self.turn_bytes = (ROUND_BYTES / waiting.max(1)).clamp(TURN_BYTES.0, TURN_BYTES.1);
            let mut is_woken = false;
            for event in &events {
                match Subject::of(event.token()) {
                    Subject::Client(id) => self.client_event(id, event),
                    Subject::Target(id) => self.target_event(id, event),
                    Subject::Listener(index) => self.listener_event(index),
                    Subject::Waker => is_woken = true,
                }
            }
            if is_woken {
                pulse.beat();
                self.take_answers();
                self.take_places();
                self.take_orders();
                self.take_statuses();
                self.resume_accepting();
            }
            self.serve_ready();
            self.wheel.expire(&mut self.arena, self.now, &mut due);
            for slot in due.drain(..) {
                if let Some(id) = self.arena.id_at(slot) {
                    self.timer(id);
                }
            }
            self.tend_listeners();
            self.check_draining();
            self.look_for_room();
            self.arena.recycle();
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters[self.index]
    }

    fn wait(&mut self, events: &mut Events) {
        let timeout = if self.ready.is_empty() {
            self.time_to_next()
        } else {
            Some(Duration::ZERO)
        };
        match self.poll.poll(events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("waiting for events: {error}"),
        }
    }

    fn time_to_next(&self) -> Option<Duration> {
        let now = self.shared.clock.now();
        let moments = [
            self.acceptor.next_moment(),
            self.next_drain_check,
            self.next_look_for_room,
        ];
        let others = moments
            .into_iter()
            .flatten()
            .min()
            .map(|moment| moment.since(now));
        [self.wheel.next_wakeup(now), others]
            .into_iter()
            .flatten()
            .min()
    }

    fn client_event(&mut self, id: SessionId, event: &Event) {
        let Some(session) = self.arena.get_mut(id) else {
            return;
        };
        session.client.note(event);
        self.turn(id);
    }

    fn target_event(&mut self, id: SessionId, event: &Event) {
        let Some(session) = self.arena.get_mut(id) else {
            return;
        };
        let Some(target) = &mut session.target else {
            return;
        };
        target.note(event);
        self.target_turn(id);
    }

    /// Gives everybody on the list one turn; who is not done joins it again, at the end.
    fn serve_ready(&mut self) {
        for _ in 0..self.ready.len() {
            match self.ready.pop_front() {
                Some(Ready::Session(id)) => {
                    if let Some(session) = self.arena.get_mut(id) {
                        session.is_queued = false;
                        self.turn(id);
                    }
                }
                Some(Ready::Listener(index)) => self.queued_listener_turn(index),
                None => return,
            }
        }
    }

    pub(super) fn queue(&mut self, id: SessionId) {
        if let Some(session) = self.arena.get_mut(id)
            && !std::mem::replace(&mut session.is_queued, true)
        {
            self.ready.push_back(Ready::Session(id));
        }
    }

    fn take_answers(&mut self) {
        let answers =
            std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        for (ticket, route) in answers {
            self.answered(SessionId::from_u64(ticket.token), route);
        }
    }

    fn take_statuses(&mut self) {
        if self.statuses_changed.swap(false, Ordering::SeqCst) {
            self.follow_statuses();
        }
    }

    fn take_orders(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Adopt(listeners) => self.adopt(listeners),
                Order::EndListeners(addresses) => self.end_listeners(&addresses),
                Order::NewGeneration => self.follow_generation(),
                Order::CutAll(end) => {
                    for id in self.arena.ids() {
                        self.end(id, end);
                    }
                }
                Order::Quit => self.quits = true,
            }
        }
    }
}
