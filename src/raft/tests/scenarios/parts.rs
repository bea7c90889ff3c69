//! What the bench is laid with: names, entries, memberships, disks.

use bytes::Bytes;
use tcpffee_raft::durable::{HardState, Recovered, Write};
use tcpffee_raft::entry::{ClientId, Command, Entry, Payload};
use tcpffee_raft::ids::{Incarnation, Index, LogTime, NodeId, Position, StoreId, Term};
use tcpffee_raft::membership::{Member, Membership, RecordedLife, Role};
use tcpffee_raft::message::SnapshotMeta;
use tcpffee_raft::settings::Settings;

/// Times and bounds of the bench: everything small.
pub fn settings() -> Settings {
    Settings {
        // What is committed is told at once, so that messages alone decide what follows.
        commit_news_ms: 0,
        max_append_bytes: 4096,
        tail_bytes: 0,
        snapshot_chunk_bytes: 10,
        ..Settings::default()
    }
}

pub fn id(n: u64) -> NodeId {
    NodeId(n)
}

pub fn at(index: u64, term: u64) -> Position {
    Position {
        term: Term(term),
        index: Index(index),
    }
}

/// The first life of a node.
pub fn first_life(n: u64) -> Incarnation {
    Incarnation {
        store: StoreId(n.into()),
        start: 1,
        boot: n * 1000 + 1,
    }
}

pub fn voter(n: u64) -> Member {
    Member {
        role: Role::Voter,
        life: Some(RecordedLife {
            incarnation: first_life(n),
            recorded_at: Index(1),
        }),
        statement: None,
    }
}

/// The membership that the cluster was formed with.
pub fn founders(voters: &[u64]) -> Membership {
    Membership {
        members: voters.iter().map(|n| (id(*n), voter(*n))).collect(),
        retired: Vec::new(),
    }
}

pub fn entry(index: u64, term: u64, payload: Payload) -> Entry {
    Entry {
        index: Index(index),
        term: Term(term),
        time: LogTime(0),
        payload,
    }
}

pub fn command(text: &str) -> Command {
    Command {
        client: ClientId {
            node: id(1),
            boot: 1,
        },
        sequence: 1,
        answered_below: 1,
        issued: LogTime(0),
        version: 0,
        body: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// What a node's disk holds for sure.
#[derive(Clone, Default)]
pub struct Disk {
    pub hard_state: HardState,
    pub entries: Vec<Entry>,
    pub snapshot: Option<SnapshotMeta>,
    /// A snapshot that has arrived in part.
    pub partial: Option<(SnapshotMeta, u64)>,
}

impl Disk {
    pub fn write(&mut self, write: Write) {
        if let Some(meta) = write.reset {
            self.entries.clear();
            self.snapshot = Some(SnapshotMeta::clone(&meta));
        }
        if let Some(state) = write.hard_state {
            self.hard_state = state;
        }
        if let Some(first) = write.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
        }
        self.entries.extend(write.entries);
    }

    pub fn recovered(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            snapshot: self.snapshot.clone(),
            entries: self.entries.clone(),
        }
    }
}

/// Some bytes of a snapshot: their value does not matter here.
pub fn snapshot_bytes(meta: &SnapshotMeta, offset: u64, length: usize) -> Bytes {
    let left = meta.size_bytes - offset;
    Bytes::from(vec![7; length.min(left as usize)])
}
