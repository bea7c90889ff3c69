//! Answers, whoever sends them: JSON, problem documents (RFC 9457), compressed where asked and
//! worth it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::api::Problem;

/// Bodies up to this size are not compressed.
const MIN_COMPRESSED_BYTES: usize = 1_024;

/// JSON.
pub const JSON: &str = "application/json";
/// A problem document.
pub const PROBLEM: &str = "application/problem+json";

/// A status, a body, and what is said of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What the body is.
    pub content_type: &'static str,
    /// The body, whether it is sent or not.
    pub body: Cow<'static, [u8]>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// A body with status 200.
    pub fn ok(content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Answer {
        Answer {
            status: 200,
            content_type,
            body: body.into(),
            headers: Vec::new(),
        }
    }

    /// A value as JSON, with status 200.
    pub fn json(value: &impl Serialize) -> Answer {
        let body = serde_json::to_vec(value).expect("what answers is plain data");
        Answer::ok(JSON, body)
    }

    /// The same with another status.
    pub fn with_status(mut self, status: u16) -> Answer {
        self.status = status;
        self
    }

    /// The same with a header more.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// Why there is no answer, and what to do.
    pub fn problem(status: u16, detail: impl Into<String>) -> Answer {
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: reason(status).to_owned(),
            status,
            detail: detail.into(),
        };
        let body = serde_json::to_vec(&problem).expect("a problem is plain data");
        Answer::ok(PROBLEM, body).with_status(status)
    }

    /// Points to the right place for good.
    pub fn moved(to: String) -> Answer {
        Answer::problem(308, format!("this is at {to}")).with_header("Location", to)
    }

    /// Adds what goes with every answer, and compresses the body where that is asked for and worth
    /// it.
    pub fn finished(mut self, accepts_gzip: bool) -> Answer {
        for (name, value) in [
            ("Server", "tcpffee"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ] {
            self.headers.push((name, value.to_owned()));
        }
        if self.body.len() > MIN_COMPRESSED_BYTES {
            self = self.with_header("Vary", "Accept-Encoding");
            if accepts_gzip {
                self.body = match self.body {
                    Cow::Borrowed(body) => Cow::Borrowed(compressed_once(body)),
                    // The fastest: what is saved beyond it is not worth the proxy's processors.
                    Cow::Owned(body) => Cow::Owned(compressed(&body, Compression::fast())),
                };
                self = self.with_header("Content-Encoding", "gzip");
            }
        }
        self
    }

    /// The whole answer as it goes over the wire, without a body where only the head is asked for.
    pub fn to_wire(&self, is_head_only: bool) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
            self.status,
            reason(self.status),
            self.content_type,
            self.body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut wire = head.into_bytes();
        if !is_head_only {
            wire.extend_from_slice(&self.body);
        }
        wire
    }
}

/// Where bytes that are in the program lie, and how many they are.
type Place = (usize, usize);

/// What never changes, compressed at its first asking: a file of the dashboard or the explorer. They
/// are few, so it is kept as long as the process.
fn compressed_once(body: &'static [u8]) -> &'static [u8] {
    static KEPT: Mutex<Option<HashMap<Place, &'static [u8]>>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let place = (body.as_ptr().addr(), body.len());
    let kept = kept.get_or_insert_default().entry(place);
    kept.or_insert_with(|| compressed(body, Compression::default()).leak())
}

fn compressed(body: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("writing to memory does not fail")
}

/// A status in words (RFC 9110, RFC 6585).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

/// Whether an `Accept-Encoding` takes gzip (RFC 9110, section 12.5.3).
pub fn accepts_gzip(accept_encoding: &str) -> bool {
    let mut any = false;
    for part in accept_encoding.split(',') {
        let mut words = part.split(';').map(str::trim);
        let coding = words.next().unwrap_or_default();
        let weight = words.find_map(|word| word.strip_prefix("q=").or(word.strip_prefix("Q=")));
        let is_taken = weight.is_none_or(|weight| {
            let weight: f32 = weight.trim().parse().unwrap_or(0.0);
            weight > 0.0
        });
        match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return is_taken,
            "*" => any = is_taken,
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn gzip_is_taken_where_it_is_asked_for() {
        for (header, expected) in [
            ("", false),
            ("gzip", true),
            ("deflate, GZIP;q=0.5, br", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("*", true),
            ("*;q=0", false),
            ("br, deflate", false),
            ("gzipped", false),
            ("gzip;q=nonsense", false),
        ] {
            assert_eq!(accepts_gzip(header), expected, "{header:?}");
        }
    }

    #[test]
    fn only_what_is_worth_it_is_compressed() {
        let small = Answer::ok(JSON, vec![b'1'; MIN_COMPRESSED_BYTES]);
        assert_eq!(small.clone().finished(true).body, small.body);
        let large = Answer::ok(JSON, vec![b'1'; MIN_COMPRESSED_BYTES + 1]);
        let has = |answer: &Answer, name: &str| answer.headers.iter().any(|(key, _)| *key == name);
        let plain = large.clone().finished(false);
        assert!(plain.body == large.body && has(&plain, "Vary"));
        let packed = large.clone().finished(true);
        assert!(has(&packed, "Vary") && has(&packed, "Content-Encoding"));
        let mut unpacked = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&*packed.body);
        decoder.read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, *large.body);
    }

    #[test]
    fn what_never_changes_is_compressed_once() {
        static FILE: [u8; 4_096] = [b'1'; 4_096];
        let packed = || Answer::ok(JSON, &FILE[..]).finished(true).body;
        let (first, second) = (packed(), packed());
        assert!(first.len() < 100);
        assert!(std::ptr::eq(&*first, &*second));
    }

    #[test]
    fn a_problem_is_as_rfc_9457_has_it() {
        let answer = Answer::problem(404, "there is nothing").finished(false);
        let wire = String::from_utf8(answer.to_wire(false)).unwrap();
        assert!(wire.starts_with("HTTP/1.1 404 Not Found\r\n"), "{wire}");
        assert!(wire.contains("Content-Type: application/problem+json\r\n"));
        let body = wire.split("\r\n\r\n").nth(1).unwrap();
        let expected = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"there is nothing"}"#;
        assert_eq!(body, expected);
        assert!(answer.to_wire(true).ends_with(b"\r\n\r\n"));
    }
}
