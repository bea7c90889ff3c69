//! The files that the process writes must not be one another, nor the configuration, nor another
//! user's.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::Environment;
use crate::control;
use crate::state_file::{lock_file_path, new_path};

/// Two of the files are one.
#[derive(Debug, thiserror::Error)]
#[error(
    "{one} and {other} are the same file, {}: give one of them another path",
    path.display()
)]
pub struct PathsCollide {
    /// What the one is.
    pub one: &'static str,
    /// What the other is.
    pub other: &'static str,
    /// Where both are.
    pub path: PathBuf,
}

/// Checks that the configuration file and all files of the environment differ.
///
/// # Errors
/// The first two that are the same, links followed.
pub fn check(environment: &Environment, config_path: &Path) -> Result<(), PathsCollide> {
    let pid_path = environment.pid_path();
    let files = [
        ("the configuration file", config_path.to_owned()),
        ("TCPFFEE_PID_PATH", pid_path.to_owned()),
        (
            "the control socket beside TCPFFEE_PID_PATH",
            control::socket_path(pid_path),
        ),
        (
            "TCPFFEE_STICK_TABLE_SAVE_PATH",
            environment.stick_table_save_path.clone(),
        ),
        (
            "the lock beside TCPFFEE_STICK_TABLE_SAVE_PATH",
            lock_file_path(&environment.stick_table_save_path),
        ),
        (
            "the new save beside TCPFFEE_STICK_TABLE_SAVE_PATH",
            new_path(&environment.stick_table_save_path),
        ),
        (
            "TCPFFEE_HEALTHCHECK_SAVE_PATH",
            environment.healthcheck_save_path.clone(),
        ),
        (
            "the lock beside TCPFFEE_HEALTHCHECK_SAVE_PATH",
            lock_file_path(&environment.healthcheck_save_path),
        ),
        (
            "the new save beside TCPFFEE_HEALTHCHECK_SAVE_PATH",
            new_path(&environment.healthcheck_save_path),
        ),
        ("TCPFFEE_RAFT_PATH", environment.raft_path.clone()),
    ];
    let real = files.map(|(what, path)| (what, real_path(&path)));
    for (at, (other, path)) in real.iter().enumerate() {
        if let Some((one, _)) = real[..at].iter().find(|(_, earlier)| earlier == path) {
            let path = path.clone();
            return Err(PathsCollide { one, other, path });
        }
    }
    Ok(())
}

/// The state belongs to a service, and root would take it from there.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} belongs to another user (id {owner}), who could not read what this process, as root, leaves \
     in it: start the service (systemctl start tcpffee), or set TCPFFEE_STICK_TABLE_SAVE_PATH, \
     TCPFFEE_HEALTHCHECK_SAVE_PATH and TCPFFEE_RAFT_PATH to another directory",
    directory.display()
)]
pub struct ForeignState {
    /// The directory.
    pub directory: PathBuf,
    /// Its owner.
    pub owner: u32,
}

/// Checks that root does not write into the state of a service that runs as another user.
///
/// # Errors
/// The first directory that belongs to another user, where this process is root.
pub fn check_owner(environment: &Environment) -> Result<(), ForeignState> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let paths = [
        &environment.stick_table_save_path,
        &environment.healthcheck_save_path,
        &environment.raft_path,
    ];
    for directory in paths.into_iter().filter_map(|path| path.parent()) {
        match std::fs::metadata(directory) {
            Ok(found) if found.uid() != 0 => {
                return Err(ForeignState {
                    directory: directory.to_owned(),
                    owner: found.uid(),
                });
            }
            // Whatever else is wrong with it is said where it is used.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// The path with links followed, as far as it exists.
fn real_path(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (
        absolute
            .parent()
            .and_then(|parent| parent.canonicalize().ok()),
        absolute.file_name(),
    ) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => absolute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pid: &Path, sticks: &Path) -> Environment {
        let vars = |name: &str| match name {
            "TCPFFEE_PID_PATH" => Some(pid.as_os_str().to_owned()),
            "TCPFFEE_STICK_TABLE_SAVE_PATH" => Some(sticks.as_os_str().to_owned()),
            _ => None,
        };
        Environment::from_vars(vars).expect("sound")
    }

    #[test]
    fn a_state_path_that_is_the_configuration_is_refused_through_links_too() {
        let folder = tempfile::tempdir().expect("folder");
        let config = folder.path().join("tcpffee.toml");
        std::fs::write(&config, "").expect("written");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&config, &link).expect("linked");
        let (pid, sticks) = (folder.path().join("a.pid"), folder.path().join("sticks"));
        assert!(check(&environment(&pid, &sticks), &config).is_ok());
        for (pid, sticks) in [
            (&config, &sticks),
            (&pid, &config),
            (&pid, &link),
            (&sticks, &sticks),
            (&folder.path().join("sticks.lock"), &sticks),
            (&folder.path().join("sticks.new"), &sticks),
            (&pid, &folder.path().join("a.sock")),
        ] {
            let error = check(&environment(pid, sticks), &config).expect_err("the same file");
            assert!(error.to_string().contains("TCPFFEE_"), "{error}");
        }
    }
}
