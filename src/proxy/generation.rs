//! One generation: an immutable configuration with its groups, published by one pointer swap.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::{Config, GroupConfig, GroupId, TargetAddr};
use crate::groups::{Group, GroupRegistry, Groups, HealthStatus, Target, TargetState};
use crate::own_listeners::OwnListeners;
use crate::sources::Sources;

use super::access::{Access, Networks};

/// What a connection reads at route and uses to its end.
#[derive(Debug)]
pub struct Generation {
    /// Counts the generations of this process, from 1.
    pub number: u64,
    /// As read from the file.
    pub config: Config,
    /// The groups with their targets resolved.
    pub groups: Groups,
    /// Whose connections are taken.
    pub access: Access,
    /// Whose connections begin with a PROXY protocol header.
    pub balancers: Networks,
    /// Where connections to targets come from.
    pub sources: Sources,
}

impl Generation {
    /// What the operator should know of it: each target that is one of this proxy's listeners, each
    /// that can see no client's address though its group asks for it, and what bind_source leaves
    /// out.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for group in self.groups.iter() {
            let addresses = group.targets().values().flat_map(Target::addresses);
            let left_out = |address: &&SocketAddr| self.sources.leave_out(**address);
            if let Some(address) = { addresses }.find(left_out)
                && !group.transparent
            {
                let id = group.id;
                warnings.push(format!(
                    "groups.{id}.portmap: no address of bind_source is of the IP family of \
                     {address}; connections there come from where the kernel chooses"
                ));
            }
            for (port, target) in group.targets() {
                let addresses = target.addresses();
                let is_unseen = |&address: &SocketAddr| !self.has_clients_like(address);
                let told = if target.is_own_listener() {
                    "which is a listener of this proxy itself; it is never connected to"
                } else if group.transparent
                    && !addresses.is_empty()
                    && addresses.iter().all(is_unseen)
                {
                    "which sees no client's address (transparent): no listener is of its IP \
                     family, and clients are reset"
                } else {
                    continue;
                };
                let (id, configured) = (group.id, &target.configured);
                warnings.push(format!(
                    "groups.{id}.portmap: port {port} leads to {configured}, {told}"
                ));
            }
        }
        warnings
    }

    /// Whether clients of the IP family of `target` may come.
    fn has_clients_like(&self, target: SocketAddr) -> bool {
        let config = &self.config;
        let is_ipv4 = target.ip().to_canonical().is_ipv4();
        let is_alike = |bound: &IpAddr| {
            bound.to_canonical().is_ipv4() == is_ipv4 || (bound.is_unspecified() && is_ipv4)
        };
        // A PROXY protocol header names clients of either family.
        !config.accept_proxy_from.is_empty() || config.bind_addrs.iter().any(is_alike)
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

/// Looks up where a host name is now, the preferred address first; none while it is not resolved.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Vec<IpAddr>;

/// Gives what the health checks make of a group, now and later.
pub type HealthOf<'a> = &'a dyn Fn(GroupId) -> Arc<HealthStatus>;

impl Generation {
    /// Builds a generation.
    pub fn new(
        number: u64,
        config: Config,
        registry: &GroupRegistry,
        health: HealthOf<'_>,
        lookup: Lookup<'_>,
    ) -> Generation {
        let own = OwnListeners::of(&config);
        let build = |group: &GroupConfig| {
            let targets = group.targets.iter().map(|(&port, configured)| {
                let state = registry.target(group.id, configured);
                (port, target(state, &own, lookup))
            });
            Group::new(
                group,
                targets.collect::<BTreeMap<_, _>>(),
                registry.counters(group.id),
                health(group.id),
            )
        };
        let groups = Groups::new(config.groups.iter().map(build).collect());
        Generation {
            number,
            access: Access::new(&config.allow, &config.deny),
            balancers: Networks::new(&config.accept_proxy_from),
            sources: Sources::of(&config),
            config,
            groups,
        }
    }

    /// Whether a port is one of this generation's; its groups have targets for these ports only.
    pub fn listens_on(&self, port: u16) -> bool {
        self.config.ports.binary_search(&port).is_ok()
    }
}

fn target(state: Arc<TargetState>, own: &OwnListeners, lookup: Lookup<'_>) -> Target {
    let mut addresses = match &state.configured {
        TargetAddr::Socket(address) => vec![*address],
        TargetAddr::Name { host, port } => {
            let ips = lookup(host).into_iter();
            ips.map(|ip| SocketAddr::new(ip.to_canonical(), *port))
                .collect()
        }
        TargetAddr::Unix(path) => {
            let path = path.clone();
            return Target::unix(state, path);
        }
    };
    let found = addresses.len();
    addresses.retain(|&address| !own.contains(address));
    if addresses.is_empty() && found > 0 {
        return Target::own_listener(state);
    }
    Target::new(state, &addresses)
}
