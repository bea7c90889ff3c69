//! A state machine for tests and measurements: named values, read and changed by the log.
//!
//! Commands and answers are text:
//!
//! | command | answer |
//! | --- | --- |
//! | `get k` | `ok v`, or `ok nil` |
//! | `put k v` | `ok` |
//! | `cas k old new` | `ok` where the value was `old` (`nil`: none), else `fail` |
//! | `add k n` | `ok sum` |

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tcpffee_raft::ids::Term;
use tcpffee_raft::machine::{Applied, Event, SnapshotSource, StateMachine};

/// The version of the commands' language.
pub const VERSION: u16 = 1;

/// What a snapshot's pieces hold, roughly.
const PIECE_BYTES: usize = 64 * 1024;

/// Values by name.
pub type Values = BTreeMap<String, String>;

/// What others see of a state machine, from outside the log.
#[derive(Clone, Default)]
pub struct View(Arc<Mutex<Seen>>);

/// The state, and what has happened to it.
#[derive(Default)]
pub struct Seen {
    /// The values.
    pub values: Values,
    /// Commands applied in this process, restored ones aside.
    pub applied: u64,
    /// Whether the state machine has been told that its node leads.
    pub leads: bool,
    /// All that it has been told of that: the term in which it leads, or none where it does no
    /// longer.
    pub told: Vec<Option<Term>>,
}

impl View {
    /// The state as it is now.
    pub fn look(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A state machine in its first state, seen by this view from now on.
    pub fn begin(&self) -> Box<dyn StateMachine> {
        *self.look() = Seen::default();
        Box::new(Register(self.clone()))
    }
}

struct Register(View);

impl StateMachine for Register {
    fn apply(&mut self, entries: &[Applied<'_>], answers: &mut Vec<Bytes>) {
        let mut seen = self.0.look();
        for entry in entries {
            if let Event::Command { body, .. } = entry.event {
                seen.applied += 1;
                answers.push(obey(&mut seen.values, body));
            }
        }
    }

    fn snapshot(&mut self) -> Box<dyn SnapshotSource> {
        Box::new(Pieces {
            values: self.0.look().values.clone().into_iter(),
        })
    }

    fn restore(&mut self, state: &mut dyn Read) -> io::Result<()> {
        let mut text = String::new();
        state.read_to_string(&mut text)?;
        let values = text.lines().map(|line| {
            let pair = line.split_once(' ');
            pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        });
        let values: Option<Values> = values.collect();
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not values");
        self.0.look().values = values.ok_or_else(malformed)?;
        Ok(())
    }

    fn became_leader(&mut self, term: Term) {
        let mut seen = self.0.look();
        seen.leads = true;
        seen.told.push(Some(term));
    }

    fn ceased_to_lead(&mut self) {
        let mut seen = self.0.look();
        seen.leads = false;
        seen.told.push(None);
    }
}

struct Pieces {
    values: std::collections::btree_map::IntoIter<String, String>,
}

impl SnapshotSource for Pieces {
    fn next_piece(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while out.len() < PIECE_BYTES {
            let Some((name, value)) = self.values.next() else {
                break;
            };
            out.extend_from_slice(format!("{name} {value}\n").as_bytes());
        }
        Ok(())
    }
}

fn obey(values: &mut Values, command: &[u8]) -> Bytes {
    let command = String::from_utf8_lossy(command);
    let words: Vec<&str> = command.split(' ').collect();
    let shown = |value: Option<&String>| value.map_or("nil", String::as_str).to_owned();
    match words[..] {
        ["get", name] => Bytes::from(format!("ok {}", shown(values.get(name)))),
        ["put", name, value] => {
            values.insert(name.to_owned(), value.to_owned());
            Bytes::from_static(b"ok")
        }
        ["cas", name, old, new] => {
            if shown(values.get(name)) != old {
                return Bytes::from_static(b"fail");
            }
            values.insert(name.to_owned(), new.to_owned());
            Bytes::from_static(b"ok")
        }
        ["add", name, more] => {
            let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
            let old = number(values.get(name).map(String::as_str)).unwrap_or(0);
            let sum = old + number(Some(more)).unwrap_or(0);
            values.insert(name.to_owned(), sum.to_string());
            Bytes::from(format!("ok {sum}"))
        }
        _ => Bytes::from_static(b"malformed"),
    }
}
