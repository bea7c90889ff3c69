//! Lists of networks: whose connections are taken (`allow`, `deny`), and whose begin with a PROXY
//! protocol header (`accept_proxy_from`).
//!
//! Lists may be long, and every accept asks. So each is kept as ranges in order, without overlap,
//! and an address is looked for by halving: a dozen comparisons for thousands of networks.

use std::net::IpAddr;

use crate::config::IpNetwork;

/// Whose connections are taken: those of `allow`, or everybody's where it names nobody, but never
/// those of `deny`.
#[derive(Debug, Default)]
pub struct Access {
    allow: Option<Networks>,
    deny: Networks,
}

impl Access {
    /// Access by the two lists of the configuration.
    pub fn new(allow: &[IpNetwork], deny: &[IpNetwork]) -> Access {
        Access {
            allow: (!allow.is_empty()).then(|| Networks::new(allow)),
            deny: Networks::new(deny),
        }
    }

    /// Whether a client with this address is served.
    pub fn admits(&self, ip: IpAddr) -> bool {
        let is_allowed = || self.allow.as_ref().is_none_or(|allow| allow.contains(ip));
        !self.denies(ip) && is_allowed()
    }

    /// Whether `deny` has an address: no connection from it is taken, whomever it speaks for.
    pub fn denies(&self, ip: IpAddr) -> bool {
        self.deny.contains(ip)
    }
}

/// A set of addresses. IPv4 and IPv6 are apart, so that `::/0` is every IPv6 address and no other;
/// an IPv4 address in its IPv6 form is the IPv4 address.
#[derive(Debug, Default)]
pub struct Networks {
    v4: Ranges,
    v6: Ranges,
}

impl Networks {
    /// The addresses of a list of the configuration.
    pub fn new(networks: &[IpNetwork]) -> Networks {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            let prefix = u32::from(network.prefix);
            match network.address {
                IpAddr::V4(address) => v4.push(range(u32::from(address).into(), 32 - prefix)),
                IpAddr::V6(address) => v6.push(range(address.into(), 128 - prefix)),
            }
        }
        Networks {
            v4: Ranges::new(v4),
            v6: Ranges::new(v6),
        }
    }

    /// Whether an address is one of them.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(v4) => self.v4.contains(u32::from(v4).into()),
            IpAddr::V6(v6) => self.v6.contains(v6.into()),
        }
    }
}

/// First and last address of a network.
fn range(first: u128, host_bits: u32) -> (u128, u128) {
    let hosts = u128::MAX.checked_shr(128 - host_bits).unwrap_or_default();
    (first, first | hosts)
}

/// Ranges in order; no two of them overlap.
#[derive(Debug, Default)]
struct Ranges(Box<[(u128, u128)]>);

impl Ranges {
    fn new(mut ranges: Vec<(u128, u128)>) -> Ranges {
        ranges.sort_unstable();
        // Networks overlap only where one lies within the other, which stands before it.
        ranges.dedup_by(|later, earlier| later.1 <= earlier.1);
        Ranges(ranges.into_boxed_slice())
    }

    fn contains(&self, address: u128) -> bool {
        let after = self.0.partition_point(|&(first, _)| first <= address);
        after > 0 && address <= self.0[after - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::network;

    fn networks(list: &[&str]) -> Vec<IpNetwork> {
        let read = |text: &&str| network(text).expect("a network");
        list.iter().map(read).collect()
    }

    fn admitted(allow: &[&str], deny: &[&str], clients: &[&str]) -> Vec<bool> {
        let access = Access::new(&networks(allow), &networks(deny));
        let asks = clients.iter().map(|ip| ip.parse().expect("an address"));
        asks.map(|ip| access.admits(ip)).collect()
    }

    #[test]
    fn without_lists_everybody_is_served() {
        let clients = [
            "0.0.0.0",
            "192.0.2.1",
            "255.255.255.255",
            "::",
            "2001:db8::1",
        ];
        assert_eq!(admitted(&[], &[], &clients), [true; 5]);
    }

    #[test]
    fn a_network_ends_where_its_prefix_says() {
        let clients = ["10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"];
        let inside = [true, true, false, false];
        assert_eq!(admitted(&["10.0.0.0/8"], &[], &clients), inside);
        assert_eq!(
            admitted(&[], &["10.0.0.0/8"], &clients),
            inside.map(|is| !is)
        );
        let clients = [
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
        ];
        assert_eq!(
            admitted(&["2001:db8::/32"], &[], &clients),
            [true, true, false]
        );
        assert_eq!(
            admitted(&["192.0.2.1"], &[], &["192.0.2.1", "192.0.2.2"]),
            [true, false]
        );
    }

    #[test]
    fn what_is_denied_is_denied_whatever_is_allowed() {
        let clients = ["192.0.2.1", "192.0.2.129", "198.51.100.1"];
        let found = admitted(&["192.0.2.0/24"], &["192.0.2.128/25"], &clients);
        assert_eq!(found, [true, false, false]);
        assert_eq!(
            admitted(&["192.0.2.1"], &["0.0.0.0/0"], &clients),
            [false; 3]
        );
    }

    #[test]
    fn everything_of_one_kind_is_nothing_of_the_other() {
        let clients = ["0.0.0.0", "255.255.255.255", "::", "ffff::1"];
        assert_eq!(
            admitted(&["0.0.0.0/0"], &[], &clients),
            [true, true, false, false]
        );
        assert_eq!(
            admitted(&["::/0"], &[], &clients),
            [false, false, true, true]
        );
    }

    #[test]
    fn an_ipv4_client_is_the_same_in_its_ipv6_form() {
        let clients = ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:198.51.100.1"];
        assert_eq!(
            admitted(&["192.0.2.0/24"], &[], &clients),
            [true, true, false]
        );
        let mapped = admitted(&["::ffff:192.0.2.0/120"], &[], &clients);
        assert_eq!(mapped, [true, true, false]);
    }

    #[test]
    fn many_networks_answer_as_one_by_one() {
        // Nested, adjacent, equal in their first address and far apart.
        let list = [
            "10.0.0.0/8",
            "10.0.0.0/16",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "11.0.0.0/30",
            "11.0.0.4/30",
            "192.0.2.7",
            "192.0.2.9",
            "2001:db8::/64",
            "2001:db8::/48",
        ];
        let together = Networks::new(&networks(&list));
        let alone: Vec<Networks> = networks(&list)
            .iter()
            .map(|one| Networks::new(&[*one]))
            .collect();
        let mut asked = 0;
        for last in 0..=255u8 {
            for ip in [
                IpAddr::from([9 + last % 4, 0, 0, last]),
                IpAddr::from([10, last, 2, last]),
                IpAddr::from([11, 0, 0, last]),
                IpAddr::from([192, 0, 2, last]),
                IpAddr::from([
                    0x2001,
                    0xdb8,
                    0,
                    u16::from(last % 3),
                    0,
                    0,
                    0,
                    u16::from(last),
                ]),
            ] {
                let expected = alone.iter().any(|one| one.contains(ip));
                assert_eq!(together.contains(ip), expected, "{ip}");
                asked += u32::from(expected);
            }
        }
        assert!(asked > 300, "{asked} were inside");
    }
}
