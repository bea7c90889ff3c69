//! The server groups of one generation of the configuration: status, weight, targets, counters.
//!
//! A [`Group`] is rebuilt at each reload; its [`GroupCounters`] live as long as the process, so
//! that entries and connections made under one generation are counted in the next.

mod counters; // what is counted of a group, whatever the generation
mod operator; // what an operator has said of a group by command
mod places; // connections at once, and who waits for one
mod status; // Up, Draining, Disabled
mod target; // where a group's connections go

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Millis;
use crate::config::{GroupConfig, GroupId, OnDisabled, ProxyHeader};

pub use counters::{GroupCounters, GroupRegistry};
pub use operator::{OperatorWord, operators_reason};
pub use places::{MAX_QUEUED, Place, Places, Waiter};
pub use status::{HealthStatus, Status};
pub use target::{Target, TargetState};

/// Parts of one unit of weight. A power of two: it changes no comparison of shares, not even of
/// scores in floating point.
const PARTS: u64 = 1024;

/// The groups of one generation, ascending by id.
#[derive(Debug, Default)]
pub struct Groups {
    list: Vec<Group>,
}

impl Groups {
    /// Groups from any order.
    pub fn new(mut list: Vec<Group>) -> Groups {
        list.sort_by_key(|group| group.id);
        Groups { list }
    }

    /// The group with this id, `None` where the configuration has none.
    pub fn get(&self, id: GroupId) -> Option<&Group> {
        self.list
            .binary_search_by_key(&id, |group| group.id)
            .ok()
            .map(|at| &self.list[at])
    }

    /// Gives a group a `slow_start`.
    #[cfg(test)]
    pub fn start_slowly(&mut self, id: GroupId, over: Duration) {
        let group = self.list.iter_mut().find(|group| group.id == id);
        group.expect("the group is there").slow_start = Some(over);
    }

    /// All groups, ascending by id.
    pub fn iter(&self) -> std::slice::Iter<'_, Group> {
        self.list.iter()
    }

    /// Those of these ports for which no group that is Up has a target.
    pub fn unserved(&self, ports: &[u16]) -> BTreeSet<u16> {
        let mut missing: BTreeSet<u16> = ports.iter().copied().collect();
        for group in self.iter().filter(|group| group.status() == Status::Up) {
            let targets = group.targets().iter();
            for (port, _) in targets.filter(|(_, target)| target.has_endpoint()) {
                missing.remove(port);
            }
            if missing.is_empty() {
                break;
            }
        }
        missing
    }

    /// Takes over what operators have said of the groups of `before`, for the same configuration
    /// published again.
    pub fn keep_words_of(&mut self, before: &Groups) {
        for group in &mut self.list {
            if let Some(before) = before.get(group.id) {
                group.operator = Arc::clone(&before.operator);
            }
        }
    }
}

/// One group of one generation.
#[derive(Debug)]
pub struct Group {
    /// As in `[groups.N]`.
    pub id: GroupId,
    /// Name for people.
    pub name: Option<String>,
    /// Share of new keys, at least 1.
    pub weight: u32,
    /// Takes new keys only while no other group is Up.
    pub backup: bool,
    /// How long its share of new keys rises once it is Up again.
    pub slow_start: Option<Duration>,
    /// What happens to open connections when it becomes Disabled.
    pub on_disabled: OnDisabled,
    /// How long connections may stay while it is Draining.
    pub drain_timeout: Option<Duration>,
    /// PROXY protocol header in front of its connections.
    pub send_proxy: Option<ProxyHeader>,
    /// Connections that it may have at once; `None`: as many as come.
    pub max_connections: Option<u64>,
    /// Its connections come from the clients' addresses.
    pub transparent: bool,
    /// Counts that outlive the generation.
    pub counters: Arc<GroupCounters>,
    /// What the health checks make of it.
    pub health: Arc<HealthStatus>,
    /// What an operator has said of it, until the next reload.
    pub operator: Arc<OperatorWord>,
    configured: Status,
    targets: BTreeMap<u16, Target>,
}

impl Group {
    /// A group as configured, with its targets by listened port.
    pub fn new(
        config: &GroupConfig,
        targets: BTreeMap<u16, Target>,
        counters: Arc<GroupCounters>,
        health: Arc<HealthStatus>,
    ) -> Group {
        let configured = match (config.disabled, config.drain) {
            (true, _) => Status::Disabled,
            (false, true) => Status::Draining,
            (false, false) => Status::Up,
        };
        Group {
            id: config.id,
            name: config.name.clone(),
            weight: config.weight,
            backup: config.backup,
            slow_start: config.slow_start,
            on_disabled: config.on_disabled,
            drain_timeout: config.drain_timeout,
            send_proxy: config.send_proxy,
            max_connections: config.max_connections,
            transparent: config.transparent,
            counters,
            health,
            operator: Arc::default(),
            configured,
            targets,
        }
    }

    /// What holds now: the most severe of what is stated, what the health checks found, and what the
    /// cluster has agreed on.
    pub fn status(&self) -> Status {
        let found = self.health.status().max(self.counters.agreed.status());
        self.stated().max(found)
    }

    /// What the file and the operator make of it, whatever the health checks found: the more severe
    /// of their words, but that an operator's `enable` takes back the file's.
    pub fn stated(&self) -> Status {
        match self.operator.get() {
            Some(Status::Up) => Status::Up,
            Some(said) => self.configured.max(said),
            None => self.configured,
        }
    }

    /// Its share of new keys: what the cluster has agreed on, else what the file says.
    pub fn share(&self) -> u32 {
        let agreed = self.counters.agreed_terms();
        agreed.map_or(self.weight, |(weight, _)| weight)
    }

    /// Its share of new keys at this time, in parts of which each one of [`Group::share`] has
    /// [`PARTS`]: fewer while it starts slowly, at least a hundredth of them.
    pub fn parts(&self, now: Millis) -> u64 {
        let whole = u64::from(self.share()) * PARTS;
        let Some((left, rising)) = self.slow_start_left(now).zip(self.slow_start) else {
            return whole;
        };
        let (left, over) = (left.as_millis(), rising.as_millis().max(1));
        let part = u128::from(whole) * over.saturating_sub(left) / over;
        u64::try_from(part).unwrap_or(whole).max(whole / 100)
    }

    /// How long its share of new keys goes on rising; `None`: it has its whole share.
    pub fn slow_start_left(&self, now: Millis) -> Option<Duration> {
        let since = self.counters.returned()?;
        let left = self.slow_start?.checked_sub(now.since(since))?;
        (!left.is_zero()).then_some(left)
    }

    /// Whether it takes new keys only while no other group is Up, likewise.
    pub fn is_backup(&self) -> bool {
        let agreed = self.counters.agreed_terms();
        agreed.map_or(self.backup, |(_, backup)| backup)
    }

    /// What the file makes of it.
    pub fn configured(&self) -> Status {
        self.configured
    }

    /// Why the status holds; empty while it is Up.
    pub fn reason(&self) -> String {
        let (health, found) = self.health.with_reason();
        let said = self.operator.get();
        let (agreed, why_agreed) = self.counters.agreed.with_reason();
        let stated = self.stated();
        let holds = stated.max(health).max(agreed);
        if holds == Status::Up {
            return String::new();
        }
        let mut reasons = Vec::new();
        if self.configured == holds && said != Some(Status::Up) {
            reasons.push(match self.configured {
                Status::Disabled => "disabled = true",
                Status::Draining | Status::Up => "drain = true",
            });
        }
        if let Some(said) = said.filter(|&said| said == holds) {
            reasons.push(operators_reason(said));
        }
        if health == holds {
            reasons.push(&*found);
        }
        // What this node says itself stands there already, in its own words.
        if reasons.is_empty() {
            reasons.push(&*why_agreed);
        }
        reasons.join("; ")
    }

    /// The group as logs name it: `group 1 (birch)`.
    pub fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("group {} ({name})", self.id),
            None => format!("group {}", self.id),
        }
    }

    /// Whether connections on the listened `port` have somewhere to go here: not where the port is
    /// not in its portmap, the name there is not resolved, or it would be this proxy itself.
    pub fn serves(&self, port: u16) -> bool {
        self.targets.get(&port).is_some_and(Target::has_endpoint)
    }

    /// All targets by listened port.
    pub fn targets(&self) -> &BTreeMap<u16, Target> {
        &self.targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: &str = "a check has failed";

    fn group(configured: Status, said: Option<Status>, found: Status) -> Group {
        let config = GroupConfig {
            id: GroupId(1),
            name: Some("birch".to_owned()),
            targets: BTreeMap::new(),
            weight: 1,
            drain: configured == Status::Draining,
            disabled: configured == Status::Disabled,
            backup: false,
            slow_start: None,
            on_disabled: OnDisabled::Keep,
            drain_timeout: None,
            max_connections: None,
            send_proxy: None,
            transparent: false,
            healthchecks: Vec::new(),
        };
        let health = match found {
            Status::Up => HealthStatus::up(),
            status => HealthStatus::new(status, FOUND),
        };
        let counters = Arc::new(GroupCounters::new(1));
        let group = Group::new(&config, BTreeMap::new(), counters, Arc::new(health));
        group.operator.set(said);
        group
    }

    #[test]
    fn the_most_severe_word_holds_with_all_who_say_it() {
        use Status::{Disabled, Draining, Up};
        let drained = operators_reason(Draining);
        let disabled = operators_reason(Disabled);
        let both = |one: &str, other: &str| format!("{one}; {other}");
        for (configured, said, found, status, reason) in [
            (Up, None, Up, Up, String::new()),
            (Draining, None, Up, Draining, "drain = true".to_owned()),
            (Up, None, Disabled, Disabled, FOUND.to_owned()),
            (Up, Some(Draining), Up, Draining, drained.to_owned()),
            (Up, Some(Disabled), Draining, Disabled, disabled.to_owned()),
            (Up, Some(Draining), Disabled, Disabled, FOUND.to_owned()),
            (
                Draining,
                Some(Draining),
                Up,
                Draining,
                both("drain = true", drained),
            ),
            (
                Disabled,
                Some(Draining),
                Up,
                Disabled,
                "disabled = true".to_owned(),
            ),
            (
                Draining,
                Some(Disabled),
                Disabled,
                Disabled,
                both(disabled, FOUND),
            ),
            // `enable` takes back what the file says, and never what a check has found.
            (Disabled, Some(Up), Up, Up, String::new()),
            (Disabled, Some(Up), Draining, Draining, FOUND.to_owned()),
            (Draining, Some(Up), Draining, Draining, FOUND.to_owned()),
        ] {
            let group = group(configured, said, found);
            let case = format!("{configured} {said:?} {found}");
            assert_eq!(group.status(), status, "{case}");
            assert_eq!(group.reason(), reason, "{case}");
        }
    }

    #[test]
    fn a_share_rises_evenly_from_the_return_on() {
        let mut group = group(Status::Up, None, Status::Up);
        group.weight = 3;
        let parts = |group: &Group, second: u64| group.parts(Millis(1_000 * second));
        group.slow_start = Some(Duration::from_secs(10));
        assert_eq!(parts(&group, 0), 3 * PARTS, "it has not returned");
        group.counters.note_return(Millis(100_000));
        for (second, expected) in [
            (100, 3 * PARTS / 100),
            (101, 3 * PARTS / 10),
            (105, 3 * PARTS / 2),
            (109, 3 * PARTS * 9 / 10),
            (110, 3 * PARTS),
            (999, 3 * PARTS),
        ] {
            assert_eq!(parts(&group, second), expected, "second {second}");
        }
        let left = group.slow_start_left(Millis(104_000));
        assert_eq!(left, Some(Duration::from_secs(6)));
        group.slow_start = None;
        assert_eq!(parts(&group, 101), 3 * PARTS);
        group.slow_start = Some(Duration::from_secs(10));
        group
            .counters
            .note_status(Status::Draining, Millis(101_000));
        assert_eq!(parts(&group, 101), 3 * PARTS, "it is out again");
    }

    #[test]
    fn what_an_operator_said_is_kept_where_the_configuration_is_published_again() {
        let said = Groups::new(vec![group(Status::Up, Some(Status::Draining), Status::Up)]);
        let mut again = Groups::new(vec![group(Status::Up, None, Status::Up)]);
        again.keep_words_of(&said);
        assert_eq!(again.get(GroupId(1)).unwrap().status(), Status::Draining);
    }
}
