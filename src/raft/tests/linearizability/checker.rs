//! Whether a history of registers is linearizable: whether each operation can have happened at
//! one moment between its call and its answer.
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993): take
//! any operation that no unplaced one precedes, place it next if its answer fits, go back where
//! none fits. As Lowe proposed ("Testing for linearizability", 2017) and Porcupine does, what has
//! been placed together with the value reached is remembered, so that no situation is searched
//! twice, and each register is searched by itself (a history is linearizable exactly when that of
//! each object is: Herlihy and Wing, 1990).
//!
//! An operation without an answer may be placed anywhere after its call and need not be placed at
//! all. Trying them all everywhere would double the search with each; so one is placed only
//! directly before an operation that would not fit without it. Nothing is missed: in any order
//! that explains the answers, one that the next operation fits without can be left out (the next
//! one is a `Put`) or moved behind it (the next one is a `Cas` that found another value).

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::history::{Call, Operation, Outcome, Value};

/// Placements tried for one register before the search is given up. A history of some ten
/// thousand operations takes about as many.
pub const MAX_STEPS: u64 = 50_000_000;

/// Operations shown around the place where a search got stuck.
const SHOWN: usize = 12;

/// What is wrong with a history.
#[derive(Debug)]
pub enum Violation {
    /// No order of the register's operations explains all answers.
    NotLinearizable {
        /// The register.
        key: u64,
        /// Most operations that could be placed.
        placed: usize,
        /// Some operations of the register, those around the first that never fitted.
        around: Vec<Operation>,
    },
    /// The search took too long to tell.
    Undecided {
        /// The register.
        key: u64,
        /// Its operations.
        operations: usize,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::NotLinearizable {
                key,
                placed,
                around,
            } => {
                writeln!(
                    f,
                    "register {key}: no order explains the answers; {placed} operations fit, then:"
                )?;
                around.iter().try_for_each(|op| writeln!(f, "{op}"))
            }
            Violation::Undecided { key, operations } => write!(
                f,
                "register {key}: undecided after {MAX_STEPS} steps with {operations} operations"
            ),
        }
    }
}

/// Checks a history, register by register.
///
/// # Errors
/// The first register whose operations no order explains.
pub fn check(history: &[Operation]) -> Result<(), Violation> {
    let mut registers: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        // A read without an answer says nothing.
        if operation.call != Call::Get || operation.outcome != Outcome::Unknown {
            registers.entry(operation.key).or_default().push(*operation);
        }
    }
    for (key, operations) in registers {
        Search::new(key, operations).run()?;
    }
    Ok(())
}

/// Calls and answers of one register in the order of time, as a doubly linked list from which
/// placed operations are taken out and put back in.
struct Search {
    key: u64,
    operations: Vec<Operation>,
    /// Event by place; 0 is the head of the list.
    events: Vec<Event>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// The place of each operation's answer; none if there was none.
    answers: Vec<Option<usize>>,
    /// Operations with an answer that are not placed yet.
    unplaced: usize,
    placed: Placed,
    seen: HashSet<(Placed, State)>,
}

/// The register between two placed operations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct State {
    value: Value,
    /// After an operation without an answer: the value before it, which the next operation must
    /// not fit.
    instead_of: Option<Value>,
}

impl State {
    fn after(self, operation: &Operation) -> Option<State> {
        let value = operation.effect(self.value)?;
        if let Some(other) = self.instead_of
            && operation.effect(other).is_some()
        {
            return None;
        }
        Some(State {
            value,
            instead_of: (!operation.is_answered()).then_some(self.value),
        })
    }
}

#[derive(Clone, Copy)]
enum Event {
    Head,
    Call(usize),
    Answer(usize),
}

/// One bit for each operation.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Placed(Box<[u64]>);

impl Placed {
    fn flip(&mut self, operation: usize) {
        self.0[operation / 64] ^= 1 << (operation % 64);
    }
}

impl Search {
    fn new(key: u64, operations: Vec<Operation>) -> Search {
        // At one moment calls come before answers: what may have overlapped does.
        let mut order = Vec::with_capacity(2 * operations.len());
        for (at, operation) in operations.iter().enumerate() {
            order.push((operation.asked_ns, false, at));
            if operation.is_answered() {
                order.push((operation.answered_ns, true, at));
            }
        }
        order.sort_unstable();
        let mut events = vec![Event::Head];
        let mut answers = vec![None; operations.len()];
        for (_, is_answer, at) in order {
            if is_answer {
                answers[at] = Some(events.len());
                events.push(Event::Answer(at));
            } else {
                events.push(Event::Call(at));
            }
        }
        let count = events.len();
        Search {
            key,
            next: (0..count).map(|place| (place + 1) % count).collect(),
            previous: (0..count)
                .map(|place| (place + count - 1) % count)
                .collect(),
            events,
            unplaced: answers.iter().flatten().count(),
            answers,
            placed: Placed(vec![0; operations.len().div_ceil(64)].into()),
            seen: HashSet::new(),
            operations,
        }
    }

    fn run(mut self) -> Result<(), Violation> {
        let mut state = State::default();
        let mut choices: Vec<(usize, State)> = Vec::new();
        let mut place = self.next[0];
        let mut deepest = (0, 0);
        for _ in 0..MAX_STEPS {
            if self.unplaced == 0 {
                return Ok(());
            }
            if let Event::Call(operation) = self.events[place] {
                match self.try_to_place(operation, state) {
                    Some(after) => {
                        choices.push((place, state));
                        state = after;
                        self.take_out(place, operation);
                        place = self.next[0];
                    }
                    None => place = self.next[place],
                }
                continue;
            }
            // An answer whose call is not placed, or the end: an earlier choice was wrong.
            if choices.len() >= deepest.0 {
                deepest = (choices.len(), place);
            }
            let Some((choice, before)) = choices.pop() else {
                return Err(self.stuck(deepest));
            };
            let Event::Call(operation) = self.events[choice] else {
                unreachable!("only calls are chosen");
            };
            state = before;
            self.put_back(choice, operation);
            place = self.next[choice];
        }
        Err(Violation::Undecided {
            key: self.key,
            operations: self.operations.len(),
        })
    }

    /// The state after placing the operation, unless it does not fit or leads to where the search
    /// has been.
    fn try_to_place(&mut self, operation: usize, state: State) -> Option<State> {
        let after = state.after(&self.operations[operation])?;
        self.placed.flip(operation);
        if self.seen.insert((self.placed.clone(), after)) {
            return Some(after);
        }
        self.placed.flip(operation);
        None
    }

    fn take_out(&mut self, place: usize, operation: usize) {
        self.unlink(place);
        if let Some(answer) = self.answers[operation] {
            self.unlink(answer);
            self.unplaced -= 1;
        }
    }

    /// Undoes the newest `take_out`.
    fn put_back(&mut self, place: usize, operation: usize) {
        if let Some(answer) = self.answers[operation] {
            self.link(answer);
            self.unplaced += 1;
        }
        self.link(place);
        self.placed.flip(operation);
    }

    fn unlink(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    fn link(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = place;
        self.previous[after] = place;
    }

    fn stuck(self, (placed, place): (usize, usize)) -> Violation {
        let moment = match self.events[place] {
            Event::Answer(operation) => self.operations[operation].answered_ns,
            Event::Head | Event::Call(_) => u64::MAX,
        };
        let mut around = self.operations;
        around.sort_by_key(|operation| operation.asked_ns);
        let end = around.partition_point(|operation| operation.asked_ns <= moment);
        around.truncate(end + SHOWN / 3);
        // Operations without an answer may matter however old they are.
        let old = around.len().saturating_sub(SHOWN);
        let mut nth = 0;
        around.retain(|operation| {
            nth += 1;
            nth > old || !operation.is_answered()
        });
        Violation::NotLinearizable {
            key: self.key,
            placed,
            around,
        }
    }
}
