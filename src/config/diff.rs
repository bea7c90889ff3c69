//! What a reload changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::reference::{self, TakesEffect};
use super::schema::{Config, GroupConfig, GroupId};
use super::settings::{self, Setting};
use super::values;

/// One difference between two configurations.
///
/// Displays as `groups.1.drain: false → true`, `ports: added 5283`, `groups.3: removed portmap
/// 192.0.2.3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Path of the key, as in the file.
    pub key: String,
    /// What is no longer; `None` where something is added.
    pub from: Option<String>,
    /// What is from now on; `None` where something is removed.
    pub to: Option<String>,
    /// When it takes effect.
    pub takes_effect: TakesEffect,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.key)?;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "{from} → {to}"),
            (None, Some(to)) => write!(f, "added {to}"),
            (Some(from), None) => write!(f, "removed {from}"),
            (None, None) => f.write_str("unchanged"),
        }
    }
}

/// The differences between two configurations, in the order of the reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What a reload applies, at once or for new connections.
    pub changed: Vec<Change>,
    /// What only a restart applies: a reload with any of these is refused.
    pub needs_restart: Vec<Change>,
}

impl Changes {
    /// Whether the two configurations say the same.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.needs_restart.is_empty()
    }

    fn add(
        &mut self,
        key: impl Into<String>,
        takes_effect: TakesEffect,
        from: Option<String>,
        to: Option<String>,
    ) {
        let list = match takes_effect {
            TakesEffect::Restart => &mut self.needs_restart,
            TakesEffect::Live | TakesEffect::NewConnections => &mut self.changed,
        };
        list.push(Change {
            key: key.into(),
            from,
            to,
            takes_effect,
        });
    }

    /// Settings of the same keys, in the same order.
    fn compare(&mut self, old: Vec<Setting>, new: Vec<Setting>) {
        for (old, new) in old.into_iter().zip(new) {
            debug_assert_eq!(old.path, new.path, "both sides list the same keys");
            if old.value != new.value {
                let takes_effect = old.key.takes_effect;
                let key = old.path.clone();
                self.add(key, takes_effect, Some(old.shown()), Some(new.shown()));
            }
        }
    }

    /// Elements of an array of tables, by position.
    fn compare_elements<T>(
        &mut self,
        key: &str,
        takes_effect: TakesEffect,
        (old, new): (&[T], &[T]),
        settings: impl Fn(&str, &T) -> Vec<Setting>,
    ) {
        for at in 0..old.len().max(new.len()) {
            let path = format!("{key}[{at}]");
            match (old.get(at), new.get(at)) {
                (Some(old), Some(new)) => self.compare(settings(&path, old), settings(&path, new)),
                (None, Some(new)) => {
                    self.add(
                        &path,
                        takes_effect,
                        None,
                        Some(summary(settings(&path, new))),
                    );
                }
                (Some(old), None) => {
                    self.add(
                        &path,
                        takes_effect,
                        Some(summary(settings(&path, old))),
                        None,
                    );
                }
                (None, None) => {}
            }
        }
    }
}

/// The settings of an element in one line, leaving out those that are not made.
fn summary(settings: Vec<Setting>) -> String {
    let given = settings
        .into_iter()
        .filter(|setting| setting.value != "none");
    let part = |setting: Setting| {
        let name = setting.path.rsplit(['.', ']']).next().map(str::to_owned);
        format!("{} {}", name.unwrap_or_default(), setting.shown())
    };
    let parts: Vec<String> = given.map(part).collect();
    parts.join(", ")
}

/// What a reload from one configuration to another changes.
pub fn diff(old: &Config, new: &Config) -> Changes {
    let mut changes = Changes::default();
    ports(&mut changes, old, new);
    changes.compare(settings::top(old), settings::top(new));
    groups(&mut changes, old, new);
    let live = takes_effect("peers[].host");
    let peers = (old.peers.as_slice(), new.peers.as_slice());
    changes.compare_elements("peers", live, peers, settings::peer);
    changes
}

fn takes_effect(pattern: &str) -> TakesEffect {
    reference::find(pattern)
        .expect("every compared key stands in the reference")
        .takes_effect
}

fn ports(changes: &mut Changes, old: &Config, new: &Config) {
    let old: BTreeSet<u16> = old.ports.iter().copied().collect();
    let new: BTreeSet<u16> = new.ports.iter().copied().collect();
    let takes_effect = takes_effect("ports");
    let shown = |ports: &BTreeSet<u16>, without: &BTreeSet<u16>| {
        let shown = values::show_ports(ports.difference(without).copied());
        (!shown.is_empty()).then_some(shown)
    };
    if let Some(removed) = shown(&old, &new) {
        changes.add("ports", takes_effect, Some(removed), None);
    }
    if let Some(added) = shown(&new, &old) {
        changes.add("ports", takes_effect, None, Some(added));
    }
}

fn groups(changes: &mut Changes, old: &Config, new: &Config) {
    let by_id = |config: &'_ Config| -> BTreeMap<GroupId, GroupConfig> {
        let groups = config.groups.iter();
        groups.map(|group| (group.id, group.clone())).collect()
    };
    let (old_groups, new_groups) = (by_id(old), by_id(new));
    let ids: BTreeSet<GroupId> = old_groups
        .keys()
        .chain(new_groups.keys())
        .copied()
        .collect();
    for id in ids {
        let key = format!("groups.{id}");
        let live = TakesEffect::Live;
        match (old_groups.get(&id), new_groups.get(&id)) {
            (Some(old_group), Some(new_group)) => {
                portmap(changes, (old, old_group), (new, new_group));
                group(changes, old_group, new_group);
            }
            (None, Some(added)) => changes.add(key, live, None, Some(in_short(added))),
            (Some(removed), None) => changes.add(key, live, Some(in_short(removed)), None),
            (None, None) => {}
        }
    }
}

fn in_short(group: &GroupConfig) -> String {
    let targets = group.targets.iter().map(|(port, target)| (*port, target));
    format!("portmap {}", settings::targets(&targets.collect()))
}

fn group(changes: &mut Changes, old: &GroupConfig, new: &GroupConfig) {
    changes.compare(settings::group(old), settings::group(new));
    let key = format!("groups.{}.healthchecks", old.id);
    let takes_effect = takes_effect("groups.N.healthchecks[].interval");
    let checks = (old.healthchecks.as_slice(), new.healthchecks.as_slice());
    changes.compare_elements(&key, takes_effect, checks, settings::healthcheck);
}

/// Targets that differ on ports that both configurations listen on: a port that comes or goes
/// changes no group.
fn portmap(changes: &mut Changes, old: (&Config, &GroupConfig), new: (&Config, &GroupConfig)) {
    let in_both = |port: &u16| {
        old.0.ports.binary_search(port).is_ok() && new.0.ports.binary_search(port).is_ok()
    };
    let differs = |port: &u16| old.1.targets.get(port) != new.1.targets.get(port);
    let changed = |group: &'_ GroupConfig| -> BTreeSet<u16> {
        let ports = group.targets.keys().copied();
        ports
            .filter(|port| in_both(port) && differs(port))
            .collect()
    };
    let ports: BTreeSet<u16> = changed(old.1).union(&changed(new.1)).copied().collect();
    if ports.is_empty() {
        return;
    }
    let shown = |group: &GroupConfig| {
        let targets = ports
            .iter()
            .filter_map(|port| Some((*port, group.targets.get(port)?)));
        settings::targets(&targets.collect())
    };
    let key = format!("groups.{}.portmap", old.1.id);
    let takes_effect = takes_effect("groups.N.portmap");
    changes.add(key, takes_effect, Some(shown(old.1)), Some(shown(new.1)));
}
