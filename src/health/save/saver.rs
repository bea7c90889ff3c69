//! The thread that writes states: a slow disk must not hold up checks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::state_file;

use super::{SavedState, codec};

/// Between attempts while the disk refuses.
const RETRY: Duration = Duration::from_secs(10);

/// States could not be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot save the states of health checks in {}: {source}; make room there, or the folder \
     writable for this user",
    path.display()
)]
pub struct SaveError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Writes the newest states whenever there are newer ones; failures are logged and tried again.
#[derive(Debug)]
pub struct Saver {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<(), SaveError>>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    desk: Mutex<Desk>,
    /// Something new lies on the desk.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Desk {
    /// Not written yet; the newest alone.
    states: Option<Vec<SavedState>>,
    /// They have come since the last attempt.
    is_new: bool,
    stops: bool,
}

impl Saver {
    /// Starts the thread; nothing is written yet.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(path: &Path) -> io::Result<Saver> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            desk: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        let thread = Builder::new().name("health-save".to_owned());
        let thread = thread.spawn(move || own.run())?;
        Ok(Saver { shared, thread })
    }

    /// Hands states over to be written; what still waits is replaced. Never waits for the disk.
    pub fn save(&self, states: Vec<SavedState>) {
        let mut desk = self.shared.desk();
        desk.states = Some(states);
        desk.is_new = true;
        drop(desk);
        self.shared.changed.notify_one();
    }

    /// Writes what waits, and ends.
    ///
    /// # Errors
    /// The newest states are not on disk.
    pub fn stop(self) -> Result<(), SaveError> {
        self.shared.desk().stops = true;
        self.shared.changed.notify_one();
        // A thread that panicked has ended the process already.
        self.thread.join().unwrap_or(Ok(()))
    }
}

#[cfg(test)]
impl Saver {
    /// Whether the disk has refused what lies on the desk.
    pub fn is_waiting_to_retry(&self) -> bool {
        let desk = self.shared.desk();
        desk.states.is_some() && !desk.is_new
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) -> Result<(), SaveError> {
        let mut retry_at = None;
        loop {
            let (states, stops) = self.next(retry_at);
            let Some(states) = states else {
                return Ok(()); // told to end, with nothing left to write
            };
            match state_file::replace(&self.path, &codec::encode(&states)) {
                Ok(()) => {
                    if retry_at.take().is_some() {
                        let path = self.path.display();
                        log::info!("states of health checks are saved in {path} again");
                    }
                }
                Err(source) => {
                    let path = self.path.clone();
                    let error = SaveError { path, source };
                    if stops {
                        return Err(error);
                    }
                    if retry_at.replace(Instant::now() + RETRY).is_none() {
                        log::error!("{error}; tried again every {} s", RETRY.as_secs());
                    }
                    // They wait again, unless newer ones have come.
                    self.desk().states.get_or_insert(states);
                }
            }
        }
    }

    /// Waits for states to write: new ones, or at `retry_at` those that could not be written.
    /// `None` where there are none and the thread is to end.
    fn next(&self, retry_at: Option<Instant>) -> (Option<Vec<SavedState>>, bool) {
        let mut desk = self.desk();
        loop {
            let left = retry_at.map(|at| at.saturating_duration_since(Instant::now()));
            if desk.stops || desk.is_new || left.is_some_and(|left| left.is_zero()) {
                desk.is_new = false;
                return (desk.states.take(), desk.stops);
            }
            desk = match left {
                Some(left) => {
                    let waited = self.changed.wait_timeout(desk, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(desk);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}
