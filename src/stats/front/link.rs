//! One of the front's connections to the backend: one request at a time.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::UnixStream;

use super::head::Head;

/// The largest answer that is taken; the routes bound theirs far below.
pub const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Read at once.
const READ_BYTES: usize = 64 * 1_024;

/// Who a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The client's slot.
    pub slot: usize,
    /// Its serial number: the slot may have another client by now.
    pub serial: u64,
}

/// A connection to the backend.
pub struct Link {
    stream: UnixStream,
    work: Option<Work>,
}

struct Work {
    asker: Asker,
    is_head: bool,
    request: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
}

impl Link {
    /// A connection without work.
    pub fn new(stream: UnixStream) -> Link {
        Link { stream, work: None }
    }

    /// Its socket.
    pub fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// Whether it has nothing to do.
    pub fn is_free(&self) -> bool {
        self.work.is_none()
    }

    /// Who waits for an answer of it.
    pub fn asker(&self) -> Option<Asker> {
        self.work.as_ref().map(|work| work.asker)
    }

    /// Gives a free connection a request.
    pub fn give(&mut self, asker: Asker, head: &Head) {
        let method = if head.is_head { "HEAD" } else { "GET" };
        let encoding = match head.accepts_gzip {
            true => "Accept-Encoding: gzip\r\n",
            false => "",
        };
        let request = format!("{method} {} HTTP/1.1\r\n{encoding}\r\n", head.target);
        self.work = Some(Work {
            asker,
            is_head: head.is_head,
            request: request.into_bytes(),
            sent: 0,
            answer: Vec::new(),
        });
    }

    /// Does what the socket permits; the answer, once it is whole.
    ///
    /// # Errors
    /// The connection is broken, or what came is no answer.
    pub fn advance(&mut self) -> io::Result<Option<(Asker, Vec<u8>)>> {
        let Some(work) = &mut self.work else {
            return self.expect_silence();
        };
        while work.sent < work.request.len() {
            match self.stream.write(&work.request[work.sent..]) {
                Ok(count) => work.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => work.answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
            match length(&work.answer, work.is_head)? {
                Some(length) if work.answer.len() == length => break,
                Some(length) if work.answer.len() > length || length > MAX_ANSWER_BYTES => {
                    return Err(ErrorKind::InvalidData.into());
                }
                _ => {}
            }
        }
        Ok(self.work.take().map(|work| (work.asker, work.answer)))
    }

    /// Nothing comes where nothing was asked, but the end.
    fn expect_silence(&mut self) -> io::Result<Option<(Asker, Vec<u8>)>> {
        match self.stream.read(&mut [0]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Err(ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The length of a whole answer that begins so; `None` while its head is not there.
fn length(answer: &[u8], is_head: bool) -> io::Result<Option<usize>> {
    const MAX_HEADERS: usize = 32;
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let invalid = || io::Error::from(ErrorKind::InvalidData);
    let head = match response.parse(answer).map_err(|_| invalid())? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    if is_head {
        return Ok(Some(head));
    }
    let mut named = response.headers.iter();
    let stated = named.find(|header| header.name.eq_ignore_ascii_case("Content-Length"));
    let stated = stated.and_then(|header| std::str::from_utf8(header.value).ok());
    let body: usize = stated
        .and_then(|text| text.parse().ok())
        .ok_or_else(invalid)?;
    Ok(Some(head + body))
}
