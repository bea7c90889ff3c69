//! The first bytes of a connection, in the clear: what both sides must know to read on.

use super::{LOWEST_VERSION, VERSION};

/// Bytes of a preamble.
pub const PREAMBLE_BYTES: usize = 10;

const MAGIC: [u8; 6] = *b"TCPFRF";

/// How frames travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrapping {
    /// As they are.
    Clear,
    /// Within Noise, under a shared secret.
    Noise,
}

/// What the accepting side thinks of the dialling side's preamble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on.
    GoOn,
    /// No version that both speak.
    Version,
    /// This side has a secret, the other came without.
    SecretWanted,
    /// The other came with a secret, this side has none.
    NoSecretHere,
    /// The other's secret is none of this side's.
    WrongSecret,
}

impl Verdict {
    const ALL: [Verdict; 5] = [
        Verdict::GoOn,
        Verdict::Version,
        Verdict::SecretWanted,
        Verdict::NoSecretHere,
        Verdict::WrongSecret,
    ];
}

/// The first bytes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Preamble {
    /// The newest version that the side speaks.
    pub version: u8,
    /// The oldest.
    pub lowest: u8,
    /// How it wants frames to travel.
    pub wrapping: Wrapping,
    /// Of the accepting side: whether it goes on.
    pub verdict: Verdict,
}

/// Bytes that are no preamble: the other side speaks another protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it does not speak this protocol: is the address that of a peer's Raft socket?")]
pub struct NotOurs;

impl Preamble {
    /// This build's.
    pub fn ours(wrapping: Wrapping, verdict: Verdict) -> Preamble {
        Preamble {
            version: VERSION,
            lowest: LOWEST_VERSION,
            wrapping,
            verdict,
        }
    }

    /// As bytes.
    pub fn to_bytes(self) -> [u8; PREAMBLE_BYTES] {
        let [a, b, c, d, e, f] = MAGIC;
        let wrapping = match self.wrapping {
            Wrapping::Clear => 0,
            Wrapping::Noise => 1,
        };
        let verdict = self.verdict as u8;
        [
            a,
            b,
            c,
            d,
            e,
            f,
            self.version,
            self.lowest,
            wrapping,
            verdict,
        ]
    }

    /// From bytes.
    ///
    /// # Errors
    /// Where they are something else.
    pub fn from_bytes(bytes: &[u8; PREAMBLE_BYTES]) -> Result<Preamble, NotOurs> {
        let &[a, b, c, d, e, f, version, lowest, wrapping, verdict] = bytes;
        let wrapping = match wrapping {
            0 => Wrapping::Clear,
            1 => Wrapping::Noise,
            _ => return Err(NotOurs),
        };
        let verdict = Verdict::ALL.get(usize::from(verdict)).ok_or(NotOurs)?;
        if [a, b, c, d, e, f] != MAGIC || lowest > version {
            return Err(NotOurs);
        }
        Ok(Preamble {
            version,
            lowest,
            wrapping,
            verdict: *verdict,
        })
    }

    /// Whether there is a version that both this side and this build speak.
    pub fn is_understood(&self) -> bool {
        self.version >= LOWEST_VERSION && self.lowest <= VERSION
    }
}

/// Whether `bytes` can still become a preamble: garbage is known by its first byte.
pub fn may_become_preamble(bytes: &[u8]) -> bool {
    let compared = bytes.len().min(MAGIC.len());
    bytes[..compared] == MAGIC[..compared]
}
