//! `/metrics`: what Prometheus gets.

use std::time::SystemTime;

use super::{Sources, api, process};
use crate::stats::metrics::{Figures, Reloads, Rest};

impl Sources {
    /// All figures in Prometheus' text format.
    pub fn metrics(&self) -> String {
        let parts = &self.parts;
        let rest = Rest {
            now: parts.clock.now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            is_healthy: self.health().status == api::HealthStatus::Ok,
            started_unix_seconds: unix_seconds(self.started),
            reloads: self.reload_figures(),
            saves: parts
                .saves
                .as_ref()
                .map(|saves| saves.counts())
                .unwrap_or_default(),
            process: process::figures(),
            raft: self.raft(),
            commit_latency: parts.cluster.as_ref().map(|cluster| cluster.node.latency()),
        };
        Figures::gather(&parts.proxy, &parts.health, &parts.table, rest).render()
    }

    fn reload_figures(&self) -> Reloads {
        let reloads = self.reloads();
        Reloads {
            succeeded: reloads.counts.succeeded,
            refused: reloads.counts.refused,
            last_succeeded: !reloads.last_was_refused(),
            last_success_unix_seconds: unix_seconds(reloads.last_success.unwrap_or(self.started)),
        }
    }
}

fn unix_seconds(at: SystemTime) -> f64 {
    let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH);
    since_1970.unwrap_or_default().as_secs_f64()
}
