//! The same rules over a plain list, as naively as can be.

use std::collections::{BTreeMap, BTreeSet};

use tcpffee_raft::ids::{Index, LogTime, NodeId};

use crate::config::GroupId;
use crate::groups::Status;
use crate::stick::replicated::command::*;
use crate::stick::{ClientIp, Key};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Provisional,
    Pinned,
    Active,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    pub group: u32,
    pub version: u64,
    pub serial: u64,
    pub expires: u64,
    /// Who holds it, or was given it.
    pub nodes: BTreeSet<NodeId>,
    pub kind: Kind,
    /// Of a provisional one.
    pub maker: Option<NodeId>,
    pub removed_at: u64,
}

#[derive(Clone, Debug, Default)]
struct Member {
    stated: Option<(u64, Statement)>,
    present: bool,
    session: bool,
}

#[derive(Default)]
pub struct Model {
    pub time: u64,
    serial: u64,
    pub entries: Vec<Entry>,
    members: BTreeMap<NodeId, Member>,
    slots: BTreeMap<NodeId, usize>,
    verdicts: Vec<Verdict>,
    expiration: Option<u64>,
    most: Option<u64>,
    full: Option<Full>,
    expiration_fence: Option<u64>,
    /// Since when a group is unusable, and whether that has passed.
    unusable: BTreeMap<u32, (u64, bool)>,
    known: BTreeSet<u32>,
    up: BTreeSet<u32>,
}

impl Model {
    fn expiration(&self) -> u64 {
        self.expiration.unwrap_or(0)
    }

    fn expired(&self, entry: &Entry) -> bool {
        let held = entry.kind == Kind::Active && !entry.nodes.is_empty();
        !held && entry.expires <= self.time
    }

    fn usable(&self, group: u32) -> bool {
        self.known.contains(&group) && !self.unusable.contains_key(&group)
    }

    pub fn takes_new(&self, group: u32) -> bool {
        self.up.contains(&group)
    }

    pub fn advance(&mut self, time: u64) {
        self.time = self.time.max(time);
        let gone: Vec<u64> = self
            .entries
            .iter()
            .filter(|entry| self.expired(entry))
            .map(|entry| entry.serial)
            .collect();
        self.entries.retain(|entry| !gone.contains(&entry.serial));
    }

    pub fn membership(&mut self, index: u64, nodes: &[NodeId]) {
        let left: Vec<NodeId> = self.members.keys().copied().collect();
        let left = left.into_iter().filter(|node| !nodes.contains(node));
        for node in left {
            self.members.remove(&node);
            self.slots.remove(&node);
            let until = self.time + self.expiration();
            for entry in &mut self.entries {
                if entry.nodes.remove(&node) && entry.kind == Kind::Active {
                    entry.expires = entry.expires.max(until);
                }
            }
        }
        let until = self.time + self.expiration();
        for entry in &mut self.entries {
            if entry.kind != Kind::Active && entry.nodes.is_empty() {
                activate(entry);
                entry.expires = entry.expires.max(until);
            }
        }
        self.hand_on();
        for &node in nodes {
            self.members.entry(node).or_default();
            let taken: Vec<usize> = self.slots.values().copied().collect();
            let free = (0..64).find(|slot| !taken.contains(slot)).unwrap();
            self.slots.entry(node).or_insert(free);
        }
        self.reckon(index);
    }

    /// Of those that were given a provisional entry, the first stands in for who made it.
    fn hand_on(&mut self) {
        let slots = &self.slots;
        for entry in &mut self.entries {
            if entry
                .maker
                .is_some_and(|maker| !entry.nodes.contains(&maker))
            {
                entry.maker = entry.nodes.iter().copied().min_by_key(|node| slots[node]);
            }
        }
    }

    pub fn op(&mut self, index: u64, from: NodeId, boot: u64, op: &Op) -> Outcome {
        if !self.members.contains_key(&from) {
            return Outcome::Stale;
        }
        let stated = &self.members[&from].stated;
        let current = stated.as_ref().is_some_and(|&(current, _)| current == boot);
        let time = self.time;
        let expiration = self.expiration();
        match op {
            Op::Assign { client, group } => self.assign(index, from, client, *group),
            Op::Move { key, version, to } => {
                let takes_new = self.takes_new(to.0);
                match self.version(key, *version) {
                    Some(entry)
                        if current
                            && takes_new
                            && entry.kind == Kind::Provisional
                            && entry.maker == Some(from)
                            && entry.removed_at == 0 =>
                    {
                        entry.group = to.0;
                        entry.version = index;
                        entry.expires = entry.expires.max(time + expiration);
                        Outcome::Entry(given(entry, false, false))
                    }
                    _ => Outcome::Stale,
                }
            }
            Op::GiveUp { .. } if !current => Outcome::Stale,
            Op::GiveUp { key, version } => match self.version(key, *version) {
                None => Outcome::Stale,
                Some(entry) => {
                    if entry.kind != Kind::Active {
                        entry.nodes.remove(&from);
                    }
                    self.entries
                        .retain(|entry| entry.kind == Kind::Active || !entry.nodes.is_empty());
                    self.hand_on();
                    Outcome::Done
                }
            },
            Op::Hold { key, version } => match self.version(key, *version) {
                Some(entry) if current && entry.removed_at == 0 => {
                    activate(entry);
                    entry.nodes.insert(from);
                    self.members.get_mut(&from).unwrap().session = true;
                    Outcome::Done
                }
                _ => Outcome::Stale,
            },
            Op::Renew {
                key,
                version,
                activity,
            } => match self.version(key, *version) {
                Some(entry) if entry.removed_at == 0 => {
                    activate(entry);
                    entry.expires = entry.expires.max(activity.0.min(time) + expiration);
                    Outcome::Done
                }
                _ => Outcome::Stale,
            },
            Op::Release {
                key,
                version,
                activity,
            } => match self.version(key, *version) {
                Some(entry) if current => {
                    activate(entry);
                    entry.nodes.remove(&from);
                    let by_activity = activity.0.min(time) + expiration;
                    let margin = time + expiration - expiration / 6;
                    entry.expires = entry.expires.max(by_activity).max(margin);
                    Outcome::Done
                }
                _ => Outcome::Stale,
            },
            Op::Remove { key } => {
                let mut entries = self.entries.iter_mut();
                if let Some(entry) = entries.find(|entry| entry.key == *key)
                    && entry.removed_at == 0
                {
                    entry.removed_at = index;
                }
                Outcome::Done
            }
            Op::State(statement) => {
                let member = self.members[&from].clone();
                if member.stated.is_some_and(|(before, _)| before != boot) {
                    self.end(from);
                }
                let member = self.members.get_mut(&from).unwrap();
                member.stated = Some((boot, statement.clone()));
                member.present = true;
                member.session = true;
                self.reckon(index);
                Outcome::Done
            }
            Op::EndSession { node, boot } => {
                let member = self.members.get(node).cloned().unwrap_or_default();
                match member.stated {
                    Some((current, _)) if current == *boot => {
                        self.end(*node);
                        Outcome::Done
                    }
                    _ => Outcome::Stale,
                }
            }
            Op::Absent { node } => match self.members.get_mut(node) {
                None => Outcome::Stale,
                Some(member) => {
                    member.present = false;
                    self.reckon(index);
                    Outcome::Done
                }
            },
            Op::Verdicts(verdicts) => {
                self.verdicts.clone_from(verdicts);
                self.reckon(index);
                Outcome::Done
            }
            Op::Passed(upto) => {
                let upto = upto.0.min(index - 1);
                for (since, passed) in self.unusable.values_mut() {
                    *passed |= *since <= upto;
                }
                self.expiration_fence = self.expiration_fence.filter(|&fence| fence > upto);
                self.entries
                    .retain(|entry| entry.removed_at == 0 || entry.removed_at > upto);
                self.reckon(index);
                Outcome::Done
            }
        }
    }

    fn assign(
        &mut self,
        index: u64,
        from: NodeId,
        client: &Wanted,
        proposed: Option<GroupId>,
    ) -> Outcome {
        let proposed = proposed.filter(|group| self.takes_new(group.0));
        let key = match client {
            Wanted::Key(key) => key.clone(),
            Wanted::LatestOf(ip) => self.latest(*ip).unwrap_or(Key {
                ip: *ip,
                slice: None,
            }),
        };
        let named = matches!(client, Wanted::LatestOf(_)) && key.slice.is_some();
        let (time, expiration) = (self.time, self.expiration());
        if let Some(at) = self.entries.iter().position(|entry| entry.key == key) {
            let entry = &self.entries[at];
            let (since_passed, usable) = (
                self.unusable
                    .get(&entry.group)
                    .is_some_and(|&(_, passed)| passed),
                self.usable(entry.group),
            );
            let expired = self.expired(entry);
            if !expired && entry.removed_at == 0 && usable {
                let entry = &mut self.entries[at];
                entry.expires = entry.expires.max(time + expiration);
                if entry.kind != Kind::Active {
                    entry.kind = Kind::Pinned;
                    entry.nodes.insert(from);
                }
                return Outcome::Entry(given(entry, false, named));
            }
            if !expired && (entry.removed_at != 0 || !since_passed) {
                return Outcome::Fenced;
            }
            let Some(group) = proposed else {
                return Outcome::NotUp;
            };
            self.entries.remove(at);
            return Outcome::Entry(self.make(index, from, key, group, named));
        }
        let Some(group) = proposed else {
            return Outcome::NotUp;
        };
        if self.entries.len() as u64 >= self.most.unwrap_or(0) && !self.evict() {
            return Outcome::Full;
        }
        Outcome::Entry(self.make(index, from, key, group, named))
    }

    fn make(&mut self, index: u64, from: NodeId, key: Key, group: GroupId, named: bool) -> Given {
        self.serial += 1;
        let entry = Entry {
            key,
            group: group.0,
            version: index,
            serial: self.serial,
            expires: self.time + self.expiration(),
            nodes: BTreeSet::from([from]),
            kind: Kind::Provisional,
            maker: Some(from),
            removed_at: 0,
        };
        let given = given(&entry, true, named);
        self.entries.push(entry);
        given
    }

    fn evict(&mut self) -> bool {
        let unheld = self
            .entries
            .iter()
            .filter(|entry| entry.kind != Kind::Active || entry.nodes.is_empty());
        let first = unheld.min_by_key(|entry| (entry.expires, entry.serial));
        let Some((serial, left)) = first.map(|entry| (entry.serial, entry.expires - self.time))
        else {
            return false;
        };
        let may = self.full == Some(Full::Evict) && self.most > Some(0);
        if !may || left * 4 >= self.expiration() || self.expiration_fence.is_some() {
            return false;
        }
        self.entries.retain(|entry| entry.serial != serial);
        true
    }

    fn latest(&self, ip: ClientIp) -> Option<Key> {
        let of_ip = self.entries.iter().filter(|entry| {
            entry.key.ip == ip
                && entry.key.slice.is_some()
                && !self.expired(entry)
                && entry.removed_at == 0
                && self.usable(entry.group)
        });
        let newest = of_ip.max_by_key(|entry| entry.serial)?;
        Some(newest.key.clone())
    }

    fn version(&mut self, key: &Key, version: Index) -> Option<&mut Entry> {
        let mut entries = self.entries.iter_mut();
        entries.find(|entry| entry.key == *key && entry.version == version.0)
    }

    fn end(&mut self, node: NodeId) {
        let until = self.time + self.expiration();
        let member = self.members.get_mut(&node).unwrap();
        if std::mem::take(&mut member.session) {
            for entry in &mut self.entries {
                if entry.kind == Kind::Active && entry.nodes.remove(&node) {
                    entry.expires = entry.expires.max(until);
                }
            }
        }
    }

    fn reckon(&mut self, index: u64) {
        let voters = self.members.len();
        let stating: Vec<&Statement> = self
            .members
            .values()
            .filter(|member| member.present)
            .filter_map(|member| Some(&member.stated.as_ref()?.1))
            .collect();
        let majority = |value: &dyn Fn(&Statement) -> u64| {
            let values = stating.iter().map(|statement| value(statement));
            values
                .clone()
                .find(|&one| values.clone().filter(|&other| other == one).count() * 2 > voters)
        };
        let least = |value: &dyn Fn(&Statement) -> u64| {
            stating.iter().map(|statement| value(statement)).min()
        };
        let before = self.expiration;
        let largest = stating
            .iter()
            .map(|statement| statement.expiration_ms)
            .max();
        self.expiration = majority(&|s| s.expiration_ms).or(before).or(largest);
        if before.is_some() && before != self.expiration {
            self.expiration_fence = Some(index);
        }
        self.most = majority(&|s| s.max_entries)
            .or(self.most)
            .or(least(&|s| s.max_entries));
        let full = majority(&|s| s.full as u64)
            .or(self.full.map(|full| full as u64))
            .or(least(&|s| s.full as u64));
        self.full = full.map(|full| if full == 0 { Full::Refuse } else { Full::Evict });
        if stating.is_empty() {
            return;
        }
        let with_entries = self.entries.iter().map(|entry| entry.group);
        self.known.extend(with_entries);
        self.known
            .extend(stating.iter().flat_map(|s| s.groups.iter().map(|g| g.id.0)));
        self.up.clear();
        for &id in &self.known {
            let stated: Vec<Status> = stating
                .iter()
                .filter_map(|s| Some(s.groups.iter().find(|g| g.id.0 == id)?.status))
                .collect();
            let checks = self.verdicts.iter().filter(|v| v.group.0 == id);
            let worst = stated.iter().copied().chain(checks.map(|v| v.status)).max();
            let all = stated.len() == stating.len();
            let usable = !stated.is_empty() && worst != Some(Status::Disabled);
            if usable {
                self.unusable.remove(&id);
            } else {
                self.unusable.entry(id).or_insert((index, false));
            }
            if all && worst == Some(Status::Up) {
                self.up.insert(id);
            }
        }
        let forgotten: Vec<u32> = self
            .known
            .iter()
            .copied()
            .filter(|id| {
                let stated = stating
                    .iter()
                    .any(|s| s.groups.iter().any(|g| g.id.0 == *id));
                let fenced = self.unusable.get(id).is_some_and(|&(_, passed)| !passed);
                let used = self.entries.iter().any(|entry| entry.group == *id);
                !stated && !fenced && !used
            })
            .collect();
        for id in forgotten {
            self.known.remove(&id);
            self.unusable.remove(&id);
        }
    }
}

fn activate(entry: &mut Entry) {
    if entry.kind != Kind::Active {
        entry.kind = Kind::Active;
        entry.nodes.clear();
        entry.maker = None;
    }
}

fn given(entry: &Entry, created: bool, named: bool) -> Given {
    Given {
        slice: entry.key.slice.clone().filter(|_| named),
        group: GroupId(entry.group),
        version: Index(entry.version),
        expires: LogTime(entry.expires),
        created,
        provisional: entry.kind != Kind::Active,
    }
}
