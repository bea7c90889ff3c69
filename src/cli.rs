//! The command line: what may be given, what it means, and the exit codes.

mod ask;
mod check;
mod status;
mod sticks;
mod words;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueHint};

use crate::control::EXIT_FAILED;
use crate::supervisor::EXIT_CONNECTIONS_CUT;

pub use ask::ask;
pub use check::check;
pub use status::status;
pub use sticks::{SticksFilter, sticks};

/// Shown at the end of `--help`.
const AFTER_HELP: &str = "\
Examples:
  tcpffee demo                        try it: three small servers and the proxy before them
  tcpffee check --config new.toml     what a file says, or everything that is wrong with it
  tcpffee --config tcpffee.toml       run in the foreground, log to standard error
  tcpffee reload                      apply the changed file; no connection is cut
  tcpffee stop                        end in order; returns when the process has gone
  tcpffee status --watch              health, groups, sticks, connections, every second
  tcpffee drain birch                 no new clients for a group, until the next reload
  tcpffee enable birch                take that back
  tcpffee sticks --ip 192.0.2.0/24    which client belongs to which group
  tcpffee sticks remove 192.0.2.7     have a client assigned anew
  tcpffee cluster form                what forming a cluster by hand would do, and cost

Exit codes:
  0  done
  1  the configuration has errors, what was asked for was refused, or `status`: unhealthy
  2  wrong usage of the command line
  3  could not start: a port is taken, another process holds the PID file or the state, ...
  4  no running process was found, or it did not answer
  5  stopped, and connections that were still open were cut
  101  a defect of the program: a thread panicked

Environment:
  TCPFFEE_CONFIG_PATH, TCPFFEE_PID_PATH, TCPFFEE_KEY_TYPE, RUST_LOG and more: see
  `man tcpffee`. Every command but `run` and `demo` reads /etc/default/tcpffee where the
  environment is silent.

More: `man tcpffee` has a quick start and what to do about lines of the log,
`man tcpffee.toml` every key of the configuration.";

/// Shown at the end of `status --help`.
const STATUS_HELP: &str = "\
Examples:
  tcpffee status                                   a table
  tcpffee status --watch                           a table every second, with rates
  tcpffee status --json | jq .health.warnings      for programs";

/// Shown at the end of `sticks --help`.
const STICKS_HELP: &str = "\
Examples:
  tcpffee sticks                                   the whole table
  tcpffee sticks --group birch --limit 20          some of a group's clients
  tcpffee sticks --ip 192.0.2.7                    every key of an address
  tcpffee sticks --ip 192.0.2.0/24 --json          those of a network, for programs";

/// Shown at the end of the help of `drain`, `disable` and `enable`.
const GROUP_HELP: &str = "\
Examples:
  tcpffee drain birch       by name
  tcpffee disable 1         by id
  tcpffee enable birch      take either back";

/// A sticky TCP load balancer: one client, one server group, on every port.
#[derive(Debug, Parser)]
#[command(name = "tcpffee", version, after_help = AFTER_HELP)]
pub struct Arguments {
    /// Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml
    #[arg(long, short, value_name = "PATH", global = true, value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    #[command(subcommand)]
    task: Option<Task>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Task {
    /// Run the proxy in the foreground (so does `tcpffee` alone)
    Run,
    /// Read the configuration; say what it holds, or everything that is wrong with it
    Check,
    /// Have the running process apply its changed configuration, and say what changed
    Reload,
    /// End the running process in order, and say how it ended
    Stop,
    /// Show how the running process stands: health, groups, sticks, connections
    ///
    /// Ends with 0 where the node may get traffic and with 1 where it may not, as
    /// /api/v1/health has it; warnings do not count.
    #[command(after_help = STATUS_HELP)]
    Status {
        /// One JSON object: `overview`, `groups` and `health`, with the fields of /api/v1/
        #[arg(long)]
        json: bool,
        /// Look again every second until Ctrl-C, with rates; goes on while the process restarts
        #[arg(long)]
        watch: bool,
    },
    /// Show the stick table: which client belongs to which group
    #[command(args_conflicts_with_subcommands = true, after_help = STICKS_HELP)]
    Sticks {
        /// Which entries, and how.
        #[command(flatten)]
        filter: SticksFilter,
        /// What to do in place of showing them.
        #[command(subcommand)]
        task: Option<SticksTask>,
    },
    /// Let a group take no new clients; it goes on to serve those that it has
    ///
    /// The group becomes Draining, and `drain_timeout` begins. Kept until the next successful
    /// reload, or a restart.
    #[command(after_help = GROUP_HELP)]
    Drain {
        /// The group's id, or its name
        #[arg(value_hint = ValueHint::Other)]
        group: String,
    },
    /// Let a group serve no clients; they are assigned anew when they connect next
    ///
    /// The group becomes Disabled. Open connections are cut only where the group has
    /// `on_disabled = "reset"`. Kept until the next successful reload, or a restart.
    #[command(after_help = GROUP_HELP)]
    Disable {
        /// The group's id, or its name
        #[arg(value_hint = ValueHint::Other)]
        group: String,
    },
    /// Bring a group back: takes back `drain` and `disable`, those of the file too
    ///
    /// Never overrides a health check: a group that a check keeps out stays out until the check
    /// passes, and the answer says so. What the file says holds again from the next successful
    /// reload, or a restart.
    #[command(after_help = GROUP_HELP)]
    Enable {
        /// The group's id, or its name
        #[arg(value_hint = ValueHint::Other)]
        group: String,
    },
    /// What concerns a cluster of several proxies
    #[command(subcommand)]
    Cluster(ClusterTask),
    /// Run three small servers and the proxy in front of them, with what to try
    Demo,
}

/// What to do about the stick table.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum SticksTask {
    /// Remove an entry: the client's next connection is assigned anew, open ones stay
    ///
    /// Ends with 1 where there is no such entry. A crash before the next save of the table
    /// (stick_table_save_interval) can bring the entry back.
    #[command(after_help = "\
Examples:
  tcpffee sticks remove 192.0.2.7
  tcpffee sticks remove '192.0.2.7/LOGIN\\x00'    the slice as `tcpffee sticks` shows it")]
    Remove {
        /// The key, as `tcpffee sticks` shows it
        #[arg(value_hint = ValueHint::Other)]
        key: String,
    },
}

/// What to do about the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum ClusterTask {
    /// Form a cluster where none forms by itself; says first what it would do and what is lost
    ///
    /// A cluster forms by itself when all of its peers are there for the first time. This is for
    /// when that cannot come about, or when a cluster has lost the majority of its nodes for
    /// ever: the node that it is run on becomes the first of a new one. Without --yes nothing is
    /// changed.
    Form {
        /// Do it
        #[arg(long)]
        yes: bool,
    },
}

impl Task {
    fn takes_config(&self) -> Result<(), &'static str> {
        match self {
            Task::Run | Task::Check => Ok(()),
            Task::Reload => Err("`reload` has the running process read the file that it runs with"),
            Task::Stop => Err("`stop` reads no configuration"),
            Task::Cluster(_) => Err("`cluster` asks the running process"),
            Task::Status { .. } => Err("`status` asks the running process"),
            Task::Sticks { .. } => Err("`sticks` asks the running process"),
            Task::Drain { .. } | Task::Disable { .. } | Task::Enable { .. } => {
                Err("the running process has its own")
            }
            Task::Demo => Err("`demo` brings a configuration of its own"),
        }
    }
}

impl Arguments {
    /// The arguments of this process. Prints and ends the process for `--help`, `--version` and
    /// wrong usage.
    pub fn of_process() -> Arguments {
        let arguments = Arguments::parse();
        if arguments.config.is_some()
            && let Err(reason) = arguments.task().takes_config()
        {
            let message = format!("--config cannot be used here: {reason}");
            Arguments::command()
                .error(ErrorKind::ArgumentConflict, message)
                .exit();
        }
        arguments
    }

    /// What to do: `run` where nothing is said.
    pub fn task(&self) -> Task {
        self.task.clone().unwrap_or(Task::Run)
    }
}

/// How the program ends; the numbers are part of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was done.
    Done = 0,
    /// The configuration has errors, what was asked for was refused, or the node is unhealthy.
    Refused = EXIT_FAILED,
    /// Wrong usage.
    Usage = 2,
    /// The proxy could not be started.
    CannotStart = 3,
    /// No running process, or no answer from it.
    NoAnswer = 4,
    /// Stopped, with connections cut.
    Cut = EXIT_CONNECTIONS_CUT,
}

impl Exit {
    /// Every way to end but a panic's, which gives 101.
    pub const ALL: [Exit; 6] = [
        Exit::Done,
        Exit::Refused,
        Exit::Usage,
        Exit::CannotStart,
        Exit::NoAnswer,
        Exit::Cut,
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Prints to standard output; whoever does not want to hear the end (`| head`) need not.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints to standard error.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn nothing_said_means_run() {
        let arguments = Arguments::try_parse_from(["tcpffee"]).unwrap();
        assert_eq!(arguments.task(), Task::Run);
    }

    #[test]
    fn the_file_may_be_named_before_or_after_the_task() {
        for line in [
            ["tcpffee", "--config", "a.toml", "check"],
            ["tcpffee", "check", "-c", "a.toml"],
        ] {
            let arguments = Arguments::try_parse_from(line).unwrap();
            assert_eq!(arguments.config, Some("a.toml".into()));
            assert_eq!(arguments.task(), Task::Check);
        }
    }

    #[test]
    fn the_help_names_every_exit_code() {
        for exit in Exit::ALL {
            let line = format!("\n  {}  ", exit as u8);
            assert!(AFTER_HELP.contains(&line), "{exit:?}");
        }
    }
}
