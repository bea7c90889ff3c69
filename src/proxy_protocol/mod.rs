//! Headers of the PROXY protocol, versions 1 and 2, as HAProxy's document "The PROXY protocol"
//! describes them (`proxy-protocol.txt`, 2020/03/05): bytes in, values out, and back.
//!
//! Nothing here knows of sockets, and nothing of the rest of the program.

mod crc32c; // the checksum of version 2
pub mod exercise; // what must hold for any bytes
mod read; // bytes to values
mod write; // values to bytes

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use read::{Malformed, read};
pub use write::{LOCAL_V1, LOCAL_V2, v1, v2};

/// Bytes of a version 2 header that are read at most, its first 16 included: what the document calls
/// sufficient (536) many times over, and never more than one connection may hold of its client's
/// first message. Whatever claims to be longer is malformed.
pub const MAX_HEADER_BYTES: usize = 4096;
/// Bytes of a version 1 header, its line end included (section 2.1).
pub const MAX_LINE_BYTES: usize = 107;

/// What begins every version 2 header (section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Its first bytes, up to the length of what follows.
const FIXED_BYTES: usize = 16;

const INET_BYTES: usize = 12;
const INET6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;

/// Type and length in front of the value of a TLV.
const TLV_HEAD_BYTES: usize = 3;
const TLV_CRC32C: u8 = 0x03;
const TLV_NOOP: u8 = 0x04;
const TLV_NETNS: u8 = 0x30;
/// A whole checksum TLV.
const CRC32C_TLV_BYTES: usize = TLV_HEAD_BYTES + 4;

/// A header that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who the client is. `None`: the sender's own connection (`LOCAL`), or one that it does not
    /// know by addresses (`UNKNOWN`, `UNSPEC`, Unix sockets, datagrams); the connection's
    /// own addresses count then.
    pub addresses: Option<Addresses>,
    /// What else version 2 said of the client; empty without addresses.
    pub tlvs: Tlvs,
}

/// The two ends of the client's connection. IPv4 addresses mapped into IPv6 are IPv4 addresses here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

impl Addresses {
    /// The ends of a connection, in the form that is the same for every way they came.
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Addresses {
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Addresses {
            source: canonical(source),
            destination: canonical(destination),
        }
    }
}

/// TLVs that are passed on as they came: all but padding (`NOOP`), the sender's network namespace
/// (`NETNS`), which means nothing on another host, and the checksum (`CRC32C`), which is made anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tlvs {
    bytes: Box<[u8]>,
    is_checksummed: bool,
}
