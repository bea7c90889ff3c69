//! Log lines on standard error, with the milliseconds since the machine was booted.

use log::{LevelFilter, Log, Metadata, Record};
use tcpffee_raft::driver::boot_time;

struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!("{} {:<5} {}", boot_time(), record.level(), record.args());
    }

    fn flush(&self) {}
}

/// From now on.
pub fn log_there() {
    if log::set_logger(&Lines).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}
