//! Rise and fall: how single results become a state.

use crate::config::HealthCheck;

/// What the results of one check of one target, or of a whole check, amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing speaks against the target: it passed, or has not failed often enough in a row.
    Passing,
    /// It failed `fall` times in a row, and has not passed `rise` times in a row since.
    Failing,
}

impl State {
    /// The word for it in files and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Passing => "passing",
            State::Failing => "failing",
        }
    }
}

/// A state with the results that speak against it so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    /// What holds.
    pub state: State,
    /// Results in a row that speak against the state, up to the latest: failures while it is
    /// passing, successes while it is failing. Less than `fall` or `rise`.
    pub against: u32,
}

impl Streak {
    /// How a check that is new begins: a target is innocent until proven otherwise.
    pub const NEW: Streak = Streak {
        state: State::Passing,
        against: 0,
    };

    /// A state that is to be held until a full run of results speaks against it.
    pub fn held(state: State) -> Streak {
        Streak { state, against: 0 }
    }

    /// A streak that an earlier process saved; a run that would have turned the state by now counts
    /// one less than what would.
    pub fn restored(state: State, against: u32, check: &HealthCheck) -> Streak {
        let needed = match state {
            State::Passing => check.fall,
            State::Failing => check.rise,
        };
        Streak {
            state,
            against: against.min(needed - 1),
        }
    }

    /// Takes in one result; returns the state where it is another one now.
    pub fn note(&mut self, passed: bool, check: &HealthCheck) -> Option<State> {
        let (turns, needed, other) = match self.state {
            State::Passing => (!passed, check.fall, State::Failing),
            State::Failing => (passed, check.rise, State::Passing),
        };
        self.against = if turns { self.against + 1 } else { 0 };
        if self.against < needed {
            return None;
        }
        *self = Streak::held(other);
        Some(other)
    }
}
