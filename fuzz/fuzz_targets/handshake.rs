//! The handshake between nodes, both sides of it, with and without secrets.
#![no_main]

use tcpffee_fuzz::Bound;
use tcpffee_raft::wire::exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    Bound::connections(bytes.len()).keeps(|| exercise::handshake(bytes));
});
