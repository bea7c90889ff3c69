//! What a node saw, and what holds.

use crate::config::GroupId;

use super::definition::CheckId;
use super::streak::State;

/// What this node's own results amount to, for one check of a group: failing where any target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The group.
    pub group: GroupId,
    /// The check.
    pub check: CheckId,
    /// What it amounts to.
    pub state: State,
}

/// What holds for one check of a group; only this decides the group's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The group.
    pub group: GroupId,
    /// The check.
    pub check: CheckId,
    /// What holds.
    pub state: State,
}

impl Verdict {
    /// Where nobody else is to be asked, what the node saw is what holds.
    pub fn alone(observation: Observation) -> Verdict {
        let Observation {
            group,
            check,
            state,
        } = observation;
        Verdict {
            group,
            check,
            state,
        }
    }
}
