//! One form for each address: an IPv4 address written as an IPv6 one (`::ffff:192.0.2.1`, RFC 4291
//! section 2.5.5.2) is the IPv4 address, wherever it is read.

use std::net::{IpAddr, SocketAddr};

/// The form of a socket's address. A link-local IPv6 address keeps its scope, without which it could
/// not be connected to.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_ipv4_and_all_others_stay_as_they_are() {
        for (address, expected) in [
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[::192.0.2.1]:80", "[::192.0.2.1]:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("[fe80::1%7]:80", "[fe80::1%7]:80"),
        ] {
            let [address, expected] = [address, expected].map(|text| text.parse().unwrap());
            assert_eq!(canonical(address), expected);
        }
    }
}
