use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use log::{Level, LevelFilter};

use super::line::MAX_LINE_BYTES;
use super::*;
use crate::clock::Millis;

const PLAIN: Shape = Shape {
    colours: false,
    journal: false,
};

fn line_of(shape: Shape, level: Level, message: &str) -> String {
    let bytes = shape.line(
        &Record::builder()
            .level(level)
            .target("tcpffee::test")
            .args(format_args!("{message}"))
            .build(),
    );
    String::from_utf8(bytes).unwrap()
}

/// A writer that is stuck until its gate is opened.
#[derive(Clone, Default)]
struct Gated(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    open: bool,
    written: Vec<u8>,
}

impl Gated {
    fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    fn written(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap().written.clone()).unwrap()
    }
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.0.lock().unwrap();
        while !state.open {
            state = self.0.1.wait(state).unwrap();
        }
        state.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log whose writer is `out`, with the given queue length and filter.
fn log_to(out: Gated, lines: usize, filter: &str) -> QueuedLog {
    let (queue, items) = Queue::new(lines);
    let lost = queue.lost();
    thread::spawn(move || queue::drain(&items, &lost, out, |n| format!("LOST {n}\n").into_bytes()));
    QueuedLog {
        filter: parse_filter(filter).unwrap(),
        shape: PLAIN,
        queue: Arc::new(queue),
    }
}

fn say(log: &QueuedLog, target: &str, level: Level, message: &str) {
    log.log(
        &Record::builder()
            .level(level)
            .target(target)
            .args(format_args!("{message}"))
            .build(),
    );
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_line_has_time_in_utc_level_target_and_message() {
    let line = line_of(PLAIN, Level::Info, "listening");
    let (time, rest) = line.split_at(24);
    let digits = "0000-00-00T00:00:00.000Z";
    for (found, shape) in time.chars().zip(digits.chars()) {
        match shape {
            '0' => assert!(found.is_ascii_digit(), "{line}"),
            _ => assert_eq!(found, shape, "{line}"),
        }
    }
    assert_eq!(rest, " [INFO ] tcpffee::test: listening\n");
}

#[test]
fn escape_codes_appear_only_where_colours_are_wanted() {
    assert!(!line_of(PLAIN, Level::Warn, "x").contains('\x1b'));
    let coloured = line_of(
        Shape {
            colours: true,
            ..PLAIN
        },
        Level::Warn,
        "x [y]",
    );
    assert!(
        coloured.contains(" \x1b[33m[WARN ]\x1b[0m tcpffee::test: x [y]\n"),
        "{coloured:?}"
    );
}

#[test]
fn a_message_cannot_forge_lines_or_escape_codes() {
    let line = line_of(PLAIN, Level::Info, "a\n2026 forged\x1b[31m\r\x7fend\n");
    let body = line.split_once("test: ").unwrap().1;
    assert_eq!(body, "a\n    2026 forged\\x1b[31m\\x0d\\x7fend\n    \n");
}

#[test]
fn a_very_long_message_is_cut() {
    let line = line_of(PLAIN, Level::Info, &"x".repeat(1 << 20));
    assert!(line.len() < MAX_LINE_BYTES + 32);
    assert!(line.ends_with("x... (cut)\n"));
}

#[test]
fn session_lines_are_off_by_default_and_on_in_the_demo() {
    for (filter, sessions) in [(DEFAULT_FILTER, false), (DEMO_FILTER, true)] {
        let out = Gated::default();
        out.open();
        let log = log_to(out.clone(), 16, filter);
        say(&log, "tcpffee::session", Level::Info, "a session");
        say(&log, "tcpffee::supervisor", Level::Info, "a start");
        say(&log, "tcpffee::supervisor", Level::Debug, "a detail");
        assert!(log.queue.flush(LONG));
        let written = out.written();
        assert_eq!(written.contains("a session"), sessions, "{written}");
        assert!(written.contains("a start"), "{written}");
        assert!(!written.contains("a detail"), "{written}");
    }
}

#[test]
fn the_filter_takes_levels_per_module_and_a_pattern() {
    let out = Gated::default();
    out.open();
    let log = log_to(out.clone(), 16, "warn,tcpffee::stick=trace/full|moved");
    say(&log, "tcpffee::stick", Level::Trace, "entry moved");
    say(&log, "tcpffee::stick", Level::Trace, "entry made");
    say(&log, "tcpffee::proxy", Level::Warn, "table full");
    say(&log, "tcpffee::proxy", Level::Info, "full speed");
    assert!(log.queue.flush(LONG));
    assert_eq!(out.written().lines().count(), 2, "{}", out.written());
}

#[test]
fn an_invalid_filter_is_reported_and_the_default_holds() {
    let error = check_filter("info,tcpffee=loud").unwrap_err().to_string();
    assert!(
        error.contains("RUST_LOG: found `info,tcpffee=loud`"),
        "{error}"
    );
    let settings = Settings {
        rust_log: Some("info,tcpffee=loud".to_owned()),
        default_filter: DEFAULT_FILTER,
    };
    let (filter, refused) = choose_filter(&settings);
    assert!(refused.is_some());
    assert_eq!(filter.filter(), LevelFilter::Info);
}

#[test]
fn a_blank_filter_means_the_default() {
    for rust_log in [None, Some(String::new()), Some("  ".to_owned())] {
        let settings = Settings {
            rust_log,
            default_filter: DEFAULT_FILTER,
        };
        let (filter, refused) = choose_filter(&settings);
        assert!(refused.is_none());
        assert_eq!(filter.filter(), LevelFilter::Info);
    }
}

#[test]
fn a_stuck_writer_delays_no_caller_and_lost_lines_are_counted() {
    let out = Gated::default();
    let log = log_to(out.clone(), 8, "info");
    // The writer takes some lines into its batch, the queue keeps 8, the others are lost.
    let started = Instant::now();
    for number in 0..10_000 {
        say(&log, "t", Level::Info, &format!("line {number}"));
    }
    assert!(started.elapsed() < LONG, "callers waited");
    assert!(
        !log.queue.flush(Duration::from_millis(20)),
        "nothing is written yet"
    );
    out.open();
    assert!(log.queue.flush(LONG));
    let written = out.written();
    let lost: u64 = written
        .lines()
        .filter_map(|line| line.strip_prefix("LOST "))
        .map(|count| count.parse::<u64>().unwrap())
        .sum();
    let kept = written
        .lines()
        .filter(|line| !line.starts_with("LOST"))
        .count();
    assert_eq!(lost + u64::try_from(kept).unwrap(), 10_000);
    assert!(lost > 0);
}

#[test]
fn a_flush_ends_at_its_time_limit_though_the_queue_is_full() {
    let log = log_to(Gated::default(), 1, "info");
    for _ in 0..10 {
        say(&log, "t", Level::Info, "x");
    }
    let started = Instant::now();
    assert!(!log.queue.flush(Duration::from_millis(50)));
    assert!(started.elapsed() < LONG);
}

#[test]
fn lines_of_many_threads_stay_whole() {
    let out = Gated::default();
    out.open();
    let log = Arc::new(log_to(out.clone(), QUEUE_LINES, "info"));
    thread::scope(|scope| {
        for name in ["aaaa", "bbbb", "cccc"] {
            let log = &log;
            scope.spawn(move || (0..500).for_each(|_| say(log, "t", Level::Info, name)));
        }
    });
    assert!(log.queue.flush(LONG));
    let written = out.written();
    assert_eq!(written.lines().count(), 1_500);
    for line in written.lines() {
        let body = line.split_once(" t: ").unwrap().1;
        assert!(["aaaa", "bbbb", "cccc"].contains(&body), "{line}");
    }
}

#[test]
fn repeated_faults_are_logged_at_once_then_at_intervals_with_a_count() {
    let limit = RateLimit::every(Duration::from_secs(10));
    let at = |seconds: u64| Millis(1_000_000 + seconds * 1_000);
    assert_eq!(limit.admit(at(0)), Some(LeftOut(0)));
    assert_eq!(limit.admit(at(1)), None);
    assert_eq!(limit.admit(at(9)), None);
    assert_eq!(limit.admit(at(10)), Some(LeftOut(2)));
    assert_eq!(limit.admit(at(11)), None);
    assert_eq!(limit.admit(at(20)), Some(LeftOut(1)));
    assert_eq!(limit.admit(at(41)), Some(LeftOut(0)));
    assert_eq!(LeftOut(0).to_string(), "");
    assert_eq!(
        LeftOut(3).to_string(),
        " (and 3 more of these since the last such line)"
    );
}

#[test]
fn a_rate_limit_counts_every_occurrence_of_many_threads() {
    let limit = RateLimit::every(Duration::from_millis(7));
    let seen = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for now in 1..=1_000 {
                    if let Some(LeftOut(count)) = limit.admit(Millis(now)) {
                        seen.fetch_add(count + 1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let last = limit
        .admit(Millis(1 << 30))
        .expect("the interval has long passed");
    assert_eq!(seen.load(Ordering::Relaxed) + last.0, 4_000);
}

#[test]
fn lines_for_the_journal_have_a_priority_and_no_time() {
    let shape = Shape {
        journal: true,
        ..PLAIN
    };
    let line = line_of(shape, Level::Warn, "first\nsecond");
    assert!(line.starts_with("<4>[WARN ] "), "{line}");
    assert!(line.ends_with("first\n<4>    second\n"), "{line}");
    assert!(line_of(shape, Level::Error, "x").starts_with("<3>[ERROR] "));
    assert!(line_of(shape, Level::Info, "x").starts_with("<6>[INFO ] "));
}
