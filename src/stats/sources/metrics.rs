//! `/metrics`: the figures of this moment.

use std::time::SystemTime;

use super::{Sources, api, process};
use crate::stats::metrics::{Figures, Reloads, Rest};

impl Sources {
    /// All figures of this node.
    pub fn figures(&self) -> Figures {
        let rest = Rest {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            is_healthy: self.health().status == api::HealthStatus::Ok,
            started_unix_seconds: unix_seconds(self.started),
            reloads: self.reload_figures(),
            saves: self.parts.saves.counts(),
            process: process::figures(),
            raft: self.raft(),
        };
        let parts = &self.parts;
        Figures::gather(&parts.proxy, &parts.health, &parts.table, rest)
    }

    fn reload_figures(&self) -> Reloads {
        let reloads = self.reloads();
        Reloads {
            succeeded: reloads.counts.succeeded,
            refused: reloads.counts.refused,
            last_succeeded: reloads.counts.last_problems.is_empty(),
            last_success_unix_seconds: unix_seconds(reloads.loaded.unwrap_or(self.started)),
        }
    }
}

/// To the millisecond.
fn unix_seconds(at: SystemTime) -> f64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    // A clock that stands before 1970 is wrong anyway.
    since.map_or(0.0, |since| since.as_millis() as f64 / 1_000.0)
}
