//! Files that are good but for one thing, and what is said of them.

#![allow(dead_code)] // each test file uses its part

use std::path::Path;

use tcpffee::config::{self, Config, Environment, Loaded, Problems};

/// A file that is good but for what `top` and `group` put into it.
pub fn file(top: &str, group: &str) -> String {
    let given = |name: &str| top.lines().any(|line| line.starts_with(name));
    let mut text = String::from("\n"); // `top` begins in line 2
    text += top;
    text += "\n";
    if !given("ports") {
        text += "ports = [5280, 5281]\n";
    }
    if !given("expiration") {
        text += "expiration = 10\n";
    }
    text += "[groups.7]\n";
    if !group.contains("portmap") {
        text += "portmap = \"192.0.2.1\"\n";
    }
    text + group + "\n"
}

pub fn load(text: &str) -> Result<Loaded, Problems> {
    config::load(text, Path::new("a.toml"), &Environment::default())
}

pub fn good(text: &str) -> Config {
    load(text)
        .unwrap_or_else(|problems| panic!("{problems}\n--- in\n{text}"))
        .config
}

/// The problems of a file without their places.
pub fn problems(text: &str) -> Vec<String> {
    let list = match load(text) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.0,
    };
    let without_place = |problem: &config::Problem| {
        let place = format!("{}: ", problem.place);
        let said = problem.to_string();
        said.strip_prefix(&place)
            .expect("the place comes first")
            .to_owned()
    };
    list.iter().map(without_place).collect()
}

#[track_caller]
pub fn assert_refused(text: &str, expected: &[&str]) {
    assert!(load(text).is_err(), "accepted:\n{text}");
    let found = problems(text);
    assert_eq!(found, expected, "found {found:#?}\n--- in\n{text}");
}

#[track_caller]
pub fn assert_warned(text: &str, expected: &[&str]) {
    good(text);
    let found = problems(text);
    assert_eq!(found, expected, "found {found:#?}\n--- in\n{text}");
}
