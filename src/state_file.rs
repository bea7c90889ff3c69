//! The habits of every file that keeps state.
//!
//! | file | what it is |
//! | --- | --- |
//! | `<path>` | the state |
//! | `<path>.new` | the state being written; renamed when it is whole and on disk |
//! | `<path>.lock` | locked by the process that uses the path |
//! | `<path>.set-aside-<unix seconds>` | a state that could not be used, kept for people to look at |

mod lock; // one process for one path

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub use lock::{LockError, PathLock, lock_path};

/// Names tried for a file to set aside before giving up.
const MAX_SET_ASIDE_NAMES: u32 = 1000;

/// The path with something added to its last part.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Renames a file that cannot be used, so that it is in nobody's way and not lost; returns its
/// new name.
pub fn set_aside(path: &Path, unix_secs: u64) -> io::Result<PathBuf> {
    for attempt in 0..MAX_SET_ASIDE_NAMES {
        let aside = match attempt {
            0 => with_suffix(path, &format!(".set-aside-{unix_secs}")),
            _ => with_suffix(path, &format!(".set-aside-{unix_secs}-{attempt}")),
        };
        if !aside.try_exists()? {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::Error::other("every name for it is taken"))
}

/// The state being written.
pub fn new_path(path: &Path) -> PathBuf {
    with_suffix(path, ".new")
}

/// The lock of the path.
pub fn lock_file_path(path: &Path) -> PathBuf {
    with_suffix(path, ".lock")
}

/// The folder that the state is in.
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the folder where it is missing.
pub fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(directory(path))
}

/// Makes renamed and deleted names last.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

/// Opens the state to be written, beside the one there is.
pub fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(new_path(path))
}

/// Puts what was written beside the state in its place, once it is on disk; at every moment of a
/// crash either the old or the new state is there, whole.
pub fn replace_by_new(path: &Path, new: &File) -> io::Result<()> {
    new.sync_all()?;
    fs::rename(new_path(path), path)?;
    sync_directory(path)
}

/// Replaces the whole state.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_directory(path)?;
    let mut new = create_new(path)?;
    new.write_all(bytes)?;
    replace_by_new(path, &new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_aside_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sticks");
        for (content, name) in [("a", "sticks.set-aside-5"), ("b", "sticks.set-aside-5-1")] {
            fs::write(&path, content).unwrap();
            let aside = set_aside(&path, 5).unwrap();
            assert_eq!(aside, folder.path().join(name));
            assert_eq!(fs::read_to_string(aside).unwrap(), content);
        }
    }
}
