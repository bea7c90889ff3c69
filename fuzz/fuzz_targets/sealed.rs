//! What arrives within Noise, behind a handshake that has gone well.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcpffee_raft::wire::exercise::sealed(bytes));
