//! A start with a bad configuration file is refused, with the place and what was expected.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::time::{Duration, Instant};

use crate::support;
use support::{Fleet, Proxy};

/// The program must end with 1 and name the file, and each of `words`.
fn refused(what: &str, text: impl Into<String>, words: &[&str]) {
    let started = Instant::now();
    let (code, printed) = Proxy::builder_from_text(text).expect_failure();
    assert_eq!(code, 1, "{what}: {printed}");
    for word in words.iter().chain(&["tcpffee.toml"]) {
        assert!(printed.contains(word), "{what}: no {word} in {printed}");
    }
    assert!(printed.len() < 100_000, "{what}: a flood of words");
    assert!(started.elapsed() < Duration::from_secs(60), "{what}: slow");
}

#[test]
fn an_empty_file_is_refused() {
    refused("empty", "", &["ports", "expiration", "group"]);
    refused("a comment", "# nothing else\n", &["ports"]);
}

#[test]
fn garbage_is_refused() {
    refused("bytes", "\u{0}\u{1}\u{2}\u{7f}", &[":1:"]);
    refused("brackets", "[[[[[[".repeat(1000), &[":1:"]);
    refused("prose", "This is not a configuration.\n", &[":1:"]);
    let deep = format!("a = {}{}\n", "[".repeat(50_000), "]".repeat(50_000));
    refused("deep nesting", deep, &[]);
}

#[test]
fn a_file_cut_anywhere_is_refused_or_sound_but_never_a_crash() {
    let fleet = Fleet::new(2);
    let text = fleet.settings.text();
    for part in 1..12 {
        let cut = &text[..text.len() * part / 12];
        let state = support::proxy::State::new();
        std::fs::write(state.config_path(), cut).unwrap();
        let answer = support::proxy::subcommand(&state, &["check"]);
        assert!([0, 1].contains(&answer.code), "{cut}: {answer:?}");
    }
    refused(
        "cut in a key",
        &text[..text.find("portmap").unwrap() + 3],
        &[],
    );
}

#[test]
fn ten_megabytes_are_refused_without_long_thought() {
    let fleet = Fleet::new(1);
    let sound = fleet.settings.text();
    refused(
        "a long comment",
        format!("{sound}# {}\n", "x".repeat(10_000_000)),
        &[],
    );
    refused("many groups", "[groups.1]\n".repeat(1_000_000), &[]);
    refused("one line", "x".repeat(10_000_000), &[]);
}
