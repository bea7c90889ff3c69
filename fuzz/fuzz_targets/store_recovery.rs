//! A store is opened on files made of arbitrary bytes: see `tcpffee_raft::store::hostile`.
#![no_main]

use tcpffee_fuzz::Bound;
use tcpffee_raft::store::hostile;

libfuzzer_sys::fuzz_target!(init: hostile::prepare(), |bytes: &[u8]| {
    Bound::store(bytes.len()).keeps(|| hostile::recover(bytes));
});
