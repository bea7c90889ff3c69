//! One generation: an immutable configuration with its groups, published by one pointer swap.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::{Config, GroupConfig, TargetAddr};
use crate::groups::{Group, GroupRegistry, Groups, Target};

/// What a connection reads at route and uses to its end.
#[derive(Debug)]
pub struct Generation {
    /// Counts the generations of this process, from 1.
    pub number: u64,
    /// As read from the file.
    pub config: Config,
    /// The groups with their targets resolved.
    pub groups: Groups,
}

impl Generation {
    /// What the operator should know of it: each target that is one of this proxy's listeners.
    pub fn warnings(&self) -> Vec<String> {
        let targets = self.groups.iter().flat_map(|group| {
            group
                .targets()
                .iter()
                .map(move |(port, target)| (group.id, port, target))
        });
        targets
            .filter(|(_, _, target)| target.is_own_listener())
            .map(|(group, port, target)| {
                format!(
                    "groups.{group}.portmap: port {port} leads to {}, which is a listener of \
                     this proxy itself; it is never connected to",
                    target.configured
                )
            })
            .collect()
    }
}

/// A generation as the sessions of one worker share it: behind an `Rc`, so that a session counts
/// itself in and out without a cache line shared among workers.
#[derive(Debug)]
pub struct LocalGeneration(pub Arc<Generation>);

impl std::ops::Deref for LocalGeneration {
    type Target = Generation;
    fn deref(&self) -> &Generation {
        &self.0
    }
}

/// Looks up where a host name is now; `None` while it is not resolved.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<IpAddr>;

impl Generation {
    /// Builds a generation.
    pub fn new(
        number: u64,
        config: Config,
        registry: &GroupRegistry,
        lookup: Lookup<'_>,
    ) -> Generation {
        let own = OwnListeners::of(&config);
        let build = |group: &GroupConfig| {
            let targets = group
                .targets
                .iter()
                .map(|(&port, configured)| (port, target(configured, &own, lookup)));
            Group::new(
                group,
                targets.collect::<BTreeMap<_, _>>(),
                registry.counters(group.id),
            )
        };
        let groups = Groups::new(config.groups.iter().map(build).collect());
        Generation {
            number,
            config,
            groups,
        }
    }

    /// Whether a port is one of this generation's; its groups have targets for these ports only.
    pub fn listens_on(&self, port: u16) -> bool {
        self.config.ports.binary_search(&port).is_ok()
    }
}

fn target(configured: &TargetAddr, own: &OwnListeners, lookup: Lookup<'_>) -> Target {
    let address = match configured {
        TargetAddr::Socket(address) => Some(*address),
        TargetAddr::Name { host, port } => lookup(host).map(|ip| SocketAddr::new(ip, *port)),
    };
    if address.is_some_and(|address| own.contains(address)) {
        return Target::own_listener(configured.clone());
    }
    Target::new(configured.clone(), address)
}

/// The addresses at which this proxy itself answers.
struct OwnListeners {
    listening: Vec<SocketAddr>,
    /// `[::]` leaves IPv4 to others.
    v6only: bool,
    host: Vec<IpAddr>,
}

impl OwnListeners {
    fn of(config: &Config) -> OwnListeners {
        let host = super::sys::interface_addresses().unwrap_or_else(|error| {
            log::warn!("cannot list this host's addresses: {error}");
            Vec::new()
        });
        let v6only = super::is_v6only(config);
        OwnListeners {
            listening: super::listen_addresses(config),
            v6only,
            host,
        }
    }

    fn contains(&self, target: SocketAddr) -> bool {
        let ip = target.ip().to_canonical();
        let is_own = ip.is_loopback() || ip.is_unspecified() || self.host.contains(&ip);
        self.listening
            .iter()
            .filter(|listening| listening.port() == target.port())
            .any(|listening| {
                let bound = listening.ip().to_canonical();
                let takes_family = bound.is_ipv4() == ip.is_ipv4()
                    || (listening.is_ipv6() && ip.is_ipv4() && !self.v6only);
                // Connecting to the unspecified address reaches this host itself.
                bound == ip
                    || (is_own && takes_family && (bound.is_unspecified() || ip.is_unspecified()))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_listeners_are_known_by_address_and_by_wildcard() {
        let own = OwnListeners {
            listening: vec![
                "0.0.0.0:80".parse().unwrap(),
                "192.0.2.1:81".parse().unwrap(),
            ],
            v6only: true,
            host: vec!["198.51.100.7".parse().unwrap()],
        };
        for (target, expected) in [
            ("127.0.0.1:80", true),
            ("127.9.9.9:80", true),
            ("198.51.100.7:80", true),
            ("198.51.100.8:80", false),
            ("127.0.0.1:82", false),
            ("192.0.2.1:81", true),
            ("127.0.0.1:81", false),
            ("0.0.0.0:81", true),
            ("[::ffff:127.0.0.1]:80", true),
        ] {
            assert_eq!(own.contains(target.parse().unwrap()), expected, "{target}");
        }
    }

    #[test]
    fn an_ipv6_wildcard_answers_ipv4_only_where_it_is_dual_stack() {
        for v6only in [true, false] {
            let listening = vec!["[::]:80".parse().unwrap()];
            let own = OwnListeners {
                listening,
                v6only,
                host: Vec::new(),
            };
            assert_eq!(own.contains("127.0.0.1:80".parse().unwrap()), !v6only);
            assert!(own.contains("[::1]:80".parse().unwrap()));
        }
    }
}
