//! What the driver's other threads tell it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::applier::Marked;
use crate::core::ChunkRead;
use crate::durable::WriteId;
use crate::ids::{Index, Position};
use crate::message::SnapshotMeta;
use crate::sessions::Refusal;
use crate::store::StoreError;

/// What became of a command at its place.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) position: Position,
    pub(super) outcome: Result<Bytes, Refusal>,
}

pub(super) enum Report {
    /// From the log's writer: all up to here is durable.
    Persisted(WriteId),
    /// From the log's writer: nothing more will be.
    WriteFailed(StoreError),
    /// From the applier.
    Applied { upto: Index, answers: Vec<Answered> },
    /// From the applier: the state is that of the snapshot at this place.
    Restored(Index),
    /// From the applier: it has no state any more.
    RestoreFailed(Arc<SnapshotMeta>, io::Error),
    /// From the applier: the state at the place that it has come to.
    Marked(Box<Marked>),
    /// From the snapshots' thread: the file of a local one is durable.
    Taken(Arc<SnapshotMeta>),
    /// From the snapshots' thread: there is no local one.
    NotTaken(String),
    /// From the snapshots' thread: arriving pieces are written up to here.
    Stored {
        snapshot: Arc<SnapshotMeta>,
        offset: u64,
    },
    /// From the snapshots' thread: a piece was read.
    Read(ChunkRead, Bytes),
    /// From the snapshots' thread: a piece that has arrived could not be written.
    ChunkFailed { snapshot: Position, error: String },
    /// From the snapshots' thread: a piece for another could not be read.
    Unreadable { snapshot: Position, error: String },
}
