//! What clients saw and what was done to the cluster meanwhile, all by one clock.

use std::fmt;
use std::time::Duration;

/// The end of what has not ended.
pub const NEVER: Duration = Duration::MAX;

/// What came of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This group's server named itself.
    Group(u32),
    /// Nobody listened, or no way led there.
    Refused,
    /// A reset, before any name.
    Reset,
    /// An orderly end, before any name.
    Ended,
    /// Nothing, for as long as the client waited.
    TimedOut,
}

/// One connection of one key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The client's number.
    pub key: u32,
    /// The node that it went to.
    pub node: usize,
    /// When it began to connect.
    pub asked: Duration,
    /// When the outcome was there.
    pub answered: Duration,
    /// Until when it certainly was open: just before the client closed it, or `answered` where it
    /// did not get so far.
    pub active_until: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// A time in which a node was down, stopped or cut off: what it had not told the others yet may
/// never have come to them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// The node.
    pub node: usize,
    /// From just before it began.
    pub from: Duration,
    /// Until it was certainly over.
    pub until: Duration,
}

/// A time in which a group may have been Disabled or gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage {
    /// The group.
    pub group: u32,
    /// From just before it was ordered.
    pub from: Duration,
    /// Until it was certainly over on all nodes.
    pub until: Duration,
}

/// All that is to be judged.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// `expiration`, the shortest of all that applied.
    pub expiration: Duration,
    /// In any order.
    pub answers: Vec<Answer>,
    /// In any order.
    pub faults: Vec<Fault>,
    /// In any order.
    pub outages: Vec<Outage>,
}

impl History {
    /// How many connections had such an outcome.
    pub fn count(&self, is_counted: impl Fn(Outcome) -> bool) -> usize {
        let counted = |answer: &&Answer| is_counted(answer.outcome);
        self.answers.iter().filter(counted).count()
    }
}

impl Answer {
    /// Whether a group answered.
    pub fn is_served(&self) -> bool {
        self.group().is_some()
    }

    /// The group that answered.
    pub fn group(&self) -> Option<u32> {
        match self.outcome {
            Outcome::Group(group) => Some(group),
            _ => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::as_secs_f64;
        write!(
            f,
            "{:9.4} s to {:9.4} s (open until {:9.4} s)  key {:>5}  node {}  {:?}",
            seconds(&self.asked),
            seconds(&self.answered),
            seconds(&self.active_until),
            self.key,
            self.node,
            self.outcome
        )
    }
}
