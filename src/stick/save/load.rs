//! Reading back what an earlier process left.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{error, info};

use crate::config::GroupId;
use crate::state_file::set_aside;
use crate::stick::{Key, Remaining, RestoredEntry};

use super::KeyShape;
use super::codec::{Header, Kind, SavedEntry};
use super::file::{EntryFile, Unusable};
use super::paths::Paths;

/// What was found.
#[derive(Debug, Default)]
pub struct Restored {
    /// For [`Table::restore`](crate::stick::Table::restore).
    pub entries: Vec<RestoredEntry>,
    /// The last process ended in order, or there was none: entries have what they had left, less the downtime.
    /// Otherwise each has a full expiration.
    pub clean: bool,
    /// What was noteworthy, as it was logged.
    pub notes: Vec<String>,
}

/// Reads the save of `path` and the journals that apply to it, at the wall clock's `now`.
///
/// A file that is damaged, foreign, of another version or of keys of another shape is set aside
/// with an error in the log; what the other files hold is used.
///
/// # Errors
/// A file that cannot be read may be a sound one: nothing is touched then.
pub fn load(path: &Path, shape: &KeyShape, now: SystemTime) -> Result<Restored, LoadError> {
    let mut loading = Loading {
        paths: Paths::new(path),
        shape: *shape,
        now_ms: unix_ms(now),
        notes: Vec::new(),
        in_trouble: false,
        unreadable: None,
    };
    let save = loading.read_save();
    let first_journal = save.as_ref().map_or(0, |(header, _)| header.sequence);
    let journals = loading.journals_from(first_journal);
    let (entries, clean) = match save {
        Some((header, saved)) if header.clean && journals.is_empty() => {
            (loading.after_clean_stop(&header, saved), true)
        }
        save => {
            let saved = save.map_or_else(Vec::new, |(_, saved)| saved);
            let clean = saved.is_empty() && journals.is_empty() && !loading.in_trouble;
            (loading.after_unclean_end(saved, &journals), clean)
        }
    };
    match loading.unreadable {
        Some(error) => Err(error),
        None => Ok(Restored {
            entries,
            clean,
            notes: loading.notes,
        }),
    }
}

/// A file of the stick table is there and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read {} of the stick table: {source}; make it readable for this user, or move it away \
     to start without the sticks in it",
    path.display()
)]
pub struct LoadError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

struct Loading {
    paths: Paths,
    shape: KeyShape,
    now_ms: u64,
    notes: Vec<String>,
    /// Something there could not be used.
    in_trouble: bool,
    /// The first file that could not be read.
    unreadable: Option<LoadError>,
}

impl Loading {
    fn read_save(&mut self) -> Option<(Header, Vec<SavedEntry>)> {
        let path = self.paths.save().to_owned();
        let mut entries = Vec::new();
        let read = EntryFile::open(&path, Kind::Save, self.shape).and_then(|mut file| {
            file.read_save(|entry| entries.push(entry))?;
            Ok(file.header())
        });
        match read {
            Ok(header) => Some((header, entries)),
            Err(why) => {
                self.set_aside(&path, why);
                None
            }
        }
    }

    /// The numbers of the journals that apply.
    fn journals_from(&mut self, first: u64) -> Vec<u64> {
        match self.paths.journals() {
            Ok(mut journals) => {
                journals.retain(|&number| number >= first);
                journals
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                let path = self.paths.directory().to_owned();
                self.unreadable.get_or_insert(LoadError { path, source });
                Vec::new()
            }
        }
    }

    /// What the entries had left, less the time that passed since; nothing where it is used up.
    fn after_clean_stop(&mut self, header: &Header, saved: Vec<SavedEntry>) -> Vec<RestoredEntry> {
        // A wall clock that went back says nothing about how long it was: nothing is deducted.
        let downtime_ms = self.now_ms.saturating_sub(header.wall_ms);
        let found = saved.len();
        let alive = saved.into_iter().filter_map(|entry| {
            let left_ms = entry
                .left_ms
                .checked_sub(downtime_ms)
                .filter(|&left| left > 0)?;
            Some(RestoredEntry {
                key: entry.key,
                group: entry.group,
                remaining: Remaining::Left(Duration::from_millis(left_ms)),
            })
        });
        let entries: Vec<RestoredEntry> = alive.collect();
        self.note(format!(
            "found {found} sticks in {}, saved in order {:.1} s ago; {} have not expired since",
            self.paths.save().display(),
            downtime_ms as f64 / 1000.0,
            entries.len()
        ));
        entries
    }

    /// The save with the journals on top, each key with a full expiration.
    fn after_unclean_end(
        &mut self,
        saved: Vec<SavedEntry>,
        journals: &[u64],
    ) -> Vec<RestoredEntry> {
        let in_save = saved.len();
        let mut latest: HashMap<Key, GroupId> = saved
            .into_iter()
            .map(|entry| (entry.key, entry.group))
            .collect();
        let mut records = 0u64;
        for &number in journals {
            records += self.read_journal(number, &mut latest);
        }
        if in_save > 0 || !journals.is_empty() {
            self.note(format!(
                "found {} sticks in {}, {in_save} in the save and {records} in journals; the last \
                 process ended unexpectedly, so each gets a full expiration",
                latest.len(),
                self.paths.save().display(),
            ));
        }
        latest
            .into_iter()
            .map(|(key, group)| RestoredEntry {
                key,
                group,
                remaining: Remaining::Full,
            })
            .collect()
    }

    /// Applies one journal and returns the number of its records.
    fn read_journal(&mut self, number: u64, latest: &mut HashMap<Key, GroupId>) -> u64 {
        let path = self.paths.journal(number);
        let mut records = 0;
        let read = EntryFile::open(&path, Kind::Journal, self.shape).and_then(|mut file| {
            file.read_journal(|entry| {
                latest.insert(entry.key, entry.group);
                records += 1;
            })
        });
        match read {
            Ok(()) => {}
            // The process ended while it was writing.
            Err(Unusable::CutOff(at)) => self.note(format!(
                "{} ends within a record, at byte {at}; what comes before it is used",
                path.display()
            )),
            Err(why) => self.set_aside(&path, why),
        }
        records
    }

    fn set_aside(&mut self, path: &Path, why: Unusable) {
        if let Unusable::Unreadable(source) = why {
            if source.kind() != io::ErrorKind::NotFound {
                let path = path.to_owned();
                self.unreadable.get_or_insert(LoadError { path, source });
            }
            return;
        }
        if self.unreadable.is_some() {
            return; // the start is refused: nothing is touched
        }
        let file = path.display();
        let note = match set_aside(path, self.now_ms / 1000) {
            Ok(aside) => format!(
                "the stick table's file {file} cannot be used: {why}; set aside as {}",
                aside.display()
            ),
            Err(error) => format!(
                "the stick table's file {file} cannot be used: {why}; nor can it be set aside \
                 ({error}), so it will be overwritten"
            ),
        };
        self.complain(note);
    }

    fn note(&mut self, note: String) {
        info!("{note}");
        self.notes.push(note);
    }

    fn complain(&mut self, note: String) {
        error!("{note}");
        self.in_trouble = true;
        self.notes.push(note);
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
