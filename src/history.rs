//! What happened lately, for whoever looks later: changes of status, reloads, commands, the
//! cluster's elections. The log has the same and more; this is what statistics show.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Happenings that are kept; the oldest give way.
pub const KEPT: usize = 256;
/// The longest text that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;

/// What kind a happening is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A group's status is another one.
    Status,
    /// A configuration was read again.
    Reload,
    /// An operator's command.
    Operator,
    /// The process: started, stopping, something it cannot do.
    Process,
    /// The cluster: elections, nodes coming and going.
    Cluster,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Counts all since the start, from 1.
    pub number: u64,
    /// When it happened.
    pub at: SystemTime,
    /// What kind it is of.
    pub kind: Kind,
    /// Whether it needs attention.
    pub is_warning: bool,
    /// In words.
    pub text: String,
}

/// The newest [`KEPT`] happenings. Whoever notes one never waits for more than another note.
#[derive(Debug, Default)]
pub struct History {
    kept: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Oldest first.
    list: VecDeque<Happening>,
    noted: u64,
}

impl History {
    /// Notes that something happened just now.
    pub fn note(&self, kind: Kind, is_warning: bool, text: impl Into<String>) {
        let text = shortened(text.into());
        let mut kept = self.kept();
        kept.noted += 1;
        let happening = Happening {
            number: kept.noted,
            at: SystemTime::now(),
            kind,
            is_warning,
            text,
        };
        if kept.list.len() == KEPT {
            kept.list.pop_front();
        }
        kept.list.push_back(happening);
    }

    /// The newest ones, at most `limit`, newest first; with `before` only those with a smaller
    /// number.
    pub fn newest(&self, limit: usize, before: Option<u64>) -> Vec<Happening> {
        let kept = self.kept();
        let wanted = |happening: &&Happening| before.is_none_or(|before| happening.number < before);
        let list = kept.list.iter().rev().filter(wanted);
        list.take(limit).cloned().collect()
    }

    /// How many happenings are not kept any more.
    pub fn dropped(&self) -> u64 {
        let kept = self.kept();
        kept.noted - kept.list.len() as u64
    }

    fn kept(&self) -> MutexGuard<'_, Recent> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let ends = (0..=MAX_TEXT_BYTES).rev();
        let end = ends.into_iter().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_come_first_and_the_oldest_give_way() {
        let history = History::default();
        for number in 1..=300 {
            history.note(Kind::Status, number % 2 == 0, format!("number {number}"));
        }
        assert_eq!(history.dropped(), 300 - KEPT as u64);
        let newest = history.newest(2, None);
        let numbers: Vec<u64> = newest.iter().map(|happening| happening.number).collect();
        assert_eq!(numbers, [300, 299]);
        assert_eq!(newest[0].text, "number 300");
        assert!(newest[0].is_warning && !newest[1].is_warning);
        let all = history.newest(usize::MAX, None);
        assert_eq!(all.len(), KEPT);
        assert_eq!(all.last().map(|oldest| oldest.number), Some(45));
    }

    #[test]
    fn older_ones_follow_a_number() {
        let history = History::default();
        for number in 1..=10 {
            history.note(Kind::Operator, false, number.to_string());
        }
        let older = history.newest(3, Some(5));
        let texts: Vec<&str> = older
            .iter()
            .map(|happening| happening.text.as_str())
            .collect();
        assert_eq!(texts, ["4", "3", "2"]);
        assert!(history.newest(3, Some(1)).is_empty());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let history = History::default();
        history.note(Kind::Process, false, "ä".repeat(MAX_TEXT_BYTES));
        let text = &history.newest(1, None)[0].text;
        assert!(text.len() <= MAX_TEXT_BYTES + "…".len() && text.ends_with("ä…"));
    }
}
