//! Targets that are Unix sockets.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;

use socket2::SockAddr;
use tempfile::TempDir;

use super::*;
use crate::config::UnixPath;

/// A path for a socket, in a directory of its own.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        Place { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("app.sock")
    }

    fn run(&self, check: &HealthCheck, send_proxy: Option<ProxyHeader>) -> Outcome {
        let path = UnixPath::parse(&format!("unix:{}", self.path().display())).unwrap();
        let probe = Probe::new(check, &TargetAddr::Unix(path.clone()), send_proxy);
        probe.run(&[Endpoint::Unix(path)], &Sources::default())
    }

    fn failed(&self, check: &HealthCheck) -> Failure {
        match self.run(check, None) {
            Outcome::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// A server that does `serve` with each connection; ends with the test process.
    fn serve(&self, serve: impl Fn(UnixStream) + Send + 'static) {
        let listener = UnixListener::bind(self.path()).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap());
            }
        });
    }

    /// A server that answers so, and hands over all that came with each connection.
    fn answer(&self, answer: &'static str) -> Receiver<Vec<u8>> {
        let (sender, seen) = channel();
        self.serve(move |mut stream| {
            let mut bytes = Vec::new();
            let mut piece = [0; 4096];
            loop {
                match stream.read(&mut piece).unwrap() {
                    0 => break,
                    count => bytes.extend(&piece[..count]),
                }
                if bytes.ends_with(b"\r\n\r\n") {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
            sender.send(bytes).unwrap();
        });
        seen
    }
}

fn both_kinds(timeout: Duration) -> [HealthCheck; 2] {
    [tcp_check(timeout), http_check(timeout, |_| ())]
}

#[test]
fn a_unix_socket_is_checked_by_a_connect_and_by_http() {
    let place = Place::new();
    let seen = place.answer("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(place.run(&tcp_check(PLENTY), None), Outcome::Passed);
    assert_eq!(seen.recv_timeout(PLENTY).unwrap(), b"");
    for (expected, passes) in [(204, true), (200, false)] {
        let check = http_check(PLENTY, |http| http.status = expected);
        let found = 204;
        let outcome = match passes {
            true => Outcome::Passed,
            false => Outcome::Failed(Failure::Status { found, expected }),
        };
        assert_eq!(place.run(&check, None), outcome);
        let request = String::from_utf8(seen.recv_timeout(PLENTY).unwrap()).unwrap();
        assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
        let lower = request.to_lowercase();
        assert_eq!(
            lower.matches("\r\nhost: localhost\r\n").count(),
            1,
            "{request}"
        );
    }
}

#[test]
fn a_header_comes_in_front_and_in_one_piece_with_the_request() {
    for (version, header) in [(ProxyHeader::V1, LOCAL_V1), (ProxyHeader::V2, LOCAL_V2)] {
        let place = Place::new();
        let (sender, pieces) = channel();
        place.serve(move |mut stream| {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).unwrap();
            let _ = stream.write_all(FINE.as_bytes());
            sender.send(piece[..count].to_vec()).unwrap();
        });
        let [tcp, http] = both_kinds(PLENTY);
        assert_eq!(place.run(&tcp, Some(version)), Outcome::Passed);
        assert_eq!(pieces.recv_timeout(PLENTY).unwrap(), header);
        assert_eq!(place.run(&http, Some(version)), Outcome::Passed);
        let piece = pieces.recv_timeout(PLENTY).unwrap();
        let request = piece.strip_prefix(header).expect("a header in front");
        assert!(request.starts_with(b"GET /health") && request.ends_with(b"\r\n\r\n"));
    }
}

#[test]
fn what_is_wrong_with_a_path_is_told() {
    for check in both_kinds(PLENTY) {
        let missing = Place::new();
        assert_eq!(missing.failed(&check), Failure::Connect(Errno::NOENT));
        let shown = missing.failed(&check).to_string();
        assert!(shown.starts_with("cannot connect: No such file"), "{shown}");

        // The file of a server that is no more.
        let stale = Place::new();
        drop(UnixListener::bind(stale.path()).unwrap());
        assert_eq!(stale.failed(&check), Failure::Refused);

        let other = Place::new();
        let _datagrams = UnixDatagram::bind(other.path()).unwrap();
        assert_eq!(other.failed(&check), Failure::Connect(Errno::PROTOTYPE));

        let no_socket = Place::new();
        std::fs::write(no_socket.path(), "").unwrap();
        assert_eq!(no_socket.failed(&check), Failure::Refused);
    }
}

#[test]
fn a_socket_that_this_process_may_not_use_is_told_as_such() {
    for check in both_kinds(PLENTY) {
        let place = Place::new();
        place.serve(drop);
        std::fs::set_permissions(place.path(), Permissions::from_mode(0o600)).unwrap();
        std::fs::set_permissions(place.directory.path(), Permissions::from_mode(0o755)).unwrap();
        let failure = thread::scope(|scope| {
            let as_nobody = scope.spawn(|| {
                const NOBODY: libc::uid_t = 65_534;
                // SAFETY: changes nothing but whose files this thread may use, and it ends here.
                unsafe { libc::setfsuid(NOBODY) };
                place.failed(&check)
            });
            as_nobody.join().unwrap()
        });
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: the socket is this user's own");
            return;
        }
        assert_eq!(failure, Failure::Connect(Errno::ACCESS));
        let shown = failure.to_string();
        assert!(
            shown.starts_with("cannot connect: Permission denied"),
            "{shown}"
        );
    }
}

/// A listener without room: whoever connects waits.
fn full(place: &Place) -> (Socket, Vec<UnixStream>) {
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener
        .bind(&SockAddr::unix(place.path()).unwrap())
        .unwrap();
    listener.listen(0).unwrap();
    let mut held = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        match socket.connect(&SockAddr::unix(place.path()).unwrap()) {
            Ok(()) => held.push(UnixStream::from(OwnedFd::from(socket))),
            Err(error) => {
                assert_eq!(Errno::from_io_error(&error), Some(Errno::AGAIN));
                return (listener, held);
            }
        }
    }
}

#[test]
fn a_backlog_that_stays_full_fails_at_the_timeout() {
    let place = Place::new();
    let (_listener, _held) = full(&place);
    for check in both_kinds(SHORT) {
        let begun = Instant::now();
        assert_eq!(place.failed(&check), Failure::NoConnection(SHORT));
        let took = begun.elapsed();
        assert!(took + EARLY >= SHORT && took < SHORT + SLACK, "{took:?}");
    }
}

#[test]
fn a_check_waits_for_room_in_the_backlog() {
    for check in both_kinds(PLENTY) {
        let place = Place::new();
        let (listener, held) = full(&place);
        thread::spawn(move || {
            thread::sleep(SHORT / 2); // so that it most likely waits by then
            loop {
                let (stream, _) = listener.accept().unwrap();
                let _ = (&stream).write_all(FINE.as_bytes());
                let _ = (&stream).read(&mut [0; 4096]);
            }
        });
        // Their ends free the server of them.
        let ends = thread::spawn(move || {
            thread::sleep(SHORT / 2);
            drop(held);
        });
        assert_eq!(place.run(&check, None), Outcome::Passed);
        ends.join().unwrap();
    }
}

#[test]
fn servers_that_end_reset_or_keep_silent_are_told() {
    let check = http_check(PLENTY, |_| ());
    let ends = Place::new();
    ends.serve(|mut stream| {
        stream.read_exact(&mut [0; 1]).unwrap();
        let _ = stream.set_nonblocking(true);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_eq!(ends.failed(&check), Failure::Closed);

    // What is left unread makes a reset of an end.
    let resets = Place::new();
    resets.serve(|mut stream| stream.read_exact(&mut [0; 1]).unwrap());
    assert_eq!(resets.failed(&check), Failure::Reset);

    let silent = Place::new();
    silent.serve(|stream| {
        thread::spawn(move || {
            thread::sleep(PLENTY);
            drop(stream);
        });
    });
    let begun = Instant::now();
    let check = http_check(SHORT, |_| ());
    assert_eq!(silent.failed(&check), Failure::NoAnswer(SHORT));
    let took = begun.elapsed();
    assert!(took + EARLY >= SHORT && took < SHORT + SLACK, "{took:?}");
    assert_eq!(silent.run(&tcp_check(SHORT), None), Outcome::Passed);
}
