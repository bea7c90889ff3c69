//! States of checks kept across restarts.
//!
//! A text file, small enough to be written whole at every change:
//!
//! ```text
//! tcpffee health checks 1
//! {"group":1,"check":"53a1b2c3d4e5f607","target":"192.0.2.1:80","state":"failing","run":2}
//! crc32 7f3a09c1
//! ```
//!
//! The number in the first line is the version of the format; the last line is the checksum of
//! all bytes before it. Nothing in it depends on any clock.

mod codec; // the text
mod saver; // the thread that writes it

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{GroupId, TargetAddr};
use crate::state_file::set_aside;

use super::definition::CheckId;
use super::streak::State;

use codec::Unusable;

pub use saver::{SaveError, Saver};

/// Largest file that is read; far more than any configuration can fill.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// What is kept of one check of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// The group.
    pub group: GroupId,
    /// The check.
    pub check: CheckId,
    /// Where the check goes, as configured.
    pub target: TargetAddr,
    /// What held.
    pub state: State,
    /// Results in a row that spoke against it.
    pub run: u32,
}

/// Reads what an earlier process saved. A file that cannot be used is set aside with an error in
/// the log, and then, as without a file, all checks begin anew: the start never fails for it.
pub fn load(path: &Path) -> Vec<SavedState> {
    let why = match read(path) {
        Ok(states) => return states,
        Err(Unusable::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
            log::debug!("no states of health checks at {}", path.display());
            return Vec::new();
        }
        Err(why) => why,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_secs = now.unwrap_or_default().as_secs();
    let file = path.display();
    match set_aside(path, now_secs) {
        Ok(aside) => log::error!(
            "the health checks' file {file} cannot be used: {why}; set aside as {}, all checks \
             begin anew",
            aside.display()
        ),
        Err(error) => log::error!(
            "the health checks' file {file} cannot be used: {why}; nor can it be set aside \
             ({error}); all checks begin anew"
        ),
    }
    Vec::new()
}

fn read(path: &Path) -> Result<Vec<SavedState>, Unusable> {
    // Opening a FIFO would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(Unusable::NoFile);
    }
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Unusable::TooLarge);
    }
    codec::decode(&bytes)
}
