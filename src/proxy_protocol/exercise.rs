//! What must hold for any bytes: for the fuzz target, and for a property test that runs with every
//! other test.

use super::{MAX_HEADER_BYTES, MAX_LINE_BYTES, read, v1, v2};

/// Reads the bytes, at once and in every possible piece, and writes what was read.
///
/// # Panics
/// Where a promise of this module is broken: the verdict comes with one byte and stays, a header
/// has its bounds, and what is written is read as the same.
pub fn headers(bytes: &[u8]) {
    let whole = read(bytes);
    // Behind a verdict more bytes change nothing, so a few of them will do.
    let decided = (0..=bytes.len()).find(|&length| read(&bytes[..length]) != Ok(None));
    let Some(decided) = decided else {
        assert_eq!(whole, Ok(None));
        assert!(bytes.len() < MAX_HEADER_BYTES, "it waits beyond the bound");
        return;
    };
    for length in [decided, decided + 1, decided + 100] {
        let piece = &bytes[..length.min(bytes.len())];
        assert_eq!(read(piece), whole, "{length} of {} bytes", bytes.len());
    }
    let Ok(Some((header, length))) = whole else {
        assert!(decided <= MAX_HEADER_BYTES);
        return;
    };
    assert_eq!(length, decided, "it is read with its last byte");
    let Some(addresses) = header.addresses else {
        return;
    };
    let written = v2(addresses, &header.tlvs);
    assert_eq!(read(&written), Ok(Some((header, written.len()))));
    let line = v1(addresses);
    assert!(line.len() <= MAX_LINE_BYTES);
    let read = read(&line).map(|read| read.map(|(header, length)| (header.addresses, length)));
    assert_eq!(read, Ok(Some((Some(addresses), line.len()))));
}
