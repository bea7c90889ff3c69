//! The stick table that a lone node has saved, written by hand: how a cluster comes to have more
//! entries than clients could make in a test.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, SystemTime};

const ENTRIES_OF_A_FRAME: usize = 4_096;

/// Writes the save of a lone node that was stopped in order: a group for each address, and what
/// is left to each entry.
pub fn write(path: &Path, entries: &[(Ipv4Addr, u32)], left: Duration) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = milliseconds(since.expect("the clock is set"));
    let mut bytes = b"TCPFSAVE".to_vec();
    bytes.extend(1_u32.to_le_bytes());
    frame(&mut bytes, b'H', |out| {
        // Keys are addresses, no slice, whole IPv6 addresses; no journal goes on top; in order.
        out.extend([0; 9]);
        out.push(128);
        out.extend(1_u64.to_le_bytes());
        out.extend(now.to_le_bytes());
        out.push(1);
    });
    for some in entries.chunks(ENTRIES_OF_A_FRAME) {
        frame(&mut bytes, b'E', |out| {
            for (address, group) in some {
                out.push(0);
                out.extend(address.octets());
                out.extend(group.to_le_bytes());
                out.extend(milliseconds(left).to_le_bytes());
            }
        });
    }
    frame(&mut bytes, b'Z', |out| {
        out.extend((entries.len() as u64).to_le_bytes());
    });
    std::fs::write(path, bytes).expect("a save can be written");
}

fn frame(bytes: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let mut payload = vec![kind];
    write(&mut payload);
    let length = u32::try_from(payload.len()).expect("frames are small");
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32fast::hash(&payload).to_le_bytes());
    bytes.extend(payload);
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("years at most")
}
