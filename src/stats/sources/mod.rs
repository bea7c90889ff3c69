//! What answers are made of: one function for each answer, the same for HTTP, the command line and
//! metrics. They only read, and go on to work while the process stops.

mod agreed; // what the cluster has agreed on
mod checks; // health checks
mod draining; // when a Draining group will have drained
mod groups; // server groups
mod health; // whether this node may get traffic
mod informant; // the same for the control socket
mod metrics; // what Prometheus gets
mod peers; // the nodes of the cluster
mod process; // what the kernel knows of the process
mod raft; // how the nodes of the cluster stand
mod recently; // what happened in the last minute
mod serving; // what keeps a node of a cluster from serving
mod sticks; // the stick table

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::api;
use crate::clock::Clock;
use crate::cluster::ObservedCluster;
use crate::config::{self, KeyType};
use crate::groups::Status;
use crate::history::{Happening, History, Kind};
use crate::proxy::{self, End};
use crate::stick::{Book, save};
use draining::LastSticks;
use recently::{Happened, Recently};

pub use sticks::StickQuery;

/// Where numbers come from.
pub struct Parts {
    /// The process's clock.
    pub clock: Clock,
    /// What makes a key.
    pub key_type: KeyType,
    /// Where the configuration is read from; `None`: it is built in.
    pub config_path: Option<PathBuf>,
    /// The proxy.
    pub proxy: proxy::View,
    /// The health checks.
    pub health: crate::health::View,
    /// The stick table.
    pub table: Book,
    /// A lone node's saves of it.
    pub saves: Option<save::Watch>,
    /// What happened lately.
    pub history: Arc<History>,
    /// The cluster; none for a lone node.
    pub cluster: Option<ObservedCluster>,
}

/// Makes every answer.
pub struct Sources {
    parts: Parts,
    started: SystemTime,
    started_at: Instant,
    reloads: Mutex<Reloads>,
    recently: Mutex<Recently>,
    last_sticks: Mutex<LastSticks>,
}

/// Attempts to put another configuration in force.
#[derive(Default)]
struct Reloads {
    counts: api::Reloads,
    /// When the configuration in force came into force.
    loaded: Option<SystemTime>,
    /// When one was last put in force, changed or not.
    last_success: Option<SystemTime>,
}

impl Reloads {
    /// Whether the last one was; a refusal has its reasons.
    fn last_was_refused(&self) -> bool {
        !self.counts.last_problems.is_empty()
    }
}

impl Sources {
    /// Sources of a process that starts now.
    pub fn new(parts: Parts) -> Sources {
        Sources {
            parts,
            started: SystemTime::now(),
            started_at: Instant::now(),
            reloads: Mutex::default(),
            recently: Mutex::default(),
            last_sticks: Mutex::default(),
        }
    }

    /// A configuration was read again: what changed, or what spoke against it.
    pub fn note_reload(&self, outcome: Result<&[String], &[String]>) {
        let now = SystemTime::now();
        let mut reloads = self.reloads();
        reloads.counts.last = Some(moment(now));
        match outcome {
            Ok(changes) => {
                reloads.counts.succeeded += 1;
                reloads.last_success = Some(now);
                reloads.counts.last_problems.clear();
                if !changes.is_empty() {
                    reloads.loaded = Some(now);
                }
            }
            Err(problems) => {
                reloads.counts.refused += 1;
                reloads.counts.last_problems = problems.to_vec();
            }
        }
    }

    /// To be called once a second: notes what is remembered for a minute.
    pub fn tick(&self) {
        let proxy = &self.parts.proxy;
        let count = |what| match what {
            Happened::AcceptPause => proxy.accept_pauses(),
            Happened::LinesLost => crate::logging::lines_lost(),
            Happened::NoPort => proxy.ended(End::NoPort),
            Happened::Lack => proxy.ended(End::LocalError),
            Happened::NoPlace => proxy.ended(End::GroupFull) + proxy.ended(End::QueueFull),
        };
        self.recently().note(count, Instant::now());
    }

    /// `/api/v1/`
    pub fn overview(&self) -> api::Overview {
        let generation = self.parts.proxy.generation();
        api::Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self
                .parts
                .cluster
                .as_ref()
                .map(|cluster| cluster.id.clone()),
            key_type: match self.parts.key_type {
                KeyType::Ip => "IP",
                KeyType::IpWithFirstMessageSlice { .. } => "IP_WITH_FIRST_MESSAGE_SLICE",
            }
            .to_owned(),
            started: moment(self.started),
            uptime_seconds: seconds(self.started_at.elapsed()),
            generation: generation.number,
            totals: self.totals(&generation),
            sticks: self.stick_counts(),
            reloads: self.reloads().counts.clone(),
            saves: self.saves(),
            process: process::figures(),
            links: links(),
        }
    }

    fn totals(&self, generation: &proxy::Generation) -> api::Totals {
        let proxy = &self.parts.proxy;
        let totals = proxy.totals();
        let ended = End::ALL.into_iter().zip(proxy.ends());
        let groups = || generation.groups.iter();
        api::Totals {
            connections: proxy.connections(),
            max_connections: proxy.max_connections(),
            accepted: totals.accepted,
            ended: ended.map(|(end, count)| (end.to_string(), count)).collect(),
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            accept_pauses: totals.accept_pauses,
            slice_timeouts: totals.slice_timeouts,
            connect_failures: totals.connect_failures,
            groups: groups().count() as u64,
            groups_up: groups()
                .filter(|group| group.status() == Status::Up)
                .count() as u64,
        }
    }

    fn stick_counts(&self) -> api::Sticks {
        let (counts, settings) = (self.parts.table.counts(), self.parts.table.settings());
        api::Sticks {
            entries: counts.entries,
            max_entries: settings.max_entries as u64,
            expiration_seconds: settings.expiration.as_secs_f64(),
            assignments: counts.assignments,
            hits: counts.hits,
            reassignments: counts.reassignments,
            moves: counts.moves,
            expiries: counts.expiries,
            evictions: counts.evictions,
            refusals: counts.refusals,
        }
    }

    fn saves(&self) -> api::Saves {
        let saves = self.parts.saves.as_ref();
        let counts = saves.map(save::Watch::counts).unwrap_or_default();
        api::Saves {
            succeeded: counts.saves,
            failed: counts.save_failures,
            last_error: saves.and_then(save::Watch::last_error),
        }
    }

    /// `/api/v1/config`
    pub fn configuration(&self) -> api::Configuration {
        let generation = self.parts.proxy.generation();
        let config = &generation.config;
        let path = self.parts.config_path.as_ref();
        let settings = config::shown_settings(config).into_iter();
        api::Configuration {
            generation: generation.number,
            loaded: moment(self.reloads().loaded.unwrap_or(self.started)),
            path: path.map(|path| path.display().to_string()),
            ports: config::show_ports(config.ports.iter().copied()),
            settings: settings
                .map(|(key, value)| api::Setting { key, value })
                .collect(),
        }
    }

    /// `/api/v1/events`
    pub fn events(&self, limit: usize, before: Option<u64>) -> api::Events {
        let history = &self.parts.history;
        let newest = history.newest(limit, before).into_iter();
        api::Events {
            events: newest.map(event).collect(),
            dropped: history.dropped(),
        }
    }

    fn reloads(&self) -> MutexGuard<'_, Reloads> {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recently(&self) -> MutexGuard<'_, Recently> {
        self.recently.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

fn links() -> BTreeMap<String, String> {
    let links = [
        ("dashboard", "/"),
        ("explorer", "/ui/v1/"),
        ("specification", "/spec/v1/"),
        ("metrics", "/metrics"),
        ("groups", "/api/v1/groups"),
        ("stick_table", "/api/v1/stick_table"),
        ("healthchecks", "/api/v1/healthchecks"),
        ("raft", "/api/v1/raft"),
        ("peers", "/api/v1/peers"),
        ("config", "/api/v1/config"),
        ("events", "/api/v1/events"),
        ("health", "/api/v1/health"),
    ];
    let owned = |(name, path): (&str, &str)| (name.to_owned(), path.to_owned());
    links.into_iter().map(owned).collect()
}

fn event(happening: Happening) -> api::Event {
    api::Event {
        number: happening.number,
        time: moment(happening.at),
        kind: match happening.kind {
            Kind::Status => api::EventKind::Status,
            Kind::Reload => api::EventKind::Reload,
            Kind::Operator => api::EventKind::Operator,
            Kind::Process => api::EventKind::Process,
            Kind::Cluster => api::EventKind::Cluster,
        },
        is_warning: happening.is_warning,
        text: happening.text,
    }
}

/// A moment as RFC 3339 has it, in UTC, to the millisecond.
fn moment(at: SystemTime) -> String {
    let moment = OffsetDateTime::from(at);
    let whole = moment.replace_millisecond(moment.millisecond());
    let whole = whole.expect("a millisecond of a time is one of another");
    whole.format(&Rfc3339).unwrap_or_default()
}

/// Seconds to the millisecond, so that answers show no noise of binary fractions.
fn seconds(duration: Duration) -> f64 {
    u32::try_from(duration.as_millis()).map_or_else(
        |_| duration.as_secs_f64(),
        |milliseconds| f64::from(milliseconds) / 1_000.0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_utc_to_the_millisecond() {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_772_366_400, 123_456_789);
        assert_eq!(moment(at), "2026-03-01T12:00:00.123Z");
        assert!((seconds(Duration::from_micros(1_234_567)) - 1.234).abs() < f64::EPSILON);
    }
}
