//! What the nodes of a cluster share to know each other by.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// The shortest secret, in bytes: whoever records a connection can try guesses at leisure.
pub const MIN_SECRET_BYTES: usize = 16;

/// Secrets that may be in use at once: the new one and the one that it replaces.
pub const MAX_SECRETS: usize = 2;

/// Names what the hash is for, so that the key is of no use elsewhere.
const CONTEXT: &[u8] = b"tcpffee peer secret, version 1\0";

/// The key of a Noise channel: SHA-256 of a fixed text and the secret's bytes, without line ends
/// at the end.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub(super) [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The accepted secrets. None: everything travels in the clear and anybody is believed.
///
/// With two, connections are made with the first; where a peer refuses it, with the second; and
/// both are accepted. So a secret is replaced without a stop: give every node the old one with
/// the new one as the second, then the new one first, then the new one alone. (The first step may
/// be left out; then connections between changed and unchanged nodes take a second attempt.)
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Secrets {
    keys: Arc<[Key]>,
}

/// Secrets that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// Too short.
    #[error(
        "the peer secret has {0} bytes, at least {MIN_SECRET_BYTES} are needed; \
         `head -c 32 /dev/urandom | base64` makes a good one"
    )]
    TooShort(usize),
    /// Too many.
    #[error("{0} peer secrets, at most {MAX_SECRETS} may be in use at once")]
    TooMany(usize),
}

impl Secrets {
    /// No secret at all.
    pub fn none() -> Secrets {
        Secrets::default()
    }

    /// From the contents of secret files, the one to be used first.
    ///
    /// # Errors
    /// Where there are too many, or one is too short.
    pub fn new(contents: &[&[u8]]) -> Result<Secrets, SecretError> {
        if contents.len() > MAX_SECRETS {
            return Err(SecretError::TooMany(contents.len()));
        }
        let keys = contents.iter().map(|bytes| derive(bytes));
        Ok(Secrets {
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// The keys, the one to be used first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.keys.is_empty()
    }
}

fn derive(secret: &[u8]) -> Result<Key, SecretError> {
    let end = secret.iter().rposition(|byte| !b"\r\n".contains(byte));
    let secret = &secret[..end.map_or(0, |last| last + 1)];
    if secret.len() < MIN_SECRET_BYTES {
        return Err(SecretError::TooShort(secret.len()));
    }
    let hash = Sha256::new().chain_update(CONTEXT).chain_update(secret);
    Ok(Key(hash.finalize().into()))
}
