//! Frames between nodes, and what they hold: bytes of any kind never panic and never take memory
//! beyond what arrived.
#![no_main]

use tcpffee_fuzz::Bound;
use tcpffee_raft::wire::exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    Bound::frames(bytes.len()).keeps(|| exercise::frames(bytes));
});
