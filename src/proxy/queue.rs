//! Places with a group: a session takes one before it connects, waits for one where there is none,
//! and gives it back when it is with the group no longer.
//!
//! A place that is given back may pass to a session of another worker. It lies in that worker's box
//! until its loop turns; should the session be gone by then, it is given back once more.

use std::cmp::Reverse;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, atomic};
use std::time::Duration;

use mio::Waker;

use crate::groups::{GroupCounters, Place, Status, Waiter};
use crate::stick::{AfterFailure, candidates};

use super::End;
use super::arena::SessionId;
use super::generation::Generation;
use super::opening::ask;
use super::session::Phase;
use super::shared::Shared;
use super::upstream::Upstream;
use super::worker::Worker;

/// How often those who wait with a new key look whether another group has room.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(100);

/// A place that has passed to a session of a worker.
type Passed = (u64, Arc<GroupCounters>);

/// Each worker's box of places that have passed to its sessions.
pub struct PlaceBoxes {
    boxes: Vec<(Mutex<Vec<Passed>>, Arc<Waker>)>,
}

impl PlaceBoxes {
    /// Empty ones, with each worker's waker.
    pub fn new(wakers: Vec<Arc<Waker>>) -> PlaceBoxes {
        let empty = |waker| (Mutex::default(), waker);
        PlaceBoxes {
            boxes: wakers.into_iter().map(empty).collect(),
        }
    }

    /// A place of a group is this waiter's now.
    pub fn pass(&self, waiter: Waiter, group: &Arc<GroupCounters>) {
        let (place_box, waker) = &self.boxes[waiter.worker];
        let mut passed = place_box.lock().unwrap_or_else(PoisonError::into_inner);
        passed.push((waiter.token, Arc::clone(group)));
        // Where others lie there already, the worker is on its way.
        let is_first = passed.len() == 1;
        drop(passed);
        if is_first {
            waker
                .wake()
                .expect("the worker's eventfd is open as long as the process");
        }
    }

    fn take(&self, worker: usize) -> Vec<Passed> {
        let passed = self.boxes[worker].0.lock();
        std::mem::take(&mut *passed.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    /// Puts the bounds that the groups of a generation have in force. Before it is published: a
    /// worker that takes it up counts in what it has, and after that whatever it connects needs a
    /// place; one that has not yet counts in later what needed none before.
    pub fn set_bounds(&self, generation: &Generation) {
        let bounded = generation.groups.iter();
        for group in bounded.filter(|group| group.max_connections.is_some()) {
            self.set_bound(&group.counters, group.max_connections);
        }
    }

    /// Lifts the bounds that groups of the generation `before` had and those of this one have not.
    /// After it is published: who waits for a group that is gone is to find that out.
    pub fn lift_bounds(&self, generation: &Generation, before: &Generation) {
        let is_bounded = |id| {
            let group = generation.groups.get(id);
            group.is_some_and(|group| group.max_connections.is_some())
        };
        for group in before.groups.iter().filter(|group| !is_bounded(group.id)) {
            self.set_bound(&group.counters, None);
        }
    }

    fn set_bound(&self, counters: &Arc<GroupCounters>, max: Option<u64>) {
        for waiter in counters.places.set_max(max) {
            self.places.pass(waiter, counters);
        }
    }
}

impl Worker {
    /// A place for a session with the group of its answer; false where it has to wait, or has ended.
    pub(super) fn take_place(&mut self, id: SessionId) -> bool {
        let waiter = self.waiter(id);
        let Some(session) = self.arena.get_mut(id) else {
            return false;
        };
        let answer = session.answer.expect("a place is taken for an answer");
        if session
            .place
            .as_ref()
            .is_some_and(|(group, _)| *group == answer.group)
        {
            return true;
        }
        // One that it had while it asked again; the answer is another group.
        self.release_place(id);
        let since = self.now;
        let generation = Rc::clone(&self.session(id).generation);
        let Some(group) = generation.groups.get(answer.group) else {
            return true; // the connect finds that out and says so
        };
        if group.transparent
            && group.max_connections.is_some()
            && self.waits_in_vain(id, &generation)
        {
            return false;
        }
        let session = self.session(id);
        match group.counters.places.ask(waiter) {
            Place::NotNeeded => true,
            Place::Taken => {
                session.place = Some((group.id, Arc::clone(&group.counters)));
                true
            }
            Place::Queued => {
                // However often it asks again, all its waits together are no longer.
                let whole = generation.config.queue_timeout;
                let deadline = since + whole.saturating_sub(session.queued);
                session.phase = Phase::Queued { since, deadline };
                self.note_queued(id);
                self.next_look_for_room.get_or_insert(since + LOOK_FOR_ROOM);
                if self.watch_client(id) {
                    self.wheel.arm(&mut self.arena, id.slot, deadline);
                }
                false
            }
            Place::QueueFull => {
                self.refuse(id, End::QueueFull);
                false
            }
        }
    }

    /// Ends a session, or sends it on, whose client its group can never see.
    fn waits_in_vain(&mut self, id: SessionId, generation: &Generation) -> bool {
        let Some(upstream) = Upstream::of(self.session(id), generation) else {
            return false; // the connect finds that out and says so
        };
        let addresses = upstream.target.addresses();
        if addresses.is_empty() || upstream.may_be_reached() {
            return false;
        }
        self.not_transparent(id, addresses);
        true
    }

    /// A session waits; of those who came in one millisecond it is known who came first.
    fn note_queued(&mut self, id: SessionId) {
        self.queued_so_far += 1;
        self.queued.insert(id, self.queued_so_far);
    }

    /// Gives back a session's place, or has it wait for one no longer.
    pub(super) fn release_place(&mut self, id: SessionId) {
        let waiter = self.waiter(id);
        let Some(session) = self.arena.get_mut(id) else {
            return;
        };
        if let Some((_, group)) = session.place.take() {
            return self.give_back(&group);
        }
        if !self.end_wait(id) {
            return;
        }
        let session = self.session(id);
        let group = session.answer.map(|answer| answer.group);
        if let Some(group) = group.and_then(|id| session.generation.groups.get(id)) {
            // One that has passed to it already is given back when it comes.
            group.counters.places.quit(waiter);
        }
    }

    /// A session waits for a place no longer; false where it did not.
    fn end_wait(&mut self, id: SessionId) -> bool {
        let now = self.now;
        let session = self.session(id);
        let Phase::Queued { since, .. } = session.phase else {
            return false;
        };
        session.queued += now.since(since);
        session.phase = Phase::Waiting {
            deadline: now,
            is_move: false,
        };
        self.queued.remove(&id);
        true
    }

    fn give_back(&self, group: &Arc<GroupCounters>) {
        if let Some(next) = group.places.give_back() {
            self.shared.places.pass(next, group);
        }
    }

    fn waiter(&self, id: SessionId) -> Waiter {
        Waiter {
            worker: self.index,
            token: id.to_u64(),
        }
    }

    /// Places have passed to sessions of this worker.
    pub(super) fn take_places(&mut self) {
        if self.shared.is_cutting.load(atomic::Ordering::SeqCst) {
            return;
        }
        for (token, group) in self.shared.places.take(self.index) {
            self.place_passed(SessionId::from_u64(token), group);
        }
    }

    fn place_passed(&mut self, id: SessionId, counters: Arc<GroupCounters>) {
        let waiter = self.waiter(id);
        let waits = self.arena.get_mut(id).filter(|session| {
            let of = session.answer.map(|answer| answer.group);
            let group = of.and_then(|id| session.generation.groups.get(id));
            matches!(session.phase, Phase::Queued { .. })
                && group.is_some_and(|group| Arc::ptr_eq(&group.counters, &counters))
        });
        let Some(session) = waits else {
            return self.give_back(&counters);
        };
        // It may have left the queue and joined it again while this was on its way.
        counters.places.quit(waiter);
        let answer = session.answer.expect("it waits for the answer's group");
        session.place = Some((answer.group, counters));
        let (port, last) = (session.port, Rc::clone(&session.generation));
        self.end_wait(id);
        // What was published while it waited holds for it too.
        let in_force = self.generation_for(port, last);
        let (groups, sticks) = (&in_force.groups, &self.shared.sticks);
        if groups.get(answer.group).is_none() || !sticks.still_holds(answer.stick, groups, self.now)
        {
            // The answer is older than its stick. Where the table gives the same group again the
            // place is used; and the old answer counts until then, or with nobody left the table
            // would forget what it has given.
            return self.route(id);
        }
        self.session(id).generation = in_force;
        self.start_connect(id);
    }

    /// `queue_timeout` has passed.
    pub(super) fn queued_too_long(&mut self, id: SessionId) {
        self.refuse(id, End::GroupFull);
    }

    /// Has those ask the table again whose group serves nobody any more while they wait for it; by
    /// what routes go by, or they would be sent back to the end of the same queue.
    pub(super) fn reroute_queued(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        let generation = Rc::clone(&self.generation);
        let mut queued: Vec<_> = self.queued.iter().map(|(&id, &n)| (n, id)).collect();
        queued.sort_unstable_by_key(|&(number, _)| number);
        for (_, id) in queued {
            if let Some(session) = self.arena.get_mut(id)
                && matches!(session.phase, Phase::Queued { .. })
                && let Some(answer) = session.answer
                && !self
                    .shared
                    .sticks
                    .is_served(answer.group, &generation.groups)
            {
                self.release_place(id);
                self.route(id);
            }
        }
    }

    /// Gives those who wait with a new key a group that has room by now: nothing ties them to the one
    /// that was full, as all were. Who has waited longest goes first.
    pub(super) fn look_for_room(&mut self) {
        if self.next_look_for_room.is_none_or(|at| at > self.now) {
            return;
        }
        self.next_look_for_room = (!self.queued.is_empty()).then(|| self.now + LOOK_FOR_ROOM);
        let generation = Rc::clone(&self.generation);
        let groups = generation.groups.iter();
        let groups = groups.filter(|group| group.status() == Status::Up);
        // No more than find room: in a cluster they have their places when the log has agreed.
        let mut free = groups
            .map(|group| group.counters.places.free())
            .fold(0, u64::saturating_add);
        if free == 0 || self.queued.is_empty() {
            return;
        }
        let mut waiting: Vec<(Reverse<Duration>, u64, SessionId)> = Vec::new();
        for (&id, &number) in &self.queued {
            if let Some(session) = self.arena.get_mut(id)
                && let Phase::Queued { since, .. } = session.phase
                && let Some(answer) = session.answer
                && self.shared.sticks.is_movable(answer)
            {
                let waited = session.queued + self.now.since(since);
                waiting.push((Reverse(waited), number, id));
            }
        }
        waiting.sort_unstable_by_key(|&(waited, number, _)| (waited, number));
        for (_, _, id) in waiting {
            if self.move_to_room(id) {
                free -= 1;
            }
            if free == 0 {
                return;
            }
        }
    }

    /// Has a session whose key is new leave the queue for a group with room; false: there is none.
    fn move_to_room(&mut self, id: SessionId) -> bool {
        let (worker, now) = (self.index as u32, self.now);
        let Some(session) = self.arena.get_mut(id) else {
            return false;
        };
        let Some(answer) = session.answer else {
            return false;
        };
        let mut passed_over = session.tried.clone();
        passed_over.push(answer.group);
        let (port, last) = (session.port, Rc::clone(&session.generation));
        // What was published while it waited holds for it too.
        let in_force = self.generation_for(port, last);
        let others = candidates(&in_force.groups, port, &passed_over);
        if !others.iter().any(|group| group.counters.places.has_room()) {
            return false;
        }
        self.release_place(id);
        let session = self
            .arena
            .get_mut(id)
            .expect("it has just been met in the arena");
        session.answer = None;
        session.generation = in_force;
        let asked = ask(session, id, worker, now);
        let sticks = &self.shared.sticks;
        match sticks.connect_failed(&asked, answer, &passed_over) {
            AfterFailure::Moved(answer) => {
                self.counters().moves.add(1);
                self.connect(id, answer);
            }
            AfterFailure::Wait(_) => self.await_answer(id, true),
            // Another connection of the key has been given its answer just now.
            AfterFailure::Reset => self.route(id),
        }
        true
    }

    /// Counts the connections that groups have had before they were bounded.
    pub(super) fn count_places_in(&mut self) {
        let generation = Rc::clone(&self.generation);
        let bounded = |id| {
            let group = generation.groups.get(id);
            group.filter(|group| group.max_connections.is_some())
        };
        let mut groups = generation.groups.iter();
        if !groups.any(|group| bounded(group.id).is_some()) {
            return;
        }
        for id in self.arena.ids() {
            // Who has no target yet either waits for a place, or will ask for one; but for those whose
            // target, a Unix socket, is tried again and again.
            if let Some(session) = self.arena.get_mut(id)
                && session.place.is_none()
                && (session.target.is_some() || matches!(session.phase, Phase::Connecting { .. }))
                && let Some(answer) = session.answer
                && let Some(group) = bounded(answer.group)
            {
                group.counters.places.count_in();
                session.place = Some((group.id, Arc::clone(&group.counters)));
            }
        }
    }
}
