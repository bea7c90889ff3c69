//! Headers of the PROXY protocol, as clients may send them.
#![no_main]

use tcpffee_fuzz::Bound;
use tcpffee_fuzz::proxy_protocol::exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    Bound::header().keeps(|| exercise::headers(bytes));
});
