//! The environment variables, and `/etc/default/tcpffee` where a subcommand's are silent.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::defaults_file::DefaultsFile;
use super::problem::{Fault, Place, Problem, Problems, Severity, nearest};
use super::schema::{KeyType, MacAddress};
use super::values;
use super::variables::{
    CONFIG_PATH, DEFAULT_PID_PATH, HEALTHCHECK_SAVE_PATH, KEY_TYPE, MAC_ADDRESS, PID_PATH, PREFIX,
    RAFT_PATH, RUST_LOG, SLICE_END, SLICE_START, STICK_TABLE_SAVE_PATH, unknown,
};

pub use super::variables::{VARIABLES, Variable};

/// The end of a key slice at most, in bytes.
pub const MAX_SLICE_END: usize = 4096;

/// The file whose variables the service is started with.
pub const DEFAULTS_FILE: &str = "/etc/default/tcpffee";

/// The PID file of the packaged service.
const SERVICE_PID_PATH: &str = "/run/tcpffee/tcpffee.pid";

const TYPE_IP: &str = "IP";
const TYPE_SLICE: &str = "IP_WITH_FIRST_MESSAGE_SLICE";

/// What the environment says, checked, defaults filled in. A reload does not read it again.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// `TCPFFEE_CONFIG_PATH`
    pub config_path: PathBuf,
    /// `TCPFFEE_PID_PATH`, where it is set.
    pub pid_path: Option<PathBuf>,
    /// `TCPFFEE_HEALTHCHECK_SAVE_PATH`
    pub healthcheck_save_path: PathBuf,
    /// `TCPFFEE_STICK_TABLE_SAVE_PATH`
    pub stick_table_save_path: PathBuf,
    /// `TCPFFEE_RAFT_PATH`
    pub raft_path: PathBuf,
    /// `TCPFFEE_MAC_ADDRESS`
    pub mac_address: Option<MacAddress>,
    /// `TCPFFEE_KEY_TYPE` with its bounds.
    pub key_type: KeyType,
    /// `RUST_LOG`, as it stands.
    pub rust_log: Option<String>,
    /// What is odd about it; [`super::load`] puts these in front of the file's.
    pub warnings: Vec<Problem>,
}

impl Default for Environment {
    fn default() -> Environment {
        Environment::from_vars(|_| None).expect("an empty environment is a good one")
    }
}

impl Environment {
    /// The environment of this process, for `run` and `demo`.
    ///
    /// # Errors
    /// As [`Environment::from_vars`].
    pub fn from_process() -> Result<Environment, Problems> {
        let mut environment = Environment::from_vars(|name| std::env::var_os(name))?;
        environment.warn_of_unknown(own_names());
        Ok(environment)
    }

    /// An environment given by a look-up of variables. Empty values count as unset.
    ///
    /// # Errors
    /// Every value that is not understood, and key bounds that are missing or out of order.
    pub fn from_vars(vars: impl Fn(&str) -> Option<OsString>) -> Result<Environment, Problems> {
        Reader::new(&|name| Some((vars(name)?, Place::Environment))).environment()
    }

    /// The environment of this process, with [`DEFAULTS_FILE`] where it is silent: for
    /// subcommands that deal with a running service.
    ///
    /// # Errors
    /// As [`Environment::from_vars`], and lines of the file that are not understood.
    pub fn for_subcommand() -> Result<Environment, Problems> {
        let vars = |name: &str| std::env::var_os(name);
        let file = Path::new(DEFAULTS_FILE);
        let mut environment = Environment::for_subcommand_from(vars, file)?;
        environment.warn_of_unknown(own_names());
        Ok(environment)
    }

    /// As [`Environment::for_subcommand`], from any variables and file.
    ///
    /// # Errors
    /// As [`Environment::for_subcommand`].
    pub fn for_subcommand_from(
        vars: impl Fn(&str) -> Option<OsString>,
        file: &Path,
    ) -> Result<Environment, Problems> {
        let file = DefaultsFile::read(file);
        let lookup = |name: &str| {
            let own = vars(name).filter(|value| !value.is_empty());
            match own {
                Some(value) => Some((value, Place::Environment)),
                None => file.get(name),
            }
        };
        let mut reader = Reader::new(&lookup);
        reader.problems.extend(file.problems.iter().cloned());
        reader.problems.extend(file.unknown(&unknown));
        reader.environment()
    }

    /// Warns about variables that begin as tcpffee's do and are none of them: slips of the pen,
    /// mostly.
    pub fn warn_of_unknown(&mut self, names: impl IntoIterator<Item = String>) {
        let own = names.into_iter().filter(|name| name.starts_with(PREFIX));
        let problems = own.filter_map(|name| {
            Some(Problem {
                severity: Severity::Warning,
                place: Place::Environment,
                fault: unknown(&name)?,
                key: Some(name),
            })
        });
        self.warnings.extend(problems);
    }

    /// Where this process writes its id.
    pub fn pid_path(&self) -> &Path {
        match &self.pid_path {
            Some(path) => path,
            None => Path::new(DEFAULT_PID_PATH),
        }
    }
}

/// Where a running process may have written its id, in the order to look: for commands that ask it,
/// which nothing else in the environment or in [`DEFAULTS_FILE`] may keep from it.
pub fn running_pid_paths() -> Vec<PathBuf> {
    running_pid_paths_from(|name| std::env::var_os(name), Path::new(DEFAULTS_FILE))
}

/// As [`running_pid_paths`], from any variables and file.
pub fn running_pid_paths_from(
    vars: impl Fn(&str) -> Option<OsString>,
    file: &Path,
) -> Vec<PathBuf> {
    let own = vars(PID_PATH).filter(|value| !value.is_empty());
    let said = own.or_else(|| DefaultsFile::read(file).get(PID_PATH).map(|(path, _)| path));
    match said {
        Some(path) => vec![path.into()],
        None => vec![SERVICE_PID_PATH.into(), DEFAULT_PID_PATH.into()],
    }
}

/// The names of this process's variables.
fn own_names() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

type Lookup<'v> = &'v dyn Fn(&str) -> Option<(OsString, Place)>;

/// Reads variables and collects what is wrong with them.
struct Reader<'v> {
    lookup: Lookup<'v>,
    problems: Vec<Problem>,
}

/// A variable that is set.
struct Set {
    text: String,
    place: Place,
}

impl<'v> Reader<'v> {
    fn new(lookup: Lookup<'v>) -> Reader<'v> {
        Reader {
            lookup,
            problems: Vec::new(),
        }
    }

    fn environment(mut self) -> Result<Environment, Problems> {
        let environment = Environment {
            config_path: self.path(CONFIG_PATH),
            pid_path: self.explicit_path(PID_PATH),
            healthcheck_save_path: self.path(HEALTHCHECK_SAVE_PATH),
            stick_table_save_path: self.path(STICK_TABLE_SAVE_PATH),
            raft_path: self.path(RAFT_PATH),
            mac_address: self.mac_address(),
            key_type: self.key_type().unwrap_or(KeyType::Ip),
            rust_log: self.text(RUST_LOG).map(|set| set.text),
            warnings: Vec::new(),
        };
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        if self.problems.iter().any(is_error) {
            return Err(Problems(self.problems));
        }
        let warnings = self.problems;
        Ok(Environment {
            warnings,
            ..environment
        })
    }

    /// A variable that is set and not empty, and where.
    fn set(&self, name: &str) -> Option<(OsString, Place)> {
        (self.lookup)(name).filter(|(value, _)| !value.is_empty())
    }

    fn explicit_path(&self, name: &str) -> Option<PathBuf> {
        self.set(name).map(|(value, _)| value.into())
    }

    fn path(&self, name: &str) -> PathBuf {
        let default = || {
            let row = VARIABLES.iter().find(|variable| variable.name == name);
            row.expect("every variable has a row").default.into()
        };
        self.explicit_path(name).unwrap_or_else(default)
    }

    /// A variable's text; refuses bytes that are not UTF-8.
    fn text(&mut self, name: &str) -> Option<Set> {
        let (value, place) = self.set(name)?;
        match value.into_string() {
            Ok(text) => Some(Set { text, place }),
            Err(value) => {
                let found = format!("{value:?}");
                self.refuse(place, name, found, "UTF-8 text");
                None
            }
        }
    }

    fn mac_address(&mut self) -> Option<MacAddress> {
        let set = self.text(MAC_ADDRESS)?;
        let Some((mac, had_empty_part)) = values::mac_address(set.text.trim()) else {
            let found = format!("{:?}", set.text);
            let expected = "a MAC address such as 02:00:00:00:00:01";
            self.refuse(set.place, MAC_ADDRESS, found, expected);
            return None;
        };
        if had_empty_part {
            let sentence = format!("read as {mac}, its empty part skipped");
            self.warn(set.place, MAC_ADDRESS, sentence);
        }
        Some(mac)
    }

    fn key_type(&mut self) -> Option<KeyType> {
        let Some(set) = self.text(KEY_TYPE) else {
            self.warn_of_idle_bounds();
            return Some(KeyType::Ip);
        };
        match set.text.trim() {
            TYPE_IP => {
                self.warn_of_idle_bounds();
                Some(KeyType::Ip)
            }
            TYPE_SLICE => self.slice(),
            other => {
                let guess = nearest(other, [TYPE_IP, TYPE_SLICE]);
                let hint = guess.map_or(String::new(), |near| format!("; did you mean {near}?"));
                let expected = format!("{TYPE_IP} or {TYPE_SLICE}{hint}");
                self.refuse(set.place, KEY_TYPE, format!("{other:?}"), expected);
                None
            }
        }
    }

    fn slice(&mut self) -> Option<KeyType> {
        let start = self.bound(SLICE_START, 0, MAX_SLICE_END - 1);
        let end = self.bound(SLICE_END, 1, MAX_SLICE_END);
        let ((start, _), (end, end_place)) = (start?, end?);
        if end <= start {
            let expected = format!("more than the start, {start}");
            self.refuse(end_place, SLICE_END, end.to_string(), expected);
            return None;
        }
        Some(KeyType::IpWithFirstMessageSlice { start, end })
    }

    fn bound(&mut self, name: &str, min: usize, max: usize) -> Option<(usize, Place)> {
        let expected = format!("an integer from {min} to {max}");
        let Some(set) = self.text(name) else {
            let expected = format!("{expected}, because {KEY_TYPE} is {TYPE_SLICE}");
            self.problem(
                Severity::Error,
                Place::Environment,
                name,
                Fault::Missing { expected },
            );
            return None;
        };
        let value = set.text.trim().parse().ok();
        match value.filter(|value| (min..=max).contains(value)) {
            Some(value) => Some((value, set.place)),
            None => {
                self.refuse(set.place, name, format!("{:?}", set.text), expected);
                None
            }
        }
    }

    fn warn_of_idle_bounds(&mut self) {
        for name in [SLICE_START, SLICE_END] {
            if let Some((_, place)) = self.set(name) {
                self.warn(
                    place,
                    name,
                    format!("without effect: {KEY_TYPE} is {TYPE_IP}"),
                );
            }
        }
    }

    fn refuse(&mut self, place: Place, name: &str, found: String, expected: impl Into<String>) {
        let expected = expected.into();
        let fault = Fault::Value { found, expected };
        self.problem(Severity::Error, place, name, fault);
    }

    fn warn(&mut self, place: Place, name: &str, sentence: String) {
        self.problem(Severity::Warning, place, name, Fault::Other(sentence));
    }

    fn problem(&mut self, severity: Severity, place: Place, name: &str, fault: Fault) {
        self.problems.push(Problem {
            severity,
            place,
            key: Some(name.to_owned()),
            fault,
        });
    }
}
