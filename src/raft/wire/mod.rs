//! What travels between nodes, as bytes: no sockets, no clock.
//!
//! ```text
//! connection = preamble  [Noise messages]  frames
//! preamble   = "TCPFRF" version (u8) lowest version (u8) channel (u8) verdict (u8)
//! frame      = length of what follows (u32) version (u8) kind (u8) body
//! ```
//!
//! Both sides send a preamble, the dialling side first. Without secrets the frames follow as they
//! are. With a secret each side sends one message of the Noise handshake
//! `NNpsk0_25519_ChaChaPoly_BLAKE2s` and the frames travel inside Noise messages, each with its
//! length (u16) before it. Then both say who they are ([`hello`]), and each says whether it takes
//! the other. Only then do messages ([`message`]) or proposals ([`proposal`]) travel.
//!
//! Integers are little-endian. [`session::Session`] is all of this for one connection: bytes in;
//! bytes, frames and errors out. Whatever is not as it should be is an error that ends the
//! connection; no length is believed before it has been compared with the bound of its kind, and
//! memory grows only with bytes that have arrived.

pub mod channel; // frames in the clear or within Noise
pub mod ended; // why a connection has ended
pub mod exercise; // what fuzz targets and property tests drive
pub mod frame; // length, version, kind, body
pub mod hello; // who a node is, and whether it is taken
pub mod message; // messages of Raft as frames
pub mod preamble; // the first bytes of a connection
pub mod proposal; // commands to the leader, and what became of them
pub mod reason; // why a connection is refused
pub mod secrets; // what nodes share
pub mod session; // one connection from its first byte on

#[cfg(test)]
pub(crate) mod tests;

/// The version of everything here that this build speaks.
pub const VERSION: u8 = 1;

/// The oldest version that it still speaks.
pub const LOWEST_VERSION: u8 = 1;

/// What a connection is for. The dialling side sends, the other side listens; of proposals the
/// answers come back the same way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Purpose {
    /// Messages of Raft.
    Logs,
    /// Commands for the leader, and its answers.
    Proposals,
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Purpose::Logs => "logs",
            Purpose::Proposals => "proposals",
        })
    }
}
