//! A lone node's table as the first state of a cluster.

use std::io;

use tcpffee_raft::ids::{Index, LogTime};
use tcpffee_raft::machine::SnapshotSource;

use super::header::put_first_header;
use super::{FORMAT, PIECE_BYTES, put_end, put_page};
use crate::config::{GroupId, MAX_SLICE_END};
use crate::stick::Key;
use crate::stick::replicated::replica::entry::{Entry, State, after};
use crate::stick::replicated::replica::shard::PAGE_SLOTS;

/// A lone node's table as the first state of a cluster: every entry Active, with a whole
/// `expiration_ms` from log time 0, all of version 0. No key may come twice.
pub fn seed(
    entries: impl Iterator<Item = (Key, GroupId)> + Send + 'static,
    expiration_ms: u64,
) -> Box<dyn SnapshotSource> {
    let is_key = |key: &Key| {
        key.slice
            .as_deref()
            .is_none_or(|s| s.len() <= MAX_SLICE_END)
    };
    Box::new(Seed {
        entries: Some(Box::new(entries.filter(move |(key, _)| is_key(key)))),
        expires: after(LogTime(0), expiration_ms),
        next_serial: 1,
        is_begun: false,
    })
}

struct Seed {
    /// Until all of them have been read.
    entries: Option<Box<dyn Iterator<Item = (Key, GroupId)> + Send>>,
    expires: LogTime,
    next_serial: u64,
    is_begun: bool,
}

impl Seed {
    fn entry(&mut self, key: Key, group: GroupId) -> Entry {
        let serial = self.next_serial;
        self.next_serial += 1;
        Entry {
            ip: key.ip,
            slice: key.slice,
            version: Index(0),
            serial,
            expires: self.expires,
            nodes: 0,
            removed_at: Index(0),
            group,
            state: State::Active,
            maker: 0,
            restored: 0,
        }
    }
}

impl SnapshotSource for Seed {
    fn next_piece(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let begin = out.len();
        if !self.is_begun {
            self.is_begun = true;
            out.push(FORMAT);
            put_first_header(out);
        }
        while out.len() - begin < PIECE_BYTES {
            let Some(entries) = &mut self.entries else {
                return Ok(());
            };
            let page: Vec<(Key, GroupId)> = entries.take(PAGE_SLOTS).collect();
            if page.is_empty() {
                self.entries = None;
                put_end(out, self.next_serial);
                return Ok(());
            }
            let page = page.into_iter();
            let page: Vec<Entry> = page.map(|(key, group)| self.entry(key, group)).collect();
            put_page(&page, out);
        }
        Ok(())
    }
}
