//! The side of `tcpffee reload`, `tcpffee drain` and the other commands.

use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::lines::Lines;
use super::{Answer, Asking, Command, Kind, socket_path};
use crate::pid_file::{self, Holder};

/// What connecting and sending the request may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What an answer may take. A stop has no limit: it takes `shutdown_grace`, and says how it goes.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// What the end of the process may take after its last word.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// Between looks at the PID file while the process ends.
const EXIT_LOOK: Duration = Duration::from_millis(20);

/// A line of an answer, at most: room for a group with the last results of 4,000 checked targets.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The process that answered, where its PID file says.
    pub pid: Option<u32>,
    /// Its last answer: `done` or `failed`.
    pub answer: Answer,
}

/// Why a request has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No PID file.
    #[error(
        "no running tcpffee found: there is no PID file {}; \
         if it keeps its PID file elsewhere, set TCPFFEE_PID_PATH",
        list(.paths)
    )]
    NoProcess {
        /// Where one was looked for.
        paths: Vec<PathBuf>,
    },
    /// A PID file that no process holds.
    #[error(
        "no running tcpffee found: {path} is left over from one that has gone{}",
        with_pid(*.pid)
    )]
    Stale {
        /// The PID file.
        path: PathBuf,
        /// The id in it.
        pid: Option<u32>,
    },
    /// A PID file that cannot be read.
    #[error("cannot read the PID file {path}: {error}")]
    Unreadable {
        /// The PID file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A process runs, and its control socket does not let itself be used.
    #[error(
        "tcpffee{} is running, but its control socket {socket} cannot be used: {error}{}",
        with_pid(*.pid), remedy(.error)
    )]
    Unreachable {
        /// The id of the process.
        pid: Option<u32>,
        /// Its control socket.
        socket: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The connection ended before the answer.
    #[error("tcpffee{} was asked for `{command}`, and was cut off before it answered: {reason}",
        with_pid(*.pid))]
    CutOff {
        /// The id of the process.
        pid: Option<u32>,
        /// What was asked.
        command: Command,
        /// What is known of why.
        reason: String,
    },
    /// No answer in time.
    #[error("tcpffee{} was asked for `{command}`, and has not answered for {} s; see its log",
        with_pid(*.pid), .limit.as_secs())]
    Silent {
        /// The id of the process.
        pid: Option<u32>,
        /// What was asked.
        command: Command,
        /// How long it was waited for.
        limit: Duration,
    },
    /// It said that it stops, and is still there.
    #[error("tcpffee{} said that it stops, and is still running {} s later; see its log",
        with_pid(*.pid), .limit.as_secs())]
    StillRunning {
        /// The id of the process.
        pid: Option<u32>,
        /// How long it was waited for.
        limit: Duration,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(" or ")
}

fn with_pid(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (PID {pid})"))
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            "; run this as root, or as a member of the group that tcpffee runs as"
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            "; it took no request for 5 s: it is stopped (SIGSTOP), or its machine is overloaded"
        }
        ErrorKind::NotFound => "; it has been removed: send SIGUSR1 to reload, SIGTERM to stop",
        _ => "",
    }
}

/// Asks the running process that holds the first PID file found in `pid_paths`, hands each
/// `progress` to `on_progress`, and returns the last answer. A `stop` that was done returns when
/// the process has really ended.
///
/// # Errors
/// When there is no such process, it cannot be reached, or it does not answer.
pub fn request(
    pid_paths: &[PathBuf],
    command: Command,
    on_progress: &mut dyn FnMut(&Answer),
) -> Result<Outcome, RequestError> {
    let (pid_path, pid) = find_process(pid_paths)?;
    let socket = socket_path(pid_path);
    let stream = send(&socket, &command).map_err(|error| RequestError::Unreachable {
        pid,
        socket,
        error,
    })?;
    let answered = await_answer(&stream, pid, &command, on_progress);
    if command == Command::Stop {
        return after_stop(answered, pid_path, pid, &stream);
    }
    answered.map(|answer| Outcome { pid, answer })
}

fn find_process(pid_paths: &[PathBuf]) -> Result<(&Path, Option<u32>), RequestError> {
    let mut stale = None;
    for path in pid_paths {
        match pid_file::look(path) {
            Ok(Holder::Running { pid }) => return Ok((path, pid)),
            Ok(Holder::Gone { pid }) => {
                let path = path.clone();
                stale.get_or_insert(RequestError::Stale { path, pid });
            }
            Ok(Holder::Absent) => {}
            Err(error) => {
                let path = path.clone();
                return Err(RequestError::Unreadable { path, error });
            }
        }
    }
    Err(stale.unwrap_or_else(|| RequestError::NoProcess {
        paths: pid_paths.to_vec(),
    }))
}

fn send(socket: &Path, command: &Command) -> io::Result<UnixStream> {
    let unconnected = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Bounds the connect too: a full backlog makes it wait.
    unconnected.set_write_timeout(Some(CONNECT_LIMIT))?;
    unconnected.connect(&SockAddr::unix(socket)?)?;
    let mut stream = UnixStream::from(OwnedFd::from(unconnected));
    let mut line = serde_json::to_vec(&Asking { command })?;
    line.push(b'\n');
    match stream.write_all(&line) {
        // Turned away before it was heard: the reason stands ready to be read.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(stream),
        result => result.map(|()| stream),
    }
}

fn await_answer(
    stream: &UnixStream,
    pid: Option<u32>,
    command: &Command,
    on_progress: &mut dyn FnMut(&Answer),
) -> Result<Answer, RequestError> {
    let limit = (*command != Command::Stop).then_some(ANSWER_LIMIT);
    let deadline = limit.map(|limit| Instant::now() + limit);
    let cut_off = |reason| RequestError::CutOff {
        pid,
        command: command.clone(),
        reason,
    };
    let mut lines = Lines::new(stream, MAX_ANSWER_BYTES);
    loop {
        let line = match lines.next(deadline) {
            Ok(Some(line)) => line,
            Ok(None) => return Err(cut_off("it closed the connection".to_owned())),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let limit = limit.unwrap_or_default();
                return Err(RequestError::Silent {
                    pid,
                    command: command.clone(),
                    limit,
                });
            }
            Err(error) => return Err(cut_off(error.to_string())),
        };
        let answer: Answer = serde_json::from_slice(&line)
            .map_err(|error| cut_off(format!("its answer is not understood ({error})")))?;
        match answer.kind {
            Kind::Progress => on_progress(&answer),
            Kind::Done | Kind::Failed => return Ok(answer),
        }
    }
}

/// A stop is done when the process has gone, whatever it said before.
fn after_stop(
    answered: Result<Answer, RequestError>,
    pid_path: &Path,
    pid: Option<u32>,
    stream: &UnixStream,
) -> Result<Outcome, RequestError> {
    match answered {
        Ok(answer) if answer.kind == Kind::Failed => Ok(Outcome { pid, answer }),
        Ok(answer) => {
            wait_for_end(stream, pid_path, pid)?;
            Ok(Outcome { pid, answer })
        }
        Err(RequestError::CutOff { pid, command, .. }) => {
            wait_for_end(stream, pid_path, pid)?;
            let reason = "it has ended without saying how; see its log".to_owned();
            Err(RequestError::CutOff {
                pid,
                command,
                reason,
            })
        }
        Err(other) => Err(other),
    }
}

/// Waits for the end of the stream and for the lock of the PID file to go.
fn wait_for_end(
    stream: &UnixStream,
    pid_path: &Path,
    pid: Option<u32>,
) -> Result<(), RequestError> {
    let deadline = Instant::now() + EXIT_LIMIT;
    let mut rest = Lines::new(stream, MAX_ANSWER_BYTES);
    while let Ok(Some(_)) = rest.next(Some(deadline)) {}
    loop {
        match pid_file::look(pid_path) {
            // Another id: it has ended, and a new process has been started since.
            Ok(Holder::Running { pid: found }) if found.is_none() || found == pid => {}
            _ => return Ok(()),
        }
        if Instant::now() >= deadline {
            let limit = EXIT_LIMIT;
            return Err(RequestError::StillRunning { pid, limit });
        }
        thread::sleep(EXIT_LOOK);
    }
}
