//! From the original tcpffee.

use std::fs;

use super::*;
use crate::support::proxy::subcommand;

const BEFORE: &str = "# Before: /etc/tcpffee/tcpffee.toml of the original";
const AFTER: &str = "# After: /etc/tcpffee/tcpffee.toml, carried on";
/// What its `mac_address` is read as.
const MAC: &str = "00:00:00:00:00:01";

#[test]
fn a_file_of_the_original_is_taken_with_one_warning() {
    let state = State::new();
    fs::write(state.config_path(), block(BEFORE)).unwrap();
    let answer = subcommand(&state, &["check"]);
    assert_eq!(answer.code, 0, "{}", answer.text);
    assert!(answer.text.contains("1 warning"), "{}", answer.text);
    assert!(answer.text.contains(MAC), "{}", answer.text);
}

/// The settings in force, but for the list of nodes.
fn said() -> Vec<serde_json::Value> {
    let mut all = http::json(STATISTICS, "/api/v1/config");
    let serde_json::Value::Array(mut settings) = all["settings"].take() else {
        panic!("settings are a list");
    };
    settings.retain(|setting| !setting["key"].as_str().unwrap().starts_with("peers"));
    assert!(settings.len() > 30, "{settings:?}");
    settings
}

#[test]
fn the_files_of_the_original_and_of_this_version_say_the_same() {
    in_guide(&[], || {
        let _servers = servers();
        let old = Proxy::builder_from_text(block(BEFORE)).env("TCPFFEE_MAC_ADDRESS", MAC);
        let mut old = old.start();
        let before = said();
        let sticks = servers_of(CLIENTS, &PORTS[..1]);
        assert!(sticks.iter().any(|name| name == "alder"), "{sticks:?}");
        assert_eq!(old.stop(), 0);
        let _proxy = tcpffee(AFTER);
        assert_eq!(said(), before);
        for client in 0..CLIENTS {
            let [first, second] = [5280, 5281].map(|port| ask(client, port).unwrap());
            let pair = (first.as_str(), second.as_str());
            assert!(
                [("alder", "alder"), ("birch", "cedar")].contains(&pair),
                "{pair:?}"
            );
        }
    });
}

#[test]
fn saved_checks_that_cannot_be_read_are_set_aside_and_the_start_goes_on() {
    in_guide(&[], || {
        let _servers = servers();
        let state = State::new();
        fs::write(state.health_path(), "what another program has written").unwrap();
        let proxy = tcpffee_with(&block(AFTER), &state);
        let aside = state.health_path().display().to_string() + ".set-aside-";
        proxy.log.wait("the file is set aside", |line| {
            line.contains("ERROR") && line.contains("cannot be used") && line.contains(&aside)
        });
        assert!(ask(0, PORTS[0]).is_some());
    });
}
