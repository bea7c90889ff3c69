//! The one layer through which a store reaches its files, so that tests can put a disk beneath
//! it that loses, tears and fails ([`super::memory::MemoryDisk`]).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::Errno;

/// A place for files. Clones are the same place.
pub trait Files: Clone + Send + Sync + 'static {
    /// An open file.
    type File: OpenFile;
    /// A lock that is held until it is dropped or the process dies.
    type Lock: Send + Sync + 'static;

    /// Makes a folder, and those above it that are missing; they outlive a crash at once.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes an empty file, or empties the one there is.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens a file to read and write.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Gives a file or folder another name in the same folder, in place of what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Makes what was created, renamed and removed in a folder outlive a crash.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Locks a file, made where it is missing; none where another holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>>;
}

/// An open file.
pub trait OpenFile: Send + Sync + 'static {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills the buffer from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all bytes at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reserves space for `length` bytes; what is new of them reads as zeros.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Cuts or extends it.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Makes its content and length outlive a crash (fdatasync).
    fn sync(&self) -> io::Result<()>;
}

/// The files of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    type File = File;
    type Lock = File;

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        let above = match path.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        self.create_folder(above)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.sync_folder(above)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            // A name that is not UTF-8 is none of the store's.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<File>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl OpenFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match fallocate(self, FallocateFlags::empty(), 0, length) {
            // Some file systems cannot reserve: then a full disk shows later, when it is written.
            Err(Errno::OPNOTSUPP) if self.length()? < length => self.set_len(length),
            Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(()),
        }
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
