//! One record as one line: `2026-03-01T12:00:00.123Z [INFO ] tcpffee::supervisor: text`.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Record};
use simplelog::{Config, ConfigBuilder, LevelPadding, WriteLogger};
use time::macros::format_description;

/// Longer lines are cut: with the queue's length this bounds the log's memory.
pub(super) const MAX_LINE_BYTES: usize = 8_192;

/// Enough for most lines without growing.
const USUAL_LINE_BYTES: usize = 256;

/// Put at the end of a line that was cut.
const CUT: &[u8] = b"... (cut)";

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Colour the level by escape codes.
    pub colours: bool,
    /// For systemd's journal: a priority in front, and no time, which the journal has itself.
    pub journal: bool,
}

impl Shape {
    /// The record as a line, line end included. What the message holds of control characters is
    /// made harmless, so that text from outside forges neither lines nor escape codes.
    pub fn line(self, record: &Record<'_>) -> Vec<u8> {
        let text = Text(Arc::new(Mutex::new(Vec::with_capacity(USUAL_LINE_BYTES))));
        // A logger for each record costs one allocation, and spares all threads the common lock
        // that one shared logger would hold while it formats.
        let logger = WriteLogger::new(LevelFilter::Trace, layout(self), text.clone());
        logger.log(record);
        let raw = text.take();
        let mut line = printable(&raw);
        if self.journal {
            line = with_priority(&line, record.level());
        }
        if self.colours {
            colour_level(&mut line, record.level());
        }
        line
    }
}

/// The line that reports lost ones.
pub(super) fn loss_report(shape: Shape, count: u64) -> Vec<u8> {
    shape.line(
        &Record::builder()
            .level(Level::Warn)
            .target("tcpffee::logging")
            .args(format_args!(
                "{count} log lines were lost: standard error was not read fast enough"
            ))
            .build(),
    )
}

/// A priority in front of each line, as sd-daemon(3) has it.
fn with_priority(text: &[u8], level: Level) -> Vec<u8> {
    let priority: &[u8] = match level {
        Level::Error => b"<3>",
        Level::Warn => b"<4>",
        Level::Info => b"<6>",
        Level::Debug | Level::Trace => b"<7>",
    };
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    lines.flat_map(|line| [priority, line].concat()).collect()
}

fn layout(shape: Shape) -> Config {
    let time_level = match shape.journal {
        true => LevelFilter::Off,
        false => LevelFilter::Error,
    };
    ConfigBuilder::new()
        .set_time_level(time_level)
        .set_time_format_custom(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .set_level_padding(LevelPadding::Right)
        .set_target_level(LevelFilter::Error)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build()
}

/// Takes what the logger writes for one record.
#[derive(Clone)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One byte beyond the limit is kept, so that a cut can be told from an exact fit.
        let room = (MAX_LINE_BYTES + 1).saturating_sub(text.len());
        text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text with one line end, at its end. Line ends inside become a line end and an indent;
/// other control characters become `\xNN`.
fn printable(raw: &[u8]) -> Vec<u8> {
    let cut = raw.len() > MAX_LINE_BYTES;
    let raw = &raw[..raw.len().min(MAX_LINE_BYTES)];
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    let mut line = Vec::with_capacity(raw.len() + 1);
    for &byte in raw {
        match byte {
            b'\n' => line.extend_from_slice(b"\n    "),
            b'\t' => line.push(byte),
            0..0x20 | 0x7f => line.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            _ => line.push(byte),
        }
    }
    if cut {
        line.extend_from_slice(CUT);
    }
    line.push(b'\n');
    line
}

/// Wraps the level's brackets (the first of the line) in a colour.
fn colour_level(line: &mut Vec<u8>, level: Level) {
    let colour: &[u8] = match level {
        Level::Error => b"\x1b[31m",
        Level::Warn => b"\x1b[33m",
        Level::Info => b"\x1b[32m",
        Level::Debug => b"\x1b[36m",
        Level::Trace => b"\x1b[90m",
    };
    let open = line.iter().position(|&byte| byte == b'[');
    let close = line.iter().position(|&byte| byte == b']');
    if let (Some(open), Some(close)) = (open, close) {
        line.splice(close + 1..close + 1, b"\x1b[0m".iter().copied());
        line.splice(open..open, colour.iter().copied());
    }
}
