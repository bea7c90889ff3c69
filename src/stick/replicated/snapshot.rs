//! The state as bytes, for snapshots.
//!
//! A version; what is agreed on; the entries in pages, each with its length before it, ended by
//! the length 0; what only the end can tell. Numbers are as in [`super::codec`].

mod header; // what is agreed on
mod page; // entries
mod restore; // a snapshot takes the place of the state
mod seed; // a lone node's table
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tcpffee_raft::machine::SnapshotSource;

use super::codec::CommandError;
use super::replica::Replica;
use super::state::State;
use crate::stick::hash::SHARDS;
use header::put_header;
pub(super) use header::{MAX_HEADER_BYTES, put_first_header};
pub(super) use page::{MAX_PAGE_BYTES, put_page};
pub use seed::seed;

/// The layout.
pub(super) const FORMAT: u8 = 1;

/// Bytes after which a piece ends.
const PIECE_BYTES: usize = 64 * 1024;

/// The length of the page after the last one.
const NO_PAGE: [u8; 4] = [0; 4];

/// Marks the state as it is: it is read from the result while it changes.
pub(super) fn begin(state: &State) -> Reading {
    let replica = Arc::clone(&state.entries.replica);
    let number = next_number(&replica);
    let mut pages = [0; SHARDS];
    for (at, pages) in pages.iter_mut().enumerate() {
        let mut shard = replica.lock(at);
        *pages = shard.pages();
        let before = shard.begin_snapshot(number, &replica.snapshot_bytes);
        drop(shard);
        drop(before);
    }
    let mut head = vec![FORMAT];
    put_header(&mut head, state);
    Reading {
        replica,
        number,
        head,
        pages,
        shard: 0,
        page: 0,
        tail: Some(state.entries.next_serial),
    }
}

/// The number of a new snapshot: any other one is superseded.
fn next_number(replica: &Replica) -> u64 {
    replica.snapshots.fetch_add(1, Ordering::AcqRel) + 1
}

/// A snapshot being read.
pub(super) struct Reading {
    replica: Arc<Replica>,
    number: u64,
    /// Until it has been read.
    head: Vec<u8>,
    /// Pages of each shard that it is of.
    pages: [usize; SHARDS],
    /// The page that comes next.
    shard: usize,
    page: usize,
    /// Until the end has been read: the next serial.
    tail: Option<u64>,
}

impl SnapshotSource for Reading {
    fn next_piece(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let superseded = || io::Error::other("another snapshot of the stick table was begun");
        if self.replica.snapshots.load(Ordering::Acquire) != self.number {
            return Err(superseded());
        }
        let begin = out.len();
        out.append(&mut self.head);
        while self.shard < SHARDS {
            if self.page == self.pages[self.shard] {
                self.shard += 1;
                self.page = 0;
                continue;
            }
            if out.len() - begin >= PIECE_BYTES {
                return Ok(());
            }
            let mut shard = self.replica.lock(self.shard);
            let read = shard.read_marked(self.number, self.page, out);
            drop(shard);
            read.ok_or_else(superseded)?;
            self.page += 1;
        }
        if let Some(next_serial) = self.tail.take() {
            put_end(out, next_serial);
        }
        Ok(())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        for shard in 0..SHARDS {
            let mark = self.replica.lock(shard).end_snapshot(self.number);
            drop(mark);
        }
    }
}

pub(super) fn put_end(out: &mut Vec<u8>, next_serial: u64) {
    out.extend_from_slice(&NO_PAGE);
    out.extend_from_slice(&next_serial.to_le_bytes());
}

fn malformed(error: CommandError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl State {
    /// Marks the state as it is, to be read by another thread.
    pub fn snapshot(&self) -> Box<dyn SnapshotSource> {
        Box::new(begin(self))
    }
}

/// The whole state as bytes that are the same on every replica.
pub(super) fn digest(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_header(&mut bytes, state);
    let mut entries = Vec::new();
    for shard in 0..SHARDS {
        let shard = state.entries.replica.lock(shard);
        entries.extend((0..shard.slots()).map(|slot| shard.entry(slot).clone()));
    }
    entries.sort_by_key(|entry| entry.serial);
    for entry in &entries {
        put_page(std::slice::from_ref(entry), &mut bytes);
    }
    put_end(&mut bytes, state.entries.next_serial);
    bytes
}
