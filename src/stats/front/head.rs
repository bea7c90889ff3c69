//! The head of a request: from bytes to what is asked, or why it is refused. No sockets.

use super::host;
use crate::stats::answer::{Answer, accepts_gzip};

/// The largest head.
pub const MAX_HEAD_BYTES: usize = 32 * 1_024;
/// The longest request line. The slice of a key has up to 4,096 bytes, each of which may take six
/// characters: `%5Cx00`.
pub const MAX_LINE_BYTES: usize = 28 * 1_024;
/// Most headers.
pub const MAX_HEADERS: usize = 64;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whether the body of the answer is left out: HEAD in place of GET.
    pub is_head: bool,
    /// Path and query, printable ASCII, beginning with a slash.
    pub target: String,
    /// Whether the answer may be compressed.
    pub accepts_gzip: bool,
    /// Whether the client wants to ask more over the same connection.
    pub keeps_alive: bool,
    /// Bytes of the head; what lies behind it is not of this request.
    pub length: usize,
}

/// How far a head has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More is to come.
    Partial,
    /// All of it.
    Whole(Head),
    /// It is refused, and its connection cannot go on.
    Refused(Answer),
}

/// Reads the head of a request to this host, which is called `own_name`.
pub fn parse(bytes: &[u8], own_name: &str) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => match read(&request, length, bytes, own_name) {
            Ok(head) => Parsed::Whole(head),
            Err(answer) => Parsed::Refused(answer),
        },
        Ok(httparse::Status::Partial) => match too_long(bytes, bytes.len()) {
            Some(answer) => Parsed::Refused(answer),
            None => Parsed::Partial,
        },
        Err(error) => Parsed::Refused(malformed(error)),
    }
}

/// Why a head of `length` bytes, of which these are the first, is too long.
fn too_long(bytes: &[u8], length: usize) -> Option<Answer> {
    let first = bytes.iter().take(MAX_LINE_BYTES + 1);
    if bytes.len() > MAX_LINE_BYTES && !first.into_iter().any(|&byte| byte == b'\n') {
        let detail = format!("the request line is longer than {MAX_LINE_BYTES} bytes");
        return Some(Answer::problem(414, detail));
    }
    (length >= MAX_HEAD_BYTES).then(|| {
        let detail = format!("the head of the request is longer than {MAX_HEAD_BYTES} bytes");
        Answer::problem(431, detail)
    })
}

fn malformed(error: httparse::Error) -> Answer {
    match error {
        httparse::Error::TooManyHeaders => Answer::problem(
            431,
            format!("the request has more than {MAX_HEADERS} headers"),
        ),
        httparse::Error::Version => {
            Answer::problem(505, "expected HTTP/1.1 or HTTP/1.0 in the request line")
        }
        error => Answer::problem(400, format!("this is not an HTTP request: {error}")),
    }
}

fn read(
    request: &httparse::Request<'_, '_>,
    length: usize,
    bytes: &[u8],
    own_name: &str,
) -> Result<Head, Answer> {
    if let Some(answer) = too_long(bytes, length) {
        return Err(answer);
    }
    let is_http_1_0 = request.version == Some(0);
    let (authority, target) = split_target(request.path.unwrap_or_default());
    let host = authority.or(one(request, "Host")?);
    check_host(host, is_http_1_0, own_name)?;
    let is_head = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        method => return Err(not_allowed(method.unwrap_or_default())),
    };
    refuse_body(request)?;
    if !target.starts_with('/') || !target.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        let detail = "expected a path that begins with a slash, in printable ASCII, other \
                      characters percent-encoded";
        return Err(Answer::problem(400, detail));
    }
    let connection = one(request, "Connection")?.unwrap_or_default();
    let says = |word: &str| {
        let mut words = connection.split(',').map(str::trim);
        words.any(|said| said.eq_ignore_ascii_case(word))
    };
    Ok(Head {
        is_head,
        target: target.to_owned(),
        accepts_gzip: accepts_gzip(one(request, "Accept-Encoding")?.unwrap_or_default()),
        keeps_alive: !says("close") && (!is_http_1_0 || says("keep-alive")),
        length,
    })
}

/// Splits a target in absolute form, as clients send it to a proxy, into authority and path.
fn split_target(target: &str) -> (Option<&str>, &str) {
    const SCHEME: &str = "http://";
    let is_absolute = target
        .get(..SCHEME.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME));
    if !is_absolute {
        return (None, target);
    }
    let rest = &target[SCHEME.len()..];
    match rest.find(['/', '?', '#']) {
        Some(at) => (Some(&rest[..at]), &rest[at..]),
        None => (Some(rest), "/"),
    }
}

fn check_host(host: Option<&str>, is_http_1_0: bool, own_name: &str) -> Result<(), Answer> {
    match host {
        None if is_http_1_0 => Ok(()),
        None => Err(Answer::problem(
            400,
            "a request by HTTP/1.1 has a Host header",
        )),
        Some(host) if host::is_own(host, own_name) => Ok(()),
        Some(_) => Err(Answer::problem(
            421,
            format!(
                "the Host header names a server that this one is not known as; so that no web page \
                 can read statistics under a name of its own (DNS rebinding), it has to be an IP \
                 address, a name without a dot, or {own_name}"
            ),
        )),
    }
}

fn not_allowed(method: &str) -> Answer {
    let method: String = method.chars().take(32).collect();
    let detail = format!("{method} does nothing here: statistics are read, by GET or HEAD");
    Answer::problem(405, detail).with_header("Allow", "GET, HEAD")
}

fn refuse_body(request: &httparse::Request<'_, '_>) -> Result<(), Answer> {
    if one(request, "Transfer-Encoding")?.is_some() {
        return Err(Answer::problem(
            400,
            "expected a request without a body (Transfer-Encoding)",
        ));
    }
    match one(request, "Content-Length")?.map(str::trim) {
        None => Ok(()),
        Some(length) if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) => {
            Err(Answer::problem(400, "Content-Length is not a number"))
        }
        Some(length) if length.bytes().all(|byte| byte == b'0') => Ok(()),
        Some(_) => Err(Answer::problem(413, "expected a request without a body")),
    }
}

/// The value of a header that may be there once; lists that may be split are joined by nobody who
/// sends them to a server like this.
fn one<'a>(
    request: &httparse::Request<'_, 'a>,
    name: &'static str,
) -> Result<Option<&'a str>, Answer> {
    let mut found = None;
    let named = request.headers.iter();
    for header in named.filter(|header| header.name.eq_ignore_ascii_case(name)) {
        if found.is_some() {
            return Err(Answer::problem(
                400,
                format!("the header {name} is there twice"),
            ));
        }
        let value = std::str::from_utf8(header.value);
        let value = value.map_err(|_| Answer::problem(400, format!("{name} is not text")))?;
        found = Some(value);
    }
    Ok(found)
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
