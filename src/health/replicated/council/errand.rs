//! A proposal on its way: one at a time, and the next one when the last is known to have, or not to
//! have, an effect here.

use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use tcpffee_raft::driver::{Handle, boot_time};
use tcpffee_raft::ids::Index;
use tcpffee_raft::proposals::ProposalError;

use crate::health::replicated::agreed::Agreed;
use crate::health::replicated::codec;
use crate::health::replicated::command::{Command, Outcome, VERSION};

/// How long what was applied elsewhere is waited for here.
const LAG: Duration = Duration::from_secs(5);
/// How long nothing is proposed after a proposal came to nothing.
const PAUSE: Duration = Duration::from_millis(500);
/// The same where it would come to nothing again.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// What became of a proposal.
pub(super) type Result = std::result::Result<Bytes, ProposalError>;

/// One kind of proposals, of which one is on its way at most.
pub(super) struct Errand {
    state: State,
    /// How long an answer is waited for.
    patience: Duration,
    done: Sender<Result>,
    answers: Receiver<Result>,
}

enum State {
    /// Nothing is on its way, and nothing is to be before this moment.
    Free { from: Instant },
    /// One is.
    Out,
    /// One was applied there; not longer than until this moment it is waited for here.
    Applied { there: Index, until: Instant },
}

impl Errand {
    /// Of proposals that are waited for so long.
    pub fn new(patience: Duration, now: Instant) -> Errand {
        let (done, answers) = unbounded();
        Errand {
            state: State::Free { from: now },
            patience,
            done,
            answers,
        }
    }

    /// Where answers come in, to be given to [`Errand::answered`].
    pub fn answers(&self) -> Receiver<Result> {
        self.answers.clone()
    }

    /// Whether another one may be sent: what the last one has brought is in `agreed`.
    pub fn is_free(&self, agreed: &Agreed, now: Instant) -> bool {
        match self.state {
            State::Free { from } => now >= from,
            State::Out => false,
            State::Applied { there, until } => agreed.index >= there || now >= until,
        }
    }

    /// Sends one.
    pub fn send(&mut self, handle: &Handle, command: &Command) {
        self.state = State::Out;
        let deadline = boot_time().plus(self.patience.as_millis() as u64);
        let done = self.done.clone();
        let done = Box::new(move |result| {
            // Who waits for it has ended otherwise.
            let _ = done.send(result);
        });
        handle.propose(codec::encode_command(command), VERSION, deadline, done);
    }

    /// Takes in what became of it.
    pub fn answered(&mut self, result: Result, now: Instant) {
        let answer = match &result {
            Ok(bytes) => codec::decode_answer(bytes).ok(),
            Err(why) => {
                log::debug!("a proposal of the health checks came to nothing: {why}");
                self.state = State::Free { from: now + PAUSE };
                return;
            }
        };
        self.state = match answer {
            Some(answer) if matches!(answer.outcome, Outcome::Done | Outcome::NoSession) => {
                State::Applied {
                    there: answer.index,
                    until: now + LAG,
                }
            }
            _ => {
                log::error!(
                    "the health checks' log does not take what this node says: {answer:?}; other \
                     nodes may run a version that does not go with this one"
                );
                State::Free {
                    from: now + LONG_PAUSE,
                }
            }
        };
    }
}
