//! Asking the running process: what `tcpffee reload` and the other commands have in common.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::{Exit, complain, say};
use crate::config::environment::running_pid_paths;
use crate::control::{self, Answer, Command, Kind, NO_SUCH_REQUEST};

/// Said where the running process does not know what is asked.
const OLDER_PROCESS: &str = "the running process may be of an older version that does not know \
                             this command; a restart would end it, and start the present one";

/// Has the running process do it, prints what it answers, and gives the exit code.
pub fn ask(command: Command) -> ExitCode {
    let outcome = Asking::start().request(command, &mut |progress| say(&progress.text));
    let asked = outcome.inspect(|answer| answer_lines(answer).for_each(|line| say(&line)));
    match asked {
        Ok(answer) => ExitCode::from(answer.exit),
        Err(refused) => refused.tell(),
    }
}

/// How the running process is found.
pub(super) struct Asking {
    paths: Vec<PathBuf>,
}

/// Why there is no answer, or that it is a no.
#[derive(Debug)]
pub(super) struct Refused {
    /// In words.
    pub lines: Vec<String>,
    /// The exit code.
    pub exit: u8,
}

impl Refused {
    /// Tells it on standard error, and gives the exit code.
    pub fn tell(&self) -> ExitCode {
        self.lines.iter().for_each(|line| complain(line));
        ExitCode::from(self.exit)
    }
}

impl Asking {
    /// Looks where it may be.
    pub fn start() -> Asking {
        Asking {
            paths: running_pid_paths(),
        }
    }

    /// The last answer of the running process to a command, where it is not a refusal.
    pub fn request(
        &self,
        command: Command,
        on_progress: &mut dyn FnMut(&Answer),
    ) -> Result<Answer, Refused> {
        let asked = command.to_string();
        let answer = match control::request(&self.paths, command, on_progress) {
            Ok(outcome) => outcome.answer,
            Err(error) => {
                return Err(Refused {
                    lines: vec![format!("tcpffee {asked}: {error}")],
                    exit: Exit::NoAnswer as u8,
                });
            }
        };
        if answer.kind != Kind::Failed {
            return Ok(answer);
        }
        let mut lines: Vec<String> = answer_lines(&answer).collect();
        if answer.text.starts_with(NO_SUCH_REQUEST) {
            lines.push(OLDER_PROCESS.to_owned());
        }
        Err(Refused {
            lines,
            exit: answer.exit,
        })
    }
}

fn answer_lines(answer: &Answer) -> impl Iterator<Item = String> {
    let first = std::iter::once(answer.text.clone());
    first.chain(answer.lines.iter().map(|line| format!("  {line}")))
}
