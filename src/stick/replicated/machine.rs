//! The stick table as the state machine of its log.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use tcpffee_raft::ids::{Index, LogTime, NodeId};
use tcpffee_raft::machine::{Applied, SnapshotSource, StateMachine};

use super::agreed::Agreed;
use super::replica::Replica;
use super::snapshot::seed;

/// Hears what the log does, on the thread that applies it. All calls are short.
pub trait Listener: Send {
    /// Something agreed on has changed; workers see it already.
    fn agreed_changed(&mut self, agreed: &Arc<Agreed>);

    /// This node leads from now on.
    fn became_leader(&mut self);

    /// This node leads no longer.
    fn ceased_to_lead(&mut self);

    /// Everything up to this place has been applied; told after each batch of entries, and after
    /// a snapshot.
    fn applied(&mut self, index: Index, time: LogTime);
}

/// The state machine that writes a replica. Made again for the same replica, it empties it: for a
/// node that begins anew. `own` is the node that it runs on.
pub fn machine(
    replica: Arc<Replica>,
    own: NodeId,
    listener: Box<dyn Listener>,
) -> Box<dyn StateMachine> {
    Box::new(Machine {
        _replica: replica,
        _own: own,
        listener,
    })
}

struct Machine {
    _replica: Arc<Replica>,
    _own: NodeId,
    listener: Box<dyn Listener>,
}

impl StateMachine for Machine {
    fn apply(&mut self, _entries: &[Applied<'_>], _answers: &mut Vec<Bytes>) {
        self.listener.applied(Index(0), LogTime(0));
    }

    fn snapshot(&mut self) -> Box<dyn SnapshotSource> {
        seed(std::iter::empty(), 0)
    }

    fn restore(&mut self, _state: &mut dyn Read) -> io::Result<()> {
        Ok(())
    }
}
