//! `/api/v1/stick_table`: which key belongs to which group.

use super::{Sources, api, seconds};
use crate::config::{GroupId, IpNetwork};
use crate::stick::{AddressFilter, ClientIp, Cursor, EntryView, Key, KeyRef, Search};

/// Bytes of slices after which a page ends: a hostile client's slices are long, and each of their
/// bytes may take ten in JSON.
const SLICE_BYTES_PER_PAGE: usize = 128 * 1_024;
/// Slots of the table that a page passes, whatever it finds.
const SLOTS_PER_PAGE: usize = 131_072;

/// Which entries are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StickQuery {
    /// Most entries of the page.
    pub limit: usize,
    /// Where the page begins; `None` at the start of the table.
    pub after: Option<Cursor>,
    /// Of this group only.
    pub group: Option<u32>,
    /// Of these addresses only.
    pub address: Option<AddressFilter>,
}

impl Sources {
    /// A page of the stick table.
    pub fn sticks(&self, query: &StickQuery) -> api::StickPage {
        let (table, now) = (&self.parts.table, self.parts.clock.now());
        let search = Search {
            limit: query.limit,
            slice_bytes: SLICE_BYTES_PER_PAGE,
            slots: SLOTS_PER_PAGE,
        };
        let group = query.group.map(GroupId);
        let is_of_group = |found: GroupId| group.is_none_or(|group| group == found);
        let from = query.after.unwrap_or(Cursor::START);
        let (entries, next) = match query.address {
            None => table.search(from, search, now, |_, of| is_of_group(of)),
            Some(AddressFilter::One(ip)) => {
                let prefix = self.parts.proxy.generation().config.key_ipv6_prefix;
                let ip = ClientIp::new(ip, prefix);
                let wanted = |_: KeyRef<'_>, of| is_of_group(of);
                table.search_address(ip, query.after, search, now, wanted)
            }
            Some(AddressFilter::Network(network)) => {
                let network = Network::of(network);
                let wanted = |key: KeyRef<'_>, of| network.has(key.ip) && is_of_group(of);
                table.search(from, search, now, wanted)
            }
        };
        api::StickPage {
            entries: entries.iter().map(stick).collect(),
            total: table.entries(),
            next: next.map(|next| next.to_u64().to_string()),
        }
    }

    /// The entry of this key; any address of a network that makes one key names it.
    pub fn stick(&self, key: Key) -> Option<api::Stick> {
        let key = key.cut_to(self.parts.proxy.generation().config.key_ipv6_prefix);
        let found = self.parts.table.get(key.as_ref(), self.parts.clock.now());
        found.as_ref().map(stick)
    }
}

fn stick(entry: &EntryView) -> api::Stick {
    let key = entry.key.as_ref().to_string();
    // No address has a slash.
    let slice = key.split_once('/').map(|(_, slice)| slice.to_owned());
    api::Stick {
        ip: entry.key.ip.to_string(),
        slice,
        key,
        group: entry.group.0,
        expires_in_seconds: entry.expires_in.map(seconds),
        connections: entry.connections,
        provisional: entry.provisional,
    }
}

/// A network in the form that keys have their addresses in.
struct Network {
    is_v4: bool,
    bits: u128,
    mask: u128,
}

impl Network {
    fn of(network: IpNetwork) -> Network {
        let ip = ClientIp::new(network.address, 128);
        let is_v4 = ip.ip().is_ipv4();
        // IPv4 lies in the last 32 bits.
        let before = if network.address.is_ipv4() { 96 } else { 0 };
        let host_bits = 128 - (before + u32::from(network.prefix));
        Network {
            is_v4,
            bits: u128::from_be_bytes(ip.octets()),
            mask: u128::MAX.checked_shl(host_bits).unwrap_or(0),
        }
    }

    fn has(&self, ip: ClientIp) -> bool {
        let bits = u128::from_be_bytes(ip.octets());
        ip.ip().is_ipv4() == self.is_v4 && (bits ^ self.bits) & self.mask == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn networks_hold_their_own_addresses_only() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
            ("2001:db8::/32", "2001:db8:7::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.6", false),
        ] {
            let parsed = Network::of(config::network(network).unwrap());
            let ip = ClientIp::new(address.parse().unwrap(), 128);
            assert_eq!(parsed.has(ip), expected, "{network} {address}");
        }
    }

    #[test]
    fn a_key_is_shown_with_its_parts() {
        let slice = b"/a\\ <b>\0";
        let entry = EntryView {
            key: Key {
                ip: ClientIp::new("192.0.2.7".parse().unwrap(), 128),
                slice: Some(slice[..].into()),
            },
            group: GroupId(3),
            expires_in: None,
            connections: 2,
            provisional: false,
        };
        let shown = stick(&entry);
        assert_eq!(shown.key, "192.0.2.7//a\\\\\\x20<b>\\x00");
        assert_eq!(shown.slice.as_deref(), Some("/a\\\\\\x20<b>\\x00"));
        assert_eq!(
            (shown.ip.as_str(), shown.expires_in_seconds),
            ("192.0.2.7", None)
        );
    }
}
