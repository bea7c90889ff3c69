//! The same log makes the same state, and so do its snapshots.

use std::io;

use bytes::Bytes;
use tcpffee_raft::ids::{Index, LogTime};
use tcpffee_raft::machine::{Applied, Event, SnapshotSource, StateMachine};
use tcpffee_raft::membership::Membership;

use super::made::Made;
use crate::health::replicated::codec::{decode_answer, encode_command};
use crate::health::replicated::command::VERSION;
use crate::health::replicated::{Minutes, machine};

/// Entries of one log.
const MAX_STEPS: u64 = 64;

/// A replica with its minutes.
pub(super) struct Node {
    machine: Box<dyn StateMachine>,
    pub minutes: Minutes,
}

/// One entry of the log.
pub(super) struct Step {
    pub index: u64,
    pub what: What,
}

/// What it says.
pub(super) enum What {
    Command { version: u16, body: Bytes },
    Membership(Membership),
    Time,
}

/// Two replicas apply a log that the bytes say. Now and then the second is replaced by one that
/// begins with a snapshot of the first, which goes on before it is read. In the end the first one's
/// snapshot is damaged.
pub(super) fn one_log(bytes: &[u8]) {
    let mut made = Made::new(bytes);
    let damage = [made.damage(), made.damage()];
    let (mut one, mut other) = (Node::new(), Node::new());
    let begin = Step {
        index: 1,
        what: What::Membership(made.membership()),
    };
    both(&mut one, &mut other, &begin);
    for index in 2..MAX_STEPS {
        if made.source.is_empty() {
            break;
        }
        let takes_snapshot = made.source.byte() >= 245;
        let mut reading = takes_snapshot.then(|| (one.minutes.agreed(), one.machine.snapshot()));
        let step = next_step(&mut made, index);
        both(&mut one, &mut other, &step);
        if let Some((was, source)) = &mut reading {
            other = Node::new();
            let restored = other.restore(&read(&mut **source));
            restored.expect("it is a snapshot of a state");
            assert_eq!(other.minutes.agreed(), *was);
            other.apply(&step);
        }
        one.is_as(&mut other);
        one.is_sound();
    }
    let [first, second] = damage;
    let snapshot = second.done_to(&first.done_to(&one.snapshot()));
    restored_in_place_of(&mut other, &snapshot, made);
}

/// Restores what may be a snapshot in place of a state.
pub(super) fn restored_in_place_of_another(snapshot: &[u8], mut made: Made<'_>) {
    let mut used = Node::new();
    for index in 1..4 {
        used.apply(&next_step(&mut made, index));
    }
    restored_in_place_of(&mut used, snapshot, made);
}

/// Where it is a snapshot, no other bytes are one of its state, and whoever has begun with it goes
/// on alike, whatever it was before. Where it is none, nothing has changed.
fn restored_in_place_of(used: &mut Node, snapshot: &[u8], mut made: Made<'_>) {
    let before = used.minutes.agreed();
    let mut new = Node::new();
    let restored = new.restore(snapshot);
    assert_eq!(restored.is_ok(), used.restore(snapshot).is_ok());
    if restored.is_err() {
        assert_eq!(used.minutes.agreed(), before);
        return;
    }
    assert!(new.snapshot() == snapshot, "{:?}", new.minutes);
    new.is_as(used);
    for index in MAX_STEPS..MAX_STEPS + 4 {
        both(&mut new, used, &next_step(&mut made, index));
        new.is_as(used);
    }
}

pub(super) fn next_step(made: &mut Made<'_>, index: u64) -> Step {
    let what = match made.source.byte() {
        0..=9 => What::Time,
        10..=24 => What::Membership(made.membership()),
        25..=34 => What::Command {
            version: made.source.short() % 3,
            body: Bytes::copy_from_slice(made.source.slice(usize::MAX)),
        },
        35..=49 => {
            let damage = made.damage();
            What::Command {
                version: VERSION,
                body: damage.done_to(&encode_command(&made.command())).into(),
            }
        }
        _ => What::Command {
            version: VERSION,
            body: encode_command(&made.command()),
        },
    };
    Step { index, what }
}

/// Both apply an entry, and answer the same.
fn both(one: &mut Node, other: &mut Node, step: &Step) {
    let answers = one.apply(step);
    assert_eq!(answers, other.apply(step));
    for answer in answers {
        let answer = decode_answer(&answer).expect("it was just written");
        assert_eq!(answer.index, Index(step.index));
    }
}

impl Node {
    /// Before the log's first entry.
    pub fn new() -> Node {
        let minutes = Minutes::default();
        Node {
            machine: machine(&minutes),
            minutes,
        }
    }

    fn restore(&mut self, snapshot: &[u8]) -> io::Result<()> {
        self.machine.restore(&mut &snapshot[..])
    }

    /// Applies an entry. There is an answer to each command, and to nothing else.
    pub fn apply(&mut self, step: &Step) -> Vec<Bytes> {
        let event = match &step.what {
            What::Command { version, body } => Event::Command {
                version: *version,
                body,
            },
            What::Membership(membership) => Event::Membership(membership),
            What::Time => Event::Time,
        };
        let applied = Applied {
            index: Index(step.index),
            time: LogTime(step.index),
            event,
        };
        let mut answers = Vec::new();
        self.machine.apply(&[applied], &mut answers);
        let is_command = matches!(step.what, What::Command { .. });
        assert_eq!(answers.len(), usize::from(is_command));
        answers
    }

    fn snapshot(&mut self) -> Vec<u8> {
        read(&mut *self.machine.snapshot())
    }

    /// Is in nothing different from another replica of the same log.
    fn is_as(&mut self, other: &mut Node) {
        assert_eq!(self.minutes.agreed(), other.minutes.agreed());
    }

    /// What a log leaves is of members alone, and each verdict of somebody who has the check.
    fn is_sound(&self) {
        let agreed = self.minutes.agreed();
        assert!(agreed.alive().is_subset(agreed.members()));
        let mut speakers = agreed.said.keys();
        assert!(speakers.all(|node| agreed.members().contains(node)));
        for key in agreed.verdicts().keys() {
            assert!(agreed.votes(*key).next().is_some(), "nobody has {key:?}");
        }
    }
}

/// All that there is to read.
fn read(source: &mut dyn SnapshotSource) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        source.next_piece(&mut bytes).expect("it is in memory");
        if bytes.len() == before {
            return bytes;
        }
    }
}
