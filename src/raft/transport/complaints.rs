//! Faults that repeat: the first at once, then a line in a while, with a count.

use std::collections::BTreeMap;
use std::fmt;

use crate::ids::{NodeId, NodeTime};
use crate::wire::Purpose;

/// The same again is said as often, in milliseconds.
const REPEAT_MS: u64 = 10_000;

/// Something else about the same is said as often, in milliseconds.
const OTHER_MS: u64 = 1_000;

/// Whom a fault concerns. Only configured peers have a place of their own, so that strangers
/// cannot fill log or memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum About {
    Outgoing(NodeId, Purpose),
    Incoming(NodeId, Purpose),
    Stranger(Purpose),
    /// Good news: told apart from faults, so that neither hides the other. Whether it was dialled.
    Connected(NodeId, Purpose, bool),
}

#[derive(Debug, Default)]
struct Said {
    at: NodeTime,
    text: String,
    left_out: u64,
}

/// What has been said lately.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    said: BTreeMap<About, Said>,
}

/// How often it was not said; displays as nothing where that is zero.
pub(super) struct LeftOut(u64);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} more since the last such line)"),
        }
    }
}

impl Complaints {
    /// Whether the fault is to be logged now.
    pub fn admit(&mut self, about: About, text: &str, now: NodeTime) -> Option<LeftOut> {
        let Some(said) = self.said.get_mut(&about) else {
            let said = Said {
                at: now,
                text: text.into(),
                left_out: 0,
            };
            self.said.insert(about, said);
            return Some(LeftOut(0));
        };
        let wait = if said.text == text {
            REPEAT_MS
        } else {
            OTHER_MS
        };
        if now.since(said.at) < wait {
            said.left_out += 1;
            return None;
        }
        said.at = now;
        said.text = text.into();
        Some(LeftOut(std::mem::take(&mut said.left_out)))
    }

    /// Forgets a peer that is gone.
    pub fn forget(&mut self, peer: NodeId) {
        self.said.retain(|about, _| match about {
            About::Outgoing(id, _) | About::Incoming(id, _) | About::Connected(id, _, _) => {
                *id != peer
            }
            About::Stranger(_) => true,
        });
    }
}
