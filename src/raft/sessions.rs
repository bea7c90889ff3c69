//! Exactly once: what keeps a command that stands in the log twice from being applied twice.
//!
//! A proposer that hears nothing proposes again, with the same number, perhaps to another leader;
//! so the log may hold a command any number of times. This table is part of the replicated state
//! and decides in log order, by the log alone, which of the copies is applied: the first.
//!
//! # Why no copy is ever applied twice
//!
//! Let a command be applied at some entry. From there on a session of its client exists whose
//! `highest` is at least the command's sequence, and the sequence is either recorded in it, or
//! below its window, or below what the client has declared as answered. Each of the three refuses
//! or answers a later copy, and the last two bounds only grow. A session goes only when the log's
//! time is past the *newest* `issued` of all commands that it applied by more than
//! [`LIFETIME_MS`]; every copy carries the `issued` of its original and is refused by its age
//! then. The log's time never goes back. The model in the tests states the same and more simply.
//!
//! # What it costs
//!
//! [`MAX_CLIENTS`] × [`WINDOW`] records, and answers of at most [`MAX_ANSWERS_BYTES`]. Beyond a
//! bound on bytes the oldest answers go and their commands stay known as applied: a copy of one is
//! told [`Refusal::AnswerGone`].

mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::entry::{ClientId, Command};
use crate::ids::LogTime;

pub use snapshot::{MAX_ENCODED_BYTES, SessionsError};

/// Milliseconds of log time after its first proposal for which a command may be applied, and its
/// answer asked for again.
pub const LIFETIME_MS: u64 = 10 * 60 * 1000;

/// Sequences of one client, counted down from the highest one applied, that are told apart.
pub const WINDOW: u64 = 1024;

/// Clients known at once. Each start of a node is one, for [`LIFETIME_MS`] after its last command.
pub const MAX_CLIENTS: usize = 1024;

/// Bytes of one answer that are kept for a retry; a longer one goes to whoever waits, once.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Bytes of answers kept for one client.
pub const MAX_CLIENT_ANSWERS_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of answers kept for all clients.
pub const MAX_ANSWERS_BYTES: usize = 64 * 1024 * 1024;

/// What is to be done with a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Apply it, and hand its answer to [`Sessions::answered`] before the next snapshot.
    Fresh,
    /// It has been applied; this was its answer.
    Duplicate(Bytes),
    /// It was admitted and its answer is not here yet: finish what was admitted, then ask again.
    Unfinished,
    /// Do not apply it.
    Refused(Refusal),
}

/// Why a command is not applied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refusal {
    /// It is older than [`LIFETIME_MS`]. Whether a copy was applied before is not known any more.
    #[error("the command was first proposed more than {LIFETIME_MS} ms of log time ago")]
    Expired,
    /// Its client said that it had its answer.
    #[error("the command's client has said that it has its answer")]
    Stale,
    /// Its sequence is too far below the highest one applied.
    #[error("the command's sequence is {WINDOW} or more below the highest of its client")]
    BelowWindow,
    /// It was applied, and its answer was too long, or too much was kept.
    #[error("the command was applied, its answer is no longer kept")]
    AnswerGone,
    /// There is no room for another client. This copy was not applied; a later one may be.
    #[error("{MAX_CLIENTS} clients are known already")]
    TooManyClients,
    /// It claims to have been issued in the future: a defect of its client. This copy was not
    /// applied; a later one may be.
    #[error("the command was issued more than {LIFETIME_MS} ms of log time ahead")]
    IssuedAhead,
}

impl Refusal {
    /// Whether a later copy of the command may be applied all the same.
    pub fn is_passing(self) -> bool {
        matches!(self, Refusal::TooManyClients | Refusal::IssuedAhead)
    }
}

/// What is known of all clients: a function of the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sessions {
    clients: BTreeMap<ClientId, Session>,
    /// Each client's newest `issued`: whose session ends next.
    ends: BTreeSet<(LogTime, ClientId)>,
    /// Answers that hold bytes, in the order in which they came: which go first.
    kept: BTreeMap<u64, (ClientId, u64)>,
    /// Bytes of all answers.
    kept_bytes: usize,
    /// Numbers the answers.
    next_order: u64,
    /// Admitted commands without their answers.
    unfinished: usize,
    /// The newest entry's time.
    time: LogTime,
}

/// What is known of one client.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Session {
    /// The newest `issued` of what was applied.
    newest_issued: LogTime,
    /// The highest sequence applied.
    highest: u64,
    /// Below it, the client has all answers.
    answered_below: u64,
    /// What was applied within the window, by sequence.
    applied: BTreeMap<u64, Kept>,
    /// Bytes of its answers.
    kept_bytes: usize,
}

/// What is kept of an applied command.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Kept {
    /// It is being applied.
    Unfinished,
    /// Its answer, with its place in the order of all of them.
    Answer {
        /// The place.
        order: u64,
        /// The answer.
        answer: Bytes,
    },
    /// Only that it was applied.
    Gone,
}

impl Session {
    /// The lowest sequence that is told apart from others.
    fn window_from(&self) -> u64 {
        self.highest.saturating_sub(WINDOW - 1)
    }

    /// The answer that came first of those that are kept.
    fn oldest_answer(&self) -> Option<u64> {
        self.applied
            .values()
            .filter_map(|kept| match kept {
                Kept::Answer { order, .. } => Some(*order),
                Kept::Unfinished | Kept::Gone => None,
            })
            .min()
    }
}

impl Sessions {
    /// Notes that the log has come to `time`: sessions that have outlived their last command end.
    /// To be called for each entry, whatever it says.
    pub fn advance(&mut self, time: LogTime) {
        debug_assert!(time >= self.time, "log time goes back");
        self.time = self.time.max(time);
        while let Some((issued, client)) = self.ends.first().copied() {
            if !expired(self.time, issued) {
                break;
            }
            self.end(client);
        }
    }

    /// Decides about a command that stands in the log at `time`.
    pub fn admit(&mut self, time: LogTime, command: &Command) -> Admission {
        self.advance(time);
        if expired(self.time, command.issued) {
            return Admission::Refused(Refusal::Expired);
        }
        if command.issued.0 > self.time.0.saturating_add(LIFETIME_MS) {
            return Admission::Refused(Refusal::IssuedAhead);
        }
        let full = self.clients.len() >= MAX_CLIENTS;
        let Some(session) = self.clients.get(&command.client) else {
            return if command.sequence < command.answered_below {
                Admission::Refused(Refusal::Stale)
            } else if full {
                Admission::Refused(Refusal::TooManyClients)
            } else {
                self.begin(command);
                Admission::Fresh
            };
        };
        if command.answered_below > session.answered_below {
            self.forget_below(command.client, command.answered_below);
        }
        self.admit_known(command)
    }

    /// Takes the answer of a command that was admitted as [`Admission::Fresh`].
    pub fn answered(&mut self, client: ClientId, sequence: u64, answer: &Bytes) {
        self.unfinished -= 1;
        // Gone meanwhile: ended, answered, or overtaken by the window within one batch.
        let Some(session) = self.clients.get_mut(&client) else {
            return;
        };
        let Some(kept) = session.applied.get_mut(&sequence) else {
            return;
        };
        if answer.len() > MAX_ANSWER_BYTES {
            *kept = Kept::Gone;
            return;
        }
        *kept = Kept::Answer {
            order: self.next_order,
            answer: answer.clone(),
        };
        session.kept_bytes += answer.len();
        self.kept_bytes += answer.len();
        self.kept.insert(self.next_order, (client, sequence));
        self.next_order += 1;
        self.keep_bounds(client);
    }

    /// Whether every admitted command has its answer: only then there is a state to be saved.
    pub fn is_finished(&self) -> bool {
        self.unfinished == 0
    }

    /// Clients that are known.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Bytes of answers that are kept.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    fn begin(&mut self, command: &Command) {
        self.ends.insert((command.issued, command.client));
        self.unfinished += 1;
        self.clients.insert(
            command.client,
            Session {
                newest_issued: command.issued,
                highest: command.sequence,
                answered_below: command.answered_below,
                applied: BTreeMap::from([(command.sequence, Kept::Unfinished)]),
                kept_bytes: 0,
            },
        );
    }

    fn admit_known(&mut self, command: &Command) -> Admission {
        let session = self
            .clients
            .get_mut(&command.client)
            .expect("its session was found");
        let sequence = command.sequence;
        if sequence < session.answered_below {
            return Admission::Refused(Refusal::Stale);
        }
        if sequence < session.window_from() {
            return Admission::Refused(Refusal::BelowWindow);
        }
        match session.applied.get(&sequence) {
            Some(Kept::Unfinished) => return Admission::Unfinished,
            Some(Kept::Answer { answer, .. }) => return Admission::Duplicate(answer.clone()),
            Some(Kept::Gone) => return Admission::Refused(Refusal::AnswerGone),
            None => {}
        }
        session.applied.insert(sequence, Kept::Unfinished);
        self.unfinished += 1;
        session.highest = session.highest.max(sequence);
        let window_from = session.window_from();
        if command.issued > session.newest_issued {
            self.ends.remove(&(session.newest_issued, command.client));
            self.ends.insert((command.issued, command.client));
            session.newest_issued = command.issued;
        }
        self.drop_below(command.client, window_from);
        Admission::Fresh
    }

    /// Notes that the client has its answers below `sequence`.
    fn forget_below(&mut self, client: ClientId, sequence: u64) {
        if let Some(session) = self.clients.get_mut(&client) {
            session.answered_below = sequence;
        }
        self.drop_below(client, sequence);
    }

    /// Drops what is recorded below `sequence`.
    fn drop_below(&mut self, client: ClientId, sequence: u64) {
        let Some(session) = self.clients.get_mut(&client) else {
            return;
        };
        while let Some(first) = session.applied.first_entry() {
            if *first.key() >= sequence {
                break;
            }
            if let Kept::Answer { order, answer } = first.remove() {
                session.kept_bytes -= answer.len();
                self.kept_bytes -= answer.len();
                self.kept.remove(&order);
            }
        }
    }

    /// Ends a session.
    fn end(&mut self, client: ClientId) {
        let Some(session) = self.clients.remove(&client) else {
            return;
        };
        self.ends.remove(&(session.newest_issued, client));
        self.kept_bytes -= session.kept_bytes;
        for kept in session.applied.values() {
            if let Kept::Answer { order, .. } = kept {
                self.kept.remove(order);
            }
        }
    }

    /// Lets the oldest answers go, first of the client that has just got one, then of all.
    fn keep_bounds(&mut self, client: ClientId) {
        while self
            .clients
            .get(&client)
            .is_some_and(|session| session.kept_bytes > MAX_CLIENT_ANSWERS_BYTES)
        {
            let oldest = self.clients.get(&client).and_then(Session::oldest_answer);
            self.let_go(oldest);
        }
        while self.kept_bytes > MAX_ANSWERS_BYTES {
            let oldest = self.kept.first_key_value().map(|(order, _)| *order);
            self.let_go(oldest);
        }
    }

    fn let_go(&mut self, order: Option<u64>) {
        let order = order.expect("bytes are kept, so an answer is");
        let Some((client, sequence)) = self.kept.remove(&order) else {
            return;
        };
        let Some(session) = self.clients.get_mut(&client) else {
            return;
        };
        if let Some(Kept::Answer { answer, .. }) = session.applied.insert(sequence, Kept::Gone) {
            session.kept_bytes -= answer.len();
            self.kept_bytes -= answer.len();
        }
    }
}

fn expired(time: LogTime, issued: LogTime) -> bool {
    time.0.saturating_sub(issued.0) > LIFETIME_MS
}
