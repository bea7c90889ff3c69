//! A store is opened on files made of arbitrary bytes: see `tcpffee_raft::store::hostile`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tcpffee_raft::store::hostile::recover(data));
