//! Frames: length, version, kind, body.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes before a frame's body.
pub const HEAD_BYTES: usize = 6;

/// The longest body of all: a batch of entries or proposals, or a piece of a snapshot. Holds four
/// of the largest commands that the default settings allow.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The longest body of a message that forms a cluster.
pub const MAX_FORMING_BYTES: usize = 64 * 1024;

/// The longest body of what is neither a batch nor about forming.
pub const MAX_SMALL_BYTES: usize = 2 * 1024;

/// A buffer that has grown beyond this is given back once it is empty.
const KEPT_BYTES: usize = 128 * 1024;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $most:expr;)*) => {
        /// What a frame holds.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            /// The kind of that number.
            pub fn of(number: u8) -> Option<Kind> {
                match number {
                    $($number => Some(Kind::$name),)*
                    _ => None,
                }
            }

            /// The longest body, in bytes.
            pub fn max_body_bytes(self) -> usize {
                match self {
                    $(Kind::$name => $most,)*
                }
            }
        }
    };
}

kinds! {
    /// Who one is.
    Hello = 1, MAX_SMALL_BYTES;
    /// The other is taken.
    Welcome = 2, 0;
    /// The other is not taken.
    Refused = 3, MAX_SMALL_BYTES;
    /// [`crate::message::Message::PreVote`].
    PreVote = 16, MAX_SMALL_BYTES;
    /// [`crate::message::Message::PreVoteReply`].
    PreVoteReply = 17, MAX_SMALL_BYTES;
    /// [`crate::message::Message::Vote`].
    Vote = 18, MAX_SMALL_BYTES;
    /// [`crate::message::Message::VoteReply`].
    VoteReply = 19, MAX_SMALL_BYTES;
    /// [`crate::message::Message::Append`].
    Append = 20, MAX_BODY_BYTES;
    /// [`crate::message::Message::Appended`].
    Appended = 21, MAX_SMALL_BYTES;
    /// [`crate::message::Message::AppendRejected`].
    AppendRejected = 22, MAX_SMALL_BYTES;
    /// [`crate::message::Message::Heartbeat`].
    Heartbeat = 23, MAX_SMALL_BYTES;
    /// [`crate::message::Message::HeartbeatReply`].
    HeartbeatReply = 24, MAX_SMALL_BYTES;
    /// [`crate::message::Message::TimeoutNow`].
    TimeoutNow = 25, MAX_SMALL_BYTES;
    /// [`crate::message::Message::SnapshotChunk`].
    SnapshotChunk = 26, MAX_BODY_BYTES;
    /// [`crate::message::Message::SnapshotProgress`].
    SnapshotProgress = 27, MAX_SMALL_BYTES;
    /// [`crate::message::Message::Refused`].
    NotListened = 28, MAX_SMALL_BYTES;
    /// Something about forming a cluster.
    Forming = 48, MAX_FORMING_BYTES;
    /// Commands for the leader.
    Propose = 64, MAX_BODY_BYTES;
    /// What became of commands.
    Answer = 65, MAX_BODY_BYTES;
}

/// Which kinds may come at a stage of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allowed {
    /// Those of the handshake.
    Handshake,
    /// Messages of Raft and those about forming.
    Messages,
    /// Proposals.
    Proposals,
    /// Answers.
    Answers,
    /// None: the other side of a connection for logs only listens.
    Nothing,
}

impl Allowed {
    fn allows(self, kind: Kind) -> bool {
        match kind {
            Kind::Hello | Kind::Welcome | Kind::Refused => self == Allowed::Handshake,
            Kind::Propose => self == Allowed::Proposals,
            Kind::Answer => self == Allowed::Answers,
            _ => self == Allowed::Messages,
        }
    }
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// What it holds.
    pub kind: Kind,
    /// Its contents, in memory of their own: what is kept of them keeps nothing else alive.
    pub body: Bytes,
}

/// Bytes that are no frame, or not one that may come now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Too short to hold version and kind.
    #[error("a frame of {0} bytes")]
    TooShort(u32),
    /// Longer than its kind may be.
    #[error("a frame of kind {kind:?} with {bytes} bytes, of at most {most}")]
    TooLong {
        /// The kind.
        kind: Kind,
        /// Its bytes, version and kind included.
        bytes: u32,
        /// Their bound.
        most: u32,
    },
    /// Of a version that was not agreed on.
    #[error("a frame of version {0}, which was not agreed on")]
    Version(u8),
    /// Of no known kind.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// Not to come at this stage.
    #[error("a frame of kind {0:?} that may not come here")]
    NotNow(Kind),
}

/// Appends a frame whose body `put` writes.
///
/// # Errors
/// Where the body is longer than its kind may be; `out` is as before.
pub fn put_frame(
    out: &mut Vec<u8>,
    kind: Kind,
    put: impl FnOnce(&mut Vec<u8>),
) -> Result<(), FrameError> {
    let start = out.len();
    out.extend([0, 0, 0, 0, super::VERSION, kind as u8]);
    put(out);
    let body_bytes = out.len() - start - HEAD_BYTES;
    if body_bytes > kind.max_body_bytes() {
        out.truncate(start);
        return Err(FrameError::TooLong {
            kind,
            bytes: u32::try_from(body_bytes + 2).unwrap_or(u32::MAX),
            most: framed_most(kind),
        });
    }
    let length = (body_bytes + 2) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// The largest length that a frame of the kind may state.
fn framed_most(kind: Kind) -> u32 {
    kind.max_body_bytes() as u32 + 2
}

/// Finds frames in bytes as they arrive.
///
/// It holds what has arrived and was not taken yet. Whoever feeds it bounds that by asking for
/// frames before feeding more: then it is one frame and what was fed last.
#[derive(Debug)]
pub struct FrameReader {
    bytes: BytesMut,
    allowed: Allowed,
}

impl FrameReader {
    /// At the beginning of the frames.
    pub fn new(allowed: Allowed) -> FrameReader {
        FrameReader {
            bytes: BytesMut::new(),
            allowed,
        }
    }

    /// From the next frame on, other kinds may come.
    pub fn allow(&mut self, allowed: Allowed) {
        self.allowed = allowed;
    }

    /// Takes bytes in.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that wait.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that it takes.
    #[cfg(test)]
    pub(super) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The next frame; none before all of it has arrived.
    ///
    /// # Errors
    /// Where the bytes are no frame; the connection is of no use any more.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((length, kind)) = self.head()? else {
            return Ok(None);
        };
        let whole = 4 + length as usize;
        if self.bytes.len() < whole {
            return Ok(None);
        }
        let body = Bytes::copy_from_slice(&self.bytes[HEAD_BYTES..whole]);
        self.bytes.advance(whole);
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_BYTES {
            self.bytes = BytesMut::new();
        }
        Ok(Some(Frame { kind, body }))
    }

    /// Length and kind of the next frame, checked; none while they have not arrived.
    fn head(&self) -> Result<Option<(u32, Kind)>, FrameError> {
        let Some(&[a, b, c, d, version, kind]) = self.bytes.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([a, b, c, d]);
        if length < 2 {
            return Err(FrameError::TooShort(length));
        }
        if version != super::VERSION {
            return Err(FrameError::Version(version));
        }
        let kind = Kind::of(kind).ok_or(FrameError::UnknownKind(kind))?;
        if !self.allowed.allows(kind) {
            return Err(FrameError::NotNow(kind));
        }
        if length > framed_most(kind) {
            return Err(FrameError::TooLong {
                kind,
                bytes: length,
                most: framed_most(kind),
            });
        }
        Ok(Some((length, kind)))
    }
}
