//! Whether anybody answers.
//!
//! A node has lost its quorum when nobody has answered for `no_quorum_after`, whatever its
//! connections show: what it has proposed has no answer for as long, or, where it has proposed
//! nothing, its lease was not renewed for as long. It regains it with the next answer; so a node
//! without one goes on asking.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tcpffee_raft::ids::NodeTime;

#[derive(Debug)]
pub(super) struct Quorum {
    is_lost: AtomicBool,
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    /// When anything was last answered.
    answer: NodeTime,
    /// When there was a lease last.
    lease: NodeTime,
    /// When each proposal was made that has no answer, by number.
    outstanding: BTreeMap<u64, NodeTime>,
    next: u64,
    /// Since when the quorum is lost.
    lost: Option<NodeTime>,
    /// There has been a lease: before the first one there is no quorum to be lost, and connections
    /// wait for it.
    had_lease: bool,
}

/// What has become of the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Lost,
    Regained,
}

impl Quorum {
    /// Nobody has been heard before `now`.
    pub fn new(now: NodeTime) -> Quorum {
        Quorum {
            is_lost: AtomicBool::new(false),
            heard: Mutex::new(Heard {
                answer: now,
                lease: now,
                outstanding: BTreeMap::new(),
                next: 0,
                lost: None,
                had_lease: false,
            }),
        }
    }

    pub fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Something is proposed; its number.
    pub fn proposed(&self, now: NodeTime) -> u64 {
        let mut heard = self.heard();
        let number = heard.next;
        heard.next += 1;
        heard.outstanding.insert(number, now);
        number
    }

    /// The proposal is over: with an answer, or without.
    pub fn over(&self, number: u64, is_answered: bool, now: NodeTime) {
        let mut heard = self.heard();
        heard.outstanding.remove(&number);
        if is_answered {
            heard.answer = now;
        }
    }

    /// Whether something is proposed and not answered.
    pub fn is_asking(&self) -> bool {
        !self.heard().outstanding.is_empty()
    }

    /// To be called again and again: what has turned, if anything.
    pub fn tick(&self, now: NodeTime, has_lease: bool, patience_ms: u64) -> Option<Turn> {
        let mut heard = self.heard();
        if has_lease {
            heard.lease = now;
            heard.had_lease = true;
        }
        let turn = match heard.lost {
            Some(lost) if heard.answer > lost => {
                heard.lost = None;
                Some(Turn::Regained)
            }
            Some(_) => None,
            None => {
                let since = match heard.outstanding.values().min() {
                    Some(oldest) => heard.answer.max(*oldest),
                    None => heard.answer.max(heard.lease),
                };
                let is_over = heard.had_lease && now.since(since) > patience_ms;
                heard.lost = is_over.then_some(now);
                is_over.then_some(Turn::Lost)
            }
        };
        self.is_lost.store(heard.lost.is_some(), Ordering::Release);
        turn
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: u64 = 3_000;

    #[test]
    fn an_idle_node_loses_it_with_its_lease_and_regains_it_with_an_answer() {
        let quorum = Quorum::new(NodeTime(0));
        assert_eq!(quorum.tick(NodeTime(2_000), true, PATIENCE), None);
        assert_eq!(quorum.tick(NodeTime(5_000), false, PATIENCE), None);
        let lost = quorum.tick(NodeTime(5_001), false, PATIENCE);
        assert_eq!((lost, quorum.is_lost()), (Some(Turn::Lost), true));
        let probe = quorum.proposed(NodeTime(5_100));
        quorum.over(probe, true, NodeTime(5_200));
        let regained = quorum.tick(NodeTime(5_202), false, PATIENCE);
        assert_eq!((regained, quorum.is_lost()), (Some(Turn::Regained), false));
    }

    #[test]
    fn before_the_first_lease_there_is_none_to_lose() {
        let quorum = Quorum::new(NodeTime(0));
        quorum.proposed(NodeTime(0));
        assert_eq!(quorum.tick(NodeTime(60_000), false, PATIENCE), None);
        assert!(!quorum.is_lost());
    }

    #[test]
    fn a_proposal_without_an_answer_counts_whatever_the_lease_says() {
        let quorum = Quorum::new(NodeTime(0));
        quorum.tick(NodeTime(500), true, PATIENCE);
        let first = quorum.proposed(NodeTime(1_000));
        assert_eq!(quorum.tick(NodeTime(4_000), true, PATIENCE), None);
        assert_eq!(
            quorum.tick(NodeTime(4_001), true, PATIENCE),
            Some(Turn::Lost)
        );
        // Given up without an answer, another one is out: still nobody answers.
        let second = quorum.proposed(NodeTime(4_100));
        quorum.over(first, false, NodeTime(4_200));
        assert_eq!(quorum.tick(NodeTime(4_300), true, PATIENCE), None);
        quorum.over(second, true, NodeTime(4_400));
        assert_eq!(
            quorum.tick(NodeTime(4_400), true, PATIENCE),
            Some(Turn::Regained)
        );
    }

    #[test]
    fn an_answer_to_a_later_proposal_is_an_answer() {
        let quorum = Quorum::new(NodeTime(0));
        quorum.tick(NodeTime(0), true, PATIENCE);
        quorum.proposed(NodeTime(0));
        let second = quorum.proposed(NodeTime(2_000));
        quorum.over(second, true, NodeTime(2_500));
        assert_eq!(quorum.tick(NodeTime(5_500), true, PATIENCE), None);
        assert_eq!(
            quorum.tick(NodeTime(5_501), true, PATIENCE),
            Some(Turn::Lost)
        );
    }
}
