//! A log as the world knows it, kept from what a core writes, beside the core's own book-keeping.

use tcpffee_raft::durable::{HardState, Recovered, Write};
use tcpffee_raft::ids::{Index, Position, Term};

/// Terms by place, and the hard state.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// Term 0 where a snapshot covers the place.
    terms: Vec<Term>,
    /// The newest hard state.
    pub hard_state: HardState,
}

impl Mirror {
    /// What a start found.
    pub fn of(recovered: &Recovered) -> Mirror {
        let mut mirror = Mirror {
            terms: Vec::new(),
            hard_state: recovered.hard_state,
        };
        if let Some(meta) = &recovered.snapshot {
            mirror.reset(meta.last);
        }
        for entry in &recovered.entries {
            let at = entry.index.0 as usize;
            if at <= mirror.terms.len() {
                mirror.terms[at - 1] = entry.term;
            } else {
                mirror.terms.push(entry.term);
            }
        }
        mirror
    }

    fn reset(&mut self, last: Position) {
        self.terms.clear();
        self.terms.resize(last.index.0 as usize, Term(0));
        if let Some(term) = self.terms.last_mut() {
            *term = last.term;
        }
    }

    /// What a write leads to; false where it leaves a gap.
    pub fn take(&mut self, write: &Write) -> bool {
        if let Some(meta) = &write.reset {
            self.reset(meta.last);
        }
        if let Some(state) = write.hard_state {
            self.hard_state = state;
        }
        for entry in &write.entries {
            let before = entry.index.0 as usize - 1;
            if before > self.terms.len() {
                return false;
            }
            self.terms.truncate(before);
            self.terms.push(entry.term);
        }
        true
    }

    /// The last place.
    pub fn last(&self) -> Index {
        Index(self.terms.len() as u64)
    }

    /// The term at a place; none beyond the log, 0 within a snapshot.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        match index.0 {
            0 => Some(Term(0)),
            at => self.terms.get(at as usize - 1).copied(),
        }
    }

    /// Whether the entry stands there, as far as can be told.
    pub fn holds(&self, position: Position) -> bool {
        self.term_at(position.index)
            .is_some_and(|term| term == position.term || term == Term(0))
    }
}
