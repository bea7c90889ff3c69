//! The annotated `tcpffee.toml`: that it runs as it stands, and that it tells no lies about
//! defaults.

use std::path::Path;

use tcpffee::config::reference::{self, Absent};
use tcpffee::config::{self, Config, Environment, Problem, TargetAddr};

const EXAMPLE: &str = include_str!("../../tcpffee.toml");

/// The file with every setting that stands behind a `#` made. Remarks have a space after theirs.
fn uncommented() -> String {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            format!("{setting}\n")
        }
        _ => format!("{line}\n"),
    };
    EXAMPLE.lines().map(uncomment).collect()
}

fn load(text: &str) -> (Config, Vec<Problem>) {
    let slices = |name: &str| match name {
        "TCPFFEE_KEY_TYPE" => Some("IP_WITH_FIRST_MESSAGE_SLICE".into()),
        "TCPFFEE_KEY_FIRST_MESSAGE_SLICE_START" => Some("0".into()),
        "TCPFFEE_KEY_FIRST_MESSAGE_SLICE_END" => Some("8".into()),
        _ => None,
    };
    let env = Environment::from_vars(slices).expect("a good environment");
    let loaded = config::load(text, Path::new("tcpffee.toml"), &env);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    (loaded.config, loaded.warnings)
}

#[test]
fn the_example_runs_on_loopback_without_a_warning() {
    let (config, warnings) = load(EXAMPLE);
    assert_eq!(warnings, []);
    assert_eq!(config.ports, [5280, 5281, 5282]);
    assert!(config.bind_addrs.iter().all(|ip| ip.is_loopback()));
    let names: Vec<_> = config
        .groups
        .iter()
        .flat_map(|group| group.name.as_deref())
        .collect();
    assert_eq!(names, ["alder", "birch", "cedar"]);
    for (group, host) in config.groups.iter().zip([11, 12, 13]) {
        for (port, target) in &group.targets {
            let expected = format!("127.0.0.{host}:{port}").parse().unwrap();
            assert_eq!(*target, TargetAddr::Socket(expected));
        }
    }
}

#[test]
fn every_setting_of_the_example_can_be_made() {
    let (config, warnings) = load(&uncommented());
    assert_eq!(config.peers.len(), 2);
    assert_eq!(config.groups[2].healthchecks.len(), 2);
    let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let only_peers = said.iter().all(|line| line.contains("would not reach"));
    assert!(only_peers, "{said:#?}");
}

/// Lists of tables, which the reference marks with `[]`.
const LISTS: [&str; 2] = ["healthchecks", "peers"];

/// The table that a header begins, as in the reference: `[[groups.2.healthchecks]]` is
/// `groups.N.healthchecks[]`.
fn table(header: &str) -> String {
    let part = |part: &str| match part {
        id if id.bytes().all(|byte| byte.is_ascii_digit()) => "N".to_owned(),
        list if LISTS.contains(&list) => format!("{list}[]"),
        other => other.to_owned(),
    };
    let parts = header.trim_matches(['[', ']']).split('.').map(part);
    parts.collect::<Vec<_>>().join(".")
}

/// The settings of a file, each with its key as in the reference.
fn settings(text: &str) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    let mut prefix = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            prefix = table(line) + ".";
        } else if let Some((name, value)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            found.push((format!("{prefix}{name}"), value));
        }
    }
    found
}

#[test]
fn the_example_names_every_key_with_its_default() {
    let text = uncommented();
    let settings = settings(&text);
    for key in reference::KEYS {
        let of_key = settings.iter().filter(|(name, _)| name == key.pattern);
        let given: Vec<&str> = of_key.map(|(_, value)| *value).collect();
        assert!(!given.is_empty(), "{} is not in tcpffee.toml", key.pattern);
        let own = ["bind_addr", "groups.N.name"].contains(&key.pattern);
        if let (false, Absent::Toml(default)) = (own, key.default) {
            assert_eq!(given, [default], "{} has another default", key.pattern);
        }
    }
}

#[test]
fn defaults_that_are_written_out_change_nothing() {
    let base = "ports = [5280]\nexpiration = 10\n";
    let group = "[groups.0]\nportmap = \"127.0.0.11\"\n";
    let default_of = |key: &reference::Key, prefix: &str| match key.default {
        Absent::Toml(value) => {
            let name = key.pattern.strip_prefix(prefix)?;
            (!name.contains('.')).then(|| format!("{name} = {value}\n"))
        }
        _ => None,
    };
    let all = |prefix: &str| -> String {
        reference::KEYS
            .iter()
            .filter_map(|key| default_of(key, prefix))
            .collect()
    };
    let plain = format!("{base}{group}");
    let written = format!("{base}{}{group}{}", all(""), all("groups.N."));
    assert!(written.lines().count() > 30, "{written}");
    assert_eq!(load(&plain).0, load(&written).0);

    let check = "[[groups.0.healthchecks]]\n";
    let plain = format!("{base}{group}{check}http_status = 200\n");
    let written = format!("{base}{group}{check}{}", all("groups.N.healthchecks[]."));
    assert_eq!(load(&plain).0, load(&written).0);
}
