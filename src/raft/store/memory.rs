//! A disk in memory that does what a disk may do: on a crash it loses, tears and reorders all
//! that was not synced; and it fails when told to.
//!
//! For tests and simulations; nothing else uses it. It is as deterministic as the random numbers
//! that [`MemoryDisk::crash`] is given.

mod content; // what a file or folder holds, and what of it would survive
mod file; // an open file

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;

use super::files::{Files, OpenFile};
use content::{Change, FileContent, FolderContent};

pub use file::MemoryFile;

/// A disk. Clones are the same one.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

/// All that a disk holds, as it was at one moment. Cheap to take: contents are shared until they
/// change.
#[derive(Clone)]
pub struct DiskImage {
    nodes: BTreeMap<u64, Node>,
    folders: BTreeMap<PathBuf, u64>,
    next_node: u64,
}

/// How a disk fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Everything fails.
    Broken,
    /// What needs more space fails.
    Full,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<u64, Node>,
    /// Where folders are: they are made durable at once, and only their names within the folder
    /// above may change.
    folders: BTreeMap<PathBuf, u64>,
    next_node: u64,
    locks: BTreeMap<PathBuf, u64>,
    next_lock: u64,
    /// Counts crashes: what was opened before is of a dead process.
    epoch: u64,
    skip_sync: bool,
    operations: u64,
    fault: Option<(u64, Fault)>,
}

#[derive(Clone)]
enum Node {
    File(FileContent),
    Folder(FolderContent),
}

/// What an operation needs of the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Space,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// The machine loses its power. Of what was not synced, any part survives: of each write any
    /// of its sectors, of created, renamed and removed names any. Locks are free again, and files
    /// opened before fail.
    pub fn crash(&self, random: &mut dyn FnMut() -> u64) {
        let mut state = self.state();
        state.forget_processes();
        // One crash loses all, another next to nothing: both extremes find other defects than
        // the middle does.
        let survives_of_8 = match random() % 4 {
            0 => 0,
            1 => 8,
            _ => random() % 9,
        };
        let mut survives = || random() % 8 < survives_of_8;
        for node in state.nodes.values_mut() {
            match node {
                Node::File(file) => file.crash(&mut survives),
                Node::Folder(folder) => folder.crash(&mut survives),
            }
        }
        state.collect();
    }

    /// The process dies and the machine lives on: nothing written is lost, locks are free again,
    /// and files opened before fail.
    pub fn kill(&self) {
        self.state().forget_processes();
    }

    /// Whether syncing only pretends.
    pub fn skip_sync(&self, skip: bool) {
        self.state().skip_sync = skip;
    }

    /// Lets the given number of operations pass and every later one fail, until
    /// [`MemoryDisk::heal`]. A write that fails has written a part; what a failed sync did not
    /// write is never written by a later one.
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.operations + operations, fault));
    }

    /// Ends what [`MemoryDisk::fail_after`] began.
    pub fn heal(&self) {
        self.state().fault = None;
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// All that it holds, synced or not.
    pub fn image(&self) -> DiskImage {
        let state = self.state();
        DiskImage {
            nodes: state.nodes.clone(),
            folders: state.folders.clone(),
            next_node: state.next_node,
        }
    }

    /// Becomes what it was. Locks are free again, and files opened before fail.
    pub fn restore(&self, image: &DiskImage) {
        let mut state = self.state();
        state.forget_processes();
        state.nodes = image.nodes.clone();
        state.folders = image.folders.clone();
        state.next_node = state.next_node.max(image.next_node);
    }

    /// Loses everything, as if replaced by a new one.
    pub fn wipe(&self) {
        let mut state = self.state();
        state.forget_processes();
        state.nodes.clear();
        state.folders.clear();
    }

    /// The bytes of a file, synced or not.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        let id = state.find(path)?;
        Ok(state.file(id)?.current.to_vec())
    }

    /// Puts a file there, durably: what an operator or a damaged disk may do.
    pub fn plant(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.create_folder(folder_of(path))?;
        let file = self.create(path)?;
        file.write_at(0, bytes)?;
        let mut state = self.state();
        state.file(file.node)?.sync();
        let folder = state.folder_id(folder_of(path))?;
        state.folder(folder)?.sync();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    fn begin(&self, needs: Needs) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.count(needs)?;
        Ok(state)
    }
}

impl State {
    fn count(&mut self, needs: Needs) -> io::Result<()> {
        self.operations += 1;
        match self.fault {
            Some((last, Fault::Broken)) if self.operations > last => Err(Errno::IO.into()),
            Some((last, Fault::Full)) if self.operations > last && needs == Needs::Space => {
                Err(Errno::NOSPC.into())
            }
            _ => Ok(()),
        }
    }

    fn forget_processes(&mut self) {
        self.epoch += 1;
        self.locks.clear();
    }

    fn add(&mut self, node: Node) -> u64 {
        self.next_node += 1;
        self.nodes.insert(self.next_node, node);
        self.next_node
    }

    fn folder_id(&self, path: &Path) -> io::Result<u64> {
        self.folders.get(path).copied().ok_or_else(not_found)
    }

    fn folder(&mut self, id: u64) -> io::Result<&mut FolderContent> {
        match self.nodes.get_mut(&id) {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(not_found()),
        }
    }

    fn file(&mut self, id: u64) -> io::Result<&mut FileContent> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(not_found()),
        }
    }

    fn find(&mut self, path: &Path) -> io::Result<u64> {
        let folder = self.folder_id(folder_of(path))?;
        let name = name_of(path);
        self.folder(folder)?
            .current
            .get(&name)
            .copied()
            .ok_or_else(not_found)
    }

    /// Forgets what no name leads to.
    fn collect(&mut self) {
        let named: Vec<u64> = self
            .nodes
            .values()
            .filter_map(|node| match node {
                Node::Folder(folder) => Some(folder.current.values().copied()),
                Node::File(_) => None,
            })
            .flatten()
            .collect();
        let folders: Vec<u64> = self.folders.values().copied().collect();
        self.nodes
            .retain(|id, _| named.contains(id) || folders.contains(id));
    }

    /// Folders below one that was renamed have another path.
    fn move_folders(&mut self, from: &Path, to: &Path) {
        let moved: Vec<PathBuf> = self
            .folders
            .keys()
            .filter(|path| path.starts_with(from))
            .cloned()
            .collect();
        for path in moved {
            let id = self.folders.remove(&path).expect("listed just now");
            let below = path.strip_prefix(from).expect("filtered by it");
            let path = match below.as_os_str().is_empty() {
                true => to.to_owned(),
                false => to.join(below),
            };
            self.folders.insert(path, id);
        }
    }
}

impl Files for MemoryDisk {
    type File = MemoryFile;
    type Lock = MemoryLock;

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Needs::Space)?;
        for folder in path.ancestors() {
            if !state.folders.contains_key(folder) {
                let id = state.add(Node::Folder(FolderContent::default()));
                state.folders.insert(folder.to_owned(), id);
            }
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<MemoryFile> {
        let mut state = self.begin(Needs::Space)?;
        let node = match state.find(path) {
            Ok(id) => {
                state.file(id)?.change(Change::Length(0));
                id
            }
            Err(_) => {
                let folder = state.folder_id(folder_of(path))?;
                let id = state.add(Node::File(FileContent::default()));
                state
                    .folder(folder)?
                    .change(vec![(name_of(path), Some(id))]);
                id
            }
        };
        Ok(MemoryFile {
            disk: self.clone(),
            node,
            epoch: state.epoch,
        })
    }

    fn open(&self, path: &Path) -> io::Result<MemoryFile> {
        let mut state = self.begin(Needs::Nothing)?;
        let node = state.find(path)?;
        state.file(node)?;
        Ok(MemoryFile {
            disk: self.clone(),
            node,
            epoch: state.epoch,
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        assert_eq!(folder_of(from), folder_of(to), "renamed within a folder");
        let mut state = self.begin(Needs::Nothing)?;
        if state.folders.contains_key(from) {
            // As with folders that are made, this is durable at once.
            state.move_folders(from, to);
            return Ok(());
        }
        let node = state.find(from)?;
        let folder = state.folder_id(folder_of(from))?;
        state
            .folder(folder)?
            .change(vec![(name_of(from), None), (name_of(to), Some(node))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Needs::Nothing)?;
        state.find(path)?;
        let folder = state.folder_id(folder_of(path))?;
        state.folder(folder)?.change(vec![(name_of(path), None)]);
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut state = self.begin(Needs::Nothing)?;
        let id = state.folder_id(folder)?;
        let mut names: Vec<String> = state
            .folders
            .keys()
            .filter(|path| path.parent() == Some(folder))
            .map(|path| name_of(path))
            .collect();
        names.extend(state.folder(id)?.current.keys().cloned());
        names.sort();
        Ok(names)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.begin(Needs::Nothing)?;
        let id = state.folder_id(folder)?;
        if !state.skip_sync {
            state.folder(id)?.sync();
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<MemoryLock>> {
        let mut state = self.begin(Needs::Nothing)?;
        if state.locks.contains_key(path) {
            return Ok(None);
        }
        state.next_lock += 1;
        let token = state.next_lock;
        state.locks.insert(path.to_owned(), token);
        Ok(Some(MemoryLock {
            disk: self.clone(),
            path: path.to_owned(),
            token,
        }))
    }
}

/// A lock on a [`MemoryDisk`].
pub struct MemoryLock {
    disk: MemoryDisk,
    path: PathBuf,
    token: u64,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.locks.get(&self.path) == Some(&self.token) {
            state.locks.remove(&self.path);
        }
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
