//! What clients saw: the operations on registers, with when each was asked and answered.

use std::fmt;

/// A register's value; none before it is first written.
pub type Value = Option<u64>;

/// What is asked of a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Its value.
    Get,
    /// To hold the value from now on.
    Put(u64),
    /// To hold `new` from now on, if it holds `old`.
    Cas {
        /// What it must hold.
        old: Value,
        /// What it holds then.
        new: u64,
    },
}

/// What came of a call. Calls that were refused before they could have an effect are no part of
/// a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A `Get`'s answer.
    Read(Value),
    /// A `Put` or `Cas` took effect.
    Written,
    /// A `Cas` found another value.
    Different,
    /// No answer came: it takes effect once, at any time after it was asked, or never.
    Unknown,
}

/// One operation of one client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The client.
    pub client: usize,
    /// The register.
    pub key: u64,
    /// What was asked.
    pub call: Call,
    /// What came of it.
    pub outcome: Outcome,
    /// When it was asked, in nanoseconds of the clients' one clock.
    pub asked_ns: u64,
    /// When the answer was there, or was no longer waited for.
    pub answered_ns: u64,
}

impl Operation {
    /// The register's value after this operation took effect on `before` with this outcome;
    /// none where it cannot have had that outcome there. An unknown outcome that changes nothing
    /// need not be considered, so it counts as impossible.
    pub fn effect(&self, before: Value) -> Option<Value> {
        let after = match (self.call, self.outcome) {
            (Call::Get, Outcome::Read(value)) => return (value == before).then_some(before),
            (Call::Cas { old, .. }, Outcome::Different) => {
                return (old != before).then_some(before);
            }
            (Call::Put(value), Outcome::Written | Outcome::Unknown) => Some(value),
            (Call::Cas { old, new }, Outcome::Written | Outcome::Unknown) if old == before => {
                Some(new)
            }
            _ => return None,
        };
        (self.outcome != Outcome::Unknown || after != before).then_some(after)
    }

    /// Whether an answer came.
    pub fn is_answered(&self) -> bool {
        self.outcome != Outcome::Unknown
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: u64| ns as f64 / 1e6;
        write!(f, "{:>12.3} ms to ", ms(self.asked_ns))?;
        if self.is_answered() {
            write!(f, "{:>12.3} ms", ms(self.answered_ns))?;
        } else {
            write!(f, "{:>15}", "-")?;
        }
        write!(
            f,
            "  client {:>3}  {:?} -> {:?}",
            self.client, self.call, self.outcome
        )
    }
}
