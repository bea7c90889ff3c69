//! What operators do by command: `drain`, `disable`, `enable`, `sticks remove`; and what `status`
//! and `sticks` show them.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support;
use serde_json::Value;
use support::client::{self, StreamEnd};
use support::health::{changes, http, story, wait_change};
use support::proxy::{Answer, BINARY, State, subcommand};
use support::{Fleet, Log, PATIENCE, Proxy, Ward, eventually, parallel};
use tcpffee::control::socket_path;
use tcpffee::pid_file::PidFile;

const PORT: u16 = 5280;
const QUICK: &str = "interval = 0.1\ntimeout = 0.1\nfall = 2\nrise = 2";

/// These are the changes of group 1 that the log tells, which comes a moment after an answer.
fn told(proxy: &Proxy, expected: &[&str]) {
    eventually("the log has told them", || {
        changes(proxy, 1).len() >= expected.len()
    });
    assert_eq!(changes(proxy, 1), expected, "{:?}", story(proxy, 1));
}

/// Two groups, `alder` and `birch`.
fn scene() -> Fleet {
    let mut fleet = Fleet::on_ports(2, &[PORT]);
    fleet.settings = fleet
        .settings
        .clone()
        .group_set(0, "name", "alder")
        .group_set(1, "name", "birch");
    fleet
}

/// A client that meets this group.
fn client_of(fleet: &Fleet, group: &str) -> u32 {
    let mut clients = 0..100;
    let met = clients.find(|client| fleet.served_by(*client, PORT) == group);
    met.expect("one of a hundred new keys goes to the group")
}

/// The answer to a command that must be done.
#[track_caller]
fn done(proxy: &Proxy, arguments: &[&str]) -> String {
    let Answer { code, text } = proxy.subcommand(arguments);
    assert_eq!(code, 0, "{arguments:?}: {text}");
    text
}

/// The answer to a command that must be refused.
#[track_caller]
fn refused(proxy: &Proxy, arguments: &[&str]) -> String {
    let Answer { code, text } = proxy.subcommand(arguments);
    assert_eq!(code, 1, "{arguments:?}: {text}");
    text
}

/// The group of which the next twenty new keys all are.
fn served_by_all(fleet: &Fleet, clients: std::ops::Range<u32>) -> BTreeSet<String> {
    clients
        .map(|client| fleet.served_by(client, PORT))
        .collect()
}

#[test]
fn a_drained_group_keeps_its_clients_and_takes_no_new_ones_until_it_is_enabled() {
    let fleet = scene();
    let proxy = Proxy::start(&fleet.settings);
    let stuck = client_of(&fleet, "g1");
    let text = done(&proxy, &["drain", "birch"]);
    assert_eq!(
        text,
        "group 1 (birch): Up -> Draining\n  this is kept until the next reload or restart\n"
    );
    let line = wait_change(&proxy, 0, 1, "Up -> Draining");
    assert!(line.contains("[WARN ]"), "{line}");
    assert!(
        line.ends_with(": drained by an operator (tcpffee drain)"),
        "{line}"
    );
    assert_eq!(
        served_by_all(&fleet, 200..220),
        BTreeSet::from(["g0".to_owned()])
    );
    assert_eq!(fleet.served_by(stuck, PORT), "g1", "its key stays");
    let again = done(&proxy, &["drain", "1"]);
    assert!(
        again.starts_with(
            "nothing has changed: group 1 (birch) is Draining: drained by an operator"
        ),
        "{again}"
    );
    assert_eq!(
        done(&proxy, &["enable", "birch"]),
        "group 1 (birch): Draining -> Up\n"
    );
    assert_eq!(fleet.served_by(300, PORT), "g1", "it has the fewest sticks");
    assert_eq!(
        done(&proxy, &["enable", "birch"]),
        "nothing has changed: group 1 (birch) is Up\n"
    );
    told(&proxy, &["Up -> Draining", "Draining -> Up"]);
}

#[test]
fn a_disabled_groups_clients_are_assigned_anew() {
    let fleet = scene();
    let proxy = Proxy::start(&fleet.settings);
    let stuck = client_of(&fleet, "g1");
    let (_, open) = client::greet(fleet.block.client(stuck), fleet.listener(PORT)).unwrap();
    let text = done(&proxy, &["disable", "1"]);
    assert!(
        text.starts_with("group 1 (birch): Up -> Disabled\n"),
        "{text}"
    );
    assert_eq!(fleet.served_by(stuck, PORT), "g0");
    client::exchange(&open, b"still here").unwrap();
    // The latest word holds, be it milder.
    let text = done(&proxy, &["drain", "1"]);
    assert!(
        text.starts_with("group 1 (birch): Disabled -> Draining\n"),
        "{text}"
    );
}

#[test]
fn disable_cuts_connections_where_the_group_says_so() {
    let mut fleet = scene();
    fleet.settings = fleet.settings.clone().group_set(1, "on_disabled", "reset");
    let proxy = Proxy::start(&fleet.settings);
    let stuck = client_of(&fleet, "g1");
    let (_, open) = client::greet(fleet.block.client(stuck), fleet.listener(PORT)).unwrap();
    done(&proxy, &["disable", "birch"]);
    assert_eq!(client::drain(&open), (0, StreamEnd::Reset));
    proxy
        .log
        .wait_session("it was cut", |session| session.end == "group_disabled");
}

#[test]
fn drain_begins_the_drain_timeout() {
    let mut fleet = scene();
    fleet.settings = fleet.settings.clone().group_set(1, "drain_timeout", 0.3);
    let proxy = Proxy::start(&fleet.settings);
    let stuck = client_of(&fleet, "g1");
    let (_, open) = client::greet(fleet.block.client(stuck), fleet.listener(PORT)).unwrap();
    client::exchange(&open, b"here").unwrap();
    done(&proxy, &["drain", "birch"]);
    assert_eq!(client::drain(&open), (0, StreamEnd::Reset));
    proxy.log.wait_session("its time was over", |session| {
        session.end == "drain_timeout"
    });
}

#[test]
fn a_reload_that_changes_nothing_forgets_what_operators_said_and_says_so() {
    let fleet = scene();
    let mut proxy = Proxy::start(&fleet.settings);
    done(&proxy, &["drain", "birch"]);
    done(&proxy, &["disable", "alder"]);
    // A refused one does not.
    let bad = fleet.settings.clone().set("workers", 1);
    assert_eq!(proxy.reload(&bad).code, 1);
    client::expect_reset(fleet.block.client(0), fleet.listener(PORT));
    let answer = proxy.reload(&fleet.settings);
    assert_eq!(
        answer.text,
        "configuration read again: nothing has changed\n  \
         group 0 (alder) is no longer disabled by an operator (tcpffee disable)\n  \
         group 1 (birch) is no longer drained by an operator (tcpffee drain)\n"
    );
    told(&proxy, &["Up -> Draining", "Draining -> Up"]);
    let served = served_by_all(&fleet, 0..20);
    assert_eq!(served, BTreeSet::from(["g0".to_owned(), "g1".to_owned()]));
}

#[test]
fn a_reload_that_changes_something_forgets_it_too() {
    let fleet = scene();
    let mut proxy = Proxy::start(&fleet.settings);
    done(&proxy, &["drain", "birch"]);
    let answer = proxy.reload(&fleet.settings.clone().set("expiration", 90));
    assert!(
        answer.text.contains("1 change, generation 2"),
        "{}",
        answer.text
    );
    assert!(
        answer
            .text
            .contains("group 1 (birch) is no longer drained by an operator"),
        "{}",
        answer.text
    );
    told(&proxy, &["Up -> Draining", "Draining -> Up"]);
    client_of(&fleet, "g1");
}

#[test]
fn a_restart_forgets_it() {
    let fleet = scene();
    let mut proxy = Proxy::start(&fleet.settings);
    done(&proxy, &["disable", "birch"]);
    assert_eq!(proxy.stop(), 0);
    let proxy = proxy.start_again(&fleet.settings);
    client_of(&fleet, "g1");
    assert!(story(&proxy, 1).is_empty(), "{:?}", story(&proxy, 1));
}

#[test]
fn enable_overrides_the_file_until_the_next_reload() {
    let mut fleet = scene();
    fleet.settings = fleet
        .settings
        .clone()
        .group_set(0, "disabled", true)
        .group_set(1, "drain", true);
    let mut proxy = Proxy::start(&fleet.settings);
    let text = done(&proxy, &["enable", "alder"]);
    assert_eq!(
        text,
        "group 0 (alder): Disabled -> Up\n  this is kept until the next reload or restart\n"
    );
    assert_eq!(
        served_by_all(&fleet, 0..10),
        BTreeSet::from(["g0".to_owned()])
    );
    // What the file says is the least: `drain` does not bring a disabled group back.
    done(&proxy, &["enable", "birch"]);
    let text = done(&proxy, &["drain", "alder"]);
    assert!(
        text.starts_with("group 0 (alder): Up -> Disabled\n"),
        "{text}"
    );
    assert!(
        text.contains("the configuration keeps it Disabled; `tcpffee enable 0` takes that back"),
        "{text}"
    );
    let answer = proxy.reload(&fleet.settings);
    assert!(
        answer
            .text
            .contains("group 1 (birch) is no longer enabled by an operator"),
        "{}",
        answer.text
    );
    told(&proxy, &["Draining -> Up", "Up -> Draining"]);
}

#[test]
fn a_health_check_holds_against_enable_and_beside_drain() {
    let mut fleet = scene();
    let ward = Ward::start(fleet.block.backend(1));
    let check = http(&format!("{QUICK}\nfall_action = \"Disabled\""));
    fleet.settings = fleet.settings.clone().check(1, &check);
    let proxy = Proxy::start(&fleet.settings);
    ward.set_well(false);
    wait_change(&proxy, 0, 1, "Up -> Disabled");
    let text = done(&proxy, &["enable", "birch"]);
    assert!(
        text.starts_with("nothing has changed: group 1 (birch) is Disabled: health check"),
        "{text}"
    );
    assert!(
        text.contains("warning: a health check keeps it Disabled all the same (health check"),
        "{text}"
    );
    let text = done(&proxy, &["drain", "birch"]);
    assert!(
        text.starts_with("group 1 (birch) stays Disabled: health check"),
        "{text}"
    );
    assert!(
        text.contains("it becomes Draining when the check passes"),
        "{text}"
    );
    ward.set_well(true);
    let line = wait_change(&proxy, 0, 1, "Disabled -> Draining");
    assert!(
        line.ends_with("; drained by an operator (tcpffee drain)"),
        "{line}"
    );
    done(&proxy, &["enable", "birch"]);
    client_of(&fleet, "g1");
}

#[test]
fn draining_the_last_group_is_done_and_warned_about() {
    let fleet = scene();
    let proxy = Proxy::start(&fleet.settings);
    assert!(!done(&proxy, &["drain", "0"]).contains("warning"));
    let text = done(&proxy, &["drain", "1"]);
    assert!(
        text.starts_with("group 1 (birch): Up -> Draining\n"),
        "{text}"
    );
    assert!(
        text.contains("warning: no group takes new keys any more"),
        "{text}"
    );
    proxy.log.wait("the warning", |line| {
        line.contains("[WARN ]") && line.contains("no group takes new keys any more")
    });
    client::expect_reset(fleet.block.client(9), fleet.listener(PORT));
}

#[test]
fn a_port_that_only_the_drained_group_served_is_warned_about() {
    let fleet = Fleet::on_ports(2, &[5280, 5281]);
    let target = format!("{}:5280", fleet.block.backend(1));
    let settings = fleet.settings.clone().group_ports(1, &[(5280, target)]);
    let proxy = Proxy::start(&settings);
    let text = done(&proxy, &["drain", "0"]);
    assert!(
        text.contains("warning: no group takes new keys on ports 5281 any more"),
        "{text}"
    );
}

#[test]
fn a_group_that_is_not_clear_is_refused() {
    let mut fleet = scene();
    fleet.settings = fleet.settings.clone().group_set(1, "name", "alder");
    let proxy = Proxy::start(&fleet.settings);
    for task in ["drain", "disable", "enable"] {
        let text = refused(&proxy, &[task, "oak"]);
        assert_eq!(
            text, "there is no group \"oak\"; groups are 0 (alder), 1 (alder)\n",
            "{task}"
        );
        let text = refused(&proxy, &[task, "alder"]);
        assert!(
            text.contains("more than one group is called \"alder\""),
            "{text}"
        );
        assert!(refused(&proxy, &[task, "7"]).contains("there is no group \"7\""));
    }
    assert!(story(&proxy, 0).is_empty() && story(&proxy, 1).is_empty());
}

#[test]
fn a_process_that_stops_takes_no_orders() {
    let fleet = scene();
    let proxy = Proxy::start(&fleet.settings);
    let (_, _open) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    proxy.signal(rustix::process::Signal::TERM);
    proxy
        .log
        .wait("it stops", |line| line.contains("stopping: "));
    for arguments in [&["drain", "0"][..], &["sticks", "remove", "127.0.0.1"]] {
        assert_eq!(refused(&proxy, arguments), "the process is stopping\n");
    }
}

#[test]
fn the_client_of_a_removed_stick_is_assigned_anew() {
    let fleet = scene();
    let proxy = Proxy::start(&fleet.settings);
    let address = fleet.block.client(0);
    let (first, open) = client::greet(address, fleet.listener(PORT)).unwrap();
    let (mine, other) = match &*first {
        "g0" => ("0", "1"),
        _ => ("1", "0"),
    };
    // Were it assigned anew by chance, it would be here.
    done(&proxy, &["drain", mine]);
    assert_eq!(fleet.served_by(0, PORT), first);
    let key = address.to_string();
    let text = done(&proxy, &["sticks", "remove", &key]);
    assert!(
        text.starts_with(&format!(
            "{key} is removed from the stick table; it belonged to group {mine} ("
        )),
        "{text}"
    );
    assert!(
        text.ends_with("\n  1 open connection stays where it is\n"),
        "{text}"
    );
    assert_eq!(fleet.served_by(0, PORT), format!("g{other}"));
    client::exchange(&open, b"still here").unwrap();
    drop(open);
    assert_eq!(fleet.served_by(0, PORT), format!("g{other}"));
    proxy.log.wait("the removal", |line| {
        line.contains(" is removed from the stick table")
    });
}

#[test]
fn what_is_no_key_or_has_no_entry_is_refused() {
    let fleet = scene();
    let proxy = Proxy::start(&fleet.settings);
    let text = refused(&proxy, &["sticks", "remove", "192.0.2.1/abc"]);
    assert_eq!(
        text,
        "no stick entry has the key 192.0.2.1/abc; `tcpffee sticks --ip 192.0.2.1` shows those of \
         its address\n"
    );
    assert!(refused(&proxy, &["sticks", "remove", "host"]).contains("is not an IP address"));
    assert!(refused(&proxy, &["sticks", "remove", "::1/a b"]).contains("written as `\\x20`"));
    // The longest key there is fits into a request.
    let longest = format!("192.0.2.1/{}", "\\x00".repeat(4096));
    assert!(refused(&proxy, &["sticks", "remove", &longest]).starts_with("no stick entry has"));
}

#[test]
fn a_key_with_a_slice_is_removed_by_the_form_it_is_shown_in() {
    let fleet = scene();
    let proxy = Proxy::builder(&fleet.settings).slice_key(0, 4).start();
    let address = fleet.block.client(0);
    let mut stream = client::connect(address, fleet.listener(PORT)).unwrap();
    stream.write_all(b"a\\\x00\xff").unwrap();
    client::read_line(&stream).unwrap();
    let key = format!("{address}/a\\\\\\x00\\xff");
    let text = done(&proxy, &["sticks", "remove", &key]);
    assert!(text.starts_with(&format!("{key} is removed")), "{text}");
    refused(&proxy, &["sticks", "remove", &key]);
}

#[test]
fn a_process_of_an_older_version_is_named_as_one() {
    let state = State::new();
    let _pid_file = PidFile::acquire(&state.pid_path()).unwrap();
    let listener = UnixListener::bind(socket_path(&state.pid_path())).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                BufReader::new(&stream)
                    .read_line(&mut String::new())
                    .unwrap();
                let text = "no such request: unknown variant, expected `reload` or `stop`";
                let answer = serde_json::json!({"kind": "failed", "text": text, "exit": 1});
                writeln!(stream, "{answer}").unwrap();
            }
        });
        for arguments in [&["drain", "birch"][..], &["status"]] {
            let answer = subcommand(&state, arguments);
            assert_eq!(answer.code, 1, "{}", answer.text);
            assert!(
                answer.text.contains("may be of an older version"),
                "{}",
                answer.text
            );
        }
    });
}

/// The objects in the lines of an answer.
fn objects(text: &str) -> Vec<Value> {
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(read).collect()
}

fn keys(text: &str) -> Vec<String> {
    let key = |entry: &Value| entry["key"].as_str().unwrap().to_owned();
    objects(text).iter().map(key).collect()
}

#[test]
fn sticks_shows_ten_thousand_entries_each_once() {
    const CLIENTS: u32 = 10_000;
    let fleet = scene();
    let proxy = Proxy::start(&fleet.settings);
    parallel(16, CLIENTS, |client| fleet.served_by(client, PORT));
    let expected: BTreeSet<String> = (0..CLIENTS)
        .map(|client| fleet.block.client(client).to_string())
        .collect();
    let shown = keys(&done(&proxy, &["sticks", "--json"]));
    assert_eq!(shown.len(), expected.len());
    assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), expected);
    let table = done(&proxy, &["sticks"]);
    assert_eq!(table.lines().count(), expected.len() + 1);
    assert_eq!(table.matches("KEY  ").count(), 1);
    let limited = done(&proxy, &["sticks", "--limit", "2500"]);
    assert_eq!(
        limited.lines().count(),
        2_502,
        "a head, and a word about the rest"
    );
    assert!(limited.contains("as many as --limit allows"));
    let of = |group: &str| keys(&done(&proxy, &["sticks", "--json", "--group", group]));
    let (alder, birch) = (of("alder"), of("1"));
    assert_eq!(alder.len() + birch.len(), expected.len());
    assert!(alder.len() > 1_000 && !alder.contains(&birch[0]));
    let network = format!("{}/24", fleet.block.address(16, 0));
    assert_eq!(
        keys(&done(&proxy, &["sticks", "--json", "--ip", &network])).len(),
        250
    );
}

#[test]
fn sticks_shows_what_is_known_of_an_entry() {
    let fleet = scene();
    let proxy = Proxy::start(&fleet.settings);
    let (name, open) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    fleet.served_by(1, PORT);
    let ip = fleet.block.client(0).to_string();
    let held = done(&proxy, &["sticks", "--ip", &ip]);
    let row: Vec<&str> = held.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, [&*ip, &name[1..], "held", "1"]);
    assert_eq!(held.lines().count(), 2, "{held}");
    let other = fleet.block.client(1).to_string();
    let idle = done(&proxy, &["sticks", "--ip", &other, "--json"]);
    let left = objects(&idle)[0]["expires_in_seconds"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 60.0, "{idle}");
    drop(open);
    assert!(refused(&proxy, &["sticks", "--group", "oak"]).contains("there is no group \"oak\""));
    // A group that is gone may have entries left.
    assert_eq!(done(&proxy, &["sticks", "--group", "7"]).lines().count(), 1);
    for bad in ["host", "10.0.0.0/33"] {
        assert_eq!(proxy.subcommand(&["sticks", "--ip", bad]).code, 2, "{bad}");
    }
}

#[test]
fn status_shows_the_node_and_its_groups_and_ends_with_its_health() {
    let fleet = scene();
    let proxy = Proxy::start(&fleet.settings);
    let stuck = client_of(&fleet, "g1");
    let (_, open) = client::greet(fleet.block.client(stuck), fleet.listener(PORT)).unwrap();
    done(&proxy, &["drain", "birch"]);
    let text = done(&proxy, &["status"]);
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        text.starts_with(&format!("tcpffee {version}, on its own: healthy, up ")),
        "{text}"
    );
    assert!(text.contains("connections  1 of "), "{text}");
    let birch = text
        .lines()
        .find(|line| line.contains("birch") && line.contains("key"))
        .unwrap();
    assert!(birch.contains("Draining"), "{birch}");
    assert!(
        birch.ends_with("drained by an operator (tcpffee drain); 1 key, 1 connection left"),
        "{birch}"
    );
    let whole = &objects(&done(&proxy, &["status", "--json"]))[0];
    let parts: Vec<&String> = whole.as_object().unwrap().keys().collect();
    assert_eq!(parts, ["cluster", "groups", "health", "overview"]);
    assert_eq!(whole["overview"]["version"], version);
    assert_eq!(whole["groups"][1]["status"], "Draining");
    assert_eq!(whole["groups"][1]["connections"], 1);
    assert_eq!(whole["health"]["status"], "ok");
    done(&proxy, &["disable", "alder"]);
    let text = refused(&proxy, &["status"]);
    assert!(text.contains("on its own: unhealthy, up "), "{text}");
    assert!(text.contains("\n  reason: "), "{text}");
    refused(&proxy, &["status", "--json"]);
    client::exchange(&open, b"still here").unwrap();
}

#[test]
fn a_process_that_stops_still_tells_how_it_stands() {
    let fleet = scene();
    let proxy = Proxy::start(&fleet.settings);
    let (_, _open) = client::greet(fleet.block.client(0), fleet.listener(PORT)).unwrap();
    proxy.signal(rustix::process::Signal::TERM);
    proxy
        .log
        .wait("it stops", |line| line.contains("stopping: "));
    let text = refused(&proxy, &["status"]);
    assert!(
        text.contains("unhealthy") && text.contains("reason: it is stopping"),
        "{text}"
    );
    let text = done(&proxy, &["sticks"]);
    assert!(text.contains(&fleet.block.client(0).to_string()), "{text}");
}

/// `tcpffee status --watch` and what it prints.
fn watch(state: &State, more: &[&str]) -> (std::process::Child, std::process::ChildStdout) {
    let mut child = Command::new(BINARY)
        .args(["status", "--watch"])
        .args(more)
        .env("TCPFFEE_PID_PATH", state.pid_path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    (child, stdout)
}

#[test]
fn a_watch_shows_rates_and_outlives_a_restart() {
    let fleet = scene();
    let mut proxy = Proxy::start(&fleet.settings);
    let (mut child, stdout) = watch(proxy.state(), &[]);
    let shown = Log::read_from(stdout);
    let rates = |mark| shown.wait_after(mark, "rates", |line| line.contains("NEW/S"));
    rates(0);
    let mark = shown.mark();
    assert_eq!(proxy.stop(), 0);
    shown.wait_after(mark, "it has gone", |line| {
        line.contains("no running tcpffee found")
    });
    let mark = shown.mark();
    let _proxy = proxy.start_again(&fleet.settings);
    let title = shown.wait_after(mark, "it is back", |line| line.starts_with("tcpffee "));
    assert!(title.contains(": healthy, up "), "{title}");
    rates(mark);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_watch_for_programs_prints_one_object_in_each_line_until_nobody_reads() {
    let fleet = scene();
    let proxy = Proxy::start(&fleet.settings);
    let (mut child, stdout) = watch(proxy.state(), &["--json"]);
    let lines = BufReader::new(stdout).lines().take(2);
    let text: Vec<String> = lines.map(Result::unwrap).collect();
    let uptimes: Vec<f64> = objects(&text.join("\n"))
        .iter()
        .map(|whole| whole["overview"]["uptime_seconds"].as_f64().unwrap())
        .collect();
    assert!(uptimes[0] < uptimes[1], "{uptimes:?}");
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it goes on though nobody reads");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
