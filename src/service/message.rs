//! The datagrams of sd_notify(3): a line for each assignment.

use std::fmt::Write;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Bytes of a status; what is beyond is cut off.
pub const MAX_STATUS_BYTES: usize = 1024;

/// One datagram.
#[derive(Debug, Default)]
pub(super) struct Message(String);

impl Message {
    pub fn ready(self) -> Message {
        self.line("READY", "1")
    }

    /// With the time, by which the service manager tells this reload from one it asked for later.
    pub fn reloading(self) -> Message {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.line("RELOADING", "1")
            .line("MONOTONIC_USEC", &usec.to_string())
    }

    pub fn stopping(self) -> Message {
        self.line("STOPPING", "1")
    }

    pub fn watchdog(self) -> Message {
        self.line("WATCHDOG", "1")
    }

    pub fn extend(self, by: Duration) -> Message {
        self.line("EXTEND_TIMEOUT_USEC", &by.as_micros().to_string())
    }

    /// One line, whatever the text holds: another one would be an assignment.
    pub fn status(self, text: &str) -> Message {
        let cut = (0..=MAX_STATUS_BYTES.min(text.len()))
            .rev()
            .find(|&at| text.is_char_boundary(at));
        let line: String = text[..cut.unwrap_or(0)]
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        self.line("STATUS", &line)
    }

    fn line(mut self, name: &str, value: &str) -> Message {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{name}={value}");
        self
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
