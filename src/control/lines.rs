//! Lines from a stream, with a bound on their length and on the time they take.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Takes lines out of a stream.
pub(super) struct Lines<'a> {
    stream: &'a UnixStream,
    held: Vec<u8>,
    max_bytes: usize,
}

impl<'a> Lines<'a> {
    /// Lines of at most `max_bytes`, line end not counted.
    pub fn new(stream: &'a UnixStream, max_bytes: usize) -> Lines<'a> {
        let held = Vec::new();
        Lines {
            stream,
            held,
            max_bytes,
        }
    }

    /// The next line without its end; what stands before the end of the stream is a line too.
    /// `None`: the stream has ended.
    ///
    /// # Errors
    /// `TimedOut` past the deadline, `InvalidData` for a line that is too long, and what the
    /// stream says.
    pub fn next(&mut self, deadline: Option<Instant>) -> io::Result<Option<Vec<u8>>> {
        let mut seen = 0;
        loop {
            if let Some(at) = self.held[seen..].iter().position(|&byte| byte == b'\n') {
                let rest = self.held.split_off(seen + at + 1);
                let mut line = std::mem::replace(&mut self.held, rest);
                line.pop();
                return Ok(Some(line));
            }
            seen = self.held.len();
            if seen > self.max_bytes {
                return Err(ErrorKind::InvalidData.into());
            }
            if self.fill(deadline)? == 0 {
                let last = std::mem::take(&mut self.held);
                return Ok((!last.is_empty()).then_some(last));
            }
        }
    }

    fn fill(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        let mut buffer = [0; 4_096];
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(left)?;
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.held.extend_from_slice(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
