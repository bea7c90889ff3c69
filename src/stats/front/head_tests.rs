//! Heads of requests: good, bad and mutilated.

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Parsed {
    parse(text.as_bytes(), "proxy.example.com")
}

fn whole(text: &str) -> Head {
    match parsed(text) {
        Parsed::Whole(head) => head,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn refused(text: &str) -> u16 {
    match parsed(text) {
        Parsed::Refused(answer) => answer.status,
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn a_plain_request_is_understood() {
    let text = "GET /api/v1/groups?limit=3 HTTP/1.1\r\nHost: 127.0.0.1:2340\r\n\
                Accept-Encoding: br, gzip\r\n\r\n";
    let expected = Head {
        is_head: false,
        target: "/api/v1/groups?limit=3".to_owned(),
        accepts_gzip: true,
        keeps_alive: true,
        length: text.len(),
    };
    assert_eq!(whole(text), expected);
    assert_eq!(whole(&format!("{text}rest")).length, text.len());
    for end in 0..text.len() {
        assert_eq!(parsed(&text[..end]), Parsed::Partial, "{end}");
    }
}

#[test]
fn who_wants_to_go_on_is_told_by_version_and_connection() {
    for (version, connection, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Foo, CLOSE\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
    ] {
        let head = whole(&format!(
            "HEAD / HTTP/{version}\r\nHost: localhost\r\n{connection}\r\n"
        ));
        assert!(
            head.is_head && head.keeps_alive == expected,
            "{version} {connection}"
        );
    }
}

#[test]
fn the_host_may_stand_in_the_target() {
    assert_eq!(
        whole("GET http://127.0.0.1 HTTP/1.1\r\nHost: evil.example\r\n\r\n").target,
        "/"
    );
    assert_eq!(
        whole("GET HTTP://localhost:1/api/v1/?x=1 HTTP/1.1\r\n\r\n").target,
        "/api/v1/?x=1"
    );
    assert_eq!(
        refused("GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
        421
    );
}

#[test]
fn what_is_refused_is_refused_with_the_right_status() {
    let long = "a".repeat(MAX_LINE_BYTES);
    let large = "a".repeat(MAX_HEAD_BYTES);
    let many = "A: b\r\n".repeat(MAX_HEADERS + 1);
    let host = "Host: localhost\r\n";
    for (text, status) in [
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
            421,
        ),
        (
            "GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n".to_owned(),
            421,
        ),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n".to_owned(), 421),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\n"),
            405,
        ),
        (format!("get / HTTP/1.1\r\n{host}\r\n"), 405),
        (format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), 405),
        (format!("GET * HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET api HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /\u{e4} HTTP/1.1\r\n{host}\r\n"), 400),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\n"),
            413,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length: -5\r\n\r\n"),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Content-Length: \r\n\r\n"),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n"),
            400,
        ),
        (format!("GET / HTTP/2.0\r\n{host}\r\n"), 505),
        (
            format!("GET / HTTP/1.1\r\n{host}Bad Header: x\r\n\r\n"),
            400,
        ),
        (format!("GET / HTTP/1.1\r\n{host}{many}\r\n"), 431),
        (format!("GET /{long}"), 414),
        (format!("GET /{long} HTTP/1.1\r\n{host}\r\n"), 414),
        (format!("GET / HTTP/1.1\r\n{host}A: {large}"), 431),
        ("\u{0}\u{1}\u{2}".to_owned(), 400),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}".to_owned(), 400),
    ] {
        assert_eq!(refused(&text), status, "{text:?}");
    }
}

#[test]
fn a_number_of_zeros_is_no_body_and_http_1_0_needs_no_host() {
    whole("GET / HTTP/1.0\r\nContent-Length: 00\r\n\r\n");
}

const GOOD: &str = "GET /api/v1/stick_table?limit=10&ip=10.0.0.1 HTTP/1.1\r\nHost: 127.0.0.1:2340\r\n\
                    User-Agent: curl/8\r\nAccept: */*\r\nAccept-Encoding: gzip;q=0.5\r\n\
                    Connection: keep-alive\r\n\r\n";

proptest! {
    /// Whatever comes: an answer with a status of a refusal, or a head that its bytes allow.
    #[test]
    fn mutilated_requests_are_refused_or_understood(
        changes in prop::collection::vec((0..GOOD.len(), any::<u8>(), 0..3_u8), 0..12),
        cut in 0..=GOOD.len(),
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, byte, how) in changes {
            let at = at.min(bytes.len().saturating_sub(1));
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
            if bytes.is_empty() {
                break;
            }
        }
        bytes.truncate(cut.max(1));
        check(&bytes)?;
    }

    #[test]
    fn garbage_is_refused_or_understood(bytes in prop::collection::vec(any::<u8>(), 0..40_000)) {
        check(&bytes)?;
    }
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    match parse(bytes, "proxy.example.com") {
        Parsed::Partial => prop_assert!(bytes.len() < MAX_HEAD_BYTES),
        Parsed::Refused(answer) => {
            prop_assert!([400, 405, 413, 414, 421, 431, 505].contains(&answer.status));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok());
        }
        Parsed::Whole(head) => {
            prop_assert!(head.length <= bytes.len() && head.length < MAX_HEAD_BYTES);
            prop_assert!(head.target.starts_with('/'));
            prop_assert!(head.target.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
    Ok(())
}
