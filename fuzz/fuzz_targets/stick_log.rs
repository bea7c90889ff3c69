//! What comes out of the stick table's log and its snapshots: see
//! `tcpffee::stick::replicated::exercise`.
#![no_main]

use tcpffee::stick::replicated::exercise;
use tcpffee_fuzz::Bound;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    Bound::stick_log(bytes.len()).keeps(|| exercise::log(bytes));
});
