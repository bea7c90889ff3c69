//! One process for each PID file, whatever became of the one before.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::fs;
use std::path::Path;

use crate::support;
use support::proxy::State;
use support::{Block, Proxy, Settings};

fn settings(block: &Block) -> Settings {
    Settings::new(block).group(0, block.backend(0))
}

fn written_pid(path: &Path) -> u32 {
    let text = fs::read_to_string(path).unwrap();
    text.strip_suffix('\n').unwrap().parse().unwrap()
}

#[test]
fn the_file_holds_the_pid_and_goes_with_the_process() {
    let block = Block::claim();
    let mut proxy = Proxy::start(&settings(&block));
    let path = proxy.state().pid_path();
    assert_eq!(written_pid(&path), proxy.pid());
    assert_eq!(proxy.stop(), 0);
    assert!(!path.exists());
    assert!(!path.with_extension("sock").exists());
}

#[test]
fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let (block, other) = (Block::claim(), Block::claim());
    let proxy = Proxy::start(&settings(&block));
    let builder = Proxy::builder(&settings(&other)).state(proxy.state());
    let (code, log) = builder.expect_failure();
    assert_eq!(code, 3, "{log}");
    let pid = proxy.pid();
    assert!(
        log.contains(&format!("running already with PID {pid}")),
        "{log}"
    );
    assert_eq!(written_pid(&proxy.state().pid_path()), pid);
}

#[test]
fn a_file_left_by_kill_9_is_replaced() {
    let block = Block::claim();
    let mut proxy = Proxy::start(&settings(&block));
    let (first, path) = (proxy.pid(), proxy.state().pid_path());
    proxy.kill9();
    assert_eq!(written_pid(&path), first);
    let answer = proxy.subcommand(&["stop"]);
    assert_eq!(answer.code, 4);
    assert!(
        answer.text.contains(&format!("has gone (PID {first})")),
        "{}",
        answer.text
    );
    let mut again = proxy.start_again(&settings(&block));
    assert_eq!(written_pid(&path), again.pid());
    assert_eq!(again.stop(), 0);
}

#[test]
fn the_pid_of_an_innocent_process_in_a_stale_file_is_no_obstacle() {
    let block = Block::claim();
    let state = State::new();
    // This test process is alive, and does not hold the lock.
    fs::write(state.pid_path(), format!("{}\n", std::process::id())).unwrap();
    let mut proxy = Proxy::builder(&settings(&block)).state(&state).start();
    assert_eq!(proxy.stop(), 0);
}

#[test]
fn a_missing_directory_names_the_variable() {
    let block = Block::claim();
    let builder = Proxy::builder(&settings(&block));
    let builder = builder.env("TCPFFEE_PID_PATH", "/nonexistent/tcpffee.pid");
    let (code, log) = builder.expect_failure();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("TCPFFEE_PID_PATH"), "{log}");
}
