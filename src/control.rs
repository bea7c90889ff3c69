//! The control socket: how `tcpffee reload`, `tcpffee stop` and `tcpffee cluster form` learn what
//! really happened.
//!
//! A Unix socket beside the PID file, mode 0660. A client sends one line of JSON,
//! `{"command":"reload"}`, and is answered in lines of JSON: any number of `progress`, then one
//! `done` or `failed`, then the end of the stream.
//!
//! A further command is one more variant of [`Command`], with the [`Event`](crate::events::Event)
//! that it makes (in `server`).

mod client;
mod lines;
mod server;

use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};

pub use client::{Outcome, RequestError, request};
pub use server::{ControlError, ControlSocket};

/// Answers that wait to be written to a client: progress beyond that is left out.
const QUEUE_ANSWERS: usize = 64;

/// What a client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Read the configuration anew and apply it.
    Reload,
    /// End in order.
    Stop,
    /// Say how a cluster would be formed where none forms by itself; do it only where `yes` says
    /// so.
    ClusterForm {
        /// Whether to do it.
        yes: bool,
    },
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Command::Reload => "reload",
            Command::Stop => "stop",
            Command::ClusterForm { yes: false } => "cluster form",
            Command::ClusterForm { yes: true } => "cluster form --yes",
        })
    }
}

/// A client's line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    command: Command,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether more lines follow.
    pub kind: Kind,
    /// What happened, in one sentence.
    pub text: String,
    /// The particulars, one each: changes, warnings, problems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// The exit code that a client ends with; means nothing in `progress`.
    #[serde(default)]
    pub exit: u8,
}

/// What a line of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// More lines follow.
    Progress,
    /// The last line: it was done.
    Done,
    /// The last line: it was not done.
    Failed,
}

/// The exit code that goes with a failure where nothing more particular is given.
pub const EXIT_FAILED: u8 = 1;

/// The supervisor's end of a request: takes progress and one result. Dropped without a result,
/// it tells the client so. Nothing here waits for the client.
#[derive(Debug)]
pub struct Reply {
    answers: Sender<Answer>,
    finished: bool,
}

impl Reply {
    pub(crate) fn new() -> (Reply, Receiver<Answer>) {
        let (answers, receiver) = bounded(QUEUE_ANSWERS);
        let finished = false;
        (Reply { answers, finished }, receiver)
    }

    /// Says how it goes.
    pub fn progress(&self, text: impl Into<String>) {
        // The last place is kept for the result.
        if self.answers.len() < QUEUE_ANSWERS - 1 {
            self.put(Kind::Progress, text.into(), Vec::new(), 0);
        }
    }

    /// It was done; the client ends with 0.
    pub fn done(self, text: impl Into<String>, lines: Vec<String>) {
        self.done_but(0, text, lines);
    }

    /// It was done, with a drawback that the client's exit code tells.
    pub fn done_but(self, exit: u8, text: impl Into<String>, lines: Vec<String>) {
        self.finish(Kind::Done, text.into(), lines, exit);
    }

    /// It was not done; the client ends with 1.
    pub fn failed(self, text: impl Into<String>, lines: Vec<String>) {
        self.finish(Kind::Failed, text.into(), lines, EXIT_FAILED);
    }

    fn finish(mut self, kind: Kind, text: String, lines: Vec<String>, exit: u8) {
        self.finished = true;
        self.put(kind, text, lines, exit);
    }

    fn put(&self, kind: Kind, text: String, lines: Vec<String>, exit: u8) {
        // An error here means that the client has gone: there is no one to tell.
        let _ = self.answers.try_send(Answer {
            kind,
            text,
            lines,
            exit,
        });
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.finished {
            let text = "the process gave up the request without an answer; see its log";
            self.put(Kind::Failed, text.to_owned(), Vec::new(), EXIT_FAILED);
        }
    }
}

/// Where the control socket of the process with this PID file is: the same name, ending in
/// `.sock`.
pub fn socket_path(pid_path: &Path) -> PathBuf {
    if pid_path.extension().is_some_and(|end| end == "sock") {
        // The PID file itself is called so.
        let mut name = pid_path.as_os_str().to_owned();
        name.push(".sock");
        return name.into();
    }
    pid_path.with_extension("sock")
}

#[cfg(test)]
mod tests;
