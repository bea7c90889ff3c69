//! Commands and answers as bytes.

use bytes::Bytes;

use super::command::{Answer, Batch};

/// Bytes that are no command, or no answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// They end too early.
    #[error("the bytes end too early")]
    Truncated,
}

/// A batch as a command of the log.
pub fn encode(_batch: &Batch) -> Bytes {
    Bytes::new()
}

impl Batch {
    /// Reads what [`encode`] wrote.
    ///
    /// # Errors
    /// Where the bytes are something else, or more than a command may have.
    pub fn decode(_bytes: &[u8]) -> Result<Batch, CommandError> {
        Err(CommandError::Truncated)
    }
}

impl Answer {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        Bytes::new()
    }

    /// Reads what [`Answer::encode`] wrote.
    ///
    /// # Errors
    /// Where the bytes are something else.
    pub fn decode(_bytes: &[u8]) -> Result<Answer, CommandError> {
        Err(CommandError::Truncated)
    }
}
