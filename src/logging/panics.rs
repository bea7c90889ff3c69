//! A thread that panics takes the process down, with a message that does not depend on the log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{process, thread};

use super::queue::Queue;
use super::{StandardError, wait_writable};

/// The exit code after a panic: what Rust programs use by custom.
const EXIT_CODE: i32 = 101;

/// What the message may take when standard error is a full pipe.
const WRITE_LIMIT: Duration = Duration::from_secs(1);

/// What the lines logged before may take.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// A pipe that polls as writable takes this much without waiting (`PIPE_BUF`).
const PIECE_BYTES: usize = 4_096;

/// Installs the hook.
pub(super) fn install(queue: Arc<Queue>) {
    panic::set_hook(Box::new(move |info| {
        write_directly(last_words(info).as_bytes(), WRITE_LIMIT);
        queue.flush(FLUSH_LIMIT);
        process::exit(EXIT_CODE);
    }));
}

fn last_words(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)");
    let current = thread::current();
    let name = current.name().unwrap_or("without a name");
    let place = info
        .location()
        .map_or_else(String::new, |place| format!(" at {place}"));
    let backtrace = Backtrace::capture();
    let trace = match backtrace.status() {
        BacktraceStatus::Captured => format!("{backtrace}\n"),
        _ => String::new(),
    };
    format!(
        "tcpffee: fatal: thread `{name}` panicked{place}: {message}\n{trace}\
         tcpffee: this is a defect of the program; the process ends with code {EXIT_CODE}\n"
    )
}

/// Writes to standard error past the queue, for at most `limit`.
fn write_directly(text: &[u8], limit: Duration) {
    let deadline = Instant::now() + limit;
    for piece in text.chunks(PIECE_BYTES) {
        let left = deadline.saturating_duration_since(Instant::now());
        if !matches!(wait_writable(Some(left)), Ok(true)) {
            return;
        }
        if StandardError.write_all(piece).is_err() {
            return;
        }
    }
}
