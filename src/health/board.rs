//! Where every check stands: the streak of each target, the verdict on each check, and the
//! status that follows for each group. No thread, no clock, no socket.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::config::{FallAction, GroupId, HealthCheck, TargetAddr};
use crate::groups::{HealthStatus, Status};

use super::definition::{CheckId, ProbeId, title};
use super::plan::{Plan, PlannedCheck, PlannedTarget};
use super::probe::Probe;
use super::record::{Conclusion, Durations, PastCheck, Record};
use super::replicated::{Agreed, CheckKey};
use super::save::SavedState;
use super::streak::{State, Streak};
use super::verdict::{Observation, Verdict};

/// One target of one check, as long as neither changes. Never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TargetKey(u64);

impl TargetKey {
    /// No target's key.
    pub const NONE: TargetKey = TargetKey(0);

    /// A key like those of a board.
    #[cfg(test)]
    pub fn numbered(number: u64) -> TargetKey {
        TargetKey(number)
    }
}

/// All checks of the configuration in force.
#[derive(Debug, Default)]
pub struct Board {
    groups: BTreeMap<GroupId, CheckedGroup>,
    places: HashMap<TargetKey, Place>,
    next_key: u64,
    /// Whether verdicts are the cluster's: what this node sees is none by itself.
    in_council: bool,
    /// How long checks took, whatever has become of them.
    pub(super) durations: Durations,
}

/// Where a target stands on the board.
#[derive(Clone, Copy, Debug)]
struct Place {
    group: GroupId,
    check: usize,
    target: usize,
}

#[derive(Debug)]
struct CheckedGroup {
    status: Arc<HealthStatus>,
    checks: Vec<Check>,
}

/// One check of one group.
#[derive(Debug)]
pub(super) struct Check {
    pub id: CheckId,
    pub definition: Arc<HealthCheck>,
    pub verdict: State,
    /// In a cluster: how the votes stand while it is failing by them; else empty.
    votes: String,
    pub targets: Vec<CheckedTarget>,
}

/// One target of one check.
#[derive(Debug)]
pub(super) struct CheckedTarget {
    pub key: TargetKey,
    pub target: TargetAddr,
    /// The targets of the portmap that it stands for.
    pub serves: Vec<TargetAddr>,
    pub probe: Arc<Probe>,
    pub streak: Streak,
    pub record: Record,
    /// How it came to the state that it is in; empty while it has always been passing.
    because: String,
}

/// Whether to save how many results in a row speak against a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    /// Nothing comes after: the next process goes on from there.
    Kept,
    /// Results go on coming in, and not each of them is saved: a run that was broken off since must
    /// not come back.
    Left,
}

/// A check of which another verdict holds now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub group: GroupId,
    /// What holds now.
    pub state: State,
    /// How it came about, for people.
    pub because: String,
}

/// A target whose state is another one now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub group: GroupId,
    /// What it is now.
    pub state: State,
    /// How it came about, for people.
    pub because: String,
    /// What the check as a whole amounts to now, where that has changed as well.
    pub observation: Option<Observation>,
}

impl Board {
    /// The board under a plan: what the plan leaves unchanged stands as it stood; checks of
    /// which only thresholds changed keep their state and begin a new run; all else is new.
    /// Sets the plan's statuses.
    pub(super) fn successor(&self, plan: &Plan) -> Board {
        let mut next = Board {
            next_key: self.next_key,
            in_council: self.in_council,
            durations: self.durations.clone(),
            ..Board::default()
        };
        for (&id, planned) in &plan.groups {
            let before = self.checks_of(id);
            let checks = planned.checks.iter().map(|check| {
                let source = Source::of(check, before, &planned.checks);
                next.check(check, &source)
            });
            let group = CheckedGroup {
                status: Arc::clone(&planned.status),
                checks: checks.collect(),
            };
            next.groups.insert(id, group);
        }
        next.places = next.all_places();
        next.settle();
        next
    }

    fn check(&mut self, planned: &PlannedCheck, source: &Source<'_>) -> Check {
        let PlannedCheck {
            id,
            definition,
            send_proxy,
            ..
        } = planned;
        let targets = planned.targets.iter().map(|target| {
            let PlannedTarget { target, serves } = target;
            let known = source.target(target);
            let kept = match source {
                Source::Same(_) => known,
                Source::SameQuestion(_) | Source::Nothing => None,
            };
            let key = kept.map_or_else(|| self.new_key(), |kept| kept.key);
            CheckedTarget {
                key,
                target: target.clone(),
                serves: serves.clone(),
                probe: match kept {
                    Some(kept) if kept.probe.send_proxy == *send_proxy => Arc::clone(&kept.probe),
                    _ => Arc::new(Probe::new(definition, target, *send_proxy)),
                },
                streak: match (kept, known) {
                    (Some(kept), _) => kept.streak,
                    (None, Some(known)) => Streak::held(known.streak.state),
                    (None, None) => Streak::NEW,
                },
                record: known.map(|known| known.record.clone()).unwrap_or_default(),
                because: known.map(|known| known.because.clone()).unwrap_or_default(),
            }
        });
        Check {
            id: *id,
            definition: Arc::clone(definition),
            verdict: source.verdict(),
            votes: source.votes(),
            targets: targets.collect(),
        }
    }

    fn new_key(&mut self) -> TargetKey {
        self.next_key += 1;
        TargetKey(self.next_key)
    }

    fn all_places(&self) -> HashMap<TargetKey, Place> {
        let mut places = HashMap::new();
        for (&group, checked) in &self.groups {
            for (check, of) in checked.checks.iter().enumerate() {
                for (target, checked) in of.targets.iter().enumerate() {
                    let place = Place {
                        group,
                        check,
                        target,
                    };
                    places.insert(checked.key, place);
                }
            }
        }
        places
    }

    /// Takes up what an earlier process saved; what it saved of checks that are no more is left.
    /// Returns how many targets are failing.
    pub(super) fn restore(&mut self, saved: &[SavedState]) -> usize {
        let mut failing = 0;
        for state in saved {
            let group = self.groups.get_mut(&state.group);
            let mut checks = group.into_iter().flat_map(|group| &mut group.checks);
            let Some(check) = checks.find(|check| check.id == state.check) else {
                continue;
            };
            let definition = &check.definition;
            let mut targets = check.targets.iter_mut();
            let Some(target) = targets.find(|target| target.target == state.target) else {
                continue;
            };
            target.streak = Streak::restored(state.state, state.run, definition);
            if state.state == State::Failing {
                failing += 1;
                target.because = format!(
                    "{} was failing when its state was saved; it is out until it has passed {}",
                    target.title(definition),
                    in_a_row(definition.rise)
                );
            }
        }
        self.settle();
        failing
    }

    /// Verdicts are the cluster's from now on; until it says otherwise those that are there hold.
    pub(super) fn enter_council(&mut self) {
        self.in_council = true;
    }

    /// Alone, judges every check anew; has all statuses follow.
    fn settle(&mut self) {
        for (&id, group) in &mut self.groups {
            if !self.in_council {
                group.judge(id);
            }
            group.decide();
        }
    }

    /// Has hold what the cluster has agreed, and tells what that has changed.
    pub(super) fn follow(&mut self, agreed: &Agreed) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for (&id, group) in &mut self.groups {
            let mut is_news = false;
            for check in &mut group.checks {
                let key = CheckKey {
                    group: id,
                    check: check.id,
                };
                let Some(verdict) = agreed.verdict(key) else {
                    continue;
                };
                let is_another = check.verdict != verdict;
                if !is_another && verdict == State::Passing {
                    continue;
                }
                check.verdict = verdict;
                let votes = agreed.votes_in_words(key);
                if is_another {
                    let (title, state) = (title(&check.definition), verdict.as_str());
                    decisions.push(Decision {
                        group: id,
                        state: verdict,
                        because: format!("health check {title} is {state} by vote: {votes}"),
                    });
                }
                check.votes = match verdict {
                    State::Failing => votes,
                    State::Passing => String::new(),
                };
                is_news = true;
            }
            if is_news {
                group.decide();
            }
        }
        decisions
    }

    /// What this node sees of every check.
    pub(super) fn observations(&self) -> BTreeMap<CheckKey, State> {
        let mut seen = BTreeMap::new();
        for (&group, checked) in &self.groups {
            for check in &checked.checks {
                let key = CheckKey {
                    group,
                    check: check.id,
                };
                seen.insert(key, check.state());
            }
        }
        seen
    }

    /// What the verdicts make of the groups: those that are not Up, with the reason.
    pub(super) fn statuses(&self) -> Vec<(GroupId, Status, String)> {
        let groups = self.groups.iter().map(|(&id, group)| {
            let (status, reason) = group.status.with_reason();
            (id, status, reason.to_string())
        });
        groups
            .filter(|(_, status, _)| *status != Status::Up)
            .collect()
    }

    /// What is worth keeping across a restart.
    pub(super) fn saved(&self, runs: Runs) -> Vec<SavedState> {
        let mut saved = Vec::new();
        for (&group, checked) in &self.groups {
            for check in &checked.checks {
                saved.extend(check.targets.iter().map(|target| SavedState {
                    group,
                    check: check.id,
                    target: target.target.clone(),
                    state: target.streak.state,
                    run: match runs {
                        Runs::Kept => target.streak.against,
                        Runs::Left => 0,
                    },
                }));
            }
        }
        saved
    }

    /// Takes in one result of a target: the error says what spoke against it. `None` where its
    /// state is as before, or the target is none of the board's any more.
    pub(super) fn note(&mut self, key: TargetKey, result: Result<(), &str>) -> Option<Turn> {
        let place = *self.places.get(&key)?;
        let group = self.groups.get_mut(&place.group)?;
        let check = &mut group.checks[place.check];
        let before = check.state();
        let target = &mut check.targets[place.target];
        let state = target.streak.note(result.is_ok(), &check.definition)?;
        let title = target.title(&check.definition);
        target.because = match result {
            Ok(()) => format!("{title} has passed {}", in_a_row(check.definition.rise)),
            Err(why) => format!(
                "{title} has failed {}: {why}",
                in_a_row(check.definition.fall)
            ),
        };
        let because = target.because.clone();
        let observation = check.observation(place.group);
        let is_news = check.state() != before;
        // The reason may name another target now.
        group.decide();
        Some(Turn {
            group: place.group,
            state,
            because,
            observation: is_news.then_some(observation),
        })
    }

    /// Keeps for people what became of a check of a target; `why` says what was wrong.
    pub(super) fn record(&mut self, key: TargetKey, check: PastCheck, why: Option<&str>) {
        let Some(&place) = self.places.get(&key) else {
            return;
        };
        let Some(group) = self.groups.get_mut(&place.group) else {
            return;
        };
        let of = &mut group.checks[place.check];
        of.targets[place.target].record.note(check, why);
        if check.conclusion != Conclusion::NotRun && !check.took.is_zero() {
            self.durations.note(&of.definition, check.took);
        }
    }

    /// The first group with a check whose id is larger than this one.
    pub(super) fn next_checked(&self, after: Option<GroupId>) -> Option<GroupId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut groups = self.groups.range((from, Bound::Unbounded));
        let next = groups.find(|(_, group)| !group.checks.is_empty());
        next.map(|(&id, _)| id)
    }

    /// The checks of a group; none where there is no such group.
    pub(super) fn checks_of(&self, group: GroupId) -> &[Check] {
        let group = self.groups.get(&group);
        group.map_or(&[], |group| &group.checks)
    }

    /// Has a verdict hold, and the group's status follow.
    pub(super) fn apply(&mut self, verdict: Verdict) {
        let Some(group) = self.groups.get_mut(&verdict.group) else {
            return;
        };
        for check in group.checks.iter_mut() {
            if check.id == verdict.check {
                check.verdict = verdict.state;
            }
        }
        group.decide();
    }

    /// Whether a target is on the board.
    pub(super) fn has(&self, key: TargetKey) -> bool {
        self.places.contains_key(&key)
    }

    /// A target, with the definition of its check and its group.
    pub(super) fn target(
        &self,
        key: TargetKey,
    ) -> Option<(GroupId, &Arc<HealthCheck>, &CheckedTarget)> {
        let place = self.places.get(&key)?;
        let check = &self.groups.get(&place.group)?.checks[place.check];
        Some((place.group, &check.definition, &check.targets[place.target]))
    }

    /// The targets by which a group's target of the portmap is checked.
    pub(super) fn keys_serving(&self, group: GroupId, configured: &TargetAddr) -> Vec<TargetKey> {
        let checks = self.checks_of(group).iter();
        let targets = checks.flat_map(|check| &check.targets);
        targets
            .filter(|target| target.serves.contains(configured))
            .map(|target| target.key)
            .collect()
    }

    /// Every target of every check, with the definition of its check and its group.
    pub(super) fn targets(
        &self,
    ) -> impl Iterator<Item = (GroupId, &Arc<HealthCheck>, &CheckedTarget)> {
        self.groups.iter().flat_map(|(&id, group)| {
            group.checks.iter().flat_map(move |check| {
                let definition = &check.definition;
                let targets = check.targets.iter();
                targets.map(move |target| (id, definition, target))
            })
        })
    }
}

/// What is known already of a check that a plan has.
enum Source<'a> {
    /// The same definition: it goes on.
    Same(&'a Check),
    /// Another definition that asked the same and is no more: its state holds.
    SameQuestion(&'a Check),
    Nothing,
}

impl<'a> Source<'a> {
    fn of(check: &PlannedCheck, before: &'a [Check], planned: &[PlannedCheck]) -> Source<'a> {
        if let Some(same) = before.iter().find(|old| old.id == check.id) {
            return Source::Same(same);
        }
        let asks = ProbeId::of(&check.definition);
        let is_gone = |old: &&Check| planned.iter().all(|planned| planned.id != old.id);
        let mut gone = before.iter().filter(is_gone);
        match gone.find(|old| ProbeId::of(&old.definition) == asks) {
            Some(old) => Source::SameQuestion(old),
            None => Source::Nothing,
        }
    }

    /// What held before; only a cluster holds on to it.
    fn verdict(&self) -> State {
        match self {
            Source::Same(check) | Source::SameQuestion(check) => check.verdict,
            Source::Nothing => State::Passing,
        }
    }

    fn votes(&self) -> String {
        match self {
            Source::Same(check) => check.votes.clone(),
            Source::SameQuestion(_) | Source::Nothing => String::new(),
        }
    }

    fn target(&self, target: &TargetAddr) -> Option<&'a CheckedTarget> {
        let (Source::Same(check) | Source::SameQuestion(check)) = self else {
            return None;
        };
        check.targets.iter().find(|known| known.target == *target)
    }
}

impl CheckedGroup {
    /// Judges every check anew by what this node sees.
    fn judge(&mut self, id: GroupId) {
        for check in &mut self.checks {
            check.verdict = Verdict::alone(check.observation(id)).state;
        }
    }

    /// The most severe consequence of all verdicts is the status.
    fn decide(&self) {
        let failing = self
            .checks
            .iter()
            .filter(|check| check.verdict == State::Failing);
        // Of equally severe ones the first counts.
        let mut worst: (Status, Option<&Check>) = (Status::Up, None);
        for check in failing {
            let status = consequence(check.definition.fall_action);
            if status > worst.0 {
                worst = (status, Some(check));
            }
        }
        let reason = worst.1.map(Check::because).unwrap_or_default();
        self.status.set(worst.0, &reason);
    }
}

impl Check {
    /// Failing where any target is.
    pub(super) fn state(&self) -> State {
        let is_failing = |target: &CheckedTarget| target.streak.state == State::Failing;
        match self.targets.iter().any(is_failing) {
            true => State::Failing,
            false => State::Passing,
        }
    }

    fn observation(&self, group: GroupId) -> Observation {
        Observation {
            group,
            check: self.id,
            state: self.state(),
        }
    }

    /// Why it is failing, by its first target that is, and by the votes.
    fn because(&self) -> String {
        let mut targets = self.targets.iter();
        let because = match targets.find(|target| target.streak.state == State::Failing) {
            Some(target) => target.because.clone(),
            None => format!("health check {} is failing", title(&self.definition)),
        };
        match self.votes.as_str() {
            "" => because,
            votes => format!("{because} (by vote: {votes})"),
        }
    }
}

impl CheckedTarget {
    /// The check and the target, as logs name them.
    pub(super) fn title(&self, check: &HealthCheck) -> String {
        format!("health check {} at {}", title(check), self.target)
    }
}

fn consequence(action: FallAction) -> Status {
    match action {
        FallAction::Up => Status::Up,
        FallAction::Draining => Status::Draining,
        FallAction::Disabled => Status::Disabled,
    }
}

/// `once`, `3 times in a row`.
fn in_a_row(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times in a row"),
    }
}
