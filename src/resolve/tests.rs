use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// Short enough to see many rounds, long enough not to spin.
const FAST: Pace = Pace {
    resolved: Duration::from_millis(5),
    unresolved: Duration::from_millis(5),
    warning: Duration::from_secs(60),
    max_threads: 4,
};

/// Names with answers that the test sets, and the changes they report.
struct Zone {
    answers: Arc<Mutex<HashMap<String, Vec<IpAddr>>>>,
    rounds: Arc<AtomicUsize>,
    names: Names,
    changes: Receiver<Change>,
}

impl Zone {
    fn new(pace: Pace) -> Zone {
        let answers: Arc<Mutex<HashMap<String, Vec<IpAddr>>>> = Arc::default();
        let rounds: Arc<AtomicUsize> = Arc::default();
        let (sender, changes) = unbounded();
        let (known, counted) = (Arc::clone(&answers), Arc::clone(&rounds));
        let lookup = move |host: &str| {
            counted.fetch_add(1, Ordering::SeqCst);
            let found = known.lock().unwrap().get(host).cloned();
            found.ok_or_else(|| io::Error::other("no such name"))
        };
        let names = Names::with(pace, Box::new(lookup), report_to(sender));
        Zone {
            answers,
            rounds,
            names,
            changes,
        }
    }

    fn set(&self, host: &str, ips: &[&str]) {
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        self.answers.lock().unwrap().insert(host.to_owned(), ips);
    }

    fn unset(&self, host: &str) {
        self.answers.lock().unwrap().remove(host);
    }

    /// Two more rounds: the second began after now.
    fn wait_for_rounds(&self) {
        let start = self.rounds.load(Ordering::SeqCst);
        let deadline = Instant::now() + LONG;
        while self.rounds.load(Ordering::SeqCst) < start + 2 {
            assert!(Instant::now() < deadline, "look-ups have ceased");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn report_to(sender: Sender<Change>) -> Box<OnChange> {
    Box::new(move |change: &Change| {
        let _ = sender.send(change.clone());
    })
}

fn answer(name: &ResolvedName) -> Option<String> {
    let addresses = name.addresses();
    (!addresses.is_empty()).then(|| shown(&addresses))
}

#[test]
fn a_name_is_resolved_before_the_start_goes_on() {
    let zone = Zone::new(Pace::default());
    zone.set("a.test", &["127.0.0.11", "127.0.0.12"]);
    let name = zone.names.get("a.test").unwrap();
    assert!(zone.names.resolve_first(LONG).is_empty());
    assert_eq!(answer(&name).as_deref(), Some("127.0.0.11, 127.0.0.12"));
    let change = zone.changes.recv_timeout(LONG).unwrap();
    assert_eq!((change.host.as_str(), change.from), ("a.test", Vec::new()));
}

#[test]
fn asking_twice_gives_one_place() {
    let zone = Zone::new(Pace::default());
    let first = zone.names.get("a.test").unwrap();
    assert!(Arc::ptr_eq(&first, &zone.names.get("a.test").unwrap()));
}

#[test]
fn an_unknown_name_is_reported_and_resolves_later() {
    let zone = Zone::new(FAST);
    let name = zone.names.get("late.test").unwrap();
    assert_eq!(zone.names.resolve_first(LONG), ["late.test"]);
    assert_eq!(answer(&name), None);
    zone.set("late.test", &["::1"]);
    assert_eq!(shown(&zone.changes.recv_timeout(LONG).unwrap().to), "::1");
    assert_eq!(answer(&name).as_deref(), Some("::1"));
}

#[test]
fn a_name_that_moves_is_followed_and_reported_once() {
    let zone = Zone::new(FAST);
    zone.set("a.test", &["127.0.0.11"]);
    let name = zone.names.get("a.test").unwrap();
    zone.changes.recv_timeout(LONG).unwrap();
    zone.set("a.test", &["127.0.0.12"]);
    let change = zone.changes.recv_timeout(LONG).unwrap();
    assert_eq!(change.from, vec!["127.0.0.11".parse::<IpAddr>().unwrap()]);
    assert_eq!(answer(&name).as_deref(), Some("127.0.0.12"));
    zone.wait_for_rounds();
    assert!(zone.changes.is_empty());
}

#[test]
fn a_shuffled_answer_changes_nothing() {
    let zone = Zone::new(FAST);
    zone.set("a.test", &["127.0.0.11", "127.0.0.12"]);
    let name = zone.names.get("a.test").unwrap();
    zone.changes.recv_timeout(LONG).unwrap();
    zone.set("a.test", &["127.0.0.12", "127.0.0.11"]);
    zone.wait_for_rounds();
    zone.wait_for_rounds();
    assert_eq!(answer(&name).as_deref(), Some("127.0.0.11, 127.0.0.12"));
    assert!(zone.changes.is_empty());
    zone.set("a.test", &["127.0.0.13", "127.0.0.12", "127.0.0.13"]);
    let change = zone.changes.recv_timeout(LONG).unwrap();
    assert_eq!(
        shown(&change.to),
        "127.0.0.12, 127.0.0.13",
        "what stays is first"
    );
}

#[test]
fn a_failed_look_up_keeps_the_last_answer() {
    let zone = Zone::new(FAST);
    zone.set("a.test", &["127.0.0.11"]);
    let name = zone.names.get("a.test").unwrap();
    zone.changes.recv_timeout(LONG).unwrap();
    zone.unset("a.test");
    zone.wait_for_rounds();
    zone.set("a.test", &[]);
    zone.wait_for_rounds();
    zone.wait_for_rounds();
    assert_eq!(answer(&name).as_deref(), Some("127.0.0.11"));
}

#[test]
fn names_out_of_use_are_no_longer_looked_up() {
    let zone = Zone::new(FAST);
    zone.set("a.test", &["127.0.0.11"]);
    let name = zone.names.get("a.test").unwrap();
    zone.changes.recv_timeout(LONG).unwrap();
    zone.names.retain(&BTreeSet::new());
    zone.set("a.test", &["127.0.0.12"]);
    let anew = zone.names.get("a.test").unwrap();
    assert!(!Arc::ptr_eq(&name, &anew));
    let change = zone.changes.recv_timeout(LONG).unwrap();
    assert_eq!(shown(&change.to), "127.0.0.12");
    assert_eq!(
        answer(&name).as_deref(),
        Some("127.0.0.11"),
        "frozen for its generation"
    );
}

#[test]
fn a_look_up_that_hangs_holds_up_neither_the_start_nor_other_names() {
    let (release, held) = unbounded::<()>();
    let lookup = move |host: &str| {
        if host == "hangs.test" {
            let _ = held.recv();
        }
        Ok(vec!["127.0.0.11".parse().unwrap()])
    };
    let names = Names::with(FAST, Box::new(lookup), Box::new(|_| {}));
    names.get("hangs.test").unwrap();
    let other = names.get("works.test").unwrap();
    assert_eq!(
        names.resolve_first(Duration::from_millis(300)),
        ["hangs.test"]
    );
    assert_eq!(answer(&other).as_deref(), Some("127.0.0.11"));
    drop(release);
    assert!(names.resolve_first(LONG).is_empty());
}

#[test]
fn look_ups_at_once_are_bounded() {
    let running: Arc<AtomicUsize> = Arc::default();
    let most: Arc<AtomicUsize> = Arc::default();
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let lookup = move |_: &str| {
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(5));
        now.fetch_sub(1, Ordering::SeqCst);
        Ok(vec!["127.0.0.11".parse().unwrap()])
    };
    let names = Names::with(Pace::default(), Box::new(lookup), Box::new(|_| {}));
    for number in 0..20 {
        names.get(&format!("{number}.test")).unwrap();
    }
    assert!(names.resolve_first(LONG).is_empty());
    assert!(most.load(Ordering::SeqCst) <= 4);
}

#[test]
fn the_system_resolver_knows_localhost() {
    let names = Names::new(Box::new(|_| {}));
    let name = names.get("localhost").unwrap();
    assert!(names.resolve_first(LONG).is_empty());
    assert!(name.first().is_some_and(|ip| ip.is_loopback()));
}
