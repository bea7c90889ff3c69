//! What is wrong with a configuration, said so that an operator can put it right.

use std::fmt;
use std::path::{Path, PathBuf};

/// Whether a problem keeps the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is used; something in it is odd.
    Warning,
}

/// Where a problem was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file as a whole.
    File(PathBuf),
    /// A character of a file.
    Position {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// The environment of the process.
    Environment,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(file) => write!(f, "{}", file.display()),
            Place::Position { file, line, column } => {
                write!(f, "{}:{line}:{column}", file.display())
            }
            Place::Environment => f.write_str("environment"),
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A value that is of the wrong type, out of range or not understood.
    Value {
        /// The value, and its type where that is what is wrong.
        found: String,
        /// What is accepted there.
        expected: String,
    },
    /// A name that nothing goes by.
    Unknown {
        /// What kind of name: `key`, `variable`.
        what: &'static str,
        /// The known name that looks most like it.
        nearest: Option<String>,
        /// All names known at that place.
        known: Vec<&'static str>,
    },
    /// Something that must be there and is not.
    Missing {
        /// What is accepted there.
        expected: String,
    },
    /// Anything else, as a sentence.
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Value { found, expected } => write!(f, "found {found}, expected {expected}"),
            Fault::Missing { expected } => write!(f, "not given, expected {expected}"),
            Fault::Other(sentence) => f.write_str(sentence),
            Fault::Unknown {
                what,
                nearest: Some(nearest),
                ..
            } => write!(f, "unknown {what}, did you mean \"{nearest}\"?"),
            Fault::Unknown { what, known, .. } => {
                write!(f, "unknown {what}, known here: {}", known.join(", "))
            }
        }
    }
}

/// One thing that is wrong.
///
/// Displays as `tcpffee.toml:12:7: groups.1.weight: found 0, expected an integer from 1 to
/// 1000000`, with `warning: ` after the place of a warning, and in the alternate form (`{:#}`)
/// with `error: ` after that of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// File, line and column.
    pub place: Place,
    /// Path of the key, such as `groups.1.healthchecks[0].interval`, or name of the variable;
    /// `None` where the problem is not one key's.
    pub key: Option<String>,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Problem {
    /// An error about a file as a whole.
    pub(super) fn of_file(file: &Path, sentence: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Error,
            place: Place::File(file.to_path_buf()),
            key: None,
            fault: Fault::Other(sentence.into()),
        }
    }

    /// Line from 1, where the problem has one.
    pub fn line(&self) -> Option<usize> {
        match self.place {
            Place::Position { line, .. } => Some(line),
            Place::File(_) | Place::Environment => None,
        }
    }

    /// Column in characters from 1, where the problem has one.
    pub fn column(&self) -> Option<usize> {
        match self.place {
            Place::Position { column, .. } => Some(column),
            Place::File(_) | Place::Environment => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match self.severity {
            Severity::Warning => f.write_str("warning: ")?,
            Severity::Error if f.alternate() => f.write_str("error: ")?,
            Severity::Error => {}
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        self.fault.fmt(f)
    }
}

/// Everything that was found wrong, in the order of the file; at least one is an error. Displays
/// as one line for each, each with its severity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// How many of the problems are errors.
    pub fn error_count(&self) -> usize {
        self.iter()
            .filter(|problem| problem.severity == Severity::Error)
            .count()
    }

    /// Errors and warnings, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem:#}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The known name most like `name`, where one is near enough to be what was meant.
pub(super) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    const LONGEST_NAME: usize = 100;
    if name.len() > LONGEST_NAME {
        return None;
    }
    let folded = name.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| {
            let plain = candidate.to_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&folded, &plain), candidate)
        })
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_neighbour() {
        let known = ["weight", "drain", "disabled", "portmap"];
        assert_eq!(nearest("wieght", known), Some("weight"));
        assert_eq!(nearest("disable", known), Some("disabled"));
        assert_eq!(nearest("Port-Map", known), Some("portmap"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"x".repeat(1000), known), None);
    }

    #[test]
    fn a_problem_reads_as_one_line() {
        let problem = Problem {
            severity: Severity::Error,
            place: Place::Position {
                file: "tcpffee.toml".into(),
                line: 12,
                column: 7,
            },
            key: Some("groups.1.weight".to_owned()),
            fault: Fault::Value {
                found: "0".to_owned(),
                expected: "an integer from 1 to 9".to_owned(),
            },
        };
        assert_eq!(
            problem.to_string(),
            "tcpffee.toml:12:7: groups.1.weight: found 0, expected an integer from 1 to 9"
        );
        assert!(format!("{problem:#}").contains("12:7: error: groups"));
    }
}
