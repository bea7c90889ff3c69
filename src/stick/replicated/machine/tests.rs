use std::sync::Mutex;

use super::*;
use crate::config::GroupId;
use crate::groups::GroupRegistry;
use crate::stick::replicated::command::{Op, Outcome, Statement, Wanted};
use crate::stick::replicated::encode;
use crate::stick::replicated::state::tests::fixtures::{A, key, stating, try_read};

/// What a listener has heard, in words.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn note(&self, word: String) {
        self.0.lock().unwrap().push(word);
    }
}

impl Listener for Heard {
    fn agreed_changed(&mut self, agreed: &Arc<Agreed>) {
        self.note(format!("agreed at {}", agreed.index));
    }

    fn became_leader(&mut self) {
        self.note("leads".to_owned());
    }

    fn ceased_to_lead(&mut self) {
        self.note("leads no longer".to_owned());
    }

    fn applied(&mut self, index: Index, time: LogTime) {
        self.note(format!("applied {index} at {time}"));
    }
}

fn made() -> (Box<dyn StateMachine>, Arc<Replica>, Heard) {
    let replica = Replica::new(Arc::new(GroupRegistry::new(1)));
    let heard = Heard::default();
    let machine = machine(Arc::clone(&replica), A, Box::new(heard.clone()));
    (machine, replica, heard)
}

fn body(ops: Vec<Op>) -> Bytes {
    let (from, boot) = (A, 1);
    encode(&Batch { from, boot, ops })
}

fn command(index: u64, body: &Bytes) -> Applied<'_> {
    Applied {
        index: Index(index),
        time: LogTime(index * 10),
        event: Event::Command { version: 1, body },
    }
}

fn statement() -> Statement {
    stating(&[1])
}

#[test]
fn each_command_has_an_answer_and_the_listener_hears_what_changed() {
    let (mut machine, replica, heard) = made();
    let state = body(vec![Op::State(statement())]);
    let assign = body(vec![Op::Assign {
        client: Wanted::Key(key(1)),
        group: Some(GroupId(1)),
    }]);
    let time = Applied {
        index: Index(2),
        time: LogTime(20),
        event: Event::Time,
    };
    let mut answers = Vec::new();
    machine.apply(
        &[command(1, &state), time, command(3, &assign)],
        &mut answers,
    );
    let answers: Vec<Answer> = answers
        .iter()
        .map(|answer| Answer::decode(answer).unwrap())
        .collect();
    assert_eq!(answers[0].outcomes, [Outcome::Done]);
    assert_eq!(answers[1].index, Index(3));
    assert!(matches!(&answers[1].outcomes[..], [Outcome::Entry(_)]));
    assert_eq!(answers.len(), 2);
    assert_eq!(heard.take(), ["agreed at 1", "applied 3 at 30"]);
    assert_eq!((replica.applied(), replica.time()), (Index(3), LogTime(30)));
    machine.became_leader(Term(4));
    machine.ceased_to_lead();
    assert_eq!(heard.take(), ["leads", "leads no longer"]);
    assert_eq!(replica.entries(), 1);
}

#[test]
fn a_command_that_cannot_be_read_does_nothing_and_has_an_answer() {
    let (mut machine, _, _) = made();
    let junk = Bytes::from_static(b"junk");
    let mut newer = command(2, &junk);
    newer.event = Event::Command {
        version: VERSION + 1,
        body: &junk,
    };
    let mut answers = Vec::new();
    machine.apply(&[command(1, &junk), newer], &mut answers);
    for (answer, index) in answers.iter().zip(1..) {
        let answer = Answer::decode(answer).unwrap();
        assert_eq!(answer.index, Index(index));
        assert!(answer.outcomes.is_empty());
    }
    assert_eq!(answers.len(), 2);
}

#[test]
fn a_restored_machine_goes_on_from_there_and_tells_so() {
    let (mut machine, _, _) = made();
    let state = body(vec![Op::State(statement())]);
    machine.apply(&[command(7, &state)], &mut Vec::new());
    let bytes = try_read(&mut *machine.snapshot()).unwrap();
    let (mut other, replica, heard) = made();
    other.restore(&mut &bytes[..]).unwrap();
    assert_eq!(heard.take(), ["agreed at 7", "applied 7 at 70"]);
    assert_eq!(replica.applied(), Index(7));
    assert!(other.restore(&mut &bytes[..9]).is_err());
}

#[test]
fn a_machine_made_again_empties_the_replica() {
    let (mut machine, replica, heard) = made();
    let ops = vec![
        Op::State(statement()),
        Op::Assign {
            client: Wanted::Key(key(1)),
            group: Some(GroupId(1)),
        },
    ];
    machine.apply(&[command(1, &body(ops))], &mut Vec::new());
    assert_eq!(replica.entries(), 1);
    drop(machine);
    let _again = super::machine(Arc::clone(&replica), A, Box::new(heard));
    assert_eq!((replica.entries(), replica.applied()), (0, Index(0)));
    assert!(replica.agreed().groups.is_empty());
}
