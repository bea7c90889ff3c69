//! A node's disk: the real store over a disk in memory that loses and tears what was not synced.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tcpffee_raft::core::ChunkWrite;
use tcpffee_raft::durable::{HardState, Identity, Recovered, Write, WriteId};
use tcpffee_raft::entry::Entry;
use tcpffee_raft::ids::{Index, NodeId, Position, StoreId};
use tcpffee_raft::membership::Membership;
use tcpffee_raft::message::SnapshotMeta;
use tcpffee_raft::store::memory::{DiskImage, Fault, MemoryDisk};
use tcpffee_raft::store::{Limits, Store, StoreError, set_aside};

use super::rng::Rng;

const FOLDER: &str = "/raft";

/// A copy of a whole disk.
#[derive(Clone)]
pub struct Image {
    content: DiskImage,
    /// The store on it, and how often it had been started.
    pub store: Option<(StoreId, u64)>,
    /// The memberships in its log: whoever starts on it goes by one of them.
    pub memberships: Vec<Arc<Membership>>,
}

/// A disk, and the store on it while the node lives.
pub struct Disk {
    node: NodeId,
    memory: MemoryDisk,
    limits: Limits,
    opened: Option<Store<MemoryDisk>>,
    store: Option<(StoreId, u64)>,
    fails: bool,
}

/// What went wrong, in words.
type Done<T> = Result<T, String>;

fn words(error: StoreError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}

impl Disk {
    /// An empty one.
    pub fn new(node: NodeId, segment_bytes: u64, skip_sync: bool) -> Disk {
        let memory = MemoryDisk::new();
        memory.skip_sync(skip_sync);
        Disk {
            node,
            memory,
            limits: Limits { segment_bytes },
            opened: None,
            store: None,
            fails: false,
        }
    }

    fn opened(&mut self) -> &mut Store<MemoryDisk> {
        self.opened
            .as_mut()
            .expect("a node that lives has opened its store")
    }

    /// Begins a life: opens or makes the store, counts the start.
    pub fn open(&mut self, rng: &mut Rng) -> Done<(Identity, Recovered)> {
        self.memory.heal();
        self.fails = false;
        self.opened = None;
        let fresh = StoreId(rng.wide());
        let folder = Path::new(FOLDER);
        let (mut store, _, recovered) =
            Store::open(self.memory.clone(), folder, self.node, self.limits, fresh)
                .map_err(words)?;
        let identity = store.identity.begin_life().map_err(words)?;
        self.store = Some((identity.store, identity.start));
        self.opened = Some(store);
        Ok((identity, recovered))
    }

    /// Writes, without making durable.
    pub fn write(&mut self, writes: &[Write]) -> Done<()> {
        self.opened().log.append(writes).map_err(words)
    }

    /// Makes durable what was written.
    pub fn sync(&mut self) -> Done<()> {
        self.opened().log.sync().map_err(words)
    }

    /// Makes the next segment ahead.
    pub fn prepare(&mut self) -> Done<()> {
        self.opened().log.prepare().map_err(words)
    }

    /// The disk fails a few operations from now on, until it is opened again.
    pub fn fail(&mut self, rng: &mut Rng) {
        let fault = match rng.percent(50) {
            true => Fault::Broken,
            false => Fault::Full,
        };
        self.memory.fail_after(rng.below(20), fault);
        self.fails = true;
    }

    /// Whether it was told to fail.
    pub fn is_to_fail(&self) -> bool {
        self.fails
    }

    /// Stores a local snapshot durably.
    pub fn store_snapshot(&mut self, meta: &SnapshotMeta, state: &Bytes) -> Done<()> {
        let mut writer = self.opened().snapshots.begin(meta.clone()).map_err(words)?;
        for piece in state.chunks(700) {
            writer.write(piece).map_err(words)?;
        }
        let finished = writer.finish().map_err(words)?;
        match finished == *meta {
            true => Ok(()),
            false => Err(format!("{finished:?} instead of {meta:?}")),
        }
    }

    /// Stores a piece of an arriving snapshot; says up to where it is there.
    pub fn store_chunk(&mut self, chunk: &ChunkWrite) -> Done<u64> {
        self.opened()
            .snapshots
            .receive_chunk(&chunk.snapshot, chunk.offset, &chunk.data)
            .map_err(words)
    }

    /// Reads a piece of a snapshot.
    pub fn read_chunk(&mut self, at: Position, offset: u64, length: usize) -> Option<Bytes> {
        let snapshots = &mut self.opened().snapshots;
        snapshots.read_chunk(at, offset, length).ok()
    }

    /// Reads a whole snapshot.
    pub fn snapshot(&mut self, at: Position) -> Done<Bytes> {
        let mut reader = self.opened().snapshots.open(at).map_err(words)?;
        let mut state = Vec::new();
        match reader.read_to_end(&mut state) {
            Ok(_) => Ok(state.into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Everything before `first` may go, and every snapshot before the newest.
    pub fn compact(&mut self, first: Index, newest: Position) -> Done<()> {
        let store = self.opened();
        if newest.index > Index(0) {
            store.snapshots.remove_before(newest).map_err(words)?;
        }
        store.log.compact(first).map_err(words)
    }

    /// The process ends; with `power_loss`, what was not durable may be gone.
    pub fn crash(&mut self, rng: &mut Rng, power_loss: bool) {
        match power_loss {
            true => self.memory.crash(&mut || rng.bits()),
            false => self.memory.kill(),
        }
        self.opened = None;
    }

    /// Everything is gone.
    pub fn wipe(&mut self) {
        self.memory.wipe();
        self.opened = None;
        self.store = None;
    }

    /// The store is moved out of the way: the next one begins blank.
    pub fn set_aside(&mut self) -> Done<()> {
        self.memory.heal();
        self.store = None;
        set_aside(&self.memory, Path::new(FOLDER))
            .map(drop)
            .map_err(words)
    }

    /// A copy of all that is there.
    pub fn image(&mut self, memberships: Vec<Arc<Membership>>) -> Image {
        Image {
            content: self.memory.image(),
            store: self.store,
            memberships,
        }
    }

    /// Puts a copy back.
    pub fn put_back(&mut self, image: &Image) {
        self.memory.restore(&image.content);
        self.opened = None;
        self.store = image.store;
    }
}

/// What a founding node writes before its first life.
pub fn founded(entries: Vec<Entry>, state: HardState) -> Write {
    Write {
        id: WriteId(0),
        reset: None,
        hard_state: Some(state),
        entries,
    }
}
