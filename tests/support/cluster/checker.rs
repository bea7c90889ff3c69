//! Promise 1, checked over a history: one key, one group, while its entry is valid and its group
//! usable.
//!
//! Each answer took place at one moment between its question and its arrival. A history keeps the
//! promise if there are moments for all answers of a key such that whenever the group changes, the
//! entry had ended before: its group was out, or it had expired. The checker looks for such
//! moments, exactly, so it accuses nobody of what a kept promise could explain.
//!
//! An entry is certainly valid until `expiration` after the last moment at which a connection of
//! its key was certainly open. Of a node that was down, stopped or cut off soon afterwards less is
//! certain: it may have answered from its own table, where it needs half of `expiration` to be
//! left, and never have told anybody.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::history::{Answer, History, Outage};

/// More answers at once are not sorted out.
const MOST_AT_ONCE: usize = 8;

/// What was found.
#[derive(Debug)]
pub struct Verdict {
    /// Keys with an answer at least.
    pub keys: usize,
    /// Answers that named a group.
    pub answers: usize,
    /// Changes of a key's group that were in order.
    pub moves: usize,
    /// One for each key that breaks the promise.
    pub violations: Vec<Violation>,
}

/// A key that was sent to two groups.
#[derive(Debug)]
pub struct Violation {
    /// The client's number.
    pub key: u32,
    /// Its answers up to the one that cannot be.
    pub answers: Vec<Answer>,
}

/// Judges a history.
pub fn judge(history: &History) -> Verdict {
    let mut by_key: BTreeMap<u32, Vec<Answer>> = BTreeMap::new();
    for answer in &history.answers {
        if answer.is_served() {
            by_key.entry(answer.key).or_default().push(*answer);
        }
    }
    let mut verdict = Verdict {
        keys: by_key.len(),
        answers: by_key.values().map(Vec::len).sum(),
        moves: 0,
        violations: Vec::new(),
    };
    for (key, mut answers) in by_key {
        answers.sort_by_key(|answer| answer.asked);
        match check_key(history, &answers) {
            Ok(moves) => verdict.moves += moves,
            Err(upto) => {
                answers.truncate(upto);
                verdict.violations.push(Violation { key, answers });
            }
        }
    }
    verdict
}

/// An entry as it may be, after some of the answers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    group: u32,
    /// The earliest moment at which the last of those answers can have taken place.
    now: Duration,
    /// Until when it certainly is valid.
    valid_until: Duration,
    /// How often the group changed.
    moves: usize,
}

/// How many changes of the group there were; where no moments explain the answers, how many of
/// them it takes to see that.
fn check_key(history: &History, answers: &[Answer]) -> Result<usize, usize> {
    let mut states: Vec<Entry> = Vec::new();
    let mut done = 0;
    while done < answers.len() {
        let at_once = overlapping(&answers[done..]);
        assert!(
            at_once <= MOST_AT_ONCE,
            "{at_once} answers at once of key {}",
            answers[done].key
        );
        let cluster = &answers[done..done + at_once];
        let mut after = Vec::new();
        if done == 0 {
            orders(history, None, cluster, &mut after);
        }
        for state in &states {
            orders(history, Some(*state), cluster, &mut after);
        }
        done += at_once;
        states = after;
        if states.is_empty() {
            return Err(done);
        }
    }
    Ok(states.iter().map(|state| state.moves).min().unwrap_or(0))
}

/// How many answers from the first on overlap with one that overlaps with the first, and so on.
fn overlapping(answers: &[Answer]) -> usize {
    let mut until = answers[0].answered;
    let mut count = 1;
    while let Some(next) = answers.get(count)
        && next.asked <= until
    {
        until = until.max(next.answered);
        count += 1;
    }
    count
}

/// Adds what may be after the answers of `left` in every order that is possible.
fn orders(history: &History, before: Option<Entry>, left: &[Answer], after: &mut Vec<Entry>) {
    if left.is_empty() {
        return add(after, before.expect("there was an answer"));
    }
    let first_answered = left.iter().map(|answer| answer.answered).min();
    for (at, answer) in left.iter().enumerate() {
        // Nobody can come before one that was answered before it was asked.
        if Some(answer.asked) > first_answered {
            continue;
        }
        if let Some(next) = step(history, before, answer) {
            let mut rest = left.to_vec();
            rest.remove(at);
            orders(history, Some(next), &rest, after);
        }
    }
}

fn add(states: &mut Vec<Entry>, new: Entry) {
    let covers = |one: &Entry, other: &Entry| {
        one.group == other.group
            && one.now <= other.now
            && one.valid_until <= other.valid_until
            && one.moves <= other.moves
    };
    if !states.iter().any(|state| covers(state, &new)) {
        states.retain(|state| !covers(&new, state));
        states.push(new);
    }
}

/// The entry after one more answer; none where it cannot have been given.
fn step(history: &History, before: Option<Entry>, answer: &Answer) -> Option<Entry> {
    let group = answer.group().expect("others were left out");
    let own = valid_until(history, answer);
    let Some(before) = before else {
        return Some(Entry {
            group,
            now: answer.asked,
            valid_until: own,
            moves: 0,
        });
    };
    let earliest = before.now.max(answer.asked);
    if group == before.group {
        return (earliest <= answer.answered).then_some(Entry {
            now: earliest,
            valid_until: before.valid_until.max(own),
            ..before
        });
    }
    let is_of_group = |outage: &&Outage| outage.group == before.group;
    let outages = history.outages.iter().filter(is_of_group);
    let ends = outages
        .filter(|outage| outage.until >= before.now)
        .map(|outage| outage.from)
        .chain([before.valid_until]);
    let now = ends.map(|end| earliest.max(end)).min()?;
    (now <= answer.answered).then_some(Entry {
        group,
        now,
        valid_until: own,
        moves: before.moves + 1,
    })
}

fn valid_until(history: &History, answer: &Answer) -> Duration {
    let expiration = history.expiration;
    let told_by = answer.active_until + expiration / 6 + Duration::from_secs(1);
    let is_doubtful = history.faults.iter().any(|fault| {
        fault.node == answer.node && fault.from <= told_by && answer.asked <= fault.until
    });
    if is_doubtful {
        answer.asked + expiration / 2
    } else {
        answer.active_until + expiration
    }
}

impl Verdict {
    /// Panics unless the promise was kept, with the first violations.
    pub fn assert_kept(&self) {
        assert!(self.violations.is_empty(), "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} keys, {} answers, {} moves in order, {} keys sent to two groups",
            self.keys,
            self.answers,
            self.moves,
            self.violations.len()
        )?;
        for violation in self.violations.iter().take(3) {
            write!(f, "\nkey {}:", violation.key)?;
            let shown = violation.answers.len().saturating_sub(6);
            for answer in &violation.answers[shown..] {
                write!(f, "\n  {answer}")?;
            }
        }
        Ok(())
    }
}
