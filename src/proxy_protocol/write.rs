//! Writing a header.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    Addresses, CRC32C_TLV_BYTES, FIXED_BYTES, INET_BYTES, INET6_BYTES, SIGNATURE, TLV_CRC32C, Tlvs,
    crc32c,
};

/// Version 1 for connections of the sender's own, such as health checks: it has no `LOCAL`, and
/// `UNKNOWN` makes the receiver use the connection's addresses as well.
pub const LOCAL_V1: &[u8] = b"PROXY UNKNOWN\r\n";
/// Version 2 for connections of the sender's own: the command `LOCAL`, and nothing else.
pub const LOCAL_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

const PROXY: u8 = 0x21; // version 2
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The version 1 header of a client's connection.
pub fn v1(addresses: Addresses) -> Vec<u8> {
    let (source, destination) = in_one_family(addresses);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (addresses.source.port(), addresses.destination.port());
    format!("PROXY {family} {source} {destination} {from} {to}\r\n").into_bytes()
}

/// The version 2 header of a client's connection, with what else is known of it. It has a
/// checksum where the TLVs came with one.
pub fn v2(addresses: Addresses, tlvs: &Tlvs) -> Vec<u8> {
    let pair = in_one_family(addresses);
    let (family, address_bytes) = match pair.0 {
        IpAddr::V4(_) => (TCP_OVER_IPV4, INET_BYTES),
        IpAddr::V6(_) => (TCP_OVER_IPV6, INET6_BYTES),
    };
    let sum_bytes = if tlvs.is_checksummed {
        CRC32C_TLV_BYTES
    } else {
        0
    };
    let length = address_bytes + tlvs.bytes.len() + sum_bytes;
    let stated = u16::try_from(length).expect("TLVs come from a header of 4,096 bytes at most");
    let mut header = Vec::with_capacity(FIXED_BYTES + length);
    header.extend_from_slice(&SIGNATURE);
    header.extend_from_slice(&[PROXY, family]);
    header.extend_from_slice(&stated.to_be_bytes());
    for address in [pair.0, pair.1] {
        match address {
            IpAddr::V4(address) => header.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => header.extend_from_slice(&address.octets()),
        }
    }
    for end in [addresses.source, addresses.destination] {
        header.extend_from_slice(&end.port().to_be_bytes());
    }
    header.extend_from_slice(&tlvs.bytes);
    if tlvs.is_checksummed {
        header.extend_from_slice(&[TLV_CRC32C, 0, 4]);
        let sum = crc32c::of(&[&header, &[0; 4]]);
        header.extend_from_slice(&sum.to_be_bytes());
    }
    header
}

/// Source and destination as one header can say them: where one of them is IPv6, the other is too.
fn in_one_family(addresses: Addresses) -> (IpAddr, IpAddr) {
    let (source, destination) = (addresses.source.ip(), addresses.destination.ip());
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    (mapped(source).into(), mapped(destination).into())
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
