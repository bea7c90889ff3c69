//! The reference of the environment variables.

use super::problem::{Fault, nearest};

/// The PID file where nothing else is said.
pub(super) const DEFAULT_PID_PATH: &str = "/run/tcpffee.pid";

/// How the names of tcpffee's own variables begin.
pub(super) const PREFIX: &str = "TCPFFEE_";

pub(super) const CONFIG_PATH: &str = "TCPFFEE_CONFIG_PATH";
pub(super) const PID_PATH: &str = "TCPFFEE_PID_PATH";
pub(super) const HEALTHCHECK_SAVE_PATH: &str = "TCPFFEE_HEALTHCHECK_SAVE_PATH";
pub(super) const STICK_TABLE_SAVE_PATH: &str = "TCPFFEE_STICK_TABLE_SAVE_PATH";
pub(super) const RAFT_PATH: &str = "TCPFFEE_RAFT_PATH";
pub(super) const MAC_ADDRESS: &str = "TCPFFEE_MAC_ADDRESS";
pub(super) const KEY_TYPE: &str = "TCPFFEE_KEY_TYPE";
pub(super) const SLICE_START: &str = "TCPFFEE_KEY_FIRST_MESSAGE_SLICE_START";
pub(super) const SLICE_END: &str = "TCPFFEE_KEY_FIRST_MESSAGE_SLICE_END";
pub(super) const RUST_LOG: &str = "RUST_LOG";

/// One row of the reference of environment variables.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub values: &'static str,
    /// What holds where it is unset or empty.
    pub default: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
}

const fn variable(
    name: &'static str,
    values: &'static str,
    default: &'static str,
    about: &'static str,
) -> Variable {
    Variable {
        name,
        values,
        default,
        about,
    }
}

/// Every environment variable.
#[rustfmt::skip]
pub static VARIABLES: &[Variable] = &[
    variable(CONFIG_PATH, "path", "/etc/tcpffee/tcpffee.toml",
        "The configuration file; `--config` goes before it."),
    variable(PID_PATH, "path", DEFAULT_PID_PATH,
        "File with the process's id; the control socket lies beside it. Where it is unset, commands to a running process look at `/run/tcpffee/tcpffee.pid` first."),
    variable(HEALTHCHECK_SAVE_PATH, "path", "/var/lib/tcpffee/healthcheck_state",
        "Where the state of the health checks is saved."),
    variable(STICK_TABLE_SAVE_PATH, "path", "/var/lib/tcpffee/stick_table",
        "Where a lone node saves its stick table."),
    variable(RAFT_PATH, "path", "/var/lib/tcpffee/raft",
        "Directory of the cluster's logs."),
    variable(MAC_ADDRESS, "MAC address", "found on the interfaces",
        "Which MAC address this node takes for its own, for containers and tests."),
    variable(KEY_TYPE, "`IP`, `IP_WITH_FIRST_MESSAGE_SLICE`", "IP",
        "What a client is known by: its address, or its address and a slice of its first message."),
    variable(SLICE_START, "0 to 4095", "none",
        "First byte of the slice, from 0. Required for `IP_WITH_FIRST_MESSAGE_SLICE`."),
    variable(SLICE_END, "1 to 4096, greater than the start", "none",
        "One past the last byte of the slice. Required for `IP_WITH_FIRST_MESSAGE_SLICE`."),
    variable(RUST_LOG, "filter", "info,tcpffee::session=off",
        "What is logged: levels by module, such as `info,tcpffee::session=info`."),
];

/// What is wrong with a name that no variable goes by.
pub(super) fn unknown(name: &str) -> Option<Fault> {
    let known = || VARIABLES.iter().map(|variable| variable.name);
    (!known().any(|other| other == name)).then(|| Fault::Unknown {
        what: "variable",
        nearest: nearest(name, known()).map(str::to_owned),
        known: known().collect(),
    })
}
