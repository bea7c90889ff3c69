//! `/etc/default/tcpffee`, as the package brings it: every variable, as the program knows it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tcpffee::config::Environment;
use tcpffee::config::environment::VARIABLES;

/// The PID file of the packaged service, which its unit names.
const SERVICE_PID_PATH: &str = "/run/tcpffee/tcpffee.pid";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/debian/tcpffee.default")
}

fn text() -> String {
    std::fs::read_to_string(path()).expect("the package's file can be read")
}

/// The assignments, which all stand behind a `#`.
fn assignments(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix('#')?.split_once('=')?;
        name.bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            .then_some((name, value))
    });
    lines.collect()
}

#[test]
fn every_variable_stands_there_with_its_default_and_no_other() {
    let text = text();
    let mut found = assignments(&text);
    for variable in VARIABLES {
        let value = found.remove(variable.name);
        let value = value.unwrap_or_else(|| panic!("{} is not in the file", variable.name));
        match variable.name {
            "TCPFFEE_PID_PATH" => assert_eq!(value, SERVICE_PID_PATH),
            // Where there is no default, an example.
            _ if variable.default.contains(' ') || variable.default == "none" => {}
            _ => assert_eq!(value, variable.default, "{}", variable.name),
        }
    }
    assert!(found.is_empty(), "nothing goes by {found:?}");
    // As it comes it says nothing.
    let lines = text.lines();
    let said: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn every_line_of_it_can_be_taken_as_it_stands() {
    let text = text();
    let said = assignments(&text);
    let lines: String = said
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    // The slice's bounds say something for a slice only.
    let lines = lines.replace("KEY_TYPE=IP\n", "KEY_TYPE=IP_WITH_FIRST_MESSAGE_SLICE\n");
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("tcpffee");
    std::fs::write(&file, lines).expect("it is writable");
    let environment = Environment::for_subcommand_from(|_| None, &file).expect("a good one");
    assert!(
        environment.warnings.is_empty(),
        "{:?}",
        environment.warnings
    );
    assert_eq!(environment.pid_path(), Path::new(SERVICE_PID_PATH));
}
