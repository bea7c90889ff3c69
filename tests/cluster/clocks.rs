//! Wall clocks that are an hour off on one node, by libfaketime on its process alone; monotonic
//! clocks are left as they are.

use std::path::Path;

use crate::cluster::{Habits, Stage};

const ALL: [usize; 3] = [1, 2, 3];

#[cfg(target_arch = "x86_64")]
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
#[cfg(not(target_arch = "x86_64"))]
const LIBRARY: &str = "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1";

#[test]
fn a_node_whose_clock_is_an_hour_off_sends_no_key_elsewhere() {
    if !Path::new(LIBRARY).exists() {
        let needed = std::env::var_os("TESTS_NEED_PROGRAMS").is_some();
        assert!(!needed, "{LIBRARY} is missing: apt install libfaketime");
        println!("SKIPPED: libfaketime is not installed");
        eprintln!("SKIPPED: libfaketime is not installed");
        return;
    }
    let Some(mut stage) = Stage::running(3) else {
        return;
    };
    stage.work(Habits::new(1_000, &ALL));
    stage.rounds(0);
    for shift in ["+3600s", "-3600s"] {
        let leader = stage.leader();
        stage.kill(&[leader]);
        let node = stage.node_mut(leader);
        node.env("LD_PRELOAD", LIBRARY);
        node.env("FAKETIME", shift);
        node.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        node.env("DONT_FAKE_MONOTONIC", "1");
        stage.start(&[leader]);
        stage.serves();
        // Its time is the log's when it leads.
        let led_by_it = ALL.into_iter().filter(|node| *node != leader);
        for other in led_by_it.collect::<Vec<_>>() {
            stage.kill(&[other]);
            stage.serves();
            stage.start(&[other]);
        }
        stage.rounds(0);
    }
    stage.assert_kept();
}
