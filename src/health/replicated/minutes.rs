//! What was agreed, as threads share it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};
use tcpffee_raft::ids::Term;

use super::agreed::Agreed;

/// What was agreed, as far as this node's log has it, and whether the node leads. Written by the
/// state machine, read by everybody; clones are the same minutes.
#[derive(Clone)]
pub struct Minutes {
    shared: Arc<Shared>,
}

struct Shared {
    agreed: ArcSwap<Agreed>,
    /// The term in which this node leads; 0 while it does not.
    leads: AtomicU64,
    /// Holds a note while there is something to look at.
    bell: Sender<()>,
    rung: Receiver<()>,
}

impl Minutes {
    /// What was agreed.
    pub fn agreed(&self) -> Arc<Agreed> {
        self.shared.agreed.load_full()
    }

    /// Has the council look what is new.
    pub fn ring(&self) {
        // With a note there already it looks in any case.
        let _ = self.shared.bell.try_send(());
    }

    /// The term in which this node leads.
    pub(super) fn leads(&self) -> Option<Term> {
        match self.shared.leads.load(Ordering::Acquire) {
            0 => None,
            term => Some(Term(term)),
        }
    }

    pub(super) fn publish(&self, agreed: Agreed) {
        self.shared.agreed.store(Arc::new(agreed));
        self.ring();
    }

    pub(super) fn set_leads(&self, term: Option<Term>) {
        let term = term.map_or(0, |term| term.0);
        self.shared.leads.store(term, Ordering::Release);
        self.ring();
    }

    /// Where notes of something new come in.
    pub(super) fn rung(&self) -> Receiver<()> {
        self.shared.rung.clone()
    }
}

impl Default for Minutes {
    fn default() -> Minutes {
        let (bell, rung) = bounded(1);
        let shared = Shared {
            agreed: ArcSwap::default(),
            leads: AtomicU64::new(0),
            bell,
            rung,
        };
        Minutes {
            shared: Arc::new(shared),
        }
    }
}

impl fmt::Debug for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.agreed().fmt(f)
    }
}
