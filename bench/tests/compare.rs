//! The comparison itself, run with a little work.

use std::process::{Command, Output};

fn compare(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tcpffee-bench"))
        .arg("compare")
        .args(arguments)
        .output()
        .expect("the program can be started")
}

#[test]
fn every_work_runs_through_the_bare_relay_without_a_failed_connection() {
    let output = compare(&[
        "--balancers",
        "bare",
        "--quick",
        "--scale",
        "0.1",
        "--rounds",
        "1",
    ]);
    let table = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{told}", output.status);
    for work in [
        "connect,",
        "ping-pong",
        "server to client",
        "client to server",
        "idle",
    ] {
        assert!(table.contains(work), "{work} is missing in {table}");
    }
    assert_eq!(told.matches("errors 0").count(), 5, "{told}");
}

#[test]
fn a_balancer_that_is_missing_is_named_with_what_to_do() {
    let output = compare(&[
        "--balancers",
        "haproxy",
        "--haproxy",
        "/nonexistent/haproxy",
    ]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("/nonexistent/haproxy; install the package haproxy"),
        "{told}"
    );
}

#[test]
fn a_balancer_that_does_not_listen_is_an_error_with_its_output() {
    let output = compare(&["--balancers", "tcpffee", "--tcpffee", "/bin/false"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("the balancer ended, exit status: 1"),
        "{told}"
    );
}
