use std::sync::{Arc, Mutex};

use super::*;
use crate::driver::mailbox::Bell;
use crate::entry::ClientId;
use crate::ids::NodeId;
use crate::machine::SnapshotSource;

/// Keeps the bodies of all commands; answers how many there are.
struct Keeper(Arc<Mutex<Vec<u8>>>);

struct Whole(Option<Vec<u8>>);

impl SnapshotSource for Whole {
    fn next_piece(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        out.extend(self.0.take().unwrap_or_default());
        Ok(())
    }
}

impl StateMachine for Keeper {
    fn apply(&mut self, entries: &[Applied<'_>], answers: &mut Vec<Bytes>) {
        let mut kept = self.0.lock().unwrap();
        for entry in entries {
            if let Event::Command { body, .. } = entry.event {
                kept.extend_from_slice(body);
                answers.push(Bytes::from(kept.len().to_string()));
            }
        }
    }

    fn snapshot(&mut self) -> Box<dyn SnapshotSource> {
        Box::new(Whole(Some(self.0.lock().unwrap().clone())))
    }

    fn restore(&mut self, state: &mut dyn Read) -> io::Result<()> {
        let mut kept = self.0.lock().unwrap();
        kept.clear();
        state.read_to_end(&mut kept).map(drop)
    }
}

fn applier() -> (Applier, Arc<Mutex<Vec<u8>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    (Applier::new(Box::new(Keeper(Arc::clone(&kept)))), kept)
}

fn entry(index: u64, payload: Payload) -> Entry {
    Entry {
        index: Index(index),
        term: Term(1),
        time: LogTime(index),
        payload,
    }
}

fn command(sequence: u64, body: &'static str) -> Payload {
    Payload::Command(Command {
        client: ClientId {
            node: NodeId(1),
            boot: 5,
        },
        sequence,
        answered_below: 0,
        issued: LogTime(0),
        version: 1,
        body: Bytes::from_static(body.as_bytes()),
    })
}

fn outcomes(answered: Vec<Answered>) -> Vec<(u64, Result<String, Refusal>)> {
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    answered
        .into_iter()
        .map(|one| (one.position.index.0, one.outcome.map(text)))
        .collect()
}

#[test]
fn copies_are_answered_in_the_logs_order_and_applied_once_within_a_batch_and_across() {
    let (mut applier, kept) = applier();
    let batch = [
        entry(1, Payload::Empty),
        entry(2, command(1, "a")),
        entry(3, command(1, "a")),
        entry(4, command(2, "b")),
        entry(5, Payload::Time),
        entry(6, command(1, "a")),
    ];
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(
        outcomes(applier.apply(&batch, true)),
        [(2, ok("1")), (3, ok("1")), (4, ok("2")), (6, ok("1"))]
    );
    let copy = [entry(7, command(2, "b"))];
    assert_eq!(outcomes(applier.apply(&copy, true)), [(7, ok("2"))]);
    assert_eq!(*kept.lock().unwrap(), b"ab");
}

#[test]
fn a_snapshot_carries_state_sessions_and_membership() {
    let (mut applier, _) = applier();
    let members = Arc::new(Membership::default());
    let batch = [
        entry(1, Payload::Membership(Arc::clone(&members))),
        entry(2, command(1, "a")),
    ];
    applier.apply(&batch, false);
    let mut marked = applier.mark();
    // What comes after the mark is not in it.
    applier.apply(&[entry(3, command(2, "b"))], false);
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        marked.state.next_piece(&mut bytes).unwrap();
        if bytes.len() == before {
            break;
        }
    }
    assert_eq!(marked.membership_index, Index(1));
    let meta = SnapshotMeta {
        last: marked.last,
        time: marked.time,
        membership: members,
        membership_index: marked.membership_index,
        size_bytes: bytes.len() as u64,
        checksum: 0,
    };
    let (mut restored, kept) = self::applier();
    restored.restore(&meta, &mut bytes.as_slice()).unwrap();
    assert_eq!(*kept.lock().unwrap(), b"a");
    let copy = [entry(3, command(1, "a"))];
    let answered = outcomes(restored.apply(&copy, true));
    assert_eq!(answered, [(3, Ok("1".to_owned()))]);
    assert_eq!(*kept.lock().unwrap(), b"a");
    for cut in 0..bytes.len() - 1 {
        let (mut broken, _) = self::applier();
        assert!(broken.restore(&meta, &mut &bytes[..cut]).is_err());
    }
}

#[test]
fn after_a_restore_that_failed_nothing_is_applied_or_marked() {
    let poll = mio::Poll::new().unwrap();
    let bell = Bell::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
    let (outbox, reports) = Outbox::new(8, &bell);
    let (asking, jobs) = crossbeam_channel::unbounded();
    let (applier, kept) = applier();
    let meta = Arc::new(SnapshotMeta {
        last: Position::default(),
        time: LogTime(0),
        membership: Arc::default(),
        membership_index: Index(0),
        size_bytes: 0,
        checksum: 0,
    });
    let (opened, state) = crossbeam_channel::bounded(1);
    let gone = StoreError::NoSnapshot(meta.last);
    assert!(opened.send(Err(gone)).is_ok());
    let apply = Job::Apply {
        entries: vec![entry(1, command(1, "a"))],
        answers: true,
    };
    for job in [Job::Restore { meta, state }, apply, Job::Mark] {
        assert!(asking.send(job).is_ok());
    }
    drop(asking);
    applier.run(&jobs, &outbox);
    let told: Vec<Report> = reports.try_iter().collect();
    assert!(matches!(told[..], [Report::RestoreFailed(..)]));
    assert!(kept.lock().unwrap().is_empty());
}
