//! What follows from what members state: settings, and what each group does for keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tcpffee_raft::ids::{Index, NodeId};

use super::entries::Entries;
use super::majority::Voices;
use crate::config::GroupId;
use crate::groups::Status;
use crate::stick::replicated::agreed::{Agreed, AgreedGroup, AgreedMember, MAX_FENCES};
use crate::stick::replicated::command::{Full, StatedGroup, Statement, Verdict};

/// One member of the cluster.
#[derive(Clone, Debug)]
pub(in super::super) struct Member {
    /// Its bit in the entries.
    pub slot: u8,
    pub voter: bool,
    /// Its process, by its latest statement.
    pub boot: u64,
    /// None before its first.
    pub statement: Option<Arc<Statement>>,
    pub present: bool,
    pub session_ended_at: Index,
    pub has_session: bool,
}

/// One group, as it follows from statements and verdicts.
#[derive(Clone, Debug)]
pub(in super::super) struct Group {
    pub agreed: AgreedGroup,
    /// Since when its keys are not served, and whether every node knows; none while they are.
    pub unusable: Option<Unusable>,
}

/// A group serves no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Unusable {
    pub since: Index,
    pub passed: bool,
}

/// The settings in force; none before anybody stated one.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Settings {
    pub expiration_ms: Option<u64>,
    pub max_entries: Option<u64>,
    pub full: Option<Full>,
}

/// Everything that is agreed on but the entries.
#[derive(Debug, Default)]
pub(in super::super) struct Agreement {
    /// Whether the log has told who the members are. A cluster that began with a lone node's
    /// table learns it after the table; until then whoever states something is a member.
    pub told: bool,
    pub members: BTreeMap<NodeId, Member>,
    pub verdicts: Vec<Verdict>,
    pub settings: Settings,
    /// The latest change of `expiration`, until every node knows of it.
    pub expiration_fence: Option<Index>,
    pub groups: BTreeMap<GroupId, Group>,
    /// As last published.
    pub agreed: Arc<Agreed>,
}

impl Agreement {
    /// Whether keys that the group has are served.
    pub fn is_usable(&self, group: GroupId) -> bool {
        let group = self.groups.get(&group);
        group.is_some_and(|group| group.unusable.is_none())
    }

    /// Whether keys of an unusable group may go to another.
    pub fn may_reassign(&self, group: GroupId) -> bool {
        let unusable = self.groups.get(&group).and_then(|group| group.unusable);
        unusable.is_some_and(|unusable| unusable.passed)
    }

    /// Whether the group takes new keys.
    pub fn takes_new(&self, group: GroupId) -> bool {
        let group = self.groups.get(&group);
        group.is_some_and(|group| group.agreed.takes_new)
    }

    pub fn expiration_ms(&self) -> u64 {
        self.settings.expiration_ms.unwrap_or(0)
    }

    /// Every node knows of what was decided up to here.
    pub fn pass(&mut self, passed: Index) {
        self.expiration_fence = self.expiration_fence.filter(|&fence| fence > passed);
        for group in self.groups.values_mut() {
            if let Some(unusable) = &mut group.unusable {
                unusable.passed |= unusable.since <= passed;
            }
        }
    }

    /// Draws the conclusions from what has changed at a place in the log. True: something agreed
    /// on is different.
    pub fn reckon(&mut self, index: Index, entries: &Entries) -> bool {
        self.reckon_settings(index);
        self.reckon_groups(index, entries);
        let agreed = self.as_agreed(self.agreed.index, entries);
        let changed = agreed != *self.agreed;
        if changed {
            self.agreed = Arc::new(Agreed { index, ..agreed });
        }
        changed
    }

    /// As workers see it.
    pub fn as_agreed(&self, index: Index, entries: &Entries) -> Agreed {
        let members = self.members.iter().filter_map(|(&node, member)| {
            let statement = Arc::clone(member.statement.as_ref()?);
            let member = AgreedMember {
                boot: member.boot,
                present: member.present,
                session_ended_at: member.session_ended_at,
                has_session: member.has_session,
                statement,
            };
            Some((node, member))
        });
        let groups = self.groups.iter();
        Agreed {
            index,
            expiration_ms: self.expiration_ms(),
            max_entries: self.settings.max_entries.unwrap_or(0),
            full: self.settings.full.unwrap_or_default(),
            groups: groups
                .map(|(&id, group)| (id, group.agreed.clone()))
                .collect(),
            members: members.collect(),
            verdicts: self.verdicts.clone(),
            fences: self.fences(entries),
        }
    }

    fn fences(&self, entries: &Entries) -> Vec<Index> {
        let of_groups = self.groups.values().filter_map(|group| group.unusable);
        let of_groups = of_groups.filter(|unusable| !unusable.passed);
        let mut fences: BTreeSet<Index> = of_groups.map(|unusable| unusable.since).collect();
        fences.extend(self.expiration_fence);
        for removal in entries.removals() {
            if fences.len() >= MAX_FENCES && !fences.contains(&removal) {
                break;
            }
            fences.insert(removal);
        }
        fences.into_iter().take(MAX_FENCES).collect()
    }

    fn reckon_settings(&mut self, index: Index) {
        let (members, before) = (&self.members, self.settings);
        let voices =
            |value: fn(&Statement) -> u64| Voices::of(members, |stated| Some(value(stated)));
        let expiration = voices(|stated| stated.expiration_ms);
        let max_entries = voices(|stated| stated.max_entries);
        let full = Voices::of(members, |stated| Some(stated.full));
        self.settings = Settings {
            expiration_ms: expiration
                .majority()
                .or(before.expiration_ms)
                .or(expiration.largest()),
            max_entries: max_entries
                .majority()
                .or(before.max_entries)
                .or(max_entries.smallest()),
            full: full.majority().or(before.full).or(full.smallest()),
        };
        let after = self.settings.expiration_ms;
        if before.expiration_ms.is_some() && before.expiration_ms != after {
            self.expiration_fence = Some(index);
        }
    }

    fn reckon_groups(&mut self, index: Index, entries: &Entries) {
        let stating = present(&self.members);
        let stated: BTreeSet<GroupId> = stating
            .iter()
            .flat_map(|(_, statement)| statement.groups.iter().map(|group| group.id))
            .collect();
        // While nobody is known to be there, nothing is known to be gone.
        if !stating.is_empty() {
            let mut all = stated.clone();
            all.extend(entries.groups());
            all.extend(self.groups.keys());
            for id in all {
                let agreed = self.reckon_group(id, &stating);
                let group = self.groups.entry(id).or_insert_with(|| Group {
                    agreed: agreed.clone(),
                    unusable: None,
                });
                group.unusable = match (agreed.status.is_usable(), group.unusable) {
                    (true, _) => None,
                    (false, Some(unusable)) => Some(unusable),
                    (false, None) => Some(Unusable {
                        since: index,
                        passed: false,
                    }),
                };
                group.agreed = agreed;
            }
        }
        self.groups.retain(|&id, group| {
            let is_fenced = group.unusable.is_some_and(|unusable| !unusable.passed);
            stating.is_empty() || stated.contains(&id) || is_fenced || entries.of_group(id) > 0
        });
    }

    fn reckon_group(&self, id: GroupId, stating: &[(NodeId, Arc<Statement>)]) -> AgreedGroup {
        let (mut by_file, mut by): (_, Vec<NodeId>) = (Status::Up, Vec::new());
        let mut lacking = Vec::new();
        for (node, statement) in stating {
            let Some(group) = stated_group(statement, id) else {
                lacking.push(*node);
                continue;
            };
            if group.status > by_file {
                (by_file, by) = (group.status, Vec::new());
            }
            if group.status == by_file {
                by.push(*node);
            }
        }
        let weight = Voices::of(&self.members, |stated| {
            Some(stated_group(stated, id)?.weight)
        });
        let backup = Voices::of(&self.members, |stated| {
            Some(stated_group(stated, id)?.backup)
        });
        let before = self.groups.get(&id).map(|group| &group.agreed);
        let by_checks = self.verdicts.iter().filter(|verdict| verdict.group == id);
        let by_checks = by_checks.max_by_key(|verdict| verdict.status);
        let (status, reason) = if lacking.len() == stating.len() {
            (
                Status::Disabled,
                "gone: no node has it in its file".to_owned(),
            )
        } else {
            let by_lack = match lacking.is_empty() {
                true => Status::Up,
                false => Status::Draining,
            };
            let checks = by_checks.map_or(Status::Up, |verdict| verdict.status);
            let status = by_file.max(by_lack).max(checks);
            let reason = match status {
                Status::Up => String::new(),
                _ if checks == status => by_checks.map_or_else(String::new, |v| v.reason.clone()),
                _ if by_file == status => format!("{status} by the word of {}", named(&by)),
                _ => format!("not in the file of {}", named(&lacking)),
            };
            (status, reason)
        };
        AgreedGroup {
            status,
            takes_new: status == Status::Up && lacking.is_empty(),
            weight: weight
                .majority()
                .or(weight.smallest())
                .or(before.map(|before| before.weight))
                .unwrap_or(0),
            backup: backup.majority().unwrap_or(false),
            reason,
        }
    }
}

/// The statements that count for the status of groups.
fn present(members: &BTreeMap<NodeId, Member>) -> Vec<(NodeId, Arc<Statement>)> {
    let present = members.iter().filter(|(_, member)| member.present);
    let stating = present.filter_map(|(&node, member)| Some((node, member.statement.clone()?)));
    stating.collect()
}

fn stated_group(statement: &Statement, id: GroupId) -> Option<&StatedGroup> {
    let groups = &statement.groups;
    let at = groups.binary_search_by_key(&id, |group| group.id).ok()?;
    groups.get(at)
}

/// Some nodes by their ids, and how many more there are.
fn named(nodes: &[NodeId]) -> String {
    const NAMED: usize = 3;
    let names: Vec<String> = nodes.iter().take(NAMED).map(NodeId::to_string).collect();
    match nodes.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
