//! Keys: how a client is known.

use std::net::{IpAddr, Ipv6Addr};

/// A client's address as the key uses it: IPv4 in its IPv4-mapped form, IPv6 cut to
/// `key_ipv6_prefix` bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientIp([u8; 16]);

impl ClientIp {
    /// What no client has: the IPv6 address that stands for none.
    pub const NONE: ClientIp = ClientIp([0; 16]);

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

impl KeyRef<'_> {
    /// The key, owned.
    pub fn to_key(self) -> Key {
        Key {
            ip: self.ip,
            slice: self.slice.map(Into::into),
        }
    }
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

impl Key {
    /// The key that this one is where so many bits of an IPv6 address count: any address of its
    /// network names it.
    pub fn cut_to(self, ipv6_prefix: u8) -> Key {
        let ip = ClientIp::new(self.ip.ip(), ipv6_prefix);
        Key { ip, ..self }
    }

    /// Reads the form that [`KeyRef`] is displayed in.
    ///
    /// # Errors
    /// When the text is not of that form, or names a slice longer than a key can have.
    pub fn parse(text: &str) -> Result<Key, KeyError> {
        let (address, slice) = match text.split_once('/') {
            Some((address, slice)) => (address, Some(slice)),
            None => (text, None),
        };
        let ip: IpAddr = address
            .parse()
            .map_err(|_| KeyError::Address(shown(address)))?;
        Ok(Key {
            ip: ClientIp::new(ip, 128),
            slice: slice.map(parse_slice).transpose()?.map(Vec::into),
        })
    }
}

/// A text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// What stands before the first slash is no address.
    #[error("{0:?} is not an IP address; a key is `ADDRESS` or `ADDRESS/SLICE`")]
    Address(String),
    /// A byte that is not written as keys have it.
    #[error("byte {at} of the slice has to be written as `\\x{byte:02x}`")]
    Raw {
        /// Its place in the text of the slice, from 0.
        at: usize,
        /// The byte.
        byte: u8,
    },
    /// A backslash that begins nothing.
    #[error(
        "at byte {at} of the slice: a backslash is followed by another one, or by `x` and two \
         hexadecimal digits"
    )]
    Escape {
        /// The place of the backslash in the text of the slice, from 0.
        at: usize,
    },
    /// More bytes than a key can have.
    #[error("the slice has more than {} bytes", crate::config::MAX_SLICE_END)]
    TooLong,
}

/// What an error repeats of a text from outside.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The bytes of a slice as [`KeyRef`] displays it.
fn parse_slice(text: &str) -> Result<Vec<u8>, KeyError> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let at = text.len() - rest.len();
        let (value, taken) = match (byte, after) {
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'x', high, low, ..]) => {
                let digits = hex_digit(*high).zip(hex_digit(*low));
                let (high, low) = digits.ok_or(KeyError::Escape { at })?;
                (high << 4 | low, 4)
            }
            (b'\\', _) => return Err(KeyError::Escape { at }),
            (0x21..=0x7e, _) => (byte, 1),
            _ => return Err(KeyError::Raw { at, byte }),
        };
        bytes.push(value);
        if bytes.len() > crate::config::MAX_SLICE_END {
            return Err(KeyError::TooLong);
        }
        rest = &rest[taken..];
    }
    Ok(bytes)
}

/// The value of a hexadecimal digit.
pub(crate) fn hex_digit(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Key> {
        let ip = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from)
        ];
        let slice = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
        (ip, slice).prop_map(|(ip, slice)| Key {
            ip: ClientIp::new(ip, 128),
            slice: slice.map(Vec::into),
        })
    }

    proptest! {
        #[test]
        fn a_key_is_read_as_it_is_shown(key in keys()) {
            let text = key.as_ref().to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{}", text);
            prop_assert_eq!(Key::parse(&text), Ok(key));
        }

        #[test]
        fn whatever_is_read_as_a_key_is_that_key_as_it_is_shown(text in "(10\\.0\\.0\\.1|::1)?(/([a-f0-9x]|\\\\|\\PC){0,12})?") {
            if let Ok(key) = Key::parse(&text) {
                let shown = key.as_ref().to_string();
                prop_assert_eq!(Key::parse(&shown), Ok(key));
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said() {
        let wrong = |text: &str| Key::parse(text).expect_err(text).to_string();
        assert!(
            wrong("").contains("\"\" is not an IP address"),
            "{}",
            wrong("")
        );
        assert!(wrong("10.0.0/x").contains("\"10.0.0\" is not"));
        assert!(wrong("10.0.0.1/a b").contains("byte 1 of the slice has to be written as `\\x20`"));
        for text in ["::1/\\", "::1/\\x", "::1/\\x0", "::1/\\xg0", "::1/\\n"] {
            assert_eq!(Key::parse(text), Err(KeyError::Escape { at: 0 }), "{text}");
        }
        let long = format!("::1/{}", "a".repeat(4097));
        assert!(wrong(&long).contains("more than 4096 bytes"));
    }

    #[test]
    fn an_address_may_be_written_in_any_form() {
        let key = Key::parse("::ffff:10.0.0.1/A\\x0A").unwrap();
        assert_eq!(key.as_ref().to_string(), "10.0.0.1/A\\x0a");
        assert_eq!(key.slice.as_deref(), Some(&b"A\n"[..]));
    }
}
