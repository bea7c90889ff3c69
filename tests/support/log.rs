//! The standard error of a process under test, read by a thread.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The lines so far, shared with the thread that reads them.
#[derive(Clone, Debug, Default)]
pub struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// A log filled from `source` until it ends.
    pub fn read_from(source: impl Read + Send + 'static) -> Log {
        let log = Log::default();
        let filled = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                filled.push(String::from_utf8_lossy(&line).into_owned());
            }
            filled.end();
        });
        log
    }

    fn push(&self, line: String) {
        self.lock().lines.push(line);
        self.shared.1.notify_all();
    }

    fn end(&self) {
        self.lock().ended = true;
        self.shared.1.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many lines there are: a place from which [`Log::wait_after`] looks.
    pub fn mark(&self) -> usize {
        self.lock().lines.len()
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// The lines so far as one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// Waits for a line that satisfies `wanted`; panics with the whole log after
    /// [`PATIENCE`](super::PATIENCE).
    pub fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.wait_after(0, what, wanted)
    }

    /// As [`Log::wait`], from the `mark`th line on.
    pub fn wait_after(&self, mark: usize, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.find_within(super::PATIENCE, mark, wanted)
            .unwrap_or_else(|| panic!("no line of the log: {what}\n{}", self.text()))
    }

    /// Waits for the process to close its end.
    pub fn wait_end(&self) {
        let deadline = Instant::now() + super::PATIENCE;
        let mut lines = self.lock();
        while !lines.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "standard error is still open");
            lines = self.shared.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The first wanted line from the `mark`th on, waited for up to `limit`.
    pub fn find_within(
        &self,
        limit: Duration,
        mark: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let deadline = Instant::now() + limit;
        let mut next = mark;
        let mut lines = self.lock();
        loop {
            while let Some(line) = lines.lines.get(next) {
                if wanted(line) {
                    return Some(line.clone());
                }
                next += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                return None;
            }
            lines = self.shared.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The session lines so far.
    pub fn sessions(&self) -> Vec<Session> {
        self.lines()
            .iter()
            .filter_map(|line| Session::parse(line))
            .collect()
    }

    /// Waits for a session line that satisfies `wanted`.
    pub fn wait_session(&self, what: &str, wanted: impl Fn(&Session) -> bool) -> Session {
        let line = self.wait(what, |line| {
            Session::parse(line).is_some_and(|s| wanted(&s))
        });
        Session::parse(&line).expect("it was parsed before")
    }

    /// Waits until `count` session lines satisfy `wanted`, and gives them all.
    pub fn wait_sessions(
        &self,
        count: usize,
        what: &str,
        wanted: impl Fn(&Session) -> bool,
    ) -> Vec<Session> {
        let mut found = Vec::new();
        let enough = super::wait::holds_within(super::PATIENCE, || {
            found = self.sessions().into_iter().filter(&wanted).collect();
            found.len() >= count
        });
        assert!(
            enough,
            "{} of {count} session lines: {what}\n{}",
            found.len(),
            self.text()
        );
        found
    }
}

/// One line of target `tcpffee::session`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `client=`, address and port.
    pub client: String,
    /// `key=`
    pub key: String,
    /// `port=`, the listened one.
    pub port: u16,
    /// `group=`, `None` for `-`.
    pub group: Option<u32>,
    /// `target=`, `None` for `-`.
    pub target: Option<String>,
    /// `in=`: bytes from the client.
    pub bytes_in: u64,
    /// `out=`: bytes to the client.
    pub bytes_out: u64,
    /// `queued_ms=`
    pub queued_ms: u64,
    /// `connect_ms=`, `None` for `-`.
    pub connect_ms: Option<u64>,
    /// `end=`
    pub end: String,
}

impl Session {
    /// The session of a line, `None` where it is another kind of line.
    pub fn parse(line: &str) -> Option<Session> {
        let field = |name: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let given = |value: &str| (value != "-").then(|| value.to_owned());
        Some(Session {
            client: field("client")?.to_owned(),
            key: field("key")?.to_owned(),
            port: field("port")?.parse().ok()?,
            group: given(field("group")?).and_then(|id| id.parse().ok()),
            target: given(field("target")?),
            bytes_in: field("in")?.parse().ok()?,
            bytes_out: field("out")?.parse().ok()?,
            queued_ms: field("queued_ms")?.parse().ok()?,
            connect_ms: given(field("connect_ms")?).and_then(|ms| ms.parse().ok()),
            end: field("end")?.to_owned(),
        })
    }
}
