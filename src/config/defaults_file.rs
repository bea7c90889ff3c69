//! `/etc/default/tcpffee`: lines of `NAME=value` as a shell would read them.
//!
//! Understood are comments, `export`, single quotes, double quotes with backslashes, and
//! backslashes outside quotes. Nothing is expanded.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::problem::{Fault, Place, Problem, Severity};
use super::variables::PREFIX;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The variables that the file sets, the last of a name counting.
pub(super) struct DefaultsFile {
    path: PathBuf,
    variables: Vec<Variable>,
    /// Lines that are not understood, and whether it could be read at all.
    pub problems: Vec<Problem>,
}

struct Variable {
    name: String,
    value: String,
    line: usize,
}

impl DefaultsFile {
    /// Reads the file; one that does not exist sets nothing, one that cannot be read sets nothing
    /// with a warning.
    pub fn read(path: &Path) -> DefaultsFile {
        let mut file = DefaultsFile {
            path: path.to_path_buf(),
            variables: Vec::new(),
            problems: Vec::new(),
        };
        match read_text(path) {
            Ok(text) => file.parse(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => file.problems.push(Problem {
                severity: Severity::Warning,
                place: Place::File(file.path.clone()),
                key: None,
                fault: Fault::Other(format!(
                    "cannot be read, its variables are left out: {error}"
                )),
            }),
        }
        file
    }

    fn parse(&mut self, text: &str) {
        for (line, content) in (1..).zip(text.lines()) {
            match assignment(content) {
                Ok(None) => {}
                Ok(Some((name, value))) => self.variables.push(Variable { name, value, line }),
                Err(sentence) => self.problems.push(Problem {
                    severity: Severity::Error,
                    place: self.place(line),
                    key: None,
                    fault: Fault::Other(sentence.to_owned()),
                }),
            }
        }
    }

    /// What the file sets a variable to, and where.
    pub fn get(&self, name: &str) -> Option<(OsString, Place)> {
        let set = self
            .variables
            .iter()
            .rfind(|variable| variable.name == name)?;
        Some((set.value.clone().into(), self.place(set.line)))
    }

    /// Warnings about variables of tcpffee's that `fault` finds wrong.
    pub fn unknown(&self, fault: &dyn Fn(&str) -> Option<Fault>) -> Vec<Problem> {
        let own = self
            .variables
            .iter()
            .filter(|variable| variable.name.starts_with(PREFIX));
        own.filter_map(|variable| {
            Some(Problem {
                severity: Severity::Warning,
                place: self.place(variable.line),
                key: Some(variable.name.clone()),
                fault: fault(&variable.name)?,
            })
        })
        .collect()
    }

    fn place(&self, line: usize) -> Place {
        Place::Position {
            file: self.path.clone(),
            line,
            column: 1,
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        let sentence = format!("larger than {} KiB", MAX_BYTES >> 10);
        return Err(io::Error::new(ErrorKind::FileTooLarge, sentence));
    }
    Ok(text)
}

/// The assignment of a line, `None` where there is none.
fn assignment(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, rest) = line.split_once('=').ok_or("expected NAME=value")?;
    let good_start = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !good_start
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Err("expected NAME=value, the name of letters, digits and underscores");
    }
    Ok(Some((name.to_owned(), word(rest)?)))
}

/// The first word of a text, quotes removed; only a comment may follow it.
fn word(text: &str) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, ' ' | '\t') => {
                let rest = chars.as_str().trim_start();
                if rest.is_empty() || rest.starts_with('#') {
                    return Ok(value);
                }
                return Err("more than one word, expected quotes around the value");
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            (None, '\\') => value.extend(chars.next()),
            (Some('"'), '\\') => match chars.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            _ => value.push(c),
        }
    }
    match quote {
        None => Ok(value),
        Some(_) => Err("a quote is opened and not closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(line: &str) -> Result<Option<(String, String)>, &'static str> {
        assignment(line)
    }

    fn value(line: &str) -> String {
        set(line).unwrap().unwrap().1
    }

    #[test]
    fn assignments_are_read_as_a_shell_reads_them() {
        assert_eq!(set("  # a comment"), Ok(None));
        assert_eq!(set(""), Ok(None));
        assert_eq!(value("A=b"), "b");
        assert_eq!(value("export A=b # why"), "b");
        assert_eq!(value("A='two words' # why"), "two words");
        assert_eq!(value("A=\"say \\\"hi\\\" \\n\""), "say \"hi\" \\n");
        assert_eq!(value("A=two\\ words"), "two words");
        assert_eq!(value("A=a'b c'd"), "ab cd");
        assert_eq!(value("A=a#b"), "a#b");
        assert_eq!(value("A="), "");
    }

    #[test]
    fn a_line_that_is_no_assignment_is_refused() {
        for bad in ["A", "A b=c", "1A=b", "=b", "A='open", "A=two words"] {
            assert!(set(bad).is_err(), "{bad:?}");
        }
    }
}
