//! Reading a header from the bytes that a stream begins with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    Addresses, CRC32C_TLV_BYTES, FIXED_BYTES, Header, INET_BYTES, INET6_BYTES, MAX_HEADER_BYTES,
    MAX_LINE_BYTES, SIGNATURE, TLV_CRC32C, TLV_HEAD_BYTES, TLV_NETNS, TLV_NOOP, Tlvs, UNIX_BYTES,
    crc32c,
};

const LINE_BEGINS: &[u8] = b"PROXY ";

/// What is wrong with the bytes that a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither version's first bytes.
    #[error("it does not begin with a PROXY protocol header")]
    NoHeader,
    /// Version 1: no line end within [`MAX_LINE_BYTES`].
    #[error("its version 1 header has no line end within {MAX_LINE_BYTES} bytes")]
    LongLine,
    /// Version 1: not the words that it may have.
    #[error(
        "its version 1 header is not `PROXY TCP4`, `TCP6` or `UNKNOWN` with the addresses and \
         ports of a connection"
    )]
    Words,
    /// Version 2: another version in the binary header.
    #[error("its binary header is of version {0}, not 2")]
    Version(u8),
    /// Version 2: neither `LOCAL` nor `PROXY`.
    #[error("its version 2 header has the unknown command {0}")]
    Command(u8),
    /// Version 2: an address family or a transport that the document does not assign.
    #[error("its version 2 header has the unknown family and transport {0:#04x}")]
    Family(u8),
    /// Version 2: longer than [`MAX_HEADER_BYTES`].
    #[error("its version 2 header has {0} bytes, more than {MAX_HEADER_BYTES}")]
    Long(usize),
    /// Version 2: no room for the addresses of its family.
    #[error("its version 2 header is too short for its addresses")]
    Short,
    /// Version 2: a TLV goes beyond the end.
    #[error("its version 2 header has a TLV that goes beyond its end")]
    Tlv,
    /// Version 2: the checksum is another one.
    #[error("its version 2 header has a wrong checksum")]
    Checksum,
}

/// Reads the header that `bytes` begin with, and says how many of them it takes; the others are the
/// client's. `None`: it is not whole yet.
///
/// # Errors
/// What is wrong, as soon as no more bytes can mend it.
pub fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    if begins_alike(bytes, &SIGNATURE) {
        return read_v2(bytes);
    }
    if begins_alike(bytes, LINE_BEGINS) {
        return read_v1(bytes);
    }
    Err(Malformed::NoHeader)
}

/// Whether one of the two is the beginning of the other.
fn begins_alike(bytes: &[u8], begins: &[u8]) -> bool {
    let common = bytes.len().min(begins.len());
    bytes[..common] == begins[..common]
}

fn read_v1(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let window = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        return match bytes.len() >= MAX_LINE_BYTES {
            true => Err(Malformed::LongLine),
            false => Ok(None),
        };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(Malformed::Words)?;
    let words = line.strip_prefix(LINE_BEGINS).ok_or(Malformed::Words)?;
    let addresses = read_words(words).ok_or(Malformed::Words)?;
    let header = Header {
        addresses,
        tlvs: Tlvs::default(),
    };
    Ok(Some((header, end + 1)))
}

/// What stands behind `PROXY `, without the line end; `None` where it is none of what is allowed.
fn read_words(words: &[u8]) -> Option<Option<Addresses>> {
    // Whatever follows is to be ignored (section 2.1).
    if words == b"UNKNOWN" || words.starts_with(b"UNKNOWN ") {
        return Some(None);
    }
    let mut words = std::str::from_utf8(words).ok()?.split(' ');
    let address: fn(&str) -> Option<IpAddr> = match words.next()? {
        "TCP4" => |word| word.parse().ok().map(IpAddr::V4),
        "TCP6" => |word| word.parse().ok().map(IpAddr::V6),
        _ => return None,
    };
    let (source, destination) = (address(words.next()?)?, address(words.next()?)?);
    let source = SocketAddr::new(source, port(words.next()?)?);
    let destination = SocketAddr::new(destination, port(words.next()?)?);
    match words.next() {
        None => Some(Some(Addresses::new(source, destination))),
        Some(_) => None,
    }
}

/// A decimal number without leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let leads = word.len() > 1 && word.starts_with('0');
    (is_plain && !leads).then(|| word.parse().ok()).flatten()
}

fn read_v2(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(None);
    };
    let [.., version_command, family, high, low] = *fixed;
    if version_command >> 4 != 2 {
        return Err(Malformed::Version(version_command >> 4));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED_BYTES + length > MAX_HEADER_BYTES {
        return Err(Malformed::Long(FIXED_BYTES + length));
    }
    let is_local = match version_command & 0xF {
        0 => true,
        1 => false,
        command => return Err(Malformed::Command(command)),
    };
    // What a `LOCAL` header holds is to be ignored, its family included (section 2.2).
    if !is_local && (family >> 4 > 3 || family & 0xF > 2) {
        return Err(Malformed::Family(family));
    }
    let Some(block) = rest.get(..length) else {
        return Ok(None);
    };
    let header = match is_local {
        true => Header::nobody(),
        false => read_block(fixed, family, block)?,
    };
    Ok(Some((header, FIXED_BYTES + length)))
}

/// Addresses and TLVs of a `PROXY` header.
fn read_block(fixed: &[u8], family: u8, block: &[u8]) -> Result<Header, Malformed> {
    let length = match family >> 4 {
        1 => INET_BYTES,
        2 => INET6_BYTES,
        3 => UNIX_BYTES,
        _ => return Ok(Header::nobody()), // no addresses, and nothing says where TLVs would begin
    };
    let (found, tlvs) = block.split_at_checked(length).ok_or(Malformed::Short)?;
    let tlvs = read_tlvs(&[fixed, found], tlvs)?;
    const STREAM: u8 = 1;
    if family & 0xF != STREAM {
        return Ok(Header::nobody());
    }
    let addresses = inet(found).or_else(|| inet6(found));
    Ok(match addresses {
        None => Header::nobody(),
        Some(_) => Header { addresses, tlvs },
    })
}

fn inet(block: &[u8]) -> Option<Addresses> {
    let block: &[u8; INET_BYTES] = block.try_into().ok()?;
    let [s0, s1, s2, s3, d0, d1, d2, d3, sp0, sp1, dp0, dp1] = *block;
    let source = (
        Ipv4Addr::new(s0, s1, s2, s3),
        u16::from_be_bytes([sp0, sp1]),
    );
    let destination = (
        Ipv4Addr::new(d0, d1, d2, d3),
        u16::from_be_bytes([dp0, dp1]),
    );
    Some(Addresses::new(source.into(), destination.into()))
}

fn inet6(block: &[u8]) -> Option<Addresses> {
    let block: &[u8; INET6_BYTES] = block.try_into().ok()?;
    let (source, rest) = block.split_first_chunk::<16>()?;
    let (destination, ports) = rest.split_first_chunk::<16>()?;
    let [sp0, sp1, dp0, dp1] = ports.try_into().ok()?;
    let source = (Ipv6Addr::from(*source), u16::from_be_bytes([sp0, sp1]));
    let destination = (Ipv6Addr::from(*destination), u16::from_be_bytes([dp0, dp1]));
    Some(Addresses::new(source.into(), destination.into()))
}

/// The TLVs that are to be passed on. A checksum among them is verified, over what stands `before`
/// them as well.
fn read_tlvs(before: &[&[u8]; 2], tlvs: &[u8]) -> Result<Tlvs, Malformed> {
    let mut kept = Vec::new();
    let mut is_checksummed = false;
    let mut rest = tlvs;
    while !rest.is_empty() {
        let [kind, high, low, ..] = *rest else {
            return Err(Malformed::Tlv);
        };
        let length = TLV_HEAD_BYTES + usize::from(u16::from_be_bytes([high, low]));
        let (tlv, behind) = rest.split_at_checked(length).ok_or(Malformed::Tlv)?;
        match kind {
            TLV_NOOP | TLV_NETNS => {}
            TLV_CRC32C => {
                is_checksummed = true;
                let at = tlvs.len() - rest.len();
                verify(before, &tlvs[..at], tlv, behind)?;
            }
            _ => kept.extend_from_slice(tlv),
        }
        rest = behind;
    }
    Ok(Tlvs {
        bytes: kept.into(),
        is_checksummed,
    })
}

/// The checksum is that of the whole header with zeros in its own place (section 2.2.3).
fn verify(
    [fixed, addresses]: &[&[u8]; 2],
    ahead: &[u8],
    tlv: &[u8],
    behind: &[u8],
) -> Result<(), Malformed> {
    let tlv: &[u8; CRC32C_TLV_BYTES] = tlv.try_into().map_err(|_| Malformed::Checksum)?;
    let [kind, high, low, stated @ ..] = *tlv;
    let blank = [kind, high, low, 0, 0, 0, 0];
    let sum = crc32c::of(&[fixed, addresses, ahead, &blank, behind]);
    match u32::from_be_bytes(stated) == sum {
        true => Ok(()),
        false => Err(Malformed::Checksum),
    }
}

impl Header {
    /// A header that names nobody.
    fn nobody() -> Header {
        Header {
            addresses: None,
            tlvs: Tlvs::default(),
        }
    }
}
