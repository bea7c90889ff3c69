//! What arrives within Noise, behind a handshake that has gone well.
#![no_main]

use tcpffee_fuzz::Bound;
use tcpffee_raft::wire::exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    Bound::connections(bytes.len()).keeps(|| exercise::sealed(bytes));
});
