//! Parsers of the strings that values are made of: ports, hosts, targets, MAC addresses, networks.

use std::net::{IpAddr, SocketAddr};

use crate::canonical::canonical;

use super::schema::{IpNetwork, IpRange, MacAddress, TargetAddr, UnixPath};

/// A port, in decimal without sign or leading zero.
pub(super) fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}

/// `first-last`, both ports, in order.
pub(super) fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (port(first.trim())?, port(last.trim())?);
    (first <= last).then_some((first, last))
}

/// Ports as ranges: `5280-5282, 6000`.
pub fn show_ports(ports: impl IntoIterator<Item = u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    let shown: Vec<String> = ranges
        .iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            _ => format!("{first}-{last}"),
        })
        .collect();
    shown.join(", ")
}

/// Whether something can be connected to at an address.
pub(super) fn is_connectable(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Whether a text is a host name by RFC 1123 (underscores let pass, as resolvers do). The last
/// label is not all digits, so that a mistyped IPv4 address is not taken for a name.
pub(super) fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last_label = text.rsplit('.').next().unwrap_or(text);
    text.len() <= 253
        && text.split('.').all(label_is_good)
        && !last_label.bytes().all(|byte| byte.is_ascii_digit())
}

/// A host without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Host {
    /// The target at a port of this host.
    pub fn at(&self, port: u16) -> TargetAddr {
        match self {
            Host::Ip(ip) => TargetAddr::Socket(SocketAddr::new(*ip, port)),
            Host::Name(name) => TargetAddr::Name {
                host: name.clone(),
                port,
            },
        }
    }
}

/// An IP address that can be connected to, or a host name.
pub(super) fn host(text: &str) -> Option<Host> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return is_connectable(ip).then_some(Host::Ip(ip));
    }
    is_host_name(text).then(|| Host::Name(text.to_owned()))
}

/// `ip:port`, `[ip]:port`, `host:port` or `unix:/path`.
pub(super) fn target(text: &str) -> Option<TargetAddr> {
    if let Some(path) = UnixPath::parse(text) {
        return Some(TargetAddr::Unix(path));
    }
    if let Ok(address) = text.parse().map(canonical) {
        let usable = address.port() != 0 && is_connectable(address.ip());
        return usable.then_some(TargetAddr::Socket(address));
    }
    let (name, port_text) = text.rsplit_once(':')?;
    let port = port(port_text)?;
    is_host_name(name).then(|| TargetAddr::Name {
        host: name.to_owned(),
        port,
    })
}

/// A network in CIDR notation; an address alone is a network of one. IPv4 networks written as IPv6
/// ones are IPv4 networks.
///
/// # Errors
/// What was expected, where the text is none.
pub fn network(text: &str) -> Result<IpNetwork, String> {
    let expected = "a network such as \"10.0.0.0/8\"";
    let (address_text, prefix_text) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address_text.parse().map_err(|_| expected.to_owned())?;
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix_text {
        None => bits,
        Some(prefix) => {
            let parsed = prefix.parse().ok().filter(|prefix| *prefix <= bits);
            parsed.ok_or_else(|| format!("a prefix length from 0 to {bits}"))?
        }
    };
    let (address, prefix) = match (address, address.to_canonical()) {
        (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if prefix >= MAPPED_BITS => (v4, prefix - MAPPED_BITS),
        _ => (address, prefix),
    };
    let network = IpNetwork {
        address: mask(address, prefix),
        prefix,
    };
    if network.address == address {
        Ok(network)
    } else {
        Err(format!(
            "an address without bits beyond its prefix, such as \"{network}\""
        ))
    }
}

/// An address, or a range of them, each one that connections can come from.
///
/// # Errors
/// What was expected where the text is something else; `None`: nothing in particular.
pub(super) fn source(text: &str) -> Result<IpRange, Option<String>> {
    if let Some((address, prefix)) = text.split_once('/') {
        return Err(in_place_of_network(address.trim(), prefix.trim()));
    }
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (source_address(first)?, source_address(last)?),
        None => (source_address(text)?, source_address(text)?),
    };
    if first.is_ipv4() != last.is_ipv4() {
        return Err(Some(
            "a range whose first and last address are of one IP family".to_owned(),
        ));
    }
    if first > last {
        return Err(Some(format!(
            "a range from its lowest address to its highest, such as \"{last}-{first}\""
        )));
    }
    Ok(IpRange { first, last })
}

/// An address that connections can come from, wherever they go.
fn source_address(text: &str) -> Result<IpAddr, Option<String>> {
    let text = text.trim();
    let (address, link) = match text.split_once('%') {
        Some((address, link)) => (address, Some(link)),
        None => (text, None),
    };
    let ip: IpAddr = address.parse().map_err(|_| None)?;
    let ip = ip.to_canonical();
    let why = match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            "is a link-local one and names no link; use a global one, or one of fd00::/8"
        }
        _ if link.is_some() => return Err(None),
        _ if ip.is_unspecified() => {
            "stands for all; leave the key out where the kernel is to choose"
        }
        _ if ip.is_multicast() => "is that of a multicast group",
        _ if !is_connectable(ip) => "is the broadcast address",
        _ => return Ok(ip),
    };
    Err(Some(format!("an address of this host: {ip} {why}")))
}

/// What is expected in place of a network: the addresses that hosts have in it.
fn in_place_of_network(address: &str, prefix: &str) -> Option<String> {
    let ip: IpAddr = address.parse().ok()?;
    let bits: u8 = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= bits)?;
    let host_bits = bits - prefix;
    if host_bits == 0 {
        return Some(format!("an address without a prefix, \"{ip}\""));
    }
    // The first and the last of a wider network stand for itself and for all of it.
    let (own, last) = match host_bits {
        1 => (0, 1),
        ..=6 => (1, (1 << host_bits) - 2),
        _ => (1, MOST_SHOWN),
    };
    let at = |offset: u8| match mask(ip, prefix) {
        IpAddr::V4(v4) => IpAddr::from((u32::from(v4) + u32::from(offset)).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) + u128::from(offset)).to_be_bytes()),
    };
    Some(format!(
        "a range in place of a prefix, such as \"{}-{}\"",
        at(own),
        at(last)
    ))
}

/// Addresses of a wide network that its range shows: as many as `bind_source` may give.
const MOST_SHOWN: u8 = 64;

impl std::fmt::Display for IpRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Bits of an IPv6 address in front of an IPv4 address that it stands for.
const MAPPED_BITS: u8 = 96;

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(prefix.min(32)))
                .unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(prefix.min(128)))
                .unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

impl std::fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl std::fmt::Display for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

/// A MAC address, and whether empty parts of it had to be skipped (`00:00:00:00:00::01`, as the
/// original project's example has it).
pub(super) fn mac_address(text: &str) -> Option<(MacAddress, bool)> {
    let separator = if text.contains(':') { ':' } else { '-' };
    let parts = || text.split(separator).filter(|part| !part.is_empty());
    if parts().count() != 6 {
        return None;
    }
    let mut bytes = [0; 6];
    for (byte, part) in bytes.iter_mut().zip(parts()) {
        let hex = part.len() <= 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = hex.then(|| u8::from_str_radix(part, 16).ok()).flatten()?;
    }
    Some((MacAddress(bytes), text.split(separator).count() != 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_are_read_strictly() {
        assert_eq!(port("5280"), Some(5280));
        for bad in ["0", "65536", "+1", "-1", "", "080", "1.0", " 1"] {
            assert_eq!(port(bad), None, "{bad:?}");
        }
        assert_eq!(port_range("6000-6099"), Some((6000, 6099)));
        assert_eq!(port_range("6000 - 6000"), Some((6000, 6000)));
        for bad in [
            "6001-6000",
            "6000",
            "6000-",
            "-6000",
            "0-5",
            "1-65536",
            "1-2-3",
        ] {
            assert_eq!(port_range(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn ports_are_shown_as_ranges() {
        assert_eq!(
            show_ports([1, 2, 3, 7, 65534, 65535]),
            "1-3, 7, 65534-65535"
        );
        assert_eq!(show_ports([]), "");
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        assert!(matches!(host("::1"), Some(Host::Ip(_))));
        assert!(matches!(host("db-1.example_net."), Some(Host::Name(_))));
        for bad in [
            "",
            ".",
            "300.1.1.1",
            "1.2.3",
            "a b",
            "-a",
            "a..b",
            "[::1]",
            "a:1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert_eq!(host(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn targets_name_a_host_and_a_port() {
        assert_eq!(
            target("[::1]:80").map(|t| t.to_string()).as_deref(),
            Some("[::1]:80")
        );
        assert_eq!(
            target("db:80").map(|t| t.to_string()).as_deref(),
            Some("db:80")
        );
        for bad in [
            "127.0.0.1",
            "127.0.0.1:0",
            "::1:80:",
            "db:",
            ":80",
            "db:99999",
            "1.2.3:80",
        ] {
            assert_eq!(target(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn networks_have_no_host_bits() {
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("0.0.0.0/0").unwrap().to_string(), "0.0.0.0/0");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        assert!(
            network("10.1.0.0/8")
                .unwrap_err()
                .contains("\"10.0.0.0/8\"")
        );
        assert!(network("10.0.0.0/33").unwrap_err().contains("0 to 32"));
        assert!(network("ten").is_err());
    }

    #[test]
    fn what_is_ipv4_in_an_ipv6_spelling_is_ipv4() {
        for (text, shown) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            // More than the IPv4 addresses is a network of IPv6.
            ("::fffe:0:0/95", "::fffe:0:0/95"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), shown, "{text}");
        }
        let error = network("::ffff:10.1.0.0/104").unwrap_err();
        assert!(error.contains("\"10.0.0.0/8\""), "{error}");
        let error = network("::ffff:10.0.0.0/129").unwrap_err();
        assert!(error.contains("0 to 128"), "{error}");

        let range = source("::ffff:10.0.0.2-::ffff:10.0.0.9").unwrap();
        assert_eq!(
            (range.to_string(), range.count()),
            ("10.0.0.2-10.0.0.9".to_owned(), 8)
        );
        let of_two = source("::fffe:ffff:ffff-::ffff:0:1").unwrap_err();
        assert!(of_two.unwrap().contains("of one IP family"));
        for (text, shown) in [
            ("[::ffff:192.0.2.1]:80", Some("192.0.2.1:80")),
            ("[fe80::1%2]:80", Some("[fe80::1%2]:80")),
            ("[::ffff:0.0.0.0]:80", None),
            ("[::ffff:224.0.0.1]:80", None),
        ] {
            let read = target(text).map(|target| target.to_string());
            assert_eq!(read.as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn sources_are_addresses_or_ranges_of_one_family() {
        for (text, shown, count) in [
            ("10.0.0.2", "10.0.0.2", 1),
            ("10.0.0.254 - 10.0.1.1", "10.0.0.254-10.0.1.1", 4),
            ("2001:db8::1-2001:db8::8", "2001:db8::1-2001:db8::8", 8),
        ] {
            let range = source(text).unwrap();
            assert_eq!((range.to_string().as_str(), range.count()), (shown, count));
            let listed: Vec<IpAddr> = range.addresses().collect();
            assert_eq!(listed.len() as u128, count, "{text}");
            assert_eq!(
                (listed[0], *listed.last().unwrap()),
                (range.first, range.last)
            );
        }
        for bad in [
            "",
            "10.0.0.2-",
            "a",
            "10.0.0.2%1",
            "a/8",
            "10.0.0.0/33",
            "10.0.0.0/",
        ] {
            assert_eq!(source(bad), Err(None), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_source_is_told_why() {
        for (text, expected) in [
            (
                "10.0.0.3-10.0.0.2",
                "lowest address to its highest, such as \"10.0.0.2-10.0.0.3\"",
            ),
            ("10.0.0.1-::2", "of one IP family"),
            ("0.0.0.0", "0.0.0.0 stands for all"),
            ("::", ":: stands for all"),
            ("::ffff:0.0.0.0", "0.0.0.0 stands for all"),
            ("255.255.255.255", "255.255.255.255 is the broadcast"),
            ("224.0.0.1", "224.0.0.1 is that of a multicast group"),
            ("223.255.255.254 - 224.0.0.1", "of a multicast group"),
            ("ff02::1", "ff02::1 is that of a multicast group"),
            ("fe80::1", "fe80::1 is a link-local one and names no link"),
            ("fe80::1%eth0", "fe80::1 is a link-local one"),
            ("10.0.0.8/29", "such as \"10.0.0.9-10.0.0.14\""),
            ("10.0.0.10/29", "such as \"10.0.0.9-10.0.0.14\""),
            ("10.0.0.8/31", "such as \"10.0.0.8-10.0.0.9\""),
            ("10.0.0.8/30", "such as \"10.0.0.9-10.0.0.10\""),
            ("10.0.0.8/32", "without a prefix, \"10.0.0.8\""),
            ("10.0.0.0/26", "such as \"10.0.0.1-10.0.0.62\""),
            ("10.0.0.0/8", "such as \"10.0.0.1-10.0.0.64\""),
            ("2001:db8::/64", "such as \"2001:db8::1-2001:db8::40\""),
        ] {
            let told = source(text).unwrap_err().unwrap();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn mac_addresses_may_have_an_empty_part() {
        let one = MacAddress([0, 0, 0, 0, 0, 1]);
        assert_eq!(mac_address("00:00:00:00:00:01"), Some((one, false)));
        assert_eq!(mac_address("00-00-00-00-00-01"), Some((one, false)));
        assert_eq!(mac_address("00:00:00:00:00::01"), Some((one, true)));
        for bad in [
            "",
            "00:00:00:00:01",
            "00:00:00:00:00:0g",
            "00:00:00:00:00:001",
            "1:2:3:4:5:6:7",
        ] {
            assert_eq!(mac_address(bad), None, "{bad:?}");
        }
    }
}
