//! The environment variables, and the file that stands in for them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use tcpffee::config::environment::running_pid_paths_from;
use tcpffee::config::{Environment, KeyType, MacAddress, Problems};

type Vars<'v> = &'v [(&'v str, &'v str)];

fn lookup(vars: Vars<'_>) -> impl Fn(&str) -> Option<OsString> {
    move |name| {
        let found = vars.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value.into())
    }
}

fn from(vars: Vars<'_>) -> Result<Environment, Problems> {
    Environment::from_vars(lookup(vars))
}

fn good(vars: Vars<'_>) -> Environment {
    from(vars).unwrap_or_else(|problems| panic!("{problems}"))
}

fn errors(vars: Vars<'_>) -> Vec<String> {
    let problems = from(vars).expect_err("a bad environment");
    problems.iter().map(ToString::to_string).collect()
}

fn warnings(environment: &Environment) -> Vec<String> {
    environment
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect()
}

const SLICE: (&str, &str) = ("TCPFFEE_KEY_TYPE", "IP_WITH_FIRST_MESSAGE_SLICE");
const START: &str = "TCPFFEE_KEY_FIRST_MESSAGE_SLICE_START";
const END: &str = "TCPFFEE_KEY_FIRST_MESSAGE_SLICE_END";

#[test]
fn a_silent_environment_has_the_defaults() {
    let environment = good(&[("TCPFFEE_KEY_TYPE", ""), ("TCPFFEE_PID_PATH", "")]);
    assert_eq!(environment, Environment::default());
    assert_eq!(
        environment.config_path,
        Path::new("/etc/tcpffee/tcpffee.toml")
    );
    assert_eq!(
        environment.healthcheck_save_path,
        Path::new("/var/lib/tcpffee/healthcheck_state")
    );
    assert_eq!(
        environment.stick_table_save_path,
        Path::new("/var/lib/tcpffee/stick_table")
    );
    assert_eq!(environment.raft_path, Path::new("/var/lib/tcpffee/raft"));
    assert_eq!(environment.pid_path(), Path::new("/run/tcpffee.pid"));
    assert_eq!(environment.key_type, KeyType::Ip);
    assert_eq!(environment.mac_address, None);
    assert_eq!(environment.warnings, []);
}

#[test]
fn every_variable_is_read() {
    let environment = good(&[
        ("TCPFFEE_CONFIG_PATH", "/c"),
        ("TCPFFEE_PID_PATH", "/p"),
        ("TCPFFEE_HEALTHCHECK_SAVE_PATH", "/h"),
        ("TCPFFEE_STICK_TABLE_SAVE_PATH", "/s"),
        ("TCPFFEE_RAFT_PATH", "/r"),
        ("TCPFFEE_MAC_ADDRESS", "02:00:00:00:00:0a"),
        SLICE,
        (START, "0"),
        (END, "4096"),
        ("RUST_LOG", "debug"),
    ]);
    assert_eq!(environment.config_path, Path::new("/c"));
    assert_eq!(environment.pid_path(), Path::new("/p"));
    assert_eq!(environment.healthcheck_save_path, Path::new("/h"));
    assert_eq!(environment.stick_table_save_path, Path::new("/s"));
    assert_eq!(environment.raft_path, Path::new("/r"));
    assert_eq!(
        environment.mac_address,
        Some(MacAddress([2, 0, 0, 0, 0, 10]))
    );
    let key_type = KeyType::IpWithFirstMessageSlice {
        start: 0,
        end: 4096,
    };
    assert_eq!(environment.key_type, key_type);
    assert_eq!(environment.rust_log.as_deref(), Some("debug"));
}

#[test]
fn variables_without_effect_are_warned_about() {
    assert_eq!(
        warnings(&good(&[(END, "8"), ("TCPFFEE_RAFT_PATH", "/r")])),
        [
            "environment: warning: TCPFFEE_KEY_FIRST_MESSAGE_SLICE_END: without effect: \
             TCPFFEE_KEY_TYPE is IP",
        ]
    );
}

#[test]
fn a_slice_needs_its_bounds_in_order() {
    assert_eq!(
        errors(&[SLICE]),
        [
            "environment: TCPFFEE_KEY_FIRST_MESSAGE_SLICE_START: not given, expected an integer \
             from 0 to 4095, because TCPFFEE_KEY_TYPE is IP_WITH_FIRST_MESSAGE_SLICE",
            "environment: TCPFFEE_KEY_FIRST_MESSAGE_SLICE_END: not given, expected an integer \
             from 1 to 4096, because TCPFFEE_KEY_TYPE is IP_WITH_FIRST_MESSAGE_SLICE",
        ]
    );
    for (start, end) in [("8", "8"), ("9", "8")] {
        let expected =
            format!("environment: {END}: found 8, expected more than the start, {start}");
        assert_eq!(errors(&[SLICE, (START, start), (END, end)]), [expected]);
    }
    for (start, end) in [
        ("0", "4097"),
        ("-1", "8"),
        ("x", "8"),
        ("4096", "4096"),
        ("0", "1.5"),
    ] {
        assert_eq!(
            errors(&[SLICE, (START, start), (END, end)]).len(),
            1,
            "{start} {end}"
        );
    }
}

#[test]
fn every_problem_is_reported_at_once() {
    assert_eq!(
        errors(&[
            ("TCPFFEE_MAC_ADDRESS", "02:00"),
            ("TCPFFEE_KEY_TYPE", "IP_WITH_FIRST_MESAGE_SLICE"),
        ]),
        [
            "environment: TCPFFEE_MAC_ADDRESS: found \"02:00\", expected a MAC address such as \
             02:00:00:00:00:01",
            "environment: TCPFFEE_KEY_TYPE: found \"IP_WITH_FIRST_MESAGE_SLICE\", expected IP or \
             IP_WITH_FIRST_MESSAGE_SLICE; did you mean IP_WITH_FIRST_MESSAGE_SLICE?",
        ]
    );
}

#[test]
fn paths_may_be_any_bytes_and_words_may_not() {
    let bytes = || OsString::from_vec(vec![b'/', 0xff]);
    let path = Environment::from_vars(|name| (name == "TCPFFEE_PID_PATH").then(bytes));
    assert_eq!(path.unwrap().pid_path(), Path::new(&bytes()));
    let word = Environment::from_vars(|name| (name == "TCPFFEE_KEY_TYPE").then(bytes));
    assert!(
        word.unwrap_err()
            .to_string()
            .contains("expected UTF-8 text")
    );
}

#[test]
fn a_subcommand_asks_the_file_where_its_environment_is_silent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("default");
    std::fs::write(
        &path,
        "# the service's\nexport TCPFFEE_PID_PATH=\"/run/x/y.pid\"\nTCPFFEE_CONFIG_PATH='/c d'\n\
         TCPFFEE_KEYTYPE=IP\nOTHER=1\n",
    )
    .unwrap();
    let vars: Vars = &[("TCPFFEE_CONFIG_PATH", "/own")];
    let environment = Environment::for_subcommand_from(lookup(vars), &path).unwrap();
    assert_eq!(environment.config_path, Path::new("/own"));
    assert_eq!(
        running_pid_paths_from(lookup(vars), &path),
        [PathBuf::from("/run/x/y.pid")]
    );
    let own: Vars = &[("TCPFFEE_PID_PATH", "/p"), ("TCPFFEE_KEY_TYPE", "nonsense")];
    assert_eq!(
        running_pid_paths_from(lookup(own), &path),
        [PathBuf::from("/p")]
    );
    assert_eq!(
        warnings(&environment),
        [format!(
            "{}:4:1: warning: TCPFFEE_KEYTYPE: unknown variable, did you mean \
             \"TCPFFEE_KEY_TYPE\"?",
            path.display()
        )]
    );
}

#[test]
fn problems_of_the_file_have_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("default");
    std::fs::write(&path, "\nTCPFFEE_KEY_TYPE=MAC\nnonsense\n").unwrap();
    let problems = Environment::for_subcommand_from(lookup(&[]), &path).unwrap_err();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let file = path.display();
    assert_eq!(
        said,
        [
            format!("{file}:3:1: expected NAME=value"),
            format!(
                "{file}:2:1: TCPFFEE_KEY_TYPE: found \"MAC\", expected IP or \
                 IP_WITH_FIRST_MESSAGE_SLICE"
            ),
        ]
    );
}

#[test]
fn without_the_file_a_subcommand_looks_where_a_service_would_be() {
    let missing = Path::new("/nonexistent/default/tcpffee");
    let environment = Environment::for_subcommand_from(lookup(&[]), missing).unwrap();
    assert_eq!(environment.warnings, []);
    assert_eq!(
        running_pid_paths_from(lookup(&[]), missing),
        [
            PathBuf::from("/run/tcpffee/tcpffee.pid"),
            PathBuf::from("/run/tcpffee.pid")
        ]
    );
}

#[test]
fn variables_that_nothing_goes_by_are_warned_about() {
    let mut environment = Environment::default();
    let names = ["HOME", "TCPFFEE_CONFIG", "TCPFFEE_KEY_TYPE"];
    environment.warn_of_unknown(names.map(str::to_owned));
    let said = warnings(&environment);
    let expected = "environment: warning: TCPFFEE_CONFIG: unknown variable, did you mean \
                    \"TCPFFEE_CONFIG_PATH\"?";
    assert_eq!(said, [expected]);
}

#[test]
fn a_file_that_cannot_be_read_sets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("default");
    for bytes in [vec![b'#'; 70_000], b"TCPFFEE_PID_PATH=\xff\n".to_vec()] {
        std::fs::write(&path, bytes).unwrap();
        let environment = Environment::for_subcommand_from(lookup(&[]), &path).unwrap();
        assert_eq!(environment.pid_path, None);
        let said = warnings(&environment);
        assert!(
            said[0].contains("cannot be read, its variables are left out"),
            "{said:#?}"
        );
    }
}
