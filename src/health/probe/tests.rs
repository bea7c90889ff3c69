//! Probes against servers of every kind of bad will.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use socket2::{Domain, SockRef, Socket, Type};

use super::*;
use crate::config::{CheckHeader, FallAction, HttpCheck, HttpMethod};
use crate::fault::Fault;

mod sources; // checks from `bind_source`
mod unix; // checks of Unix sockets

/// Long enough for anything on one machine.
const PLENTY: Duration = Duration::from_secs(10);
/// For targets that never answer; the checks of them must not take much longer.
const SHORT: Duration = Duration::from_millis(300);
/// What a loaded machine may add.
const SLACK: Duration = Duration::from_secs(5);
/// What a time-out may lose by rounding.
const EARLY: Duration = Duration::from_millis(10);

fn tcp_check(timeout: Duration) -> HealthCheck {
    HealthCheck {
        fall: 1,
        rise: 1,
        fall_action: FallAction::Draining,
        interval: timeout,
        timeout,
        port: None,
        send_proxy: CheckHeader::AsConnections,
        http: None,
    }
}

fn http_check(timeout: Duration, edit: impl FnOnce(&mut HttpCheck)) -> HealthCheck {
    let mut http = HttpCheck {
        target: "/health".to_owned(),
        method: HttpMethod::Get,
        headers: BTreeMap::new(),
        body: None,
        status: 200,
    };
    edit(&mut http);
    HealthCheck {
        http: Some(http),
        ..tcp_check(timeout)
    }
}

fn run(check: &HealthCheck, address: SocketAddr) -> Outcome {
    Probe::new(check, &TargetAddr::Socket(address), None)
        .run(&[address.into()], &Sources::default())
}

fn failed(check: &HealthCheck, address: SocketAddr) -> Failure {
    match run(check, address) {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// A server that does `serve` with each connection; ends with the test process.
fn server(serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap());
        }
    });
    address
}

/// Reads a request up to the end of its headers and its body of known length.
fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut byte = [0; 1];
    let body_bytes = |text: &str| {
        let lower = text.to_lowercase();
        let (_, rest) = lower.split_once("content-length:")?;
        rest.lines().next()?.trim().parse::<usize>().ok()
    };
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= body_bytes(head).unwrap_or(0)
        {
            return text;
        }
        stream.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
}

/// A server that answers each request with `answer`, and hands the requests over with what came
/// after them up to the end of the connection.
fn answering(answer: &'static str) -> (SocketAddr, Receiver<(String, Vec<u8>)>) {
    let (sender, requests) = channel();
    let address = server(move |mut stream| {
        let request = read_request(&mut stream);
        stream.write_all(answer.as_bytes()).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        let _ = sender.send((request, rest));
    });
    (address, requests)
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_tcp_check_passes_where_somebody_listens_and_says_nothing() {
    let (sender, seen) = channel();
    let address = server(move |mut stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        sender.send(bytes).unwrap();
    });
    assert_eq!(run(&tcp_check(PLENTY), address), Outcome::Passed);
    assert_eq!(seen.recv_timeout(PLENTY).unwrap(), b"");
}

#[test]
fn where_nobody_listens_both_kinds_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for check in [tcp_check(PLENTY), http_check(PLENTY, |_| ())] {
        assert_eq!(failed(&check, address), Failure::Refused);
    }
}

#[test]
fn a_handshake_that_never_ends_fails_at_the_timeout() {
    // A backlog that is full: the kernel drops further handshakes.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, SHORT) {
        held.push(stream);
    }
    for check in [tcp_check(SHORT), http_check(SHORT, |_| ())] {
        let begun = Instant::now();
        assert_eq!(failed(&check, address), Failure::NoConnection(SHORT));
        let took = begun.elapsed();
        assert!(took + EARLY >= SHORT && took < SHORT + SLACK, "{took:?}");
    }
}

#[test]
fn a_socket_connected_to_itself_is_nobody_listening() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let own = socket.local_addr().unwrap();
    socket.connect(&own).unwrap();
    let own = own.as_socket().unwrap();
    assert_eq!(
        connection::not_itself(OwnedFd::from(socket), own, false).unwrap_err(),
        Fault::Target(Errno::CONNREFUSED)
    );
}

#[test]
fn a_server_that_accepts_and_never_answers_fails_at_the_timeout() {
    let address = server(|stream| {
        thread::spawn(move || {
            thread::sleep(PLENTY);
            drop(stream);
        });
    });
    let begun = Instant::now();
    let check = http_check(SHORT, |_| ());
    assert_eq!(failed(&check, address), Failure::NoAnswer(SHORT));
    let took = begun.elapsed();
    assert!(took + EARLY >= SHORT && took < SHORT + SLACK, "{took:?}");
    // That it accepts is all that a TCP check asks for.
    assert_eq!(run(&tcp_check(SHORT), address), Outcome::Passed);
}

#[test]
fn a_server_that_answers_a_byte_at_a_time_fails_at_the_timeout() {
    let address = server(|mut stream| {
        for byte in FINE.bytes().cycle() {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(SHORT / 10);
        }
    });
    let begun = Instant::now();
    let check = http_check(SHORT, |_| ());
    assert_eq!(failed(&check, address), Failure::NoAnswer(SHORT));
    assert!(begun.elapsed() < SHORT + SLACK);
}

#[test]
fn a_body_that_drips_holds_the_check_no_longer_than_the_timeout_and_the_status_decides() {
    let address = server(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(SHORT / 10);
        }
    });
    let begun = Instant::now();
    assert_eq!(run(&http_check(SHORT, |_| ()), address), Outcome::Passed);
    assert!(begun.elapsed() < SHORT + SLACK);
}

#[test]
fn ten_megabytes_of_headers_are_not_read() {
    let (sender, sent) = channel();
    let address = server(move |mut stream| {
        read_request(&mut stream);
        let mut count = 0;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while count < 10_000_000 {
            let line = format!("X-{count}: {}\r\n", "y".repeat(1000));
            match stream.write_all(line.as_bytes()) {
                Ok(()) => count += line.len(),
                Err(_) => break,
            }
        }
        sender.send(count).unwrap();
    });
    assert_eq!(
        failed(&http_check(PLENTY, |_| ()), address),
        Failure::LargeHeaders
    );
    let sent = sent.recv_timeout(PLENTY).unwrap();
    assert!(sent < 10_000_000, "all was taken");
}

#[test]
fn an_endless_body_is_left_after_its_bound() {
    let address = server(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let begun = Instant::now();
    assert_eq!(
        run(&http_check(PLENTY * 3, |_| ()), address),
        Outcome::Passed
    );
    assert!(begun.elapsed() < PLENTY, "it was left before its time-out");
}

#[test]
fn a_redirect_is_a_status_and_not_followed() {
    let (sender, followed) = channel::<()>();
    let elsewhere = server(move |_| sender.send(()).unwrap());
    let address = server(move |mut stream| {
        read_request(&mut stream);
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).unwrap();
    });
    for (method, expected) in [(HttpMethod::Get, 200), (HttpMethod::Post, 200)] {
        let check = http_check(PLENTY, |http| http.method = method);
        let found = 302;
        assert_eq!(failed(&check, address), Failure::Status { found, expected });
    }
    let check = http_check(PLENTY, |http| http.status = 302);
    assert_eq!(run(&check, address), Outcome::Passed);
    assert!(followed.try_recv().is_err());
}

#[test]
fn resets_and_early_ends_are_told() {
    let resetting = server(|mut stream| {
        read_request(&mut stream);
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let check = http_check(PLENTY, |_| ());
    assert_eq!(failed(&check, resetting), Failure::Reset);
    let closing = server(|mut stream| {
        read_request(&mut stream);
    });
    assert_eq!(failed(&check, closing), Failure::Closed);
    let (halfway, _requests) = answering("HTTP/1.1 200 OK\r\nContent-");
    assert!(matches!(
        failed(&http_check(SHORT, |_| ()), halfway),
        Failure::Closed | Failure::NoAnswer(_)
    ));
}

#[test]
fn only_the_expected_status_passes() {
    for (answer, expected, passes) in [
        (FINE, 200, true),
        (FINE, 204, false),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, true),
        ("HTTP/1.0 201 Created\r\n\r\n", 201, true),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            404,
            true,
        ),
        ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 200, false),
        ("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", 503, true),
    ] {
        let (address, _requests) = answering(answer);
        let check = http_check(PLENTY, |http| http.status = expected);
        let outcome = run(&check, address);
        assert_eq!(outcome == Outcome::Passed, passes, "{answer}: {outcome:?}");
        if !passes {
            let shown = failed(&check, address).to_string();
            assert!(shown.starts_with("answered "), "{shown}");
        }
    }
}

#[test]
fn what_is_no_http_is_told_as_such() {
    for answer in ["SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let (address, _requests) = answering(answer);
        let failure = failed(&http_check(SHORT, |_| ()), address);
        assert!(matches!(failure, Failure::NotHttp(_)), "{failure:?}");
        assert!(!failure.to_string().contains('\n'));
    }
}

#[test]
fn requests_are_what_was_configured() {
    let (address, requests) = answering(FINE);
    let post = http_check(PLENTY, |http| {
        http.target = "/health?deep=1".to_owned();
        http.method = HttpMethod::Post;
        http.body = Some("Hello, World!".to_owned());
        http.headers
            .insert("Content-Type".to_owned(), "text/plain".to_owned());
        http.headers
            .insert("X-Name".to_owned(), "na\u{ef}ve".to_owned());
    });
    assert_eq!(run(&post, address), Outcome::Passed);
    let (request, rest) = requests.recv_timeout(PLENTY).unwrap();
    assert_eq!(rest, b"", "nothing follows, and the connection is closed");
    assert!(
        request.starts_with("POST /health?deep=1 HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\nHello, World!"), "{request}");
    let lower = request.to_lowercase();
    for line in [
        "content-type: text/plain",
        "content-length: 13",
        "connection: close",
        &format!("host: {address}"),
        concat!("user-agent: tcpffee/", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(
            lower.matches(&format!("\r\n{line}\r\n")).count(),
            1,
            "{line}: {request}"
        );
    }
    let get = http_check(PLENTY, |http| http.body = Some("why not".to_owned()));
    assert_eq!(run(&get, address), Outcome::Passed);
    let (request, _) = requests.recv_timeout(PLENTY).unwrap();
    assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\nwhy not"), "{request}");
    let empty = http_check(PLENTY, |http| http.method = HttpMethod::Post);
    assert_eq!(run(&empty, address), Outcome::Passed);
    let (request, _) = requests.recv_timeout(PLENTY).unwrap();
    assert!(
        request.to_lowercase().contains("\r\ncontent-length: 0\r\n"),
        "{request}"
    );
}

#[test]
fn configured_headers_take_the_place_of_our_own() {
    let (address, requests) = answering(FINE);
    let check = http_check(PLENTY, |http| {
        for (name, value) in [
            ("host", "example.test"),
            ("user-agent", "probe"),
            ("accept", "x/y"),
        ] {
            http.headers.insert(name.to_owned(), value.to_owned());
        }
    });
    assert_eq!(run(&check, address), Outcome::Passed);
    let (request, _) = requests.recv_timeout(PLENTY).unwrap();
    let lower = request.to_lowercase();
    for name in ["host", "user-agent", "accept"] {
        assert_eq!(
            lower.matches(&format!("\r\n{name}: ")).count(),
            1,
            "{request}"
        );
    }
    assert!(lower.contains("\r\nhost: example.test\r\n"), "{request}");
}

#[test]
fn the_host_is_the_target_as_configured() {
    let name = |port| TargetAddr::Name {
        host: "server.test".to_owned(),
        port,
    };
    let socket = |text: &str| TargetAddr::Socket(text.parse().unwrap());
    for (target, port, expected) in [
        (name(8080), None, "server.test:8080"),
        (name(80), None, "server.test"),
        (name(80), Some(81), "server.test:81"),
        (socket("192.0.2.1:5280"), None, "192.0.2.1:5280"),
        (socket("192.0.2.1:5280"), Some(80), "192.0.2.1"),
        (socket("[2001:db8::1]:5280"), None, "[2001:db8::1]:5280"),
    ] {
        assert_eq!(http::host(&target, port), expected);
    }
}

#[test]
fn ipv6_targets_are_asked_like_others() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        println!("SKIPPED: this host has no IPv6");
        return;
    };
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 4096];
            if stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                let _ = stream.write_all(FINE.as_bytes());
            }
        }
    });
    for check in [tcp_check(PLENTY), http_check(PLENTY, |_| ())] {
        assert_eq!(run(&check, address), Outcome::Passed);
    }
}

#[test]
fn a_probe_connects_anew_each_time() {
    let (address, requests) = answering(FINE);
    let probe = Probe::new(
        &http_check(PLENTY, |_| ()),
        &TargetAddr::Socket(address),
        None,
    );
    for _ in 0..5 {
        assert_eq!(
            probe.run(&[address.into()], &Sources::default()),
            Outcome::Passed
        );
        // Ends only when the probe has closed its side.
        let (_, rest) = requests.recv_timeout(PLENTY).unwrap();
        assert_eq!(rest, b"");
    }
}

#[test]
fn want_of_this_host_says_nothing_about_the_target() {
    for errno in [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::ADDRNOTAVAIL,
    ] {
        assert_eq!(
            connection::judge(Fault::of(errno), PLENTY),
            Outcome::NotRun(NotRun::Local(errno))
        );
    }
    let failure = Outcome::Failed(Failure::Connect(Errno::HOSTUNREACH));
    let closed = Fault::of(Errno::HOSTUNREACH);
    assert_eq!(connection::judge(closed, PLENTY), failure);
}

#[test]
fn timeouts_of_a_few_milliseconds_hold() {
    let (address, _requests) = answering(FINE);
    for timeout_ms in [1, 5, 20] {
        let timeout = Duration::from_millis(timeout_ms);
        for check in [tcp_check(timeout), http_check(timeout, |_| ())] {
            let begun = Instant::now();
            // Passed or not, by luck: what counts is that it ends.
            run(&check, address);
            assert!(begun.elapsed() < SLACK);
        }
    }
}
