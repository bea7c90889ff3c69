//! The names of the files around one save path.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::state_file::{self, with_suffix};

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
        state_file::new_path(&self.save)
    }

    /// The journal of this number.
    pub fn journal(&self, sequence: u64) -> PathBuf {
        with_suffix(&self.save, &format!(".journal.{sequence}"))
    }

    /// The folder that all of it is in.
    pub fn directory(&self) -> &Path {
        state_file::directory(&self.save)
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
}
