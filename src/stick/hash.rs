//! Hashes of keys in memory, seeded anew in each process.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::SeedableRandomState;

use super::key::{ClientIp, KeyRef};

/// Shards of a table. All entries of one address are in one shard.
pub(super) const SHARDS: usize = 64;

/// Hashes keys and addresses.
#[derive(Clone, Debug)]
pub(super) struct KeyHasher(SeedableRandomState);

impl Default for KeyHasher {
    /// Seeded anew in each process; in unit tests always alike, so that they can be repeated.
    fn default() -> KeyHasher {
        KeyHasher(match cfg!(test) {
            true => SeedableRandomState::fixed(),
            false => SeedableRandomState::random(),
        })
    }
}

impl KeyHasher {
    pub fn ip(&self, ip: ClientIp) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u128(u128::from_ne_bytes(ip.octets()));
        hasher.finish()
    }

    /// The hash of a key whose address hashes to `ip_hash`.
    pub fn key(&self, ip_hash: u64, key: KeyRef<'_>) -> u64 {
        let Some(slice) = key.slice else {
            return ip_hash;
        };
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(ip_hash);
        hasher.write(slice);
        hasher.finish()
    }
}

/// The shard of an address with this hash: by bits that the index does not look at.
pub(super) fn shard_of(ip_hash: u64) -> usize {
    ip_hash as usize % SHARDS
}
