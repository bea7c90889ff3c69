//! `tcpffee demo`: a stage for the proxy, with three small servers, a configuration and state in
//! a directory of its own, and something to try.

mod server;

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use crate::config::{self, Environment, GroupConfig, Loaded, Problems, TargetAddr};
use server::Server;

/// What the demo runs with: the example that documents every key, runnable as it stands.
const CONFIG: &str = include_str!("../tcpffee.toml");

/// What the file is called on the stage.
const CONFIG_NAME: &str = "tcpffee.toml";

/// The PID file on the stage.
const PID_NAME: &str = "tcpffee.pid";

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// No directory for the configuration and the state.
    #[error("cannot make the demo's directory {path}: {error}; set TMPDIR to another place")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The environment does not go with the demo's configuration.
    #[error("the demo's configuration is refused:\n{0}")]
    Configuration(#[from] Problems),
    /// A server's address is taken.
    #[error(
        "cannot start the demo's server {name} at {address}: {error}; \
         is another demo running, or something else on that port?"
    )]
    Server {
        /// The group's name.
        name: String,
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

/// The servers, and what the proxy before them is started with. Dropped, it takes its directory
/// with it.
#[derive(Debug)]
pub struct Stage {
    /// The demo's configuration.
    pub loaded: Loaded,
    /// The given environment, all paths leading to the demo's directory.
    pub environment: Environment,
    directory: Directory,
}

impl Stage {
    /// Makes the directory and starts the servers.
    ///
    /// # Errors
    /// When the directory cannot be made or an address is taken.
    pub fn set(environment: Environment) -> Result<Stage, StageError> {
        let directory = Directory::make()?;
        let environment = settle_in(&directory.0, environment);
        let loaded = config::load(CONFIG, &environment.config_path, &environment)?;
        for group in &loaded.config.groups {
            raise(group)?;
        }
        Ok(Stage {
            loaded,
            environment,
            directory,
        })
    }

    /// What to type, for the screen.
    pub fn what_to_try(&self) -> String {
        let config = &self.loaded.config;
        let servers: Vec<String> = config.groups.iter().map(name_of).collect();
        let proxy = config.bind_addrs.first();
        let proxy = proxy.map_or_else(String::new, ToString::to_string);
        let program = env::current_exe().unwrap_or_else(|_| "tcpffee".into());
        let (program, directory) = (program.display(), self.directory.0.display());
        format!(
            "\nThe servers {} stand behind the proxy on {proxy}. Try, in another terminal:\n\n{}\n\
             A client stays with its server until it has been silent for {} s.\n\
             Edit {directory}/{CONFIG_NAME} (drain = true in a group, say), then\n\n  \
             TCPFFEE_PID_PATH={directory}/{PID_NAME} {program} reload\n\n\
             Ctrl-C ends the demo.\n",
            listed(&servers),
            commands(&proxy, &config.ports, config.stats_bind_socket),
            config.expiration.as_secs_f64(),
        )
    }
}

/// Commands to type, each with what it shows.
fn commands(proxy: &str, ports: &[u16], statistics: SocketAddr) -> String {
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(0);
    let (one, two, three) = (port(0), port(1), port(2));
    let rows = [
        (
            format!("curl http://{proxy}:{one}/"),
            "which server answers?",
        ),
        (
            format!("curl http://{proxy}:{two}/"),
            "another port, the same server",
        ),
        (
            format!("curl --interface 127.0.0.5 http://{proxy}:{one}/"),
            "another client, another server",
        ),
        (
            format!("nc {proxy} {three}"),
            "a conversation, with the first client's server",
        ),
        (
            format!("curl http://{statistics}/api/v1/stick_table"),
            "who belongs to whom (in a browser: the dashboard at /)",
        ),
    ];
    let width = rows
        .iter()
        .map(|(command, _)| command.len())
        .max()
        .unwrap_or(0);
    let line = |(command, about): &(String, &str)| format!("  {command:width$}    {about}\n");
    rows.iter().map(line).collect()
}

fn name_of(group: &GroupConfig) -> String {
    let unnamed = || format!("group {}", group.id);
    group.name.clone().unwrap_or_else(unnamed)
}

fn listed(names: &[String]) -> String {
    match names {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => names.concat(),
    }
}

/// Starts a group's servers: one listener for each of its targets.
fn raise(group: &GroupConfig) -> Result<(), StageError> {
    for (&port, target) in &group.targets {
        if let TargetAddr::Socket(address) = *target {
            let name = name_of(group);
            let server = Server { name, port };
            let name = server.name.clone();
            server.start(address).map_err(|error| StageError::Server {
                name,
                address,
                error,
            })?;
        }
    }
    Ok(())
}

fn settle_in(directory: &Path, environment: Environment) -> Environment {
    Environment {
        config_path: directory.join(CONFIG_NAME),
        pid_path: Some(directory.join(PID_NAME)),
        stick_table_save_path: directory.join("stick_table"),
        healthcheck_save_path: directory.join("healthcheck_state"),
        raft_path: directory.join("raft"),
        ..environment
    }
}

/// A directory that nobody else may enter, with the configuration in it; removed at drop.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn make() -> Result<Directory, StageError> {
        let path = env::temp_dir().join(format!("tcpffee-demo-{}", process::id()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        let failed = |error| StageError::Directory {
            path: path.clone(),
            error,
        };
        made.map_err(failed)?;
        let directory = Directory(path.clone());
        fs::write(path.join(CONFIG_NAME), CONFIG).map_err(failed)?;
        Ok(directory)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}
