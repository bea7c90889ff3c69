//! The PID file: says which process runs, and keeps a second one from starting.
//!
//! What counts is the lock (`flock`), not the file: the kernel drops it with the process however
//! that ends, so a file without a lock is a leftover, whatever it says.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{process, thread};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A lock that is held only for the moment of [`look`] is waited out for this long.
const PATIENCE: Duration = Duration::from_millis(500);

/// The mode of a PID file: for its user and group.
const MODE: u32 = 0o640;

/// A PID file is no longer than this.
const MAX_PID_BYTES: u64 = 32;

/// Between attempts at the lock.
const RETRY: Duration = Duration::from_millis(10);

/// The PID file of this process: locked as long as this lives, removed when it is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

/// Why there is no PID file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another process holds it.
    #[error(
        "tcpffee is running already{}: it holds the PID file {path}; \
         end it with `tcpffee stop`, or set TCPFFEE_PID_PATH to another path for a second one",
        by(*.pid)
    )]
    Running {
        /// The PID file.
        path: PathBuf,
        /// What it says, where that can be read.
        pid: Option<u32>,
    },
    /// There is another kind of file.
    #[error(
        "{path} is not a PID file and is left alone: it holds something else than digits; \
         remove it, or set TCPFFEE_PID_PATH to another path"
    )]
    Foreign {
        /// Where a PID file was to be.
        path: PathBuf,
    },
    /// The file or its directory does not let itself be used.
    #[error(
        "cannot {action} the PID file {path}: {error}; \
         its directory must exist and be writable, or set TCPFFEE_PID_PATH to another path"
    )]
    Unusable {
        /// The PID file.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" with PID {pid}"))
}

impl PidFile {
    /// Locks the file at `path` and writes this process's id and a line end into it. A file that
    /// no process holds is replaced.
    ///
    /// # Errors
    /// When another process holds it, or it cannot be opened, locked or written.
    pub fn acquire(path: &Path) -> Result<PidFile, PidFileError> {
        let unusable = |action| {
            move |error: io::Error| PidFileError::Unusable {
                path: path.to_owned(),
                action,
                error,
            }
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut file = open(path).map_err(unusable("open"))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_still_at(&file, path) => {
                    if !holds_at_most_a_pid(&file).map_err(unusable("read"))? {
                        let path = path.to_owned();
                        return Err(PidFileError::Foreign { path });
                    }
                    write_pid(&mut file).map_err(unusable("write"))?;
                    let path = path.to_owned();
                    return Ok(PidFile { path, file });
                }
                // Its former holder removed it between our opening and our lock.
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(RETRY),
                Err(Errno::WOULDBLOCK) => {
                    return Err(PidFileError::Running {
                        path: path.to_owned(),
                        pid: read_pid(&mut file),
                    });
                }
                Err(errno) => return Err(unusable("lock")(errno.into())),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, then gives up the lock; dropping does the same.
    pub fn release(self) {}
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Removed while the lock is held: whoever gets the lock next sees that the file is gone.
        if is_still_at(&self.file, &self.path)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!(
                "cannot remove the PID file {}: {error}",
                self.path.display()
            );
        }
    }
}

/// Whether nothing would be lost by replacing what is in the file: digits, or nothing at all.
fn holds_at_most_a_pid(file: &File) -> io::Result<bool> {
    let mut bytes = Vec::new();
    file.take(MAX_PID_BYTES + 1).read_to_end(&mut bytes)?;
    let digits = bytes.trim_ascii();
    Ok(bytes.len() as u64 <= MAX_PID_BYTES && digits.iter().all(u8::is_ascii_digit))
}

/// What a PID file tells about the process that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// No file.
    Absent,
    /// A file that no process holds, left by one that ended without cleaning up.
    Gone {
        /// The id that it had.
        pid: Option<u32>,
    },
    /// A process is running.
    Running {
        /// Its id; absent in the moment between lock and write.
        pid: Option<u32>,
    },
}

/// Looks whether a process holds the PID file at `path`, without disturbing it.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn look(path: &Path) -> io::Result<Holder> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Absent),
        Err(error) => return Err(error),
    };
    let lock = flock(&file, FlockOperation::NonBlockingLockShared);
    let still_there = is_still_at(&file, path);
    let pid = read_pid(&mut file);
    match lock {
        Ok(()) if !still_there => Ok(Holder::Absent),
        Ok(()) => Ok(Holder::Gone { pid }),
        Err(Errno::WOULDBLOCK) => Ok(Holder::Running { pid }),
        Err(errno) => Err(errno.into()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn write_pid(file: &mut File) -> io::Result<()> {
    // Whatever the umask: who may use the control socket beside it reads it, and nobody else may
    // hold its lock. A file of another user's keeps its mode.
    let _ = file.set_permissions(Permissions::from_mode(MODE));
    let pid = format!("{}\n", process::id());
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(pid.as_bytes())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(MAX_PID_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether `path` names the open `file`, not another one of the same name.
fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => ours.dev() == theirs.dev() && ours.ino() == theirs.ino(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tcpffee.pid");
        (dir, path)
    }

    #[test]
    fn holds_the_pid_and_is_removed_at_release() {
        let (_dir, path) = fresh();
        let held = PidFile::acquire(&path).unwrap();
        let pid = process::id();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{pid}\n"));
        assert_eq!(look(&path).unwrap(), Holder::Running { pid: Some(pid) });
        held.release();
        assert!(!path.exists());
        assert_eq!(look(&path).unwrap(), Holder::Absent);
    }

    #[test]
    fn a_second_holder_is_refused_with_pid_and_remedy() {
        let (_dir, path) = fresh();
        let _held = PidFile::acquire(&path).unwrap();
        let error = PidFile::acquire(&path).unwrap_err();
        let pid = process::id();
        assert!(matches!(error, PidFileError::Running { pid: Some(found), .. } if found == pid));
        let text = error.to_string();
        for part in [&format!("PID {pid}"), "tcpffee stop", "TCPFFEE_PID_PATH"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_no_pid_file_is_left_alone() {
        for content in ["garbage", "12 34 56 key = 1", &"1".repeat(40)] {
            let (_dir, path) = fresh();
            fs::write(&path, content).unwrap();
            let error = PidFile::acquire(&path).unwrap_err();
            assert!(error.to_string().contains("is not a PID file"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_stale_file_is_replaced_whatever_number_it_holds() {
        for content in ["1\n", "", "99999999999999999999\n", "4194304123456789\n"] {
            let (_dir, path) = fresh();
            fs::write(&path, content).unwrap();
            assert!(matches!(look(&path).unwrap(), Holder::Gone { .. }));
            let _held = PidFile::acquire(&path).unwrap();
            let written = fs::read_to_string(&path).unwrap();
            assert_eq!(written, format!("{}\n", process::id()), "over {content:?}");
        }
    }

    #[test]
    fn a_directory_that_is_missing_or_closed_names_the_variable() {
        let (dir, _) = fresh();
        let error = PidFile::acquire(&dir.path().join("missing/tcpffee.pid")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("TCPFFEE_PID_PATH") && text.contains("cannot open"),
            "{text}"
        );
        let error = PidFile::acquire(dir.path()).unwrap_err();
        assert!(error.to_string().contains("TCPFFEE_PID_PATH"), "{error}");
    }

    #[test]
    fn a_look_never_keeps_a_process_from_starting() {
        let (_dir, path) = fresh();
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = look(&path);
                }
            });
            for _ in 0..200 {
                PidFile::acquire(&path).unwrap().release();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn of_many_that_start_at_once_one_gets_the_file() {
        let (_dir, path) = fresh();
        let held: Vec<_> = thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| PidFile::acquire(&path)))
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(held.iter().filter(|one| one.is_ok()).count(), 1);
    }
}
