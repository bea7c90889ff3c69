//! `tcpffee check` says what a configuration holds, or everything that is wrong with it.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support;
use support::proxy::{BINARY, State};

struct Checked {
    code: i32,
    stdout: String,
    stderr: String,
}

fn check_with(text: &str, variables: &[(&str, &str)]) -> Checked {
    let state = State::new();
    std::fs::write(state.config_path(), text).unwrap();
    checked(
        Command::new(BINARY)
            .args(["check", "--config"])
            .arg(state.config_path())
            .env_remove("RUST_LOG")
            .env_remove("TCPFFEE_KEY_TYPE")
            .envs(variables.iter().copied())
            .output()
            .unwrap(),
    )
}

fn checked(output: Output) -> Checked {
    Checked {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn check(text: &str) -> Checked {
    check_with(text, &[])
}

const SOUND: &str = r#"
bind_addr = ["127.0.0.1", "::1"]
ports = [80, "5280-5282"]
expiration = 2.5
balance = "hash"

[groups.0]
name = "alder"
portmap = "10.0.0.1"
weight = 3

[groups.7]
drain = true
backup = true
portmap = { 80 = "10.0.0.2:8080", 5280 = "10.0.0.2:5280", 5281 = "10.0.0.2:5281", 5282 = "db.example:5282" }

[groups.8]
disabled = true
portmap = "10.0.0.3"
"#;

#[test]
fn a_sound_file_is_told_in_a_page() {
    let told = check(SOUND);
    assert_eq!(
        (told.code, told.stderr.as_str()),
        (0, ""),
        "{}",
        told.stdout
    );
    for part in [
        "tcpffee.toml is valid",
        "addresses 127.0.0.1, ::1",
        "ports     80, 5280-5282",
        "key       client IP",
        "kept for 2.5 s",
        "balance   hash",
        "groups    3",
        "0 alder: Up, weight 3",
        "80, 5280-5282 → 10.0.0.1",
        "7: Draining, weight 1, backup",
        "80 → 10.0.0.2:8080",
        "5280-5281 → 10.0.0.2",
        "5282 → db.example",
        "8: Disabled",
        "no warnings",
    ] {
        assert!(
            told.stdout.contains(part),
            "{part:?} is missing in\n{}",
            told.stdout
        );
    }
}

#[test]
fn the_annotated_example_is_sound() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tcpffee.toml");
    let command = Command::new(BINARY)
        .arg("check")
        .env("TCPFFEE_CONFIG_PATH", &file)
        .output();
    let told = checked(command.unwrap());
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    assert!(told.stdout.contains("no warnings"), "{}", told.stdout);
}

#[test]
fn everything_wrong_is_told_at_once_with_its_place() {
    let told = check(
        "ports = [5280, 5280]\nexpiration = \"long\"\nbalanse = \"hash\"\n[groups.0]\n\
         portmap = \"10.0.0.1\"\nweight = 0\n",
    );
    assert_eq!((told.code, told.stdout.as_str()), (1, ""));
    for part in [
        "tcpffee.toml:1:",
        "5280",
        "tcpffee.toml:2:14: error: expiration",
        "tcpffee.toml:3:1: error: balanse",
        "balance",
        "tcpffee.toml:6:10: error: groups.0.weight",
        "is refused: 4 errors",
    ] {
        assert!(
            told.stderr.contains(part),
            "{part:?} is missing in\n{}",
            told.stderr
        );
    }
}

#[test]
fn odd_but_usable_things_are_warnings() {
    let told = check(
        "ports = [5280, 5281]\nexpiration = 10\n[groups.0]\nportmap = { 5280 = \"10.0.0.1:5280\" }\n",
    );
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    assert!(told.stdout.contains("1 warning\n"), "{}", told.stdout);
    assert!(told.stdout.contains("5281"), "{}", told.stdout);
}

#[test]
fn the_environment_is_checked_too() {
    let slice = [
        ("TCPFFEE_KEY_TYPE", "IP_WITH_FIRST_MESSAGE_SLICE"),
        ("TCPFFEE_KEY_FIRST_MESSAGE_SLICE_START", "4"),
        ("TCPFFEE_KEY_FIRST_MESSAGE_SLICE_END", "12"),
    ];
    let told = check_with(SOUND, &slice);
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(
        told.stdout.contains("bytes 4 to 12 (exclusive)"),
        "{}",
        told.stdout
    );

    let told = check_with(SOUND, &slice[..1]);
    assert_eq!(told.code, 1);
    assert!(
        told.stderr
            .contains("TCPFFEE_KEY_FIRST_MESSAGE_SLICE_START"),
        "{}",
        told.stderr
    );
    assert!(
        told.stderr.contains("TCPFFEE_KEY_FIRST_MESSAGE_SLICE_END"),
        "{}",
        told.stderr
    );

    let told = check_with(SOUND, &[("RUST_LOG", "info,tcpffee=loud")]);
    assert_eq!(told.code, 0);
    assert!(
        told.stdout.contains("RUST_LOG: found `info,tcpffee=loud`"),
        "{}",
        told.stdout
    );
}

#[test]
fn a_target_that_is_the_proxy_itself_is_warned_about() {
    let checked = check(
        "ports = [5280]\nexpiration = 10\n[groups.0]\nportmap = \"127.0.0.1\"\n\
         [groups.1.portmap]\n5280 = \"127.0.0.1:5299\"\n",
    );
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(
        checked
            .stdout
            .contains("groups.0.portmap: port 5280 leads to 127.0.0.1:5280"),
        "{}",
        checked.stdout
    );
    assert!(
        !checked.stdout.contains("groups.1.portmap: port"),
        "{}",
        checked.stdout
    );
}

#[test]
fn a_target_that_can_see_no_clients_address_is_warned_about() {
    let told = |bind: &str, more: &str| {
        let text = format!(
            "bind_addr = {bind}\nports = [80]\nexpiration = 1\n{more}\n[groups.0]\n\
             portmap = \"2001:db8::1\"\ntransparent = true\n"
        );
        check(&text).stdout
    };
    let sentence = "groups.0.portmap: port 80 leads to [2001:db8::1]:80, which sees no client's \
                    address (transparent)";
    assert!(told("\"0.0.0.0\"", "").contains(sentence));
    assert!(told("\"127.0.0.1\"", "").contains(sentence));
    for (bind, more) in [
        ("\"::\"", ""),
        ("[\"127.0.0.1\", \"::1\"]", ""),
        ("\"0.0.0.0\"", "accept_proxy_from = \"10.0.0.0/8\""),
    ] {
        let told = told(bind, more);
        assert!(told.contains("no warnings"), "{told}");
    }
    // An IPv6 listener without an IPv4 one beside it takes IPv4 as well.
    let text = "bind_addr = \"::\"\nports = [80]\nexpiration = 1\n[groups.0]\n\
                portmap = \"192.0.2.1\"\ntransparent = true\n";
    assert!(check(text).stdout.contains("no warnings"));
    let told = check(&text.replace("\"::\"", "\"::1\"")).stdout;
    assert!(told.contains("sees no client's address"), "{told}");
}

#[test]
fn what_is_asked_for_beyond_the_connection_is_told() {
    let text = format!(
        "{}{SOUND}",
        r#"
allow = ["10.0.0.0/8", "2001:db8::/32"]
deny = "10.9.0.0/16"
max_connections_per_client = 100
max_new_connections_per_second_per_client = 20
accept_proxy_from = ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "10.4.0.0/24", "10.5.0.0/24"]
bind_source = "127.0.0.2-127.0.0.9"
transparent_listen = true
"#
    );
    let text = text.replace(
        "weight = 3",
        "weight = 3\nslow_start = 60\nmax_connections = 500\nsend_proxy = \"v2\"\ntransparent = true",
    );
    let told = check(&text);
    for part in [
        "clients   only of 10.0.0.0/8, 2001:db8::/32, none of 10.9.0.0/16, 100 connections each at \
         once, 20 new connections each in a second",
        "header    by the PROXY protocol, from 10.1.0.0/24, 10.2.0.0/24, 10.3.0.0/24, 10.4.0.0/24, 1 \
         more",
        "listeners transparent",
        "source    127.0.0.2-127.0.0.9",
        "0 alder: Up, weight 3, slow start over 60 s, 500 connections at most, PROXY header v2, \
         transparent",
    ] {
        assert!(told.stdout.contains(part), "{part}\nin\n{}", told.stdout);
    }
    let plain = check(SOUND).stdout;
    for word in ["clients", "header", "listeners transparent", "source"] {
        assert!(!plain.contains(word), "{plain}");
    }
}

#[test]
fn what_is_hardly_meant_is_warned_about() {
    for (lines, warning) in [
        (
            r#"accept_proxy_from = ["10.0.0.0/8", "0.0.0.0/0"]"#,
            "accept_proxy_from: every client may name another in its header",
        ),
        (
            "accept_proxy_from = [\"192.0.2.1\", \"10.1.2.0/24\"]\ndeny = \"10.0.0.0/8\"",
            "accept_proxy_from: connections from 10.1.2.0/24 are reset, whomever they speak for",
        ),
        (r#"deny = ["0.0.0.0/0", "::/0"]"#, "deny: nobody is served"),
        (r#"deny = "::/0""#, "deny: no IPv6 client is served"),
        (
            "allow = [\"10.1.0.0/16\", \"10.2.0.0/16\"]\ndeny = [\"10.0.0.0/14\"]",
            "deny: nobody is served: it covers all that allow lists",
        ),
        (
            "max_connections = 100\n[groups.9]\nportmap = \"10.0.0.9\"\nmax_connections = 101",
            "groups.9.max_connections: never reached: all groups together have at most 100",
        ),
        (
            "queue_timeout = 30.5\n[groups.9]\nportmap = \"10.0.0.9\"\nmax_connections = 5",
            "queue_timeout: a client may wait for a place longer (30.5 s, queue_timeout) than its \
             stick lives (2.5 s, expiration), and be sent to another group then",
        ),
        (
            "queue_timeout = 2",
            "queue_timeout: without effect: no group has max_connections, nobody waits for a place",
        ),
        (
            "max_connections = 100\nmax_connections_per_client = 101",
            "max_connections_per_client: never reached: all clients together have at most 100 \
             connections (max_connections)",
        ),
        (
            r#"bind_source = "::1""#,
            "groups.0.portmap: no address of bind_source is of the IP family of 10.0.0.1:80",
        ),
    ] {
        let text = match lines.contains('[') && lines.contains("groups") {
            true => SOUND.replace("balance = \"hash\"", lines),
            false => format!("{lines}\n{SOUND}"),
        };
        let told = check(&text);
        assert!(
            told.stdout.contains(warning),
            "{warning}\nin\n{}{}",
            told.stdout,
            told.stderr
        );
    }
    for lines in [
        "queue_timeout = 2\n[groups.9]\nportmap = \"10.0.0.9\"\nmax_connections = 5",
        "max_connections = 100\nmax_connections_per_client = 100",
    ] {
        let told = check(&SOUND.replace("balance = \"hash\"", lines)).stdout;
        assert!(told.contains("no warnings"), "{lines}\n{told}");
    }
}
