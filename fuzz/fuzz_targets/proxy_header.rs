//! Headers of the PROXY protocol, as clients may send them.
#![no_main]

use tcpffee::proxy_protocol::exercise;
use tcpffee_fuzz::Bound;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    Bound::header().keeps(|| exercise::headers(bytes));
});
