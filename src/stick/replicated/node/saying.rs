//! What others have said through a node: statements, a leader's duties, an operator's wishes.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use crate::stick::Key;
use crate::stick::replicated::command::{Op, Outcome};

use super::Node;
use super::outbox::{About, Queued};

/// How long an operator waits for the log's answer.
const OPERATORS_PATIENCE: Duration = Duration::from_secs(8);
/// How long the last news of this node's connections are waited for when it stops.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// What was said, until the log has answered or it is known that it will not.
#[derive(Debug)]
pub struct Saying(Receiver<Outcome>);

impl Saying {
    /// Whether nothing more is to be expected of it.
    pub fn is_over(&self) -> bool {
        !matches!(self.0.try_recv(), Err(TryRecvError::Empty))
    }
}

impl Node {
    /// Says something in the log at once, whether this process is stated there or not.
    pub fn say(&self, ops: Vec<Op>) -> Saying {
        let (sender, receiver) = bounded(ops.len().max(1));
        let queued = ops.into_iter().map(|op| Queued {
            op,
            about: About::Saying(sender.clone()),
        });
        self.propose_apart(queued.collect());
        Saying(receiver)
    }

    /// Has an entry removed by an operator's wish; waits for it.
    ///
    /// # Errors
    /// In words.
    pub fn remove(&self, key: Key) -> Result<(), String> {
        let Some(seen) = self.replica.look(key.as_ref()).filter(|seen| !seen.removed) else {
            return Ok(());
        };
        let before = seen.version;
        let Saying(outcome) = self.say(vec![Op::Remove { key: key.clone() }]);
        match outcome.recv_timeout(OPERATORS_PATIENCE) {
            Ok(Outcome::Done) => {}
            Ok(_) => return Err("this node does not belong to the cluster".to_owned()),
            Err(_) => {
                return Err(
                    "no leader of the cluster has answered; it may be removed yet".to_owned(),
                );
            }
        }
        // It is gone once no node goes by it any more.
        let deadline = Instant::now() + OPERATORS_PATIENCE;
        let is_there = || {
            let seen = self.replica.look(key.as_ref());
            seen.is_some_and(|seen| seen.removed || seen.version == before)
        };
        while is_there() {
            if Instant::now() >= deadline {
                return Err(
                    "it is removed, and some node may answer by it a little longer".to_owned(),
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Has the log told all that it does not know of this node's connections, and waits a little
    /// for it: the process ends.
    pub fn tell_last(&self) {
        self.tell_all();
        let deadline = Instant::now() + LAST_PATIENCE;
        while self.outbox.lengths() != (0, 0) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
