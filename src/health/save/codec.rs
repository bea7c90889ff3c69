//! The text of the file.

use std::io;
use std::str;

use serde::{Deserialize, Serialize};

use crate::config::{GroupId, TargetAddr, UnixPath};
use crate::health::definition::CheckId;
use crate::health::streak::State;

use super::{MAX_FILE_BYTES, SavedState};

const TITLE: &str = "tcpffee health checks ";
const VERSION: u32 = 1;
const CHECKSUM: &str = "crc32 ";

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is no regular file")]
    NoFile,
    #[error("it is larger than {} MiB", MAX_FILE_BYTES / 1024 / 1024)]
    TooLarge,
    #[error("it is no file of health checks of tcpffee")]
    Foreign,
    #[error("it has version {0} of the format, this build reads version {VERSION}")]
    OtherVersion(u32),
    #[error("it is damaged: its checksum, the last line, is not that of the text before it")]
    Checksum,
    #[error("line {line} is no state of a health check: {why}")]
    Line { line: usize, why: String },
}

/// One line. Borrowed and owned strings both come in, so that escapes are no matter.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    group: u32,
    check: String,
    target: String,
    state: String,
    run: u32,
}

pub(super) fn encode(states: &[SavedState]) -> Vec<u8> {
    let mut text = format!("{TITLE}{VERSION}\n");
    for state in states {
        let line = Line {
            group: state.group.0,
            check: state.check.to_string(),
            target: state.target.to_string(),
            state: state.state.as_str().to_owned(),
            run: state.run,
        };
        text += &serde_json::to_string(&line).expect("numbers and strings have a JSON form");
        text.push('\n');
    }
    let checksum = crc32fast::hash(text.as_bytes());
    text += &format!("{CHECKSUM}{checksum:08x}\n");
    text.into_bytes()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<SavedState>, Unusable> {
    let version = version(bytes)?;
    if version != VERSION {
        return Err(Unusable::OtherVersion(version));
    }
    let text = checked(bytes).ok_or(Unusable::Checksum)?;
    let lines = text.lines().enumerate().skip(1);
    lines
        .map(|(at, line)| {
            let refuse = |why| Unusable::Line { line: at + 1, why };
            parsed(line).map_err(refuse)
        })
        .collect()
}

/// The version in the first line.
fn version(bytes: &[u8]) -> Result<u32, Unusable> {
    let rest = bytes.strip_prefix(TITLE.as_bytes());
    let rest = rest.ok_or(Unusable::Foreign)?;
    let line = rest.split(|&byte| byte == b'\n').next().unwrap_or(rest);
    let digits = str::from_utf8(line).map_err(|_| Unusable::Foreign)?;
    digits.parse().map_err(|_| Unusable::Foreign)
}

/// The text without the checksum, where that is right.
fn checked(bytes: &[u8]) -> Option<&str> {
    let whole = bytes.strip_suffix(b"\n")?;
    let end = whole.iter().rposition(|&byte| byte == b'\n')? + 1;
    let (text, last) = whole.split_at(end);
    let digits = str::from_utf8(last).ok()?.strip_prefix(CHECKSUM)?;
    let checksum = format!("{:08x}", crc32fast::hash(text));
    (digits == checksum).then(|| str::from_utf8(text).ok())?
}

fn parsed(line: &str) -> Result<SavedState, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let check = u64::from_str_radix(&line.check, 16);
    let state = match line.state.as_str() {
        "passing" => Some(State::Passing),
        "failing" => Some(State::Failing),
        _ => None,
    };
    Ok(SavedState {
        group: GroupId(line.group),
        check: CheckId(check.map_err(|_| format!("check {:?}", line.check))?),
        target: target(&line.target).ok_or_else(|| format!("target {:?}", line.target))?,
        state: state.ok_or_else(|| format!("state {:?}", line.state))?,
        run: line.run,
    })
}

/// A target as [`TargetAddr`] shows it.
fn target(text: &str) -> Option<TargetAddr> {
    if let Ok(address) = text.parse() {
        return Some(TargetAddr::Socket(address));
    }
    if let Some(path) = UnixPath::parse(text) {
        return Some(TargetAddr::Unix(path));
    }
    let (host, port) = text.rsplit_once(':')?;
    Some(TargetAddr::Name {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}
