//! The stick table as the state machine of its log.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use tcpffee_raft::ids::{Index, LogTime, NodeId, Term};
use tcpffee_raft::machine::{Applied, Event, SnapshotSource, StateMachine};

use super::agreed::Agreed;
use super::command::{Answer, Batch, VERSION};
use super::replica::Replica;
use super::state::State;

/// Hears what the log does, on the thread that applies it. All calls are short.
pub trait Listener: Send {
    /// Something agreed on has changed; workers see it already.
    fn agreed_changed(&mut self, agreed: &Arc<Agreed>);

    /// This node leads from now on, and everything of earlier terms is applied.
    fn became_leader(&mut self);

    /// This node leads no longer.
    fn ceased_to_lead(&mut self);

    /// Everything up to this place has been applied; told after each batch of entries, and after
    /// a snapshot.
    fn applied(&mut self, index: Index, time: LogTime);
}

/// The state machine that writes a replica. Made again for the same replica, it empties it: for a
/// node that begins anew. `own` is the node that it runs on, for the log lines alone.
pub fn machine(
    replica: Arc<Replica>,
    own: NodeId,
    listener: Box<dyn Listener>,
) -> Box<dyn StateMachine> {
    Box::new(Machine::new(replica, own, listener))
}

pub(super) struct Machine {
    pub(super) state: State,
    own: NodeId,
    listener: Box<dyn Listener>,
}

impl Machine {
    pub(super) fn new(replica: Arc<Replica>, own: NodeId, listener: Box<dyn Listener>) -> Machine {
        Machine {
            state: State::new(replica),
            own,
            listener,
        }
    }

    /// Applies one entry; with the answer, where it is a command.
    fn apply_one(&mut self, applied: &Applied<'_>) -> Option<Bytes> {
        let before = Arc::clone(self.state.agreed());
        let now = self.state.advance(applied.index, applied.time);
        let answer = match applied.event {
            Event::Time => None,
            Event::Membership(membership) => {
                self.state.membership(now, membership);
                None
            }
            Event::Command { version, body } => {
                let answer = match read(version, body) {
                    Ok(batch) => self.state.batch(now, batch),
                    Err(reason) => {
                        log::error!(
                            "stick table of {}: command {} does nothing: {reason}",
                            self.own,
                            applied.index
                        );
                        Answer {
                            index: now.index,
                            outcomes: Vec::new(),
                        }
                    }
                };
                Some(answer.encode())
            }
        };
        self.state.settle(now);
        if !Arc::ptr_eq(&before, self.state.agreed()) {
            self.listener.agreed_changed(self.state.agreed());
        }
        answer
    }

    fn told_applied(&mut self) {
        self.state.publish_applied();
        let (index, time) = (self.state.index, self.state.time);
        self.listener.applied(index, time);
    }
}

/// Reads a command. Every node finds the same: one that is newer than this version is proposed by
/// nobody while this node is a member.
fn read(version: u16, body: &[u8]) -> Result<Batch, String> {
    if version > VERSION {
        return Err(format!(
            "it is in version {version} of their language, this node understands {VERSION}"
        ));
    }
    Batch::decode(body).map_err(|error| error.to_string())
}

impl StateMachine for Machine {
    fn apply(&mut self, entries: &[Applied<'_>], answers: &mut Vec<Bytes>) {
        for entry in entries {
            answers.extend(self.apply_one(entry));
        }
        self.told_applied();
    }

    fn snapshot(&mut self) -> Box<dyn SnapshotSource> {
        self.state.snapshot()
    }

    fn restore(&mut self, state: &mut dyn Read) -> io::Result<()> {
        self.state.restore(state)?;
        self.listener.agreed_changed(self.state.agreed());
        self.told_applied();
        Ok(())
    }

    fn became_leader(&mut self, _term: Term) {
        self.listener.became_leader();
    }

    fn ceased_to_lead(&mut self) {
        self.listener.ceased_to_lead();
    }
}

#[cfg(test)]
mod tests;
