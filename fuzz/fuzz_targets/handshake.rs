//! The handshake between nodes, both sides of it, with and without secrets.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcpffee_raft::wire::exercise::handshake(bytes));
