//! The kinds of values that settings take, with their bounds.

/// The longest time that any setting takes: 365 days, in milliseconds.
pub(super) const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A time in seconds, fractions allowed.
    Seconds {
        /// Shortest, in milliseconds.
        min_ms: u64,
        /// Longest, in milliseconds.
        max_ms: u64,
    },
    /// A time in whole seconds.
    WholeSeconds {
        /// Shortest, in seconds.
        min: u64,
        /// Longest, in seconds.
        max: u64,
    },
    /// How often something may happen in a second, fractions allowed.
    PerSecond {
        /// Least, in thousandths.
        min_thousandths: u64,
        /// Most, in thousandths.
        max_thousandths: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Anything else: its type, and what it must hold.
    Other {
        /// The type's name in the reference.
        name: &'static str,
        /// What is accepted, as it completes "expected …".
        expected: &'static str,
    },
}

impl Kind {
    /// The type's name in the reference.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Bool => "boolean",
            Kind::Integer { .. } | Kind::WholeSeconds { .. } => "integer",
            Kind::Seconds { .. } | Kind::PerSecond { .. } => "number",
            Kind::Choice(_) => "string",
            Kind::Other { name, .. } => name,
        }
    }

    /// What is accepted, as it stands in the reference.
    pub fn range(&self) -> String {
        match self {
            Kind::Bool => "`true`, `false`".to_owned(),
            Kind::Integer { min, max } => format!("{min} to {max}"),
            Kind::Seconds { min_ms, max_ms } => {
                format!("{} to {} seconds", seconds(*min_ms), seconds(*max_ms))
            }
            Kind::WholeSeconds { min, max } => format!("{min} to {max} seconds"),
            Kind::PerSecond {
                min_thousandths: min,
                max_thousandths: max,
            } => format!("{} to {} a second", thousandths(*min), thousandths(*max)),
            Kind::Choice(words) => {
                let quoted: Vec<String> =
                    words.iter().map(|word| format!("`\"{word}\"`")).collect();
                quoted.join(", ")
            }
            Kind::Other { expected, .. } => (*expected).to_owned(),
        }
    }

    /// What is accepted, as it completes "expected …".
    pub fn expected(&self) -> String {
        match self {
            Kind::Bool => "true or false".to_owned(),
            Kind::Integer { min, max } => format!("an integer from {min} to {max}"),
            Kind::Seconds { min_ms, max_ms } => format!(
                "seconds as a number from {} to {}",
                seconds(*min_ms),
                seconds(*max_ms)
            ),
            Kind::WholeSeconds { min, max } => format!("whole seconds from {min} to {max}"),
            Kind::PerSecond {
                min_thousandths: min,
                max_thousandths: max,
            } => format!(
                "a number from {} to {}",
                thousandths(*min),
                thousandths(*max)
            ),
            Kind::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Kind::Other { expected, .. } => (*expected).to_owned(),
        }
    }
}

/// Milliseconds as seconds, as short as they can be written.
pub(super) fn seconds(ms: u64) -> String {
    thousandths(ms)
}

/// A number of thousandths, as short as it can be written.
pub(super) fn thousandths(number: u64) -> String {
    let (whole, rest) = (number / 1000, number % 1000);
    if rest == 0 {
        return whole.to_string();
    }
    let fraction = format!("{rest:03}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_written_as_seconds() {
        assert_eq!(seconds(5000), "5");
        assert_eq!(seconds(50), "0.05");
        assert_eq!(seconds(1), "0.001");
        assert_eq!(seconds(1500), "1.5");
    }
}
