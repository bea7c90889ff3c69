//! A node's disk: what is written, what is durable, and what of it a crash leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tcpffee_raft::core::ChunkWrite;
use tcpffee_raft::durable::{HardState, Identity, Recovered, Write};
use tcpffee_raft::ids::{Index, NodeId, Position, StoreId};
use tcpffee_raft::message::SnapshotMeta;

use super::rng::Rng;

#[derive(Clone, Default)]
struct Content {
    identity: Option<(StoreId, u64)>,
    recovered: Recovered,
    snapshots: BTreeMap<Index, (SnapshotMeta, Bytes)>,
}

impl Content {
    fn take(&mut self, write: &Write) {
        if let Some(meta) = &write.reset {
            self.recovered.entries.clear();
            self.recovered.snapshot = Some((**meta).clone());
        }
        if let Some(state) = write.hard_state {
            self.recovered.hard_state = state;
        }
        if let Some(first) = write.entries.first() {
            while self
                .recovered
                .entries
                .last()
                .is_some_and(|last| last.index >= first.index)
            {
                self.recovered.entries.pop();
            }
            self.recovered.entries.extend(write.entries.iter().cloned());
        }
    }
}

/// A copy of a whole disk.
#[derive(Clone)]
pub struct Image {
    content: Content,
    /// The store on it, and how often it had been started.
    pub store: Option<(StoreId, u64)>,
}

/// A disk.
pub struct Disk {
    node: NodeId,
    durable: Content,
    unsynced: Vec<Write>,
    partial: Option<(Arc<SnapshotMeta>, Vec<u8>)>,
    skip_sync: bool,
    fails: bool,
}

impl Disk {
    /// An empty one.
    pub fn new(node: NodeId, _seed: u64, skip_sync: bool) -> Disk {
        Disk {
            node,
            durable: Content::default(),
            unsynced: Vec::new(),
            partial: None,
            skip_sync,
            fails: false,
        }
    }

    /// Begins a life: opens or makes the store, counts the start.
    pub fn open(&mut self, rng: &mut Rng) -> Result<(Identity, Recovered), String> {
        let (store, starts) = self
            .durable
            .identity
            .unwrap_or_else(|| (StoreId(rng.wide()), 0));
        self.durable.identity = Some((store, starts + 1));
        self.fails = false;
        Ok((
            Identity {
                node: self.node,
                store,
                start: starts + 1,
                cluster: None,
            },
            self.durable.recovered.clone(),
        ))
    }

    /// Writes, without making durable.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), String> {
        if self.fails {
            return Err("write".into());
        }
        self.unsynced.extend_from_slice(writes);
        Ok(())
    }

    /// Makes durable what was written.
    pub fn sync(&mut self) -> Result<(), String> {
        if self.fails {
            return Err("sync".into());
        }
        if !self.skip_sync {
            for write in self.unsynced.drain(..) {
                self.durable.take(&write);
            }
        }
        Ok(())
    }

    /// The disk fails from now on, until it is opened again.
    pub fn fail(&mut self, _rng: &mut Rng) {
        self.fails = true;
    }

    /// Whether it was told to fail.
    pub fn is_to_fail(&self) -> bool {
        self.fails
    }

    /// Stores a local snapshot durably.
    pub fn store_snapshot(&mut self, meta: &SnapshotMeta, state: &Bytes) -> Result<(), String> {
        self.install(meta, state.clone());
        Ok(())
    }

    fn install(&mut self, meta: &SnapshotMeta, state: Bytes) {
        self.durable
            .snapshots
            .insert(meta.last.index, (meta.clone(), state));
        while self.durable.snapshots.len() > 2 {
            self.durable.snapshots.pop_first();
        }
        let known = self.durable.recovered.snapshot.as_ref();
        if known.is_none_or(|known| known.last.index < meta.last.index) {
            self.durable.recovered.snapshot = Some(meta.clone());
            let recovered = &mut self.durable.recovered;
            let follows = recovered
                .entries
                .iter()
                .any(|entry| entry.position() == meta.last);
            if !follows {
                recovered.entries.clear();
            }
        }
    }

    /// Stores a piece of an arriving snapshot; says up to where it is there.
    pub fn store_chunk(&mut self, chunk: &ChunkWrite) -> Result<u64, String> {
        let fresh = self
            .partial
            .as_ref()
            .is_none_or(|(meta, _)| **meta != *chunk.snapshot);
        if fresh || chunk.offset == 0 {
            self.partial = Some((chunk.snapshot.clone(), Vec::new()));
        }
        let Some((meta, data)) = &mut self.partial else {
            return Err("no partial snapshot".into());
        };
        if data.len() as u64 != chunk.offset {
            return Err(format!("offset {} of {}", chunk.offset, data.len()));
        }
        data.extend_from_slice(&chunk.data);
        let stored = data.len() as u64;
        if stored == meta.size_bytes {
            let meta = meta.clone();
            let data = Bytes::from(std::mem::take(data));
            self.partial = None;
            if crc32fast::hash(&data) != meta.checksum {
                return Err("checksum".into());
            }
            self.install(&meta, data);
        }
        Ok(stored)
    }

    /// Reads a piece of a snapshot.
    pub fn read_chunk(&mut self, at: Position, offset: u64, length: usize) -> Option<Bytes> {
        let (_, data) = self.durable.snapshots.get(&at.index)?;
        let from = (offset as usize).min(data.len());
        Some(data.slice(from..(from + length).min(data.len())))
    }

    /// Reads a whole snapshot.
    pub fn snapshot(&mut self, at: Position) -> Option<Bytes> {
        Some(self.durable.snapshots.get(&at.index)?.1.clone())
    }

    /// Everything before `first` may go.
    pub fn compact(&mut self, first: Index) -> Result<(), String> {
        self.durable
            .recovered
            .entries
            .retain(|entry| entry.index >= first);
        Ok(())
    }

    /// The process ends; with `power_loss`, what was not durable may be gone.
    pub fn crash(&mut self, rng: &mut Rng, power_loss: bool) {
        let kept = match power_loss {
            true => rng.below(self.unsynced.len() as u64 + 1) as usize,
            false => self.unsynced.len(),
        };
        let kept = match power_loss && self.skip_sync {
            true => kept / 2,
            false => kept,
        };
        for write in self.unsynced.drain(..).take(kept) {
            self.durable.take(&write);
        }
    }

    /// Everything is gone.
    pub fn wipe(&mut self, _rng: &mut Rng) {
        self.durable = Content::default();
        self.unsynced.clear();
        self.partial = None;
    }

    /// A copy, as of what is durable.
    pub fn image(&mut self) -> Image {
        Image {
            content: self.durable.clone(),
            store: self.durable.identity,
        }
    }

    /// Puts a copy back.
    pub fn put_back(&mut self, image: &Image) {
        self.durable = image.content.clone();
        self.unsynced.clear();
        self.partial = None;
    }
}

/// What a founding node holds before its first life.
pub fn founded(entries: Vec<tcpffee_raft::entry::Entry>, state: HardState) -> Write {
    Write {
        id: tcpffee_raft::durable::WriteId(0),
        reset: None,
        hard_state: Some(state),
        entries,
    }
}
