//! The `tcpffee` program: arguments, configuration, start, wait, stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tcpffee::cli::{self, Arguments, ClusterTask, Exit, SticksTask, Task};
use tcpffee::config::{self, Environment, Loaded, Problems};
use tcpffee::control::{Command, ControlError, ControlSocket};
use tcpffee::demo::{Stage, StageError};
use tcpffee::events::Event;
use tcpffee::logging::{self, LogGuard};
use tcpffee::paths::{self, ForeignState, PathsCollide};
use tcpffee::pid_file::{PidFile, PidFileError};
use tcpffee::service::Service;
use tcpffee::signals::{self, SignalError};
use tcpffee::supervisor::{Start, StartError, Supervisor};

/// What clients of the control socket get to read their last answers, at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments = Arguments::of_process();
    match arguments.task() {
        Task::Run => logged(logging::DEFAULT_FILTER, |service| {
            run(arguments.config, service)
        }),
        Task::Demo => logged(logging::DEMO_FILTER, demo),
        Task::Check => cli::check(arguments.config.as_deref()),
        Task::Reload => cli::ask(Command::Reload),
        Task::Stop => cli::ask(Command::Stop),
        Task::Status { json, watch } => cli::status(json, watch),
        Task::Sticks {
            task: Some(SticksTask::Remove { key }),
            ..
        } => cli::ask(Command::SticksRemove { key }),
        Task::Sticks { filter, task: None } => cli::sticks(filter),
        Task::Drain { group } => cli::ask(Command::Drain { group }),
        Task::Disable { group } => cli::ask(Command::Disable { group }),
        Task::Enable { group } => cli::ask(Command::Enable { group }),
        Task::Cluster(ClusterTask::Form { yes }) => cli::ask(Command::ClusterForm { yes }),
    }
}

fn run(config_path: Option<PathBuf>, service: &Service) -> Result<ExitCode, Failure> {
    let signals = caught_signals()?;
    let environment = Environment::from_process()?;
    let config_path = config_path.unwrap_or_else(|| environment.config_path.clone());
    let loaded = config::read(&config_path, &environment)?;
    serve(loaded, environment, config_path, signals, service, || ())
}

fn demo(service: &Service) -> Result<ExitCode, Failure> {
    let signals = caught_signals()?;
    let environment = Environment::from_process()?;
    let stage = Stage::set(environment)?;
    let (loaded, environment) = (stage.loaded.clone(), stage.environment.clone());
    let config_path = environment.config_path.clone();
    serve(loaded, environment, config_path, signals, service, || {
        cli::say(&stage.what_to_try())
    })
}

/// The queue of requests to the supervisor, signals among them.
type Signals = (Sender<Event>, Receiver<Event>);

/// Signals are caught before anything else is done: one to reload must never end the process.
fn caught_signals() -> Result<Signals, SignalError> {
    let (sender, events) = bounded(tcpffee::events::QUEUE_EVENTS);
    signals::listen(sender.clone())?;
    Ok((sender, events))
}

/// Starts the proxy with all that surrounds it, says so by `ready`, and returns when it has ended.
fn serve(
    loaded: Loaded,
    environment: Environment,
    config_path: PathBuf,
    (sender, events): Signals,
    service: &Service,
    ready: impl FnOnce(),
) -> Result<ExitCode, Failure> {
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    paths::check(&environment, &config_path)?;
    paths::check_owner(&environment)?;
    let pid_file = PidFile::acquire(environment.pid_path())?;
    let control = ControlSocket::open(&pid_file, sender.clone())?;
    let supervisor = Supervisor::start(Start {
        config: loaded.config,
        environment,
        config_path: Some(config_path),
        events: sender,
        service: service.clone(),
    })?;
    control.inform_by(supervisor.informant());
    ready();
    let exit = supervisor.run(&events);
    // Requests that came too late are answered by being dropped.
    drop(events);
    control.close(LAST_ANSWERS);
    pid_file.release();
    Ok(exit.into())
}

/// Runs a task that logs and tells the service manager, tells both why it failed, and gives the exit
/// code.
fn logged(
    default_filter: &'static str,
    task: impl FnOnce(&Service) -> Result<ExitCode, Failure>,
) -> ExitCode {
    let rust_log = std::env::var_os("RUST_LOG");
    let settings = logging::Settings {
        rust_log: rust_log.map(|value| value.to_string_lossy().into_owned()),
        default_filter,
    };
    let _log: LogGuard = match logging::start(&settings) {
        Ok(log) => log,
        Err(error) => {
            cli::complain(&format!("tcpffee: cannot start the log: {error}"));
            return Exit::CannotStart.into();
        }
    };
    let service = Service::from_process();
    match task(&service) {
        Ok(exit) => exit,
        Err(failure) => {
            failure.log();
            service.failed(&failure);
            failure.exit().into()
        }
    }
}

/// Why the proxy did not run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the configuration has errors ({})", .0.error_count())]
    Configuration(#[from] Problems),
    #[error(transparent)]
    Paths(#[from] PathsCollide),
    #[error(transparent)]
    State(#[from] ForeignState),
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    #[error(transparent)]
    Signals(#[from] SignalError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Demo(#[from] StageError),
}

impl Failure {
    fn log(&self) {
        if let Failure::Configuration(problems) = self {
            for problem in problems.iter() {
                log::error!("{problem}");
            }
        }
        log::error!("cannot start: {self}");
    }

    fn exit(&self) -> Exit {
        match self {
            Failure::Configuration(_) => Exit::Refused,
            _ => Exit::CannotStart,
        }
    }
}
