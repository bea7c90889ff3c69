//! One process for one state path.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{directory, lock_file_path, make_directory};

/// Holds the lock of a state path for as long as it lives, and no longer than the process.
#[derive(Debug)]
pub struct PathLock {
    _file: File,
}

/// Why a state path could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{} is in use by {holder}, which holds {}: stop that instance first, or give this one a \
         path of its own",
        path.display(), lock.display()
    )]
    InUse {
        /// The state path.
        path: PathBuf,
        /// Its lock file.
        lock: PathBuf,
        /// Which process holds it, as far as it can be told.
        holder: String,
    },
    /// The folder is missing and cannot be made.
    #[error(
        "cannot make the folder {} for the state in {}: {source}; make it, writable for this user",
        folder.display(), path.display()
    )]
    Folder {
        /// The state path.
        path: PathBuf,
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lock file cannot be opened or locked.
    #[error(
        "cannot lock {}: {source}; the folder has to be writable for this user",
        lock.display()
    )]
    Unlockable {
        /// The lock file.
        lock: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Locks `<path>.lock` for this process, so that no second one works on the same state. Makes the
/// folder where it is missing. The lock ends with the process, however that ends; the file stays.
pub fn lock_path(path: &Path) -> Result<PathLock, LockError> {
    make_directory(path).map_err(|source| LockError::Folder {
        path: path.to_owned(),
        folder: directory(path).to_owned(),
        source,
    })?;
    let lock = lock_file_path(path);
    let unlockable = |source| LockError::Unlockable {
        lock: lock.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock)
        .map_err(unlockable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(LockError::InUse {
                path: path.to_owned(),
                holder: holder(&mut file),
                lock,
            });
        }
        Err(error) => return Err(unlockable(error.into())),
    }
    // The number only helps people; a full disk does not make the lock worse.
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(PathLock { _file: file })
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_with_path_holder_and_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/sticks");
        let first = lock_path(&path).unwrap();
        let message = lock_path(&path).unwrap_err().to_string();
        for part in [
            path.to_str().unwrap(),
            &format!("process {}", std::process::id()),
            "stop that instance",
        ] {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
        drop(first);
        lock_path(&path).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("file");
        std::fs::write(&in_the_way, "").unwrap();
        let error = lock_path(&in_the_way.join("sticks")).unwrap_err();
        assert!(matches!(error, LockError::Folder { .. }));
        assert!(error.to_string().contains(in_the_way.to_str().unwrap()));
    }
}
