//! The thread that sweeps the table and keeps its journal and its saves.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::clock::Clock;
use crate::state_file;
use crate::stick::Table;
use crate::watchdog::Pulses;

use super::KeyShape;
use super::keeping::Keeping;
use super::paths::Paths;
use super::saver::{self, Saver};

/// Keeps the table of a lone node on disk.
///
/// [`Keeper::stop`] ends it with a clean save. Dropping it ends it as a crash would: nothing more
/// is written, and the next start gives every entry a full expiration.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), StopError>>>,
}

/// What the keeper's thread and its owner both see.
#[derive(Debug)]
pub(super) struct Shared {
    pub phase: AtomicU8,
    pub save_interval_ms: AtomicU64,
    pub saves: AtomicU64,
    pub save_failures: AtomicU64,
    pub records: AtomicU64,
    pub journal_failures: AtomicU64,
    /// Why the last full save failed; nothing where it did not.
    pub last_error: Mutex<Option<String>>,
}

/// The thread's name.
pub(super) const NAME: &str = "stick-keeper";

/// [`Shared::phase`]: go on.
pub(super) const KEEP: u8 = 0;
/// [`Shared::phase`]: save and end.
pub(super) const STOP: u8 = 1;
/// [`Shared::phase`]: end as things are.
pub(super) const ABANDON: u8 = 2;

/// What a keeper did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeeperCounts {
    /// Full saves written.
    pub saves: u64,
    /// Full saves that failed.
    pub save_failures: u64,
    /// Journal records written.
    pub records: u64,
    /// Journals that could not be created or written.
    pub journal_failures: u64,
}

/// Why a keeper could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder is missing and cannot be made.
    #[error(
        "cannot make the folder {} for the stick table: {source}; make it, writable for this user",
        folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("cannot start the thread {name:?} that saves the stick table: {source}")]
    Thread {
        /// The thread's name.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why the last save failed. The last good save and its journals are still there: the next start
/// finds every stick, with a full expiration.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot save the stick table in {} at the end: {source}; what was saved and journalled \
     before is kept",
    path.display()
)]
pub struct StopError {
    /// The save path.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Keeper {
    /// Starts to keep `table` in `path`, whose lock the caller holds, with a first full save at
    /// once and one every `save_interval` in which something changed. The thread's loop is looked
    /// after by `pulses`.
    pub fn start(
        table: Arc<Table>,
        path: &Path,
        shape: KeyShape,
        save_interval: Duration,
        clock: Clock,
        pulses: &Pulses,
    ) -> Result<Keeper, StartError> {
        let paths = Paths::new(path);
        state_file::make_directory(path).map_err(|source| StartError::Folder {
            folder: paths.directory().to_owned(),
            source,
        })?;
        let shared = Arc::new(Shared {
            phase: AtomicU8::new(KEEP),
            save_interval_ms: AtomicU64::new(in_ms(save_interval)),
            saves: AtomicU64::new(0),
            save_failures: AtomicU64::new(0),
            records: AtomicU64::new(0),
            journal_failures: AtomicU64::new(0),
            last_error: Mutex::default(),
        });
        let no_thread = |name| move |source| StartError::Thread { name, source };
        let saver =
            Saver::start(Arc::clone(&table), paths.clone()).map_err(no_thread(saver::NAME))?;
        let keeping = Keeping::new(table, paths, shape, Arc::clone(&shared), clock, saver);
        let pulses = pulses.clone();
        let thread = Builder::new()
            .name(NAME.into())
            .spawn(move || keeping.run(&pulses))
            .map_err(no_thread(NAME))?;
        Ok(Keeper {
            shared,
            thread: Some(thread),
        })
    }

    /// Changes the time between full saves.
    pub fn set_save_interval(&self, interval: Duration) {
        let interval_ms = in_ms(interval);
        self.shared
            .save_interval_ms
            .store(interval_ms, Ordering::Relaxed);
        self.unpark();
    }

    /// What it did so far.
    pub fn counts(&self) -> KeeperCounts {
        self.shared.counts()
    }

    /// For whoever looks at it from elsewhere, now and after its end.
    pub fn watch(&self) -> Watch {
        Watch {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Writes the clean save of a table that is at rest, and ends the thread.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.end(STOP).unwrap_or(Ok(()))
    }

    fn end(&mut self, phase: u8) -> Option<Result<(), StopError>> {
        let thread = self.thread.take()?;
        self.shared.phase.store(phase, Ordering::Release);
        thread.thread().unpark();
        thread.join().ok()
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Shared {
    fn counts(&self) -> KeeperCounts {
        KeeperCounts {
            saves: self.saves.load(Ordering::Relaxed),
            save_failures: self.save_failures.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            journal_failures: self.journal_failures.load(Ordering::Relaxed),
        }
    }

    /// Notes how the last full save ended.
    pub fn note_save(&self, error: Option<String>) {
        let counter = match error {
            None => &self.saves,
            Some(_) => &self.save_failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        *self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = error;
    }
}

/// Looks at what a keeper does from any thread, and goes on to work when it has ended.
#[derive(Clone, Debug)]
pub struct Watch {
    shared: Arc<Shared>,
}

impl Watch {
    /// What it did so far.
    pub fn counts(&self) -> KeeperCounts {
        self.shared.counts()
    }

    /// Why the last full save failed; `None` where it did not.
    pub fn last_error(&self) -> Option<String> {
        let error = self.shared.last_error.lock();
        error.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end(ABANDON);
    }
}

fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
