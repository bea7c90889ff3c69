//! A store beside a model of what it must hold.
//!
//! The model keeps every state that the log went through, record by record, since the last sync:
//! a crash may leave the store in any of these and in no other.

use super::super::memory::Fault;
use super::*;

/// What the log holds after some record.
#[derive(Clone, Debug)]
struct State {
    hard_state: HardState,
    before: Position,
    entries: Vec<Entry>,
}

impl State {
    fn last(&self) -> Position {
        self.entries.last().map_or(self.before, Entry::position)
    }
}

/// One step of work.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Append {
        count: u8,
        body_bytes: u16,
        commit: bool,
    },
    /// A new leader replaces what is not committed.
    Replace {
        keep: u8,
        count: u8,
    },
    Vote,
    Sync,
    Prepare,
    Snapshot {
        back: u8,
        bytes: u16,
    },
    /// A snapshot arrives that lies ahead of the log.
    Arrive {
        ahead: u8,
        bytes: u16,
        restart: bool,
        then: Then,
    },
    Compact {
        tail: u8,
    },
    Crash {
        seed: u64,
    },
    Kill,
    /// The disk fails a while later, for as long as this process lives.
    Fail {
        after: u8,
        full: bool,
    },
}

/// What comes after a snapshot has arrived.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    BeginAnew,
    Crash { seed: u64 },
    Kill,
}

pub(super) struct Harness {
    pub(super) disk: MemoryDisk,
    store: Option<Store<MemoryDisk>>,
    /// The first is on disk.
    states: Vec<State>,
    /// The newest snapshot; two where a disk failed under it.
    snapshots: Vec<Option<SnapshotMeta>>,
    committed: Index,
    failing: bool,
    pub(super) recoveries: u64,
}

/// What the store did that it must not do.
pub(super) type Verdict = Result<(), String>;

impl Harness {
    pub(super) fn new() -> Harness {
        let mut harness = Harness {
            disk: MemoryDisk::new(),
            store: None,
            states: vec![State {
                hard_state: HardState::default(),
                before: Position::default(),
                entries: Vec::new(),
            }],
            snapshots: vec![None],
            committed: Index(0),
            failing: false,
            recoveries: 0,
        };
        harness.recover().expect("a blank disk is blank");
        harness
    }

    pub(super) fn run(&mut self, steps: &[Step]) -> Verdict {
        for step in steps {
            if let Err(error) = self.step(step)? {
                // Whatever failed, the process ends, and the next one finds a healthy disk.
                if !self.failing {
                    return Err(format!("{step:?} failed: {error}"));
                }
                self.restart(None)?;
            }
        }
        self.restart(None)
    }

    fn step(&mut self, step: &Step) -> Result<Result<(), StoreError>, String> {
        let done = match step {
            Step::Append {
                count,
                body_bytes,
                commit,
            } => {
                let state = self.newest();
                let (first, term) = (state.last().index.0 + 1, state.hard_state.term.0.max(1));
                let last = first + u64::from(*count);
                let entries = (first..last)
                    .map(|index| entry(index, term, *body_bytes as usize % 600))
                    .collect();
                let commit = match commit {
                    true => last - 1,
                    false => state.hard_state.commit.0,
                };
                let vote = state.hard_state.vote;
                self.append(write(Some(hard_state(term, vote, commit)), entries))
            }
            Step::Replace { keep, count } => {
                let state = self.newest();
                let term = state.hard_state.term.0 + 1;
                let floor = self.committed.0.max(state.before.index.0) + 1;
                let first = (floor + u64::from(*keep))
                    .min(state.last().index.0 + 1)
                    .max(floor);
                if state.last().index.0 + 1 < first {
                    return Ok(Ok(()));
                }
                let entries = (first..first + u64::from(*count))
                    .map(|index| entry(index, term, 40))
                    .collect();
                let commit = state.hard_state.commit.0;
                self.append(write(Some(hard_state(term, None, commit)), entries))
            }
            Step::Vote => {
                let found = self.newest().hard_state;
                self.append(write(
                    Some(HardState {
                        term: Term(found.term.0 + 1),
                        vote: Some(NodeId(3)),
                        ..found
                    }),
                    Vec::new(),
                ))
            }
            Step::Sync => self.sync(),
            Step::Prepare => self.store().log.prepare(),
            Step::Snapshot { back, bytes } => self.snapshot(*back, *bytes),
            Step::Arrive {
                ahead,
                bytes,
                restart,
                then,
            } => {
                return self.arrive(*ahead, *bytes, *restart, *then);
            }
            Step::Compact { tail } => {
                let newest = self.newest_snapshot().map_or(0, |meta| meta.last.index.0);
                let first = (newest + 1).saturating_sub(u64::from(*tail)).max(1);
                self.store().log.compact(Index(first))
            }
            Step::Crash { seed } => return self.restart(Some(*seed)).map(Ok),
            Step::Kill => return self.restart(None).map(Ok),
            Step::Fail { after, full } => {
                let fault = match full {
                    true => Fault::Full,
                    false => Fault::Broken,
                };
                self.disk.fail_after(u64::from(*after), fault);
                self.failing = true;
                Ok(())
            }
        };
        Ok(done)
    }

    fn store(&mut self) -> &mut Store<MemoryDisk> {
        self.store.as_mut().expect("open between restarts")
    }

    fn newest(&self) -> &State {
        self.states.last().expect("never empty")
    }

    fn newest_snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshots.last().and_then(Option::as_ref)
    }

    fn append(&mut self, write: Write) -> Result<(), StoreError> {
        let mut state = self.newest().clone();
        let mut push = |state: &State| self.states.push(state.clone());
        if let Some(hard_state) = write.hard_state {
            state.hard_state = hard_state;
            push(&state);
        }
        if let Some(meta) = &write.reset {
            state.before = meta.last;
            state.entries.clear();
            push(&state);
        }
        for entry in &write.entries {
            let place = entry.index.0 - state.before.index.0 - 1;
            state.entries.truncate(place as usize);
            state.entries.push(entry.clone());
            push(&state);
        }
        self.committed = self.committed.max(state.hard_state.commit);
        self.store().log.append(&[write])
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.store().log.sync()?;
        self.states.drain(..self.states.len() - 1);
        Ok(())
    }

    fn snapshot(&mut self, back: u8, bytes: u16) -> Result<(), StoreError> {
        self.sync()?;
        let state = self.newest();
        let index = state.hard_state.commit.0.saturating_sub(u64::from(back));
        let newest = self.newest_snapshot().map_or(0, |meta| meta.last.index.0);
        let Some(last) = state
            .entries
            .iter()
            .map(Entry::position)
            .find(|position| position.index.0 == index && index > newest)
        else {
            return Ok(());
        };
        let content = vec![index as u8; bytes as usize];
        let expected = meta(last, &content);
        self.snapshots.push(Some(expected.clone()));
        let mut writer = self.store().snapshots.begin(expected.clone())?;
        for piece in content.chunks(1000) {
            writer.write(piece)?;
        }
        assert_eq!(writer.finish()?, expected);
        self.snapshots = vec![Some(expected.clone())];
        self.store().snapshots.remove_before(expected.last)
    }

    fn arrive(
        &mut self,
        ahead: u8,
        bytes: u16,
        restart: bool,
        then: Then,
    ) -> Result<Result<(), StoreError>, String> {
        let state = self.newest();
        let last = Position {
            term: Term(state.hard_state.term.0 + 1),
            index: Index(state.last().index.0.max(self.committed.0) + 1 + u64::from(ahead)),
        };
        let content = vec![last.index.0 as u8; bytes as usize];
        let meta = meta(last, &content);
        let half = content.len() / 2;
        // All that makes it count comes with the last piece.
        if let Err(error) = self.receive(&meta, 0, &content[..half]) {
            return Ok(Err(error));
        }
        if restart {
            self.restart(None)?;
            if half > 0 && self.store().snapshots.partial(&meta).ok() != Some(half as u64) {
                return Err("a part of a snapshot was lost without a crash".into());
            }
        }
        self.snapshots.push(Some(meta.clone()));
        let received = match content.is_empty() {
            true => Ok(0),
            false => self.receive(&meta, half as u64, &content[half..]),
        };
        if let Err(error) = received {
            return Ok(Err(error));
        }
        self.snapshots = vec![Some(meta.clone())];
        self.committed = meta.last.index;
        match then {
            Then::Crash { seed } => self.restart(Some(seed)).map(Ok),
            Then::Kill => self.restart(None).map(Ok),
            Then::BeginAnew => {
                let term = meta.last.term.0;
                let commit = meta.last.index.0;
                Ok(self.append(Write {
                    reset: Some(Arc::new(meta)),
                    ..write(Some(hard_state(term, None, commit)), Vec::new())
                }))
            }
        }
    }

    fn receive(
        &mut self,
        meta: &SnapshotMeta,
        offset: u64,
        data: &[u8],
    ) -> Result<u64, StoreError> {
        self.store().snapshots.receive_chunk(meta, offset, data)
    }

    /// Ends the process, with the machine where a seed is given, and starts the next one.
    pub(super) fn restart(&mut self, crash: Option<u64>) -> Verdict {
        self.store = None;
        match crash {
            Some(seed) => self.disk.crash(&mut random(seed)),
            None => self.disk.kill(),
        }
        self.disk.heal();
        self.failing = false;
        self.recover()
    }

    fn recover(&mut self) -> Verdict {
        self.recoveries += 1;
        let (mut store, _, found) = open(&self.disk).map_err(|error| error.to_string())?;
        store
            .identity
            .begin_life()
            .map_err(|error| error.to_string())?;
        if !self.snapshots.contains(&found.snapshot) {
            return Err(format!(
                "snapshot {:?} instead of one of {:?}",
                found.snapshot, self.snapshots
            ));
        }
        let Some(state) = self
            .states
            .iter()
            .rev()
            .find_map(|state| explains(state, &found))
        else {
            return Err(format!(
                "found {found:?}\nwhich is none of {} states, from {:?}\nto {:?}",
                self.states.len(),
                self.states.first(),
                self.states.last()
            ));
        };
        self.committed = found.hard_state.commit;
        self.states = vec![state];
        self.snapshots = vec![found.snapshot];
        self.store = Some(store);
        Ok(())
    }
}

/// Whether a log in this state is found as such; if so, the state to go on from.
fn explains(state: &State, found: &Recovered) -> Option<State> {
    let snapshot = found
        .snapshot
        .as_ref()
        .map_or(Position::default(), |meta| meta.last);
    let before = state.before.index;
    let held = match snapshot.index.0.checked_sub(before.0)? {
        0 => state.before == snapshot,
        nth => state
            .entries
            .get(nth as usize - 1)
            .is_some_and(|entry| entry.position() == snapshot),
    };
    let (after, end) = match held {
        true => {
            // Of what the snapshot stands for, anything may have been cut.
            let cut = match found.entries.first() {
                Some(first) => first.index.0.checked_sub(before.0 + 1)?,
                None => state.entries.len() as u64,
            };
            if before.0 + cut > snapshot.index.0
                || found.entries != state.entries.get(cut as usize..)?
            {
                return None;
            }
            let before = match cut {
                0 => state.before,
                cut => state.entries[cut as usize - 1].position(),
            };
            let after = State {
                hard_state: found.hard_state,
                before,
                entries: found.entries.clone(),
            };
            (after, state.last())
        }
        false if found.entries.is_empty() => {
            let after = State {
                hard_state: found.hard_state,
                before: snapshot,
                entries: Vec::new(),
            };
            (after, snapshot)
        }
        false => return None,
    };
    let term = state.hard_state.term.max(snapshot.term).max(end.term);
    let expected = HardState {
        term,
        vote: match term == state.hard_state.term {
            true => state.hard_state.vote,
            false => None,
        },
        commit: state.hard_state.commit.max(snapshot.index).min(end.index),
    };
    (expected == found.hard_state).then_some(after)
}
