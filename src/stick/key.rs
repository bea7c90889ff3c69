//! Keys: how a client is known.

use std::net::{IpAddr, Ipv6Addr};

/// A client's address as the key uses it: IPv4 in its IPv4-mapped form, IPv6 cut to
/// `key_ipv6_prefix` bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientIp([u8; 16]);

impl ClientIp {
    /// The key form of an address; `ipv6_prefix` is 1 to 128.
    pub fn new(ip: IpAddr, ipv6_prefix: u8) -> ClientIp {
        match ip.to_canonical() {
            IpAddr::V4(v4) => ClientIp(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => {
                let host_bits = 128 - u32::from(ipv6_prefix.min(128));
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                ClientIp((u128::from_be_bytes(v6.octets()) & mask).to_be_bytes())
            }
        }
    }

    /// From the sixteen bytes that [`ClientIp::octets`] gave.
    pub fn from_octets(octets: [u8; 16]) -> ClientIp {
        ClientIp(octets)
    }

    /// Sixteen bytes, IPv4 in IPv4-mapped form.
    pub fn octets(self) -> [u8; 16] {
        self.0
    }

    /// The address (for a prefix under 128: the network's).
    pub fn ip(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from(self.0)).to_canonical()
    }
}

impl std::fmt::Display for ClientIp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ip().fmt(f)
    }
}

impl std::fmt::Debug for ClientIp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ip().fmt(f)
    }
}

/// A key, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyRef<'a> {
    /// The client's address.
    pub ip: ClientIp,
    /// The slice of its first message, where the key type has one and it came in time.
    pub slice: Option<&'a [u8]>,
}

/// A key, owned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The client's address.
    pub ip: ClientIp,
    /// The slice of its first message.
    pub slice: Option<Box<[u8]>>,
}

impl Key {
    /// The key, borrowed.
    pub fn as_ref(&self) -> KeyRef<'_> {
        KeyRef {
            ip: self.ip,
            slice: self.slice.as_deref(),
        }
    }
}

/// `ip`, or `ip/slice` with every byte of the slice that is not a printable ASCII character
/// written as `\xNN` (and the backslash as `\\`), so that a key is one safe word in a log line.
impl std::fmt::Display for KeyRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ip.fmt(f)?;
        let Some(slice) = self.slice else {
            return Ok(());
        };
        f.write_str("/")?;
        for &byte in slice {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}
