//! The bytes of a snapshot: the sessions with their length before them, then the state machine.

use std::io::{self, Read};

use bytes::Bytes;

use crate::machine::SnapshotSource;
use crate::sessions::{MAX_ENCODED_BYTES, Sessions};

/// The state at one place in the log, read piece by piece.
pub(super) struct StateStream {
    /// Until they have been read.
    sessions: Option<Sessions>,
    machine: Box<dyn SnapshotSource>,
}

impl StateStream {
    pub(super) fn new(sessions: Sessions, machine: Box<dyn SnapshotSource>) -> StateStream {
        StateStream {
            sessions: Some(sessions),
            machine,
        }
    }

    /// Appends the next piece; nothing at the end.
    pub(super) fn next_piece(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(sessions) = self.sessions.take() else {
            return self.machine.next_piece(out);
        };
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        sessions.encode(out);
        let length = (out.len() - start - 8) as u64;
        out[start..start + 8].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

/// Reads the sessions; what is left is the state machine's.
pub(super) fn read_sessions(state: &mut dyn Read) -> io::Result<Sessions> {
    let mut length = [0; 8];
    state.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_ENCODED_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("sessions of {length} bytes, of at most {MAX_ENCODED_BYTES}"),
        ));
    }
    let mut bytes = Vec::new();
    state.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Sessions::decode(Bytes::from(bytes))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
