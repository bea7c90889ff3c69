//! The status of each group as last told: one line in the log for each change, and connections
//! brought in line with it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::Level;

use crate::config::GroupId;
use crate::groups::{Group, Status};
use crate::history::{History, Kind};

use super::generation::Generation;
use super::shared::Shared;
use super::worker::WorkerHandle;

/// The statuses of all groups as the log has them. A status changes by the configuration or by a
/// health check; both come here, so that each change is told once and in order.
pub struct Statuses {
    shared: Arc<Shared>,
    handles: Vec<WorkerHandle>,
    history: Arc<History>,
    told: Mutex<HashMap<GroupId, Status>>,
}

/// What the log knows these lines by, wherever they are written.
const TARGET: &str = "tcpffee::groups";
/// Why a group may have become Up again where no health check says so.
const CONFIGURED_UP: &str =
    "the configuration has neither drain nor disabled, and no check keeps it out";

impl Statuses {
    pub(super) fn new(
        shared: Arc<Shared>,
        handles: Vec<WorkerHandle>,
        history: Arc<History>,
    ) -> Statuses {
        Statuses {
            shared,
            handles,
            history,
            told: Mutex::default(),
        }
    }

    /// A health check has come to another state, for this `cause`: tells what became of the
    /// group's status, or, at `level`, that it stays. Where it is another one every worker applies
    /// `on_disabled` and `drain_timeout`; routes see it in any case. Never waits for a worker. Not
    /// to be called while a generation is being published: the health checks hold back until then.
    pub fn review(&self, id: GroupId, cause: &str, level: Level) {
        let generation = self.shared.generation.load_full();
        let Some(group) = generation.groups.get(id) else {
            return;
        };
        if self.tell(&mut self.told(), group, Some(cause), false) {
            self.enforce();
        } else {
            log::log!(target: TARGET, level, "{} stays {}: {cause}", group.title(), group.status());
        }
    }

    /// Has every worker bring its connections in line with the groups' statuses, and with what routes
    /// go by. Never waits for a worker.
    pub fn enforce(&self) {
        for handle in &self.handles {
            handle.enforce_statuses();
        }
    }

    /// Tells what a new generation changes; its workers are told by who publishes it.
    pub(super) fn review_all(&self, generation: &Generation) {
        let mut told = self.told();
        let is_start = told.is_empty();
        told.retain(|&id, _| generation.groups.get(id).is_some());
        for group in generation.groups.iter() {
            self.tell(&mut told, group, None, is_start);
        }
    }

    /// Logs a status that is another one than was told last; returns whether it is. A group that
    /// comes back starts slowly, as does a new one but at the start of the process (`is_start`).
    fn tell(
        &self,
        told: &mut HashMap<GroupId, Status>,
        group: &Group,
        cause: Option<&str>,
        is_start: bool,
    ) -> bool {
        let (status, reason) = (group.status(), group.reason());
        group.counters.note_status(status, self.shared.clock.now());
        let before = told.get(&group.id).copied();
        let has_come = before.map_or(!is_start, |before| before != Status::Up);
        if status == Status::Up && has_come {
            group.counters.note_return(self.shared.clock.now());
        }
        let title = group.title();
        let before = match told.entry(group.id) {
            Entry::Vacant(entry) => {
                entry.insert(status);
                if status != Status::Up {
                    self.say(Level::Warn, format!("{title} is {status}: {reason}"));
                }
                return status != Status::Up;
            }
            Entry::Occupied(mut entry) => entry.insert(status),
        };
        if before == status {
            return false;
        }
        let why = match (cause, reason.as_str()) {
            (Some(cause), "") => cause.to_owned(),
            (Some(cause), reason) if cause == reason => cause.to_owned(),
            (Some(cause), reason) => format!("{cause}; {reason}"),
            (None, "") => CONFIGURED_UP.to_owned(),
            (None, reason) => reason.to_owned(),
        };
        let level = match status > before {
            true => Level::Warn,
            false => Level::Info,
        };
        self.say(level, format!("{title}: {before} -> {status}: {why}"));
        true
    }

    /// Says what became of a group, in the log and in the history.
    fn say(&self, level: Level, text: String) {
        log::log!(target: TARGET, level, "{text}");
        self.history.note(Kind::Status, level == Level::Warn, text);
    }

    fn told(&self) -> MutexGuard<'_, HashMap<GroupId, Status>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Statuses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.told().iter()).finish()
    }
}
