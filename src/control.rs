//! The control socket: how `tcpffee reload`, `tcpffee drain` and the other commands learn what
//! really happened.
//!
//! A Unix socket beside the PID file, mode 0660. A client sends one line of JSON,
//! `{"command":"reload"}`, and is answered in lines of JSON: any number of `progress`, then one
//! `done` or `failed`, then the end of the stream.
//!
//! What asks for something to be done becomes an [`Event`](crate::events::Event) for the supervisor.
//! What only asks how things stand ([`Command::Status`], [`Command::Sticks`]) is answered by the
//! client's own thread from an [`Informant`], so that it is answered while the supervisor is busy;
//! its answers carry `data`, in pieces with a bound each.
//!
//! A further command is one more variant of [`Command`], with what becomes of it (in `server`). A
//! process that does not know a command answers [`NO_SUCH_REQUEST`].

mod client;
mod lines;
mod server;

use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use client::{Outcome, RequestError, request};
pub use server::{ControlError, ControlSocket};

/// Answers that wait to be written to a client: progress beyond that is left out.
const QUEUE_ANSWERS: usize = 64;

/// How the answer begins where the request is not understood.
pub const NO_SUCH_REQUEST: &str = "no such request";

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Let a group take no new keys.
    Drain {
        /// Its id or its name.
        group: String,
    },
    /// Let a group serve no keys.
    Disable {
        /// Its id or its name.
        group: String,
    },
    /// Take back what keeps a group out, but for its health checks.
    Enable {
        /// Its id or its name.
        group: String,
    },
    /// Take an entry out of the stick table.
    SticksRemove {
        /// Its key, as the table is shown.
        key: String,
    },
    /// Say how the node stands: `{"group": ...}` for each group, and `{"overview": ..., "health":
    /// ..., "cluster": {"raft": ..., "peers": ...}}` at the end.
    Status,
    /// Show a page of the stick table.
    Sticks(SticksQuestion),
}

/// A page of the stick table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SticksQuestion {
    /// Where the page before said that the next one begins; from the start without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only entries of this group: its id or its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only entries of this address, or of this network (`192.0.2.0/24`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
}

/// Tells how things stand, at once and from any thread.
pub trait Informant: Send + Sync {
    /// The lines of the answer, the last of them `done` or `failed`; each is computed when it is
    /// about to be sent.
    fn status(&self) -> Box<dyn Iterator<Item = Answer> + '_>;

    /// A page of the stick table: entries, and where the next page begins.
    fn sticks(&self, question: &SticksQuestion) -> Answer;
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Command::Reload => f.write_str("reload"),
            Command::Stop => f.write_str("stop"),
            Command::ClusterForm { yes: false } => f.write_str("cluster form"),
            Command::ClusterForm { yes: true } => f.write_str("cluster form --yes"),
            Command::Drain { group } => write!(f, "drain {group}"),
            Command::Disable { group } => write!(f, "disable {group}"),
            Command::Enable { group } => write!(f, "enable {group}"),
            Command::SticksRemove { key } => write!(f, "sticks remove {key}"),
            Command::Status => f.write_str("status"),
            Command::Sticks(_) => f.write_str("sticks"),
        }
    }
}

/// A client's line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    command: Command,
}

/// The same, borrowed, as the client writes it.
#[derive(Debug, Serialize)]
struct Asking<'a> {
    command: &'a Command,
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
    /// What was asked for, where it is more than words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl Answer {
    /// A line with data.
    pub fn data(kind: Kind, data: Value) -> Answer {
        Answer {
            kind,
            text: String::new(),
            lines: Vec::new(),
            exit: 0,
            data: Some(data),
        }
    }

    /// It was not done.
    pub fn failed(text: impl Into<String>) -> Answer {
        Answer {
            kind: Kind::Failed,
            text: text.into(),
            lines: Vec::new(),
            exit: EXIT_FAILED,
            data: None,
        }
    }
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

/// The exit code of a client that was turned away, as of one that found nobody.
const EXIT_TURNED_AWAY: u8 = 4;

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
            data: None,
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
