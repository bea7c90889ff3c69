use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

use super::*;
use crate::events::Event;
use crate::pid_file::PidFile;

const LONG: Duration = Duration::from_secs(20);

/// A control socket with a PID file in a directory of their own, and its events.
struct Running {
    pid_path: PathBuf,
    socket: Option<ControlSocket>,
    pid_file: Option<PidFile>,
    _dir: tempfile::TempDir,
}

impl Running {
    fn start() -> (Running, Receiver<Event>) {
        let dir = tempfile::tempdir().unwrap();
        let pid_path = dir.path().join("tcpffee.pid");
        let pid_file = PidFile::acquire(&pid_path).unwrap();
        let (sender, events) = unbounded();
        let socket = ControlSocket::open(&pid_file, sender).unwrap();
        let running = Running {
            pid_path,
            socket: Some(socket),
            pid_file: Some(pid_file),
            _dir: dir,
        };
        (running, events)
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(socket_path(&self.pid_path)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    fn ask(&self, command: Command) -> (Result<Outcome, RequestError>, Vec<String>) {
        let mut heard = Vec::new();
        let paths = [self.pid_path.clone()];
        let outcome = request(&paths, command, &mut |line| heard.push(line.text.clone()));
        (outcome, heard)
    }
}

fn answer_of(stream: &UnixStream) -> Answer {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

#[test]
fn a_reload_reports_its_progress_and_its_result() {
    let (running, events) = Running::start();
    thread::scope(|scope| {
        scope.spawn(|| {
            let Event::Reload(Some(reply)) = events.recv_timeout(LONG).unwrap() else {
                panic!("not a reload");
            };
            reply.progress("reading");
            reply.done("reloaded", vec!["groups.1.drain: false → true".to_owned()]);
        });
        let (outcome, heard) = running.ask(Command::Reload);
        let answer = outcome.unwrap().answer;
        assert_eq!((answer.kind, answer.exit), (Kind::Done, 0));
        assert_eq!(answer.text, "reloaded");
        assert_eq!(answer.lines, ["groups.1.drain: false → true"]);
        assert_eq!(heard, ["reading"]);
    });
}

#[test]
fn forming_a_cluster_is_asked_for_with_and_without_yes() {
    let (running, events) = Running::start();
    for yes in [false, true] {
        thread::scope(|scope| {
            scope.spawn(|| {
                let event = events.recv_timeout(LONG).unwrap();
                let Event::ClusterForm { yes, reply } = event else {
                    panic!("{event:?}");
                };
                reply.done(format!("yes: {yes}"), vec!["a line".to_owned()]);
            });
            let answer = running.ask(Command::ClusterForm { yes }).0.unwrap().answer;
            assert_eq!(answer.text, format!("yes: {yes}"));
            assert_eq!(answer.lines, ["a line"]);
        });
    }
}

#[test]
fn what_is_to_be_formed_must_be_said_whole() {
    let (running, _events) = Running::start();
    for line in [
        r#"{"command":"cluster_form"}"#,
        r#"{"command":{"cluster_form":{}}}"#,
        r#"{"command":{"cluster_form":{"yes":true,"now":true}}}"#,
    ] {
        let stream = running.connect();
        writeln!(&stream, "{line}").unwrap();
        assert_eq!(answer_of(&stream).kind, Kind::Failed, "{line}");
    }
}

#[test]
fn a_refused_reload_is_a_failure_with_its_reasons() {
    let (running, events) = Running::start();
    thread::scope(|scope| {
        scope.spawn(|| {
            if let Event::Reload(Some(reply)) = events.recv_timeout(LONG).unwrap() {
                reply.failed("refused", vec!["ports: a problem".to_owned()]);
            }
        });
        let answer = running.ask(Command::Reload).0.unwrap().answer;
        assert_eq!((answer.kind, answer.exit), (Kind::Failed, 1));
        assert_eq!(answer.lines, ["ports: a problem"]);
    });
}

#[test]
fn a_dropped_reply_is_a_clear_failure() {
    let (running, events) = Running::start();
    thread::scope(|scope| {
        scope.spawn(|| drop(events.recv_timeout(LONG).unwrap()));
        let answer = running.ask(Command::Reload).0.unwrap().answer;
        assert_eq!(answer.kind, Kind::Failed);
        assert!(answer.text.contains("without an answer"), "{}", answer.text);
    });
}

#[test]
fn a_supervisor_that_has_gone_is_a_clear_failure() {
    let (running, events) = Running::start();
    drop(events);
    let answer = running.ask(Command::Reload).0.unwrap().answer;
    assert_eq!(answer.kind, Kind::Failed);
}

#[test]
fn stop_returns_only_when_the_lock_is_free() {
    let (mut running, events) = Running::start();
    let (socket, pid_file) = (running.socket.take(), running.pid_file.take());
    let released = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let Event::Stop(Some(reply)) = events.recv_timeout(LONG).unwrap() else {
                panic!("not a stop");
            };
            reply.done_but(5, "stopped; 3 connections were cut", Vec::new());
            socket.unwrap().close(LONG);
            thread::sleep(Duration::from_millis(100));
            released.store(true, std::sync::atomic::Ordering::SeqCst);
            pid_file.unwrap().release();
        });
        let answer = running.ask(Command::Stop).0.unwrap().answer;
        assert!(released.load(std::sync::atomic::Ordering::SeqCst));
        assert_eq!((answer.kind, answer.exit), (Kind::Done, 5));
    });
}

#[test]
fn a_process_that_dies_in_a_stop_is_told_from_one_that_answers() {
    let dir = tempfile::tempdir().unwrap();
    let pid_path = dir.path().join("tcpffee.pid");
    let pid_file = PidFile::acquire(&pid_path).unwrap();
    let listener = UnixListener::bind(socket_path(&pid_path)).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            drop(listener.accept().unwrap());
            drop(pid_file);
        });
        let error = request(&[pid_path], Command::Stop, &mut |_| {}).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("ended without saying how"), "{text}");
    });
}

#[test]
fn no_process_a_stale_file_and_a_missing_socket_have_messages_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let pid_path = dir.path().join("tcpffee.pid");
    let ask = || {
        let paths = [pid_path.clone()];
        let error = request(&paths, Command::Reload, &mut |_| {}).unwrap_err();
        error.to_string()
    };
    assert!(ask().contains("there is no PID file"), "{}", ask());
    fs::write(&pid_path, "4711\n").unwrap();
    assert!(
        ask().contains("left over from one that has gone (PID 4711)"),
        "{}",
        ask()
    );
    let _held = PidFile::acquire(&pid_path).unwrap();
    assert!(
        ask().contains("is running, but its control socket"),
        "{}",
        ask()
    );
    drop(UnixListener::bind(socket_path(&pid_path)).unwrap());
    assert!(ask().contains("Connection refused"), "{}", ask());
}

#[test]
fn of_two_pid_paths_the_one_with_a_live_process_is_asked() {
    let (running, events) = Running::start();
    thread::scope(|scope| {
        scope.spawn(|| drop(events.recv_timeout(LONG).unwrap()));
        let absent = running.pid_path.with_file_name("other.pid");
        let stale = running.pid_path.with_file_name("stale.pid");
        fs::write(&stale, "1\n").unwrap();
        let paths = [absent, stale, running.pid_path.clone()];
        assert!(request(&paths, Command::Reload, &mut |_| {}).is_ok());
    });
}

#[test]
fn the_socket_replaces_a_stale_one_and_is_closed_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let pid_path = dir.path().join("tcpffee.pid");
    let path = socket_path(&pid_path);
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let pid_file = PidFile::acquire(&pid_path).unwrap();
    let (sender, _events) = unbounded();
    let socket = ControlSocket::open(&pid_file, sender).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    socket.close(LONG);
    assert!(!path.exists());
}

#[test]
fn a_socket_path_that_is_too_long_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = PidFile::acquire(&dir.path().join(format!("{}.pid", "x".repeat(120)))).unwrap();
    let error = ControlSocket::open(&pid_file, unbounded().0).unwrap_err();
    assert!(error.to_string().contains("107 bytes"), "{error}");
}

#[test]
fn nonsense_is_answered_and_harmless() {
    let (running, events) = Running::start();
    for request in [
        "\n",
        "{}\n",
        "{\"command\":\"format_disk\"}\n",
        "{\"command\":\"reload\",\"more\":1}\n",
        "\u{0}\u{1}\u{2}\n",
        "reload\n",
        "{\"command\":",
    ] {
        let mut stream = running.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = answer_of(&stream);
        assert_eq!(answer.kind, Kind::Failed, "{request:?}");
        assert!(answer.text.contains("no such request"), "{}", answer.text);
    }
    assert!(events.is_empty());
}

#[test]
fn an_endless_request_is_cut_off() {
    let (running, _events) = Running::start();
    let mut stream = running.connect();
    let junk = vec![b'x'; 64 * 1024];
    let deadline = Instant::now() + LONG;
    while Instant::now() < deadline {
        if let Err(error) = stream.write_all(&junk) {
            let kind = error.kind();
            assert!(
                matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
                "{error}"
            );
            return;
        }
    }
    panic!("the request was read without end");
}

#[test]
fn silent_clients_delay_nobody_and_are_bounded() {
    let (running, events) = Running::start();
    let silent: Vec<_> = (0..8).map(|_| running.connect()).collect();
    thread::scope(|scope| {
        scope.spawn(|| drop(events.recv_timeout(LONG).unwrap()));
        let started = Instant::now();
        assert!(running.ask(Command::Reload).0.is_ok());
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "it waited for silent clients"
        );
    });
    // Fill every place: some later client is turned away at once, in so many words.
    let more: Vec<_> = (0..12).map(|_| running.connect()).collect();
    let turned_away = more.iter().any(|stream| {
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut text = [0; 4_096];
        let read = (&mut &*stream).read(&mut text).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..read]);
        text.contains("try again") && text.contains(r#""exit":4"#)
    });
    assert!(turned_away);
    // The silent ones are cut off after their five seconds.
    for stream in silent {
        let mut rest = Vec::new();
        let _ = (&mut &stream).read_to_end(&mut rest);
    }
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let (running, events) = Running::start();
    let mut held = Vec::new();
    for _ in 0..40 {
        let deadline = Instant::now() + LONG;
        // Until there is a place: earlier clients that left are noticed within a second.
        loop {
            let mut stream = running.connect();
            // Fails where the client is turned away at once.
            let _ = stream.write_all(b"{\"command\":\"reload\"}\n");
            if let Ok(event) = events.recv_timeout(Duration::from_millis(100)) {
                held.push(event);
                break;
            }
            assert!(Instant::now() < deadline, "no place came free");
        }
    }
    assert_eq!(held.len(), 40);
}

#[test]
fn progress_never_waits_for_the_client() {
    let (reply, answers) = Reply::new();
    for _ in 0..10_000 {
        reply.progress("x");
    }
    reply.done("end", Vec::new());
    let all: Vec<_> = answers.iter().collect();
    assert_eq!(all.len(), QUEUE_ANSWERS);
    assert_eq!(all.last().unwrap().kind, Kind::Done);
}

#[test]
fn the_socket_never_takes_the_place_of_the_pid_file() {
    assert_eq!(
        socket_path(Path::new("/run/tcpffee.pid")),
        Path::new("/run/tcpffee.sock")
    );
    assert_eq!(
        socket_path(Path::new("/run/a.sock")),
        Path::new("/run/a.sock.sock")
    );
    assert_eq!(
        socket_path(Path::new("/run/plain")),
        Path::new("/run/plain.sock")
    );
}

/// Knows two groups, and repeats what it is asked about sticks.
struct Fake;

impl Informant for Fake {
    fn status(&self) -> Box<dyn Iterator<Item = Answer> + '_> {
        let group = |id| Answer::data(Kind::Progress, serde_json::json!({ "group": id }));
        let end = Answer::data(Kind::Done, serde_json::json!({ "overview": "well" }));
        Box::new([group(1), group(2), end].into_iter())
    }

    fn sticks(&self, question: &SticksQuestion) -> Answer {
        match &question.ip {
            Some(ip) => Answer::data(Kind::Done, serde_json::json!({ "ip": ip })),
            None => Answer::failed("no address"),
        }
    }
}

#[test]
fn how_things_stand_is_told_while_the_supervisor_is_busy() {
    // Nobody takes events.
    let (running, _events) = Running::start();
    let answer = running.ask(Command::Status).0.unwrap().answer;
    assert_eq!(answer.kind, Kind::Failed);
    assert!(answer.text.contains("still starting"), "{}", answer.text);
    running.socket.as_ref().unwrap().inform_by(Arc::new(Fake));
    let mut groups = Vec::new();
    let paths = [running.pid_path.clone()];
    let outcome = request(&paths, Command::Status, &mut |line| {
        groups.push(line.data.as_ref().unwrap()["group"].as_u64());
    });
    let answer = outcome.unwrap().answer;
    assert_eq!(groups, [Some(1), Some(2)]);
    assert_eq!(answer.data.unwrap()["overview"], "well");
    let question = |ip: Option<&str>| {
        let ip = ip.map(str::to_owned);
        let sticks = Command::Sticks(SticksQuestion {
            ip,
            ..SticksQuestion::default()
        });
        running.ask(sticks).0.unwrap().answer
    };
    assert_eq!(question(Some("::1")).data.unwrap()["ip"], "::1");
    assert_eq!(
        (question(None).kind, question(None).exit),
        (Kind::Failed, EXIT_FAILED)
    );
}

#[test]
fn an_operators_order_reaches_the_supervisor_as_it_was_given() {
    use crate::groups::Status;
    use crate::operator::Order;
    let group = || "birch".to_owned();
    let set = |status| Order::SetStatus {
        group: group(),
        status,
    };
    let key = "::1/a\\x00".to_owned();
    let (running, events) = Running::start();
    for (command, expected) in [
        (Command::Drain { group: group() }, set(Status::Draining)),
        (Command::Disable { group: group() }, set(Status::Disabled)),
        (Command::Enable { group: group() }, set(Status::Up)),
        (
            Command::SticksRemove { key: key.clone() },
            Order::RemoveStick { key: key.clone() },
        ),
    ] {
        thread::scope(|scope| {
            scope.spawn(|| {
                let event = events.recv_timeout(LONG).unwrap();
                let Event::Operator { order, reply } = event else {
                    panic!("{event:?}");
                };
                reply.done(format!("{order:?}"), Vec::new());
            });
            let answer = running.ask(command).0.unwrap().answer;
            assert_eq!(answer.text, format!("{expected:?}"));
        });
    }
}
