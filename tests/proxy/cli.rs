//! The command line as a user meets it: help, exit codes, the demo.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support;
use rustix::process::{Pid, Signal, kill_process};
use support::proxy::BINARY;
use support::{Block, Log, Proxy, Settings, client, eventually, netns};

fn tcpffee(arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .env("TCPFFEE_PID_PATH", "/nonexistent/tcpffee.pid")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_has_examples_exit_codes_and_every_task() {
    let output = tcpffee(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for part in [
        "run",
        "check",
        "reload",
        "stop",
        "status",
        "sticks",
        "drain",
        "disable",
        "enable",
        "cluster",
        "demo",
        "--config",
        "Examples:",
        "Exit codes:",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let version = concat!("tcpffee ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(stdout(&tcpffee(&["--version"])), version);
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["frobnicate"][..],
        &["--frobnicate"],
        &["check", "--config"],
        &["reload", "--config", "x.toml"],
        &["stop", "-c", "x.toml"],
        &["cluster", "form", "--no"],
        &["status", "-c", "x.toml"],
        &["status", "birch"],
        &["sticks", "-c", "x.toml"],
        &["sticks", "remove"],
        &["sticks", "--json", "remove", "::1"],
        &["sticks", "--limit", "some"],
        &["drain"],
        &["disable", "1", "2"],
        &["enable", "1", "-c", "x.toml"],
        &["cluster", "form", "-c", "x.toml"],
        &["demo", "-c", "x.toml"],
    ] {
        let output = tcpffee(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains("error:"),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_configuration_with_errors_ends_with_1_and_names_them_all() {
    let text = "ports = [70000]\nexpiration = -1\n[groups.0]\nportmap = \"127.0.0.1\"\n";
    let (code, log) = Proxy::builder_from_text(text).expect_failure();
    assert_eq!(code, 1, "{log}");
    for part in [
        "tcpffee.toml:1:",
        "70000",
        "tcpffee.toml:2:",
        "expiration",
        "cannot start",
    ] {
        assert!(log.contains(part), "{part} is missing in\n{log}");
    }
}

#[test]
fn a_missing_configuration_ends_with_1_and_says_how_to_name_one() {
    let output = tcpffee(&["--config", "/nonexistent/tcpffee.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("/nonexistent/tcpffee.toml") && text.contains("--config"),
        "{text}"
    );
}

#[test]
fn an_environment_with_errors_ends_with_1() {
    let block = Block::claim();
    let settings = Settings::new(&block).group(0, block.backend(0));
    let builder = Proxy::builder(&settings).env("TCPFFEE_KEY_TYPE", "MAC");
    let (code, log) = builder.expect_failure();
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("TCPFFEE_KEY_TYPE"), "{log}");
}

#[test]
fn a_taken_port_ends_with_3() {
    let block = Block::claim();
    let _taken = std::net::TcpListener::bind(block.listener(5281)).unwrap();
    let settings = Settings::new(&block).group(0, block.backend(0));
    let (code, log) = Proxy::builder(&settings).expect_failure();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("5281"), "{log}");
}

#[test]
fn no_running_process_ends_with_4() {
    for task in [
        &["reload"][..],
        &["stop"],
        &["cluster", "form"],
        &["status"],
        &["status", "--json"],
        &["sticks"],
        &["sticks", "remove", "::1"],
        &["drain", "birch"],
        &["disable", "birch"],
        &["enable", "birch"],
    ] {
        let output = tcpffee(task);
        assert_eq!(output.status.code(), Some(4));
        let text = stderr(&output);
        assert!(text.contains("no running tcpffee found"), "{text}");
        assert!(text.contains("/nonexistent/tcpffee.pid"), "{text}");
    }
}

#[test]
fn output_that_nobody_reads_to_the_end_is_no_fault() {
    let mut child = Command::new(BINARY)
        .args(["check", "--config", "tcpffee.toml"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_demo_shows_who_sticks_where_and_leaves_nothing_behind() {
    netns::in_new_namespace(|| {
        let temporary = tempfile::tempdir().unwrap();
        let mut demo = Command::new(BINARY)
            .arg("demo")
            .env("TMPDIR", temporary.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = Log::read_from(demo.stdout.take().unwrap());
        let log = Log::read_from(demo.stderr.take().unwrap());
        printed.wait("what to try", |line| line.contains("Ctrl-C ends the demo"));

        let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 5].into());
        let name = get(one, 5280);
        assert_eq!(get(one, 5281), name);
        assert_eq!(get(one, 5282), name);
        assert_ne!(get(other, 5280), name);
        assert_eq!(converse(one, 5282), name);
        log.wait("a session line", |line| {
            line.contains("client=127.0.0.5:") && line.contains("target=127.0.0.12:5280")
        });

        drain_birch_and_reload(&printed);
        let pid = Pid::from_raw(i32::try_from(demo.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        assert_eq!(demo.wait().unwrap().code(), Some(0), "{}", log.text());
        let left = std::fs::read_dir(temporary.path()).unwrap().count();
        assert_eq!(left, 0, "files of the demo are left");
    });
}

/// The name of the server that answers a GET.
fn get(from: IpAddr, port: u16) -> String {
    let stream = client::connect(from, SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    (&stream)
        .write_all(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    (&stream).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let (name, rest) = body.split_once(": ").unwrap();
    assert_eq!(rest, format!("hello from port {port}\n"));
    name.to_owned()
}

/// The name of the server that echoes lines.
fn converse(from: IpAddr, port: u16) -> String {
    let stream = client::connect(from, SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    (&stream).write_all(b"good morning\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let text = String::from_utf8(client::read_to_end(&stream).unwrap()).unwrap();
    let (name, _) = text.split_once(": hello from port").unwrap();
    assert!(text.ends_with(&format!("{name}> good morning\n")), "{text}");
    name.to_owned()
}

/// Edits the demo's file as its text says, and reloads by the command that it prints.
fn drain_birch_and_reload(printed: &Log) {
    let line = printed.wait("the reload command", |line| {
        line.trim_end().ends_with(" reload")
    });
    let assignment = line.split_whitespace().next().unwrap();
    let pid_path = Path::new(assignment.strip_prefix("TCPFFEE_PID_PATH=").unwrap());
    let file = pid_path.with_file_name("tcpffee.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let drained = text.replace("name = \"birch\"", "name = \"birch\"\ndrain = true");
    assert_ne!(text, drained);
    std::fs::write(&file, drained).unwrap();
    let output = Command::new(BINARY)
        .arg("reload")
        .env("TCPFFEE_PID_PATH", pid_path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("groups.1.drain: false → true"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_second_demo_says_that_one_is_running() {
    netns::in_new_namespace(|| {
        let temporary = tempfile::tempdir().unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.12:5281").unwrap();
        let output = Command::new(BINARY)
            .arg("demo")
            .env("TMPDIR", temporary.path())
            .output()
            .unwrap();
        drop(taken);
        assert_eq!(output.status.code(), Some(3));
        let text = stderr(&output);
        assert!(text.contains("birch at 127.0.0.12:5281"), "{text}");
        eventually("the directory is removed", || {
            std::fs::read_dir(temporary.path()).unwrap().count() == 0
        });
    });
}

#[test]
fn the_readme_explains_every_reason_and_every_exit_code() {
    let readme = include_str!("../../README.md");
    for end in tcpffee::proxy::End::ALL {
        assert!(
            readme.contains(&format!("`{end}`")),
            "`{end}` is not in the README"
        );
    }
    let help = stdout(&tcpffee(&["--help"]));
    let codes = help.split_once("Exit codes:\n").unwrap().1;
    for line in codes.lines().take_while(|line| !line.is_empty()) {
        let (code, meaning) = line.trim().split_once(' ').unwrap();
        let row = format!("| {code} | {}", meaning.trim());
        assert!(readme.contains(&row), "{row} is not in the README");
    }
}
