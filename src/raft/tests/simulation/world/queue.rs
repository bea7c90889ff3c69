//! What is still to happen, by simulated time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use bytes::Bytes;
use tcpffee_raft::core::{ChunkRead, ChunkWrite};
use tcpffee_raft::durable::WriteId;
use tcpffee_raft::entry::Command;
use tcpffee_raft::ids::NodeId;
use tcpffee_raft::message::{Envelope, SnapshotMeta};

use super::plan::Fault;

/// Something that happens. What a node does names the life in which it was begun: it comes to
/// nothing where that life has ended.
#[derive(Clone, Debug)]
pub enum Event {
    /// A node looks at its clock.
    Tick { node: usize, life: u64 },
    /// A message arrives.
    Deliver { life: u64, envelope: Box<Envelope> },
    /// What a core has put out is carried out.
    Drain { node: usize, life: u64 },
    /// The disk takes all that is queued.
    DiskWrite { node: usize, life: u64 },
    /// The disk makes durable what it took.
    DiskSync { node: usize, life: u64 },
    /// The disk says so.
    DiskDone {
        node: usize,
        life: u64,
        write: WriteId,
    },
    /// The state machine takes what is committed.
    Apply { node: usize, life: u64 },
    /// A piece of a snapshot is read for a follower.
    ReadChunk {
        node: usize,
        life: u64,
        read: ChunkRead,
    },
    /// A piece of an arriving snapshot is stored.
    StoreChunk {
        node: usize,
        life: u64,
        chunk: Box<ChunkWrite>,
    },
    /// A local snapshot's file is durable.
    SnapshotDone {
        node: usize,
        life: u64,
        meta: Arc<SnapshotMeta>,
        state: Bytes,
    },
    /// The connection to a peer is lost.
    Unreachable {
        node: usize,
        life: u64,
        peer: NodeId,
    },
    /// A node starts, where it is down.
    Start { node: usize },
    /// A paused node goes on.
    Resume { node: usize },
    /// A node begins anew with an empty store, having been told to.
    SetAside { node: usize, life: u64 },
    /// A node with a failed disk is seen to.
    Repair { node: usize, life: u64 },
    /// A disk is fast again.
    DiskRecovers { node: usize },
    /// A cut between nodes is mended.
    Mend { cut: usize },
    /// A client begins its next command.
    ClientNext { client: usize },
    /// A client's command arrives at a node.
    Request {
        client: usize,
        node: usize,
        command: Box<Command>,
    },
    /// An answer arrives at the client.
    Answer {
        client: usize,
        sequence: u64,
        answer: Answer,
    },
    /// A client has waited long enough.
    ClientTimeout {
        client: usize,
        sequence: u64,
        attempt: u64,
    },
    /// A fault of the plan.
    Fault { fault: Fault, mean_ms: u64 },
    /// From here on nothing goes wrong any more.
    Calm,
    /// Has the calm world come to rest?
    Look,
}

/// What a node tells a client.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The command has been applied.
    Applied(Bytes),
    /// Another entry took its place: it was not applied through this proposal.
    Lost,
    /// Ask elsewhere.
    Elsewhere(Option<NodeId>),
    /// Ask again later.
    Later,
}

impl Event {
    /// The node whose process it needs: a stopped one gets to it later.
    pub fn process(&self) -> Option<usize> {
        match self {
            Event::Tick { node, .. }
            | Event::Drain { node, .. }
            | Event::DiskWrite { node, .. }
            | Event::DiskSync { node, .. }
            | Event::DiskDone { node, .. }
            | Event::Apply { node, .. }
            | Event::ReadChunk { node, .. }
            | Event::StoreChunk { node, .. }
            | Event::SnapshotDone { node, .. }
            | Event::Unreachable { node, .. }
            | Event::SetAside { node, .. }
            | Event::Request { node, .. } => Some(*node),
            Event::Deliver { envelope, .. } => Some(envelope.to.0 as usize - 1),
            _ => None,
        }
    }

    /// A number for its kind.
    pub fn kind(&self) -> u64 {
        match self {
            Event::Tick { .. } => 1,
            Event::Deliver { .. } => 2,
            Event::Drain { .. } => 3,
            Event::DiskWrite { .. } => 4,
            Event::DiskSync { .. } => 5,
            Event::DiskDone { .. } => 6,
            Event::Apply { .. } => 7,
            Event::ReadChunk { .. } => 8,
            Event::StoreChunk { .. } => 9,
            Event::SnapshotDone { .. } => 10,
            Event::Unreachable { .. } => 11,
            Event::Start { .. } => 12,
            Event::Resume { .. } => 13,
            Event::SetAside { .. } => 14,
            Event::DiskRecovers { .. } => 15,
            Event::Mend { .. } => 16,
            Event::ClientNext { .. } => 17,
            Event::Request { .. } => 18,
            Event::Answer { .. } => 19,
            Event::ClientTimeout { .. } => 20,
            Event::Fault { fault, .. } => 32 + *fault as u64,
            Event::Calm => 21,
            Event::Look => 22,
            Event::Repair { .. } => 23,
        }
    }
}

struct Timed {
    at_us: u64,
    order: u64,
    event: Event,
}

impl Ord for Timed {
    fn cmp(&self, other: &Timed) -> Ordering {
        // The heap gives the greatest first.
        (other.at_us, other.order).cmp(&(self.at_us, self.order))
    }
}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Timed) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timed {
    fn eq(&self, other: &Timed) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timed {}

/// Events by time, and at one time in the order in which they were put.
#[derive(Default)]
pub struct Queue {
    heap: BinaryHeap<Timed>,
    put: u64,
}

impl Queue {
    /// Lets something happen at a time in microseconds.
    pub fn put(&mut self, at_us: u64, event: Event) {
        self.put += 1;
        let order = self.put;
        self.heap.push(Timed {
            at_us,
            order,
            event,
        });
    }

    /// What comes next, with its time.
    pub fn next(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|timed| (timed.at_us, timed.event))
    }
}
