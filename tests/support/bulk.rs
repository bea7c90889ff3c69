//! Large streams whose every byte is checked.
//!
//! The pattern is a pseudo-random table of prime length, repeated; each stream begins at another
//! place in it. A byte lost, doubled, swapped or taken from another stream is found where it is.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::OnceLock;

use super::client::{StreamEnd, is_reset};

const PERIOD: usize = 1_048_573;
const CHUNK: usize = 256 * 1024;

/// The bytes of one stream, from its start on.
#[derive(Clone, Debug)]
pub struct Pattern {
    seed: u64,
    position: u64,
}

impl Pattern {
    /// The pattern of a stream.
    pub fn new(seed: u64) -> Pattern {
        Pattern { seed, position: 0 }
    }

    /// How many bytes were taken or checked.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next `length` bytes (at most a million).
    pub fn take(&mut self, length: usize) -> &'static [u8] {
        let start = (self.seed.wrapping_mul(7919) % PERIOD as u64 + self.position) % PERIOD as u64;
        let start = usize::try_from(start).expect("less than the period");
        self.position += length as u64;
        &table()[start..start + length]
    }

    /// Checks that `bytes` come next.
    pub fn check(&mut self, bytes: &[u8]) {
        let from = self.position;
        let expected = self.take(bytes.len());
        if bytes != expected {
            let differs = bytes
                .iter()
                .zip(expected)
                .position(|(got, want)| got != want);
            let offset = from + differs.unwrap_or(0) as u64;
            panic!("stream {}: wrong byte at {offset}", self.seed);
        }
    }
}

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut bytes = Vec::with_capacity(2 * PERIOD);
        while bytes.len() < PERIOD {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(PERIOD);
        bytes.extend_from_within(..);
        bytes
    })
}

/// Sends `length` bytes of the stream `seed`.
pub fn send(stream: impl Write, seed: u64, length: u64) -> io::Result<()> {
    send_on(stream, &mut Pattern::new(seed), length)
}

/// Sends the next `length` bytes of a pattern.
pub fn send_on(mut stream: impl Write, pattern: &mut Pattern, length: u64) -> io::Result<()> {
    let end = pattern.position() + length;
    while pattern.position() < end {
        let chunk = usize::try_from(end - pattern.position()).map_or(CHUNK, |left| left.min(CHUNK));
        stream.write_all(pattern.take(chunk))?;
    }
    Ok(())
}

/// Receives and checks exactly `length` bytes of the stream `seed`.
pub fn receive(mut stream: impl Read, seed: u64, length: u64) -> io::Result<()> {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; CHUNK];
    while pattern.position() < length {
        let left = usize::try_from(length - pattern.position()).map_or(CHUNK, |l| l.min(CHUNK));
        match stream.read(&mut buffer[..left]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => pattern.check(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Receives and checks the stream `seed` until it ends: the number of bytes and the end.
pub fn receive_to_end(mut stream: impl Read, seed: u64) -> (u64, StreamEnd) {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (pattern.position(), StreamEnd::Finished),
            Ok(read) => pattern.check(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_reset(&error) => return (pattern.position(), StreamEnd::Reset),
            Err(error) => panic!("after {} bytes: {error}", pattern.position()),
        }
    }
}
