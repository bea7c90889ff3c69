//! The log: `RUST_LOG`'s filter, lines by simplelog, a bounded queue to standard error.
//!
//! ```text
//! log::info!(…) → filter → one whole line → bounded queue → one thread → standard error
//! ```
//!
//! Whoever logs never waits. When standard error is not read, the queue fills, further lines are
//! counted as lost, and one line says how many once the queue moves again.

mod line;
mod panics;
mod queue;
mod rate_limit;

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use log::{Log, Metadata, Record};

use line::Shape;
use queue::Queue;
pub use queue::lines_lost;
pub use rate_limit::{LeftOut, RateLimit};

/// What is logged where `RUST_LOG` says nothing: session lines are off.
pub const DEFAULT_FILTER: &str = "info,tcpffee::session=off";

/// What `tcpffee demo` logs where `RUST_LOG` says nothing: session lines are on.
pub const DEMO_FILTER: &str = "info,tcpffee::session=info";

/// Lines that wait for standard error; further ones are lost and counted.
const QUEUE_LINES: usize = 8_192;

/// How long dropping a [`LogGuard`] waits for the last lines to be written.
const FLUSH_AT_EXIT: Duration = Duration::from_secs(1);

/// What the log is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The value of `RUST_LOG`; `None` or blank: `default_filter`.
    pub rust_log: Option<String>,
    /// The filter where `rust_log` is absent or cannot be read.
    pub default_filter: &'static str,
}

/// A value of `RUST_LOG` that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "RUST_LOG: found `{found}` ({reason}), expected levels such as `info`, \
     or a list such as `info,tcpffee::session=debug`"
)]
pub struct FilterError {
    found: String,
    reason: env_filter::ParseError,
}

/// Checks a value of `RUST_LOG` without starting a log.
///
/// # Errors
/// When the value is not a list of filter directives.
pub fn check_filter(rust_log: &str) -> Result<(), FilterError> {
    parse_filter(rust_log).map(drop)
}

fn parse_filter(spec: &str) -> Result<env_filter::Filter, FilterError> {
    let mut builder = env_filter::Builder::new();
    match builder.try_parse(spec) {
        Ok(builder) => Ok(builder.build()),
        Err(reason) => Err(FilterError {
            found: spec.to_owned(),
            reason,
        }),
    }
}

/// Keeps the log going; dropping it writes the last lines, for at most one second.
#[derive(Debug)]
pub struct LogGuard {
    queue: Arc<Queue>,
}

impl LogGuard {
    /// Waits until every line logged so far has been handed to standard error, for at most
    /// `timeout` (standard error may be a full pipe that nobody reads). Tells whether all was
    /// written.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.queue.flush(timeout)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.flush(FLUSH_AT_EXIT);
    }
}

/// Whether standard error goes to systemd's journal: JOURNAL_STREAM names the device and inode that
/// it was given then (systemd.exec(5)).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let own = rustix::fs::fstat(io::stderr());
    own.is_ok_and(|own| stream == format!("{}:{}", own.st_dev, own.st_ino))
}

/// Starts the process's log and installs the panic hook: from here on, a thread that panics ends
/// the process with a message. A `RUST_LOG` that cannot be read is reported as the first line of
/// the log, and the default filter holds.
///
/// # Errors
/// When the writing thread cannot be started.
///
/// # Panics
/// When the process has a log already.
pub fn start(settings: &Settings) -> io::Result<LogGuard> {
    let (filter, refused) = choose_filter(settings);
    let shape = Shape {
        colours: wants_colours(),
        journal: is_journal(),
    };
    let (queue, lines) = Queue::new(QUEUE_LINES);
    let queue = Arc::new(queue);
    let lost = queue.lost();
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            let loss_line = |count| line::loss_report(shape, count);
            queue::drain(&lines, &lost, StandardError, loss_line);
        })?;
    panics::install(Arc::clone(&queue));
    log::set_max_level(filter.filter());
    log::set_boxed_logger(Box::new(QueuedLog {
        filter,
        shape,
        queue: Arc::clone(&queue),
    }))
    .expect("the log is started once in a process");
    if let Some(refused) = refused {
        log::warn!("{refused}; going on with `{}`", settings.default_filter);
    }
    Ok(LogGuard { queue })
}

fn choose_filter(settings: &Settings) -> (env_filter::Filter, Option<FilterError>) {
    let default = || parse_filter(settings.default_filter).expect("the default filter is valid");
    match settings.rust_log.as_deref().map(str::trim) {
        None | Some("") => (default(), None),
        Some(spec) => match parse_filter(spec) {
            Ok(filter) => (filter, None),
            Err(error) => (default(), Some(error)),
        },
    }
}

fn wants_colours() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stderr().is_terminal() && !set("NO_COLOR") && !dumb
}

/// Puts what passes the filter into the queue.
struct QueuedLog {
    filter: env_filter::Filter,
    shape: Shape,
    queue: Arc<Queue>,
}

impl Log for QueuedLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.filter.matches(record) {
            self.queue.push(self.shape.line(record));
        }
    }

    /// Waits for the queue like [`LogGuard`]'s drop.
    fn flush(&self) {
        self.queue.flush(FLUSH_AT_EXIT);
    }
}

/// Standard error without the standard library's lock: a thread that is stuck in a write to a
/// full pipe must not keep the panic hook from its own, time-limited write.
struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        loop {
            match rustix::io::write(stderr.as_fd(), bytes) {
                // Whoever started this process may have left the descriptor non-blocking.
                Err(rustix::io::Errno::AGAIN) => wait_writable(None)?,
                result => return Ok(result?),
            };
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until standard error takes at least a page, or has failed. False: `timeout` has passed.
fn wait_writable(timeout: Option<Duration>) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = timeout.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    });
    let stderr = io::stderr();
    let mut watched = [PollFd::new(&stderr, PollFlags::OUT)];
    loop {
        match poll(&mut watched, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result? > 0),
        }
    }
}

#[cfg(test)]
mod tests;
