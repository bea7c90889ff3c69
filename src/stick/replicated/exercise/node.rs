//! One replica, driven by hand.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tcpffee_raft::ids::{Index, LogTime, NodeId};
use tcpffee_raft::machine::{Applied, Event, SnapshotSource, StateMachine};
use tcpffee_raft::membership::Membership;

use crate::groups::GroupRegistry;
use crate::stick::replicated::agreed::Agreed;
use crate::stick::replicated::machine::{Listener, Machine};
use crate::stick::replicated::replica::Replica;
use crate::stick::replicated::snapshot::digest;

/// A replica with its machine.
pub(super) struct Node {
    pub machine: Machine,
    pub replica: Arc<Replica>,
}

/// One entry of the log.
pub(super) struct Step {
    pub index: u64,
    pub time: u64,
    pub what: What,
}

/// What it says.
pub(super) enum What {
    Command { version: u16, body: Vec<u8> },
    Membership(Membership),
    Time,
}

struct Deaf;

impl Listener for Deaf {
    fn agreed_changed(&mut self, _: &Arc<Agreed>) {}

    fn became_leader(&mut self) {}

    fn ceased_to_lead(&mut self) {}

    fn applied(&mut self, _: Index, _: LogTime) {}
}

impl Node {
    /// Before the log's first entry.
    pub fn new() -> Node {
        let replica = Replica::new(Arc::new(GroupRegistry::new(1)));
        Node {
            machine: Machine::new(Arc::clone(&replica), NodeId(1), Box::new(Deaf)),
            replica,
        }
    }

    /// Takes in what a snapshot holds.
    pub fn restore(&mut self, snapshot: &[u8]) -> io::Result<()> {
        self.machine.restore(&mut &snapshot[..])
    }

    /// Applies an entry. There is an answer to each command, and to nothing else.
    pub fn apply(&mut self, step: &Step) -> Vec<Bytes> {
        let event = match &step.what {
            What::Command { version, body } => Event::Command {
                version: *version,
                body,
            },
            What::Membership(membership) => Event::Membership(membership),
            What::Time => Event::Time,
        };
        let applied = Applied {
            index: Index(step.index),
            time: LogTime(step.time),
            event,
        };
        let mut answers = Vec::new();
        self.machine.apply(&[applied], &mut answers);
        let is_command = matches!(step.what, What::Command { .. });
        assert_eq!(answers.len(), usize::from(is_command));
        assert_eq!(self.replica.applied(), Index(step.index));
        answers
    }

    /// The state as it is now, as a snapshot.
    pub fn snapshot(&mut self) -> Vec<u8> {
        read(&mut *self.machine.snapshot())
    }

    /// Everything that a log and its snapshots are to make the same of all replicas.
    pub fn digest(&self) -> Vec<u8> {
        digest(&self.machine.state)
    }

    /// Is in nothing different from another replica of the same log, in what workers see neither.
    pub fn is_as(&self, other: &Node) {
        assert!(
            self.digest() == other.digest(),
            "{:?}\n{:?}",
            self.machine.state,
            other.machine.state
        );
        let (one, other) = (&self.replica, &other.replica);
        assert_eq!(one.agreed(), other.agreed());
        assert_eq!(one.counts(), other.counts());
        let at = |replica: &Replica| (replica.applied(), replica.time());
        assert_eq!(at(one), at(other));
    }
}

/// All that there is to read.
pub(super) fn read(source: &mut dyn SnapshotSource) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        let piece = source.next_piece(&mut bytes);
        piece.expect("no other snapshot was begun meanwhile");
        if bytes.len() == before {
            return bytes;
        }
    }
}
