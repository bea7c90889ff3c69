//! The system's files, with switches to make them slow or broken.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tcpffee_raft::store::files::{Files, OpenFile, SystemFiles};

/// What is wrong with a disk.
#[derive(Default)]
pub struct Switches {
    /// How long each fdatasync takes on top, in milliseconds.
    pub sync_ms: AtomicU64,
    /// Writes and fdatasyncs fail.
    pub broken: AtomicBool,
    /// They do from the moment when a snapshot has got its name.
    pub breaks_with_snapshot: AtomicBool,
    /// They do from the moment when a store has taken the cluster's id that an order names.
    pub breaks_with_order: AtomicBool,
    /// Nothing can be removed.
    pub keeps_files: AtomicBool,
    /// No segment of the log can be made.
    pub makes_no_segment: AtomicBool,
}

impl Switches {
    /// As good as new.
    pub fn mend(&self) {
        self.sync_ms.store(0, Ordering::Relaxed);
        self.broken.store(false, Ordering::Relaxed);
        self.keeps_files.store(false, Ordering::Relaxed);
        self.makes_no_segment.store(false, Ordering::Relaxed);
        self.breaks_with_snapshot.store(false, Ordering::Relaxed);
        self.breaks_with_order.store(false, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("broken on purpose"));
        }
        Ok(())
    }
}

/// The files.
#[derive(Clone)]
pub struct Disk {
    switches: Arc<Switches>,
}

impl Disk {
    pub fn new(switches: Arc<Switches>) -> Disk {
        Disk { switches }
    }

    fn wrap(&self, file: File) -> Switched {
        Switched {
            file,
            switches: Arc::clone(&self.switches),
        }
    }
}

pub struct Switched {
    file: File,
    switches: Arc<Switches>,
}

impl Files for Disk {
    type File = Switched;
    type Lock = File;

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        SystemFiles.create_folder(path)
    }

    fn create(&self, path: &Path) -> io::Result<Switched> {
        let refuses = self.switches.makes_no_segment.load(Ordering::Relaxed);
        if refuses && path.extension().is_some_and(|kind| kind == "log") {
            return Err(io::Error::other("no room on purpose"));
        }
        SystemFiles.create(path).map(|file| self.wrap(file))
    }

    fn open(&self, path: &Path) -> io::Result<Switched> {
        SystemFiles.open(path).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let breaks = self.switches.breaks_with_snapshot.load(Ordering::Relaxed);
        if breaks && to.extension().is_some_and(|kind| kind == "snapshot") {
            self.switches.broken.store(true, Ordering::Relaxed);
        }
        SystemFiles.rename(from, to)?;
        let noted = to.parent().and_then(Path::parent);
        let noted = noted.is_some_and(|folder| folder.join("order").exists());
        if self.switches.breaks_with_order.load(Ordering::Relaxed)
            && noted
            && to.ends_with("identity")
        {
            self.switches.broken.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.switches.keeps_files.load(Ordering::Relaxed) {
            return Err(io::Error::other("kept on purpose"));
        }
        SystemFiles.remove(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        SystemFiles.list(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        SystemFiles.sync_folder(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<File>> {
        SystemFiles.lock(path)
    }
}

impl OpenFile for Switched {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        OpenFile::read_at(&self.file, offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.switches.check()?;
        OpenFile::write_at(&self.file, offset, bytes)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.switches.check()?;
        let ms = self.switches.sync_ms.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(ms));
        self.file.sync()
    }
}
