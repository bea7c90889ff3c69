//! What the log drives: the state machine of whoever uses this module.

use std::io::{self, Read};

use bytes::Bytes;

use crate::ids::{Index, LogTime, Term};
use crate::membership::Membership;

/// A state that is a function of the log and of nothing else.
///
/// All calls come from one thread, in log order.
pub trait StateMachine: Send + 'static {
    /// Applies committed entries; pushes one answer for each [`Event::Command`], in their order.
    fn apply(&mut self, entries: &[Applied<'_>], answers: &mut Vec<Bytes>);

    /// The state exactly as it is between two calls of `apply`. Returns at once; the state is
    /// read from the result by another thread while `apply` goes on.
    fn snapshot(&mut self) -> Box<dyn SnapshotSource>;

    /// Replaces the whole state by one that a snapshot holds.
    ///
    /// # Errors
    /// Where the bytes are not such a state; the node then stops.
    fn restore(&mut self, state: &mut dyn Read) -> io::Result<()>;

    /// This node leads from now on, and everything of earlier terms has been applied.
    fn became_leader(&mut self, _term: Term) {}

    /// This node leads no longer.
    fn ceased_to_lead(&mut self) {}
}

/// One committed entry.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// Its place in the log.
    pub index: Index,
    /// The cluster's time.
    pub time: LogTime,
    /// What it says.
    pub event: Event<'a>,
}

/// What an entry says to a state machine.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A command, in the given version of their language.
    Command {
        /// The version.
        version: u16,
        /// The command.
        body: &'a [u8],
    },
    /// Time has passed.
    Time,
    /// Who belongs to the cluster has changed.
    Membership(&'a Membership),
}

/// The state at one place in the log, read piece by piece.
pub trait SnapshotSource: Send {
    /// Appends the next piece, of some 64 KiB, to `out`; appends nothing at the end.
    ///
    /// # Errors
    /// Where the state cannot be had; the snapshot is given up and tried again later.
    fn next_piece(&mut self, out: &mut Vec<u8>) -> io::Result<()>;
}
