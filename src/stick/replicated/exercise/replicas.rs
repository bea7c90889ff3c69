//! The same log makes the same state, and so do its snapshots.

use bytes::{BufMut, Bytes};
use tcpffee_raft::machine::StateMachine;
use tcpffee_raft::wire::exercise::Source;

use super::made::Made;
use super::node::{Node, Step, What, read};
use crate::stick::replicated::codec::encode;
use crate::stick::replicated::command::{Answer, Batch, VERSION};
use crate::stick::replicated::snapshot::{FORMAT, put_end, put_first_header};

/// Entries of one log.
const MAX_STEPS: usize = 64;

/// Snapshots of one log that are taken on the way.
const MAX_SNAPSHOTS: usize = 3;

/// Two replicas apply a log that the bytes say. Now and then the second is replaced by one that
/// begins with a snapshot of the first, which goes on while it is read. In the end the first one's
/// snapshot is damaged.
pub(super) fn one_log(bytes: &[u8]) {
    let mut made = Made::new(bytes);
    let damage = [made.damage(), made.damage()];
    let (mut one, mut other) = (Node::new(), Node::new());
    begin(&mut made, |step| {
        both(&mut one, &mut other, step);
    });
    let mut snapshots = 0;
    for _ in 0..MAX_STEPS {
        if made.source.is_empty() {
            break;
        }
        let takes_snapshot = made.source.byte() >= 250 && snapshots < MAX_SNAPSHOTS;
        if takes_snapshot {
            snapshots += 1;
            other = restored_while_it_goes_on(&mut one, &mut made);
            continue;
        }
        let step = next_step(&mut made);
        learn(&mut made, &step, &both(&mut one, &mut other, &step));
    }
    one.is_as(&other);
    let [first, second] = damage;
    let snapshot = one.snapshot();
    restored_in_place_of(&mut other, &second.done_to(&first.done_to(&snapshot)), made);
}

/// Restores bytes that are framed as a snapshot is.
pub(super) fn arbitrary_snapshot(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut snapshot = vec![FORMAT];
    match source.bool() {
        true => put_first_header(&mut snapshot),
        false => put_framed(&mut snapshot, source.slice(usize::MAX)),
    }
    for _ in 0..source.byte() % 4 {
        put_framed(&mut snapshot, source.slice(usize::MAX));
    }
    put_end(&mut snapshot, u64::from(source.short()));
    let mut used = Node::new();
    let mut made = Made::new(source.slice(usize::MAX));
    begin(&mut made, |step| drop(used.apply(step)));
    restored_in_place_of(&mut used, &snapshot, made);
}

fn put_framed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(bytes.len() as u32);
    out.put_slice(bytes);
}

/// The first entries of a log, as they mostly are; of some logs there are none.
pub(super) fn begin(made: &mut Made<'_>, mut apply: impl FnMut(&Step)) {
    if made.source.byte().is_multiple_of(8) {
        return;
    }
    let membership = What::Membership(made.membership());
    made.go_on();
    apply(&step(made, membership));
    for node in 0..made.source.byte() % 4 {
        let batch = made.usual_statement(node.into());
        made.go_on();
        apply(&step(made, command(&batch)));
    }
}

pub(super) fn next_step(made: &mut Made<'_>) -> Step {
    made.go_on();
    let what = match made.source.byte() {
        0..=9 => What::Time,
        10..=19 => What::Membership(made.membership()),
        20..=24 => What::Command {
            version: made.source.short(),
            body: made.source.slice(usize::MAX).to_vec(),
        },
        25..=39 => {
            let damage = made.damage();
            What::Command {
                version: VERSION,
                body: damage.done_to(&encode(&made.batch())),
            }
        }
        _ => command(&made.batch()),
    };
    step(made, what)
}

fn step(made: &Made<'_>, what: What) -> Step {
    Step {
        index: made.index,
        time: made.time,
        what,
    }
}

fn command(batch: &Batch) -> What {
    What::Command {
        version: VERSION,
        body: encode(batch).to_vec(),
    }
}

/// Takes in what an entry was answered with.
pub(super) fn learn(made: &mut Made<'_>, step: &Step, answers: &[Bytes]) {
    if let What::Command { body, .. } = &step.what
        && let [answer] = answers
        && let (Ok(batch), Ok(answer)) = (Batch::decode(body), Answer::decode(answer))
    {
        made.learn(&batch, &answer);
    }
}

/// Both apply an entry, and answer the same. The answer is one that can be read, of as many parts
/// as there were operations.
fn both(one: &mut Node, other: &mut Node, step: &Step) -> Vec<Bytes> {
    let answers = one.apply(step);
    assert_eq!(answers, other.apply(step));
    let What::Command { version, body } = &step.what else {
        return answers;
    };
    let read = answers.iter().map(|answer| Answer::decode(answer));
    for answer in read {
        let answer = answer.expect("it was just written");
        assert_eq!(answer.index.0, step.index);
        let operations = match Batch::decode(body) {
            Ok(batch) if *version <= VERSION => batch.ops.len(),
            _ => 0,
        };
        assert_eq!(answer.outcomes.len(), operations);
    }
    answers
}

/// A node that begins with a snapshot of this one, which applies more of the log while it is read.
fn restored_while_it_goes_on(one: &mut Node, made: &mut Made<'_>) -> Node {
    let was = one.digest();
    let mut reading = one.machine.snapshot();
    let steps = [next_step(made), next_step(made)];
    let answers: Vec<_> = steps.iter().map(|step| one.apply(step)).collect();
    let snapshot = read(&mut *reading);
    drop(reading);
    assert_eq!(one.replica.snapshot_bytes(), 0, "nothing is kept for it");
    let mut other = Node::new();
    let restored = other.restore(&snapshot);
    restored.expect("it is a snapshot of a state");
    assert!(other.digest() == was, "{:?}", other.machine.state);
    for (step, answers) in steps.iter().zip(answers) {
        assert_eq!(other.apply(step), answers);
    }
    one.is_as(&other);
    other
}

/// Restores what may be a snapshot, into a state that is used and into a new one. Where it is one
/// they are the same, its own snapshot makes the same state again, and all three go on alike.
fn restored_in_place_of(used: &mut Node, snapshot: &[u8], mut made: Made<'_>) {
    let mut new = Node::new();
    let restored = new.restore(snapshot);
    assert_eq!(restored.is_ok(), used.restore(snapshot).is_ok());
    if restored.is_err() {
        return;
    }
    new.is_as(used);
    let mut again = Node::new();
    let own = again.restore(&new.snapshot());
    own.expect("it is a snapshot of a state");
    again.is_as(&new);
    // Whatever place in the log it says that it is of, the log goes on where it was.
    begin(&mut made, |step| {
        let answers = both(&mut new, used, step);
        assert_eq!(again.apply(step), answers);
    });
    for _ in 0..4 {
        let step = next_step(&mut made);
        let answers = both(&mut new, used, &step);
        assert_eq!(again.apply(&step), answers);
        learn(&mut made, &step, &answers);
    }
    new.is_as(used);
    new.is_as(&again);
}
