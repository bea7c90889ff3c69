//! Frames between nodes, and what they hold: bytes of any kind never panic and never take memory
//! beyond what arrived.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcpffee_raft::wire::exercise::frames(bytes));
