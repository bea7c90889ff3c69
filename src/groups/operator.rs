//! What an operator has said of a group by command.

use std::sync::atomic::{AtomicU8, Ordering};

use super::Status;

/// In place of a status: nothing has been said.
const NOTHING: u8 = u8::MAX;

/// What an operator has said of one group: `tcpffee drain`, `disable` or `enable`. It lives as
/// long as the configuration that it was said about: a reload forgets it.
#[derive(Debug)]
pub struct OperatorWord(AtomicU8);

impl OperatorWord {
    /// What was said: `Up` takes the configuration's word back, the others add to it.
    pub fn get(&self) -> Option<Status> {
        match self.0.load(Ordering::Acquire) {
            NOTHING => None,
            said => Some(Status::of(said)),
        }
    }

    /// What is said from now on; `None` forgets it.
    pub fn set(&self, said: Option<Status>) {
        let said = said.map_or(NOTHING, |status| status as u8);
        self.0.store(said, Ordering::Release);
    }
}

impl Default for OperatorWord {
    fn default() -> OperatorWord {
        OperatorWord(AtomicU8::new(NOTHING))
    }
}

/// What a status that an operator asked for is called, as the reason for a group's status.
pub fn operators_reason(said: Status) -> &'static str {
    match said {
        Status::Up => "enabled by an operator (tcpffee enable)",
        Status::Draining => "drained by an operator (tcpffee drain)",
        Status::Disabled => "disabled by an operator (tcpffee disable)",
    }
}
