//! The cluster's measurements.

use std::process::Command;

#[test]
fn a_tcpffee_that_is_missing_is_named_with_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_tcpffee-bench"))
        .args(["cluster", "--quick", "--only", "new"])
        .args(["--tcpffee", "/nonexistent/tcpffee"])
        .output()
        .expect("the program can be started");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("there is no program /nonexistent/tcpffee; --tcpffee and"),
        "{told}"
    );
}
