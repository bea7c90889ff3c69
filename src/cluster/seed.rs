//! A lone node's table, from which a cluster begins.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tcpffee_raft::driver::Seed;

use crate::config::Config;
use crate::state_file;
use crate::stick::{RestoredEntry, replicated};

/// Puts a lone node's table where no later start takes it for news.
pub(super) fn set_aside(lone_path: &Path) {
    if !lone_path.exists() {
        return;
    }
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since_1970.map_or(0, |since| since.as_secs());
    match state_file::set_aside(lone_path, seconds) {
        Ok(aside) => log::info!(
            "the table of the time when this node ran alone is kept in {}",
            aside.display()
        ),
        Err(error) => log::error!(
            "cannot set {} aside, which is of the time when this node ran alone: {error}",
            lone_path.display()
        ),
    }
}

/// The seed of a cluster, where there is one.
pub(super) fn of(lone: Vec<RestoredEntry>, config: &Config) -> Option<Seed> {
    if lone.is_empty() {
        return None;
    }
    let entries = lone.len() as u64;
    let keys = lone.into_iter().map(|entry| (entry.key, entry.group));
    Some(Seed {
        entries,
        state: replicated::seed(keys, super::milliseconds(config.expiration)),
    })
}
