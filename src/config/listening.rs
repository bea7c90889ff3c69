//! What is listened on: addresses and ports, and whose connections begin with a PROXY header; and
//! where connections to targets come from.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use toml::de::DeValue;

use super::entry::Entry;
use super::findings::Span;
use super::schema::{IpNetwork, IpRange};
use super::section::Section;
use super::values;

/// Addresses that `bind_addr` may list.
const MAX_BIND_ADDRS: usize = 64;

/// Networks that `allow` and `deny` may list each.
const MAX_CLIENT_NETWORKS: usize = 4096;

/// Networks that `accept_proxy_from` may list.
const MAX_PROXY_NETWORKS: usize = 256;

/// Addresses that `bind_source` may give.
const MAX_SOURCES: u128 = 64;

/// A list of ports as the file gives it.
pub(super) struct Ports {
    places: BTreeMap<u16, PortPlace>,
    complete: bool,
}

/// Where a port is listed.
#[derive(Clone)]
pub(super) struct PortPlace {
    pub path: String,
    pub span: Span,
}

impl Ports {
    /// The required `ports` at the top of the file.
    pub fn required(top: &Section<'_>) -> Ports {
        if let Some(entry) = top.get("ports") {
            return Ports::from(&entry);
        }
        top.missing(
            "ports",
            "a list of ports, such as ports = [5280, \"6000-6099\"]",
        );
        Ports {
            places: BTreeMap::new(),
            complete: false,
        }
    }

    /// Any list of ports; at least one.
    pub fn from(entry: &Entry<'_>) -> Ports {
        let mut ports = Ports {
            places: BTreeMap::new(),
            complete: true,
        };
        let elements = entry.elements_of_array();
        for element in &elements {
            if entry.findings.is_full() {
                ports.complete = false;
                break;
            }
            match range(element) {
                Some((first, last)) => ports.add(element, first, last),
                None => ports.complete = false,
            }
        }
        if elements.is_empty() {
            ports.complete = false;
            if entry.elements().is_some() {
                entry.refuse_for("at least one port");
            }
        }
        ports
    }

    fn add(&mut self, element: &Entry<'_>, first: u16, last: u16) {
        let mut twice = Vec::new();
        let mut before = None;
        for port in first..=last {
            match self.places.get(&port) {
                Some(place) => {
                    before.get_or_insert_with(|| place.path.clone());
                    twice.push(port);
                }
                None => {
                    let place = PortPlace {
                        path: element.path.clone(),
                        span: element.span(),
                    };
                    self.places.insert(port, place);
                }
            }
        }
        if let Some(before) = before {
            let shown = values::show_ports(twice);
            element.error(format!(
                "{shown} given before, in {before}; expected each port once"
            ));
        }
    }

    /// Whether every element of the list was understood.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    pub fn has(&self, port: u16) -> bool {
        self.places.contains_key(&port)
    }

    pub fn place(&self, port: u16) -> Option<&PortPlace> {
        self.places.get(&port)
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u16> + '_ {
        self.places.keys().copied()
    }
}

/// A port or a range of ports.
fn range(element: &Entry<'_>) -> Option<(u16, u16)> {
    const EXPECTED: &str = "a port from 1 to 65535 or a range such as \"6000-6099\"";
    if let DeValue::String(text) = element.value.get_ref() {
        let range =
            values::port_range(text).or_else(|| values::port(text).map(|port| (port, port)));
        if range.is_none() {
            element.refuse_for(EXPECTED);
        }
        return range;
    }
    let port = element.integer_within(1, 65535, EXPECTED)?;
    u16::try_from(port).ok().map(|port| (port, port))
}

/// An address to listen on, and where the file says so.
pub(super) struct BindAddr {
    pub ip: IpAddr,
    /// `None` for the default.
    pub place: Option<PortPlace>,
}

/// `bind_addr`; empty where none could be read.
pub(super) fn bind_addrs(top: &Section<'_>) -> Vec<BindAddr> {
    let Some(entry) = top.get("bind_addr") else {
        let ip = IpAddr::from([0, 0, 0, 0]);
        return vec![BindAddr { ip, place: None }];
    };
    let mut addrs: Vec<BindAddr> = Vec::new();
    for element in one_or_more(&entry, MAX_BIND_ADDRS) {
        let parse = |text: &str| text.parse().ok().filter(|ip: &IpAddr| !ip.is_multicast());
        let Some(ip) = element.parsed(parse) else {
            continue;
        };
        let ip = ip.to_canonical();
        if let Some(before) = addrs.iter().find(|before| before.ip == ip) {
            let path = before.place.as_ref().map_or("", |place| &place.path);
            element.error(format!(
                "{ip} given before, in {path}; expected each address once"
            ));
            continue;
        }
        let place = PortPlace {
            path: element.path.clone(),
            span: element.span(),
        };
        let place = Some(place);
        addrs.push(BindAddr { ip, place });
    }
    addrs
}

/// `accept_proxy_from`
pub(super) fn accept_proxy_from(top: &Section<'_>) -> Vec<IpNetwork> {
    networks(top, "accept_proxy_from", MAX_PROXY_NETWORKS)
}

/// `allow` or `deny`
pub(super) fn client_networks(top: &Section<'_>, name: &str) -> Vec<IpNetwork> {
    networks(top, name, MAX_CLIENT_NETWORKS)
}

/// A network or a list of at most `max`, each once.
fn networks(top: &Section<'_>, name: &str, max: usize) -> Vec<IpNetwork> {
    let Some(entry) = top.get(name) else {
        return Vec::new();
    };
    if entry.elements().is_some_and(|elements| elements.is_empty()) {
        return Vec::new();
    }
    let mut networks = Vec::new();
    let mut known = HashSet::new();
    for element in one_or_more(&entry, max) {
        let Some(text) = element.text() else {
            continue;
        };
        match values::network(text) {
            Ok(network) if !known.insert(network) => {
                element.error(format!(
                    "{network} given before; expected each network once"
                ));
            }
            Ok(network) => networks.push(network),
            Err(expected) => element.refuse_for(expected),
        }
    }
    networks
}

/// `bind_source`
pub(super) fn bind_source(top: &Section<'_>) -> Vec<IpRange> {
    let Some(entry) = top.get("bind_source") else {
        return Vec::new();
    };
    if entry.elements().is_some_and(|elements| elements.is_empty()) {
        return Vec::new();
    }
    let mut ranges: Vec<IpRange> = Vec::new();
    let mut count: u128 = 0;
    for element in one_or_more(&entry, MAX_SOURCES as usize) {
        let Some(text) = element.text() else {
            continue;
        };
        let range = match values::source(text) {
            Ok(range) => range,
            Err(Some(expected)) => {
                element.refuse_for(expected);
                continue;
            }
            Err(None) => {
                element.refuse();
                continue;
            }
        };
        if let Some(before) = ranges.iter().find(|before| before.overlaps(range)) {
            element.error(format!(
                "{range} and {before} have an address in common; expected each address once"
            ));
            continue;
        }
        count = count.saturating_add(range.count());
        if count > MAX_SOURCES {
            element.error(format!(
                "more than {MAX_SOURCES} addresses together; expected at most {MAX_SOURCES}"
            ));
            return Vec::new();
        }
        ranges.push(range);
    }
    ranges
}

/// The elements of an array of 1 to `max`, or the value itself as the only one.
fn one_or_more<'a>(entry: &Entry<'a>, max: usize) -> Vec<Entry<'a>> {
    match entry.elements() {
        None => vec![entry.itself()],
        Some(elements) if elements.is_empty() || elements.len() > max => {
            entry.refuse();
            Vec::new()
        }
        Some(elements) => elements,
    }
}
