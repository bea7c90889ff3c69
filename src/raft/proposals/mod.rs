//! Commands on their way from whoever wants them to the log, and their answers on the way back.
//!
//! [`client::Client`] is the proposing side: one for each life of a node. It numbers commands,
//! sends them to whoever leads, sends them again until there is an answer, and never more than
//! the sessions ([`crate::sessions`]) can tell apart. [`desk::Desk`] is the leader's side: who is
//! to be told when an entry has been applied. Both are plain values without sockets, clocks or
//! threads; the driver carries out what they say.

pub mod client; // numbers, sends, sends again
pub mod desk; // who waits for which entry
pub mod refusal; // why a leader takes no command, as it travels

use bytes::Bytes;

use crate::sessions::Refusal;

/// Takes what became of a command. Runs in the driver's thread: it must not wait.
pub type Done = Box<dyn FnOnce(Result<Bytes, ProposalError>) + Send>;

/// Why a command has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposalError {
    /// Nothing came of it in time. It may have been applied, or may still be.
    #[error("no answer before the deadline; the command may have been applied, or still be")]
    TimedOut,
    /// It was not sent: too many wait. Try again later.
    #[error("{waiting} commands of {waiting_bytes} bytes wait to be sent already")]
    Busy {
        /// Commands that wait.
        waiting: usize,
        /// Bytes of their bodies.
        waiting_bytes: usize,
    },
    /// It was not sent: its body is too long.
    #[error("a command of {bytes} bytes, of at most {limit_bytes}")]
    TooLarge {
        /// The body's bytes.
        bytes: usize,
        /// Their bound.
        limit_bytes: usize,
    },
    /// It was not sent, or not taken: a member of the cluster does not understand its version.
    #[error("version {version} of commands is not understood by all members yet")]
    Version {
        /// The command's.
        version: u16,
    },
    /// The log holds it, and the sessions have refused it.
    #[error("the command was refused: {0}")]
    Refused(#[from] Refusal),
    /// The node stops. The command may have been applied, or may still be.
    #[error("the node stops; the command may have been applied, or still be")]
    Stopped,
    /// The node's log cannot be written: it hears of no other leader until it is restarted. The
    /// command may have been applied, or may still be.
    #[error(
        "the disk of this node's log has failed; restart it once that is mended; the command may have been applied, or still be"
    )]
    DiskFailed,
    /// The node has halted, and does nothing more until it is restarted. The command may have
    /// been applied, or may still be.
    #[error("the node has halted; the command may have been applied, or still be")]
    Halted,
}

impl ProposalError {
    /// Whether the command has certainly not been applied and never will be.
    pub fn is_certain(&self) -> bool {
        match self {
            ProposalError::Busy { .. }
            | ProposalError::TooLarge { .. }
            | ProposalError::Version { .. } => true,
            ProposalError::TimedOut
            | ProposalError::Refused(_)
            | ProposalError::Stopped
            | ProposalError::DiskFailed
            | ProposalError::Halted => false,
        }
    }
}
