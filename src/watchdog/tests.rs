//! Asking and answering, without a service manager.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const LIMIT: Duration = Duration::from_secs(4);
const ROUND: Duration = Duration::from_secs(1);

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_round_takes_a_quarter_of_the_time_and_is_well_where_all_have_answered() {
    let start = Instant::now();
    let mut rounds = Rounds::of(LIMIT, start);
    for round in 1..10 {
        let now = start + ROUND * round;
        assert_eq!(rounds.wait(now), Duration::ZERO);
        assert!(rounds.look(now, Vec::new()).is_well);
        assert_eq!(rounds.wait(now), ROUND);
    }
}

#[test]
fn who_is_late_is_named_once_and_once_more_when_it_is_back() {
    let start = Instant::now();
    let mut rounds = Rounds::of(LIMIT, start);
    let mut now = start + ROUND;
    let look = rounds.look(now, names(&["a", "b"]));
    assert!(!look.is_well);
    assert_eq!(look.late, names(&["a", "b"]));
    // From now on more often.
    assert!(rounds.wait(now) < ROUND / 4);
    now += rounds.wait(now);
    let look = rounds.look(now, names(&["a", "b"]));
    assert_eq!((look.late, look.back), (Vec::new(), Vec::new()));
    assert_eq!(look.all_late, names(&["a", "b"]));
    let look = rounds.look(start + ROUND * 2, names(&["b"]));
    assert_eq!(look.back, [("a".to_owned(), ROUND * 2)]);
    assert!(!look.is_well);
    let look = rounds.look(start + ROUND * 3, Vec::new());
    assert!(look.is_well);
    assert_eq!(look.back, [("b".to_owned(), ROUND * 3)]);
}

#[test]
fn a_loop_is_silent_from_a_question_to_its_next_turn() {
    let pulses = Pulses::default();
    let woken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&woken);
    let pulse = pulses.register("loop", move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    assert!(pulses.silent().is_empty(), "nobody has asked");
    pulses.ask();
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert_eq!(pulses.silent(), ["loop"]);
    pulse.beat();
    assert!(pulses.silent().is_empty());
}

#[test]
fn a_loop_that_has_ended_is_not_asked_any_more() {
    let pulses = Pulses::default();
    let pulse = pulses.register("loop", |_| ());
    pulses.ask();
    drop(pulse);
    assert!(pulses.silent().is_empty());
    let (pulse, rung) = pulses.register_bell("another");
    drop(pulse);
    pulses.ask();
    assert!(rung.try_recv().is_err());
}

#[test]
fn a_bell_is_rung_once_however_often_it_is_asked() {
    let pulses = Pulses::default();
    let (pulse, rung) = pulses.register_bell("loop");
    pulses.ask();
    pulses.ask();
    assert!(rung.try_recv().is_ok());
    assert!(rung.try_recv().is_err());
    pulse.beat();
    assert!(pulses.silent().is_empty());
}

#[test]
fn an_excuse_holds_for_its_time_and_its_end_is_an_answer() {
    let pulses = Pulses::default();
    let pulse = pulses.register("loop", |_| ());
    let excuse = pulse.excuse(Duration::from_secs(600));
    pulses.ask();
    assert!(pulses.silent().is_empty());
    drop(excuse);
    assert!(pulses.silent().is_empty(), "it has turned");
    pulses.ask();
    assert_eq!(pulses.silent(), ["loop"]);
    let _over = pulse.excuse(Duration::ZERO);
    while pulses.silent().is_empty() {
        std::thread::yield_now(); // the millisecond that began passes
    }
}

#[test]
fn a_question_can_be_answered_elsewhere_and_after_the_loop() {
    let pulses = Pulses::default();
    let (sender, asked) = bounded(4);
    let pulse = pulses.register("loop", move |question| {
        sender.send(question).expect("there is room");
    });
    pulses.ask();
    assert_eq!(pulses.silent(), ["loop"]);
    asked.recv().expect("asked").answer();
    assert!(pulses.silent().is_empty());
    pulses.ask();
    drop(pulse);
    asked.recv().expect("asked").answer();
    assert!(pulses.silent().is_empty());
}

#[test]
fn nobody_watches_without_a_service_manager_that_wants_to_know() {
    let pulses = Pulses::default();
    let (_pulse, rung) = pulses.register_bell("loop");
    let watchdog = Watchdog::start(&Service::default(), &pulses).expect("no thread is needed");
    assert!(watchdog.running.is_none());
    assert!(rung.try_recv().is_err());
}
