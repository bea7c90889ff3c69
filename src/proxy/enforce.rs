//! What a new generation, or time, does to connections that are open already.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::clock::Millis;
use crate::config::{GroupId, OnDisabled};
use crate::groups::{Group, Status};

use super::End;
use super::generation::LocalGeneration;
use super::worker::Worker;

impl Worker {
    /// Takes up the generation in force, if it is another one.
    pub(super) fn refresh_generation(&mut self) {
        let in_force = self.shared.generation.load();
        if in_force.number == self.generation.number {
            return;
        }
        let generation = Rc::new(LocalGeneration(Arc::clone(&in_force)));
        drop(in_force);
        self.generation = generation;
        if self.generation.config.max_connections_per_client.is_some() {
            self.count_clients_in();
        }
        self.count_places_in();
    }

    /// Brings listeners and open connections in line with a generation just published.
    pub(super) fn follow_generation(&mut self) {
        self.refresh_generation();
        self.update_listeners();
        self.enforce();
    }

    /// Brings open connections in line with what health checks have made of the groups.
    pub(super) fn follow_statuses(&mut self) {
        self.refresh_generation();
        self.enforce();
    }

    /// Looks at connections of Draining groups whose time may be over.
    pub(super) fn check_draining(&mut self) {
        if self.next_drain_check.is_some_and(|at| at <= self.now) {
            self.follow_statuses();
        }
    }

    /// Cuts the connections that the operator wants cut: those of groups that are Disabled with
    /// `on_disabled = "reset"`, and those that have stayed with a Draining group for its
    /// `drain_timeout`, counted from when it began to drain or from when they were connected,
    /// whichever is later.
    fn enforce(&mut self) {
        self.next_drain_check = None;
        self.reroute_queued();
        let generation = Rc::clone(&self.generation);
        let concerned: HashMap<GroupId, &Group> = generation
            .groups
            .iter()
            .filter(|group| match group.status() {
                Status::Up => false,
                Status::Draining => group.drain_timeout.is_some(),
                Status::Disabled => group.on_disabled == OnDisabled::Reset,
            })
            .map(|group| (group.id, group))
            .collect();
        if concerned.is_empty() {
            return;
        }
        for id in self.arena.ids() {
            let Some(session) = self.arena.get_mut(id) else {
                continue;
            };
            let Some(connected) = session.connected else {
                continue;
            };
            let Some(group) = session
                .answer
                .and_then(|answer| concerned.get(&answer.group))
            else {
                continue;
            };
            match due(group, connected) {
                Due::Now => self.end(id, End::GroupDisabled),
                Due::At(at) if at <= self.now => self.end(id, End::DrainTimeout),
                Due::At(at) => {
                    let next = self.next_drain_check.map_or(at, |next| next.min(at));
                    self.next_drain_check = Some(next);
                }
                Due::Never => {}
            }
        }
    }
}

enum Due {
    Now,
    At(Millis),
    Never,
}

/// When a connection of a group that [`Worker::enforce`] is concerned with is to be cut.
fn due(group: &Group, connected: Millis) -> Due {
    if group.status() == Status::Disabled {
        return Due::Now;
    }
    match (group.drain_timeout, group.counters.draining_since()) {
        (Some(timeout), Some(since)) => Due::At(since.max(connected) + timeout),
        _ => Due::Never,
    }
}
