//! What a file or folder holds, and what of it would survive.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A file.
#[derive(Clone, Default)]
pub(super) struct FileContent {
    durable: Arc<Vec<u8>>,
    pub(super) current: Arc<Vec<u8>>,
    pending: Vec<Change>,
}

/// Something done to a file.
#[derive(Clone)]
pub(super) enum Change {
    Bytes(u64, Arc<[u8]>),
    Length(u64),
}

impl FileContent {
    pub(super) fn change(&mut self, change: Change) {
        apply(Arc::make_mut(&mut self.current), &change);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let durable = Arc::make_mut(&mut self.durable);
        for change in self.pending.drain(..) {
            apply(durable, &change);
        }
    }

    /// What was not written counts as written from now on, as on Linux: it can be read, and is
    /// never tried again.
    pub(super) fn sync_failed(&mut self) {
        self.pending.clear();
    }

    pub(super) fn crash(&mut self, survives: &mut dyn FnMut() -> bool) {
        let durable = Arc::make_mut(&mut self.durable);
        for change in self.pending.drain(..) {
            match change {
                Change::Length(_) if survives() => apply(durable, &change),
                Change::Length(_) => {}
                Change::Bytes(offset, bytes) => {
                    for (offset, piece) in sectors(offset, &bytes) {
                        if survives() {
                            apply(durable, &Change::Bytes(offset, piece.into()));
                        }
                    }
                }
            }
        }
        self.current = self.durable.clone();
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => content.resize(*length as usize, 0),
        Change::Bytes(offset, bytes) => {
            let from = *offset as usize;
            let to = from + bytes.len();
            if content.len() < to {
                content.resize(to, 0);
            }
            content[from..to].copy_from_slice(bytes);
        }
    }
}

/// A write in pieces that each lie within one sector.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let first = SECTOR_BYTES - offset as usize % SECTOR_BYTES;
    let (head, rest) = bytes.split_at(first.min(bytes.len()));
    std::iter::once((offset, head)).chain(
        rest.chunks(SECTOR_BYTES)
            .enumerate()
            .map(move |(i, piece)| (offset + (first + i * SECTOR_BYTES) as u64, piece)),
    )
}

/// A folder's names and the nodes they lead to.
#[derive(Clone, Default)]
pub(super) struct FolderContent {
    durable: BTreeMap<String, u64>,
    pub(super) current: BTreeMap<String, u64>,
    /// Each whole or not at all.
    pending: Vec<NameChange>,
}

type NameChange = Vec<(String, Option<u64>)>;

impl FolderContent {
    pub(super) fn change(&mut self, change: NameChange) {
        rename(&mut self.current, &change);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            rename(&mut self.durable, &change);
        }
    }

    pub(super) fn crash(&mut self, survives: &mut dyn FnMut() -> bool) {
        for change in self.pending.drain(..) {
            if survives() {
                rename(&mut self.durable, &change);
            }
        }
        self.current = self.durable.clone();
    }
}

fn rename(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    for (name, node) in change {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
}
