//! From the text of a file to a [`Config`], or to everything that is wrong with it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use toml::de::DeTable;

use super::environment::Environment;
use super::findings::Findings;
use super::problem::{Fault, Problem, Problems};
use super::schema::Config;
use super::section::Section;
use super::top;

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// Up to this size a file is searched for every syntax error, beyond it for the first, in bytes.
const EVERY_SYNTAX_ERROR_BYTES: usize = 256 << 10;

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration, defaults filled in.
    pub config: Config,
    /// What is odd about it and about the environment.
    pub warnings: Vec<Problem>,
}

/// Reads and checks a configuration file.
///
/// # Errors
/// Where the file cannot be read, is larger than [`MAX_FILE_BYTES`], is not UTF-8, or as
/// [`load`].
pub fn read(path: &Path, env: &Environment) -> Result<Loaded, Problems> {
    let text = read_text(path).map_err(|sentence| Problem::of_file(path, sentence))?;
    load(&text, path, env)
}

fn read_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such file; name one by --config or TCPFFEE_CONFIG_PATH".to_owned()
        }
        io::ErrorKind::IsADirectory => "is a directory, expected a TOML file".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    // Opening a pipe that nobody writes to, or reading it, would wait for ever.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(unreadable)?;
    let kind = file.metadata().map_err(unreadable)?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return Err("is a pipe or a socket, expected a TOML file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let mib = MAX_FILE_BYTES >> 20;
        return Err(format!("is larger than {mib} MiB, expected a smaller file"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        format!("is not UTF-8 text: invalid byte in line {line}")
    })
}

/// Checks the text of a configuration file; `file` is what problems call it.
///
/// # Errors
/// Every problem of the text, not only the first, with at least one error among them.
pub fn load(text: &str, file: &Path, env: &Environment) -> Result<Loaded, Problems> {
    if text.len() as u64 > MAX_FILE_BYTES {
        let sentence = format!("is larger than {} MiB", MAX_FILE_BYTES >> 20);
        return Err(Problem::of_file(file, sentence).into());
    }
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        let sentence = "is empty; at least ports, expiration and one group are needed";
        return Err(Problem::of_file(file, sentence).into());
    }
    let findings = Findings::new(file, text);
    let Some(table) = parse(text, &findings) else {
        return Err(findings
            .finish()
            .expect_err("a text that cannot be parsed has an error"));
    };
    let config = top::config(&Section::top(&findings, &table), env);
    let mut warnings = env.warnings.clone();
    warnings.extend(findings.finish()?);
    let config = config.expect("a file without errors makes a configuration");
    Ok(Loaded { config, warnings })
}

/// The parsed text, or its syntax errors: the first of each line, the others follow from it.
fn parse<'t>(text: &'t str, findings: &Findings<'_>) -> Option<DeTable<'t>> {
    let first = match DeTable::parse(text) {
        Ok(table) => return Some(table.into_inner()),
        Err(error) => error,
    };
    let errors = if text.len() <= EVERY_SYNTAX_ERROR_BYTES {
        DeTable::parse_recoverable(text).1
    } else {
        vec![first]
    };
    let start = |error: &toml::de::Error| error.span().map_or(text.len(), |span| span.start);
    let mut lines = BTreeMap::new();
    for error in &errors {
        let (line, _) = findings.line_and_column(start(error));
        let first = lines.entry(line).or_insert(error);
        if start(error) < start(first) {
            *first = error;
        }
    }
    for error in lines.values() {
        let at = start(error);
        let sentence = format!("not TOML: {}", error.message());
        findings.error(at..at, "", Fault::Other(sentence));
    }
    None
}
