//! What comes out of the health checks' log and its snapshots: see
//! `tcpffee::health::replicated::exercise`.
#![no_main]

use tcpffee::health::replicated::exercise;
use tcpffee_fuzz::Bound;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    Bound::health_log(bytes.len()).keeps(|| exercise::log(bytes));
});
