//! The board as threads share it: whoever changes it waits for a claim, whoever only looks does not.
//!
//! While a configuration is put in force nothing may turn on the board, and that takes as long as
//! listeners take to open. Statistics need not wait for it: what they see is the board of the
//! configuration before.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::board::Board;

/// A board, and the claim of whoever changes it. The claim is taken before the board, never after.
#[derive(Debug, Default)]
pub(super) struct SharedBoard {
    claim: Mutex<()>,
    board: Mutex<Board>,
}

/// Nobody else changes the board until this is dropped.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    shared: &'a SharedBoard,
    _claim: MutexGuard<'a, ()>,
}

/// The board, to be changed.
#[derive(Debug)]
pub(super) struct Held<'a> {
    board: MutexGuard<'a, Board>,
    _claim: MutexGuard<'a, ()>,
}

impl SharedBoard {
    pub fn new(board: Board) -> SharedBoard {
        SharedBoard {
            claim: Mutex::default(),
            board: Mutex::new(board),
        }
    }

    /// Waits for the claim, however long who has it takes.
    pub fn claim(&self) -> Claim<'_> {
        Claim {
            shared: self,
            _claim: self.claim.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The board, once nobody else may change it.
    pub fn hold(&self) -> Held<'_> {
        let claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        Held {
            board: self.look(),
            _claim: claim,
        }
    }

    /// The board, only to be looked at: waits for no claim, so it is to be given back soon.
    pub fn look(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// The board for a moment; it does not change by another's hand as long as the claim lasts.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        self.shared.look()
    }
}

impl Deref for Held<'_> {
    type Target = Board;

    fn deref(&self) -> &Board {
        &self.board
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Board {
        &mut self.board
    }
}
