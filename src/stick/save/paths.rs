//! The names of the files around one save path.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Names tried for a file to set aside before giving up.
const MAX_SET_ASIDE_NAMES: u32 = 1000;

/// A save path with what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    save: PathBuf,
}

impl Paths {
    pub fn new(save: &Path) -> Paths {
        Paths {
            save: save.to_owned(),
        }
    }

    /// The full save.
    pub fn save(&self) -> &Path {
        &self.save
    }

    /// A full save being written.
    pub fn new_save(&self) -> PathBuf {
        with_suffix(&self.save, ".new")
    }

    /// The journal of this number.
    pub fn journal(&self, sequence: u64) -> PathBuf {
        with_suffix(&self.save, &format!(".journal.{sequence}"))
    }

    /// The folder that all of it is in.
    pub fn directory(&self) -> &Path {
        match self.save.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// Makes the folder where it is missing.
    pub fn make_directory(&self) -> io::Result<()> {
        fs::create_dir_all(self.directory())
    }

    /// Makes renamed and deleted names last.
    pub fn sync_directory(&self) -> io::Result<()> {
        File::open(self.directory())?.sync_all()
    }

    /// The numbers of the journals there are, ascending.
    pub fn journals(&self) -> io::Result<Vec<u64>> {
        let mut prefix = self.save.file_name().unwrap_or_default().to_owned();
        prefix.push(".journal.");
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.directory())? {
            numbers.extend(journal_number(&entry?.file_name(), &prefix));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Deletes the journals below this number.
    pub fn delete_journals_before(&self, sequence: u64) -> io::Result<()> {
        for number in self.journals()? {
            if number < sequence {
                fs::remove_file(self.journal(number))?;
            }
        }
        Ok(())
    }
}

/// The path with something added to its last part.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Renames a file that cannot be used, so that it is in nobody's way and not lost; returns its
/// new name.
pub(super) fn set_aside(path: &Path, unix_secs: u64) -> io::Result<PathBuf> {
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

/// The number in a journal's name: digits only, as [`Paths::journal`] writes them.
fn journal_number(name: &OsStr, prefix: &OsStr) -> Option<u64> {
    let digits = name.as_bytes().strip_prefix(prefix.as_bytes())?;
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_journals_of_this_path_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "sticks.journal.10",
            "sticks.journal.9",
            "sticks.journal.007",
            "sticks.journal.+7",
            "sticks.journal.9.set-aside-1",
            "other.journal.3",
            "sticks",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let paths = Paths::new(&folder.path().join("sticks"));
        assert_eq!(paths.journals().unwrap(), [9, 10]);
        paths.delete_journals_before(10).unwrap();
        assert_eq!(paths.journals().unwrap(), [10]);
    }

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
