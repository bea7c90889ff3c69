//! `tcpffee reload`, `tcpffee stop` and `tcpffee cluster form`.

use std::process::ExitCode;

use crate::cli::{Exit, complain, say};
use crate::config::Environment;
use crate::control::{self, Command, Kind};

/// Has the running process do it, prints what it answers, and gives the exit code.
pub fn ask(command: Command) -> ExitCode {
    let environment = match Environment::for_subcommand() {
        Ok(environment) => environment,
        Err(problems) => {
            complain(&problems.to_string());
            return Exit::Refused.into();
        }
    };
    let paths = environment.running_pid_paths();
    let outcome = control::request(&paths, command, &mut |progress| say(&progress.text));
    let answer = match outcome {
        Ok(outcome) => outcome.answer,
        Err(error) => {
            complain(&format!("tcpffee {command}: {error}"));
            return Exit::NoAnswer.into();
        }
    };
    let print = match answer.kind {
        Kind::Failed => complain,
        Kind::Done | Kind::Progress => say,
    };
    print(&answer.text);
    for line in &answer.lines {
        print(&format!("  {line}"));
    }
    ExitCode::from(answer.exit)
}
