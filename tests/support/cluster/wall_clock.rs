//! The wall clock of one node's process alone, by libfaketime; its monotonic clocks are left as
//! they are.

use std::path::Path;

use super::Node;

#[cfg(target_arch = "x86_64")]
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
#[cfg(not(target_arch = "x86_64"))]
const LIBRARY: &str = "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Whether clocks can be shifted here. Where not, it says that the test is skipped.
pub fn can_be_shifted() -> bool {
    let installed = Path::new(LIBRARY).exists();
    if !installed {
        let needed = std::env::var_os("TESTS_NEED_PROGRAMS").is_some();
        assert!(!needed, "{LIBRARY} is missing: apt install libfaketime");
        println!("SKIPPED: libfaketime is not installed");
        eprintln!("SKIPPED: libfaketime is not installed");
    }
    installed
}

/// Has the processes of a node to come see the time by so much off, as in `+3600s`.
pub fn shift(node: &mut Node, by: &str) {
    node.env("LD_PRELOAD", LIBRARY);
    node.env("FAKETIME", by);
    node.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    node.env("DONT_FAKE_MONOTONIC", "1");
}
