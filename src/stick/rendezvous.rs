//! Weighted rendezvous hashing: every node computes the same group for a key, on any machine.
//!
//! Each group scores `weight / -ln(h)`, `h` being a hash of key and group in (0, 1); the highest
//! score wins (Mosko & Ravindran, "Weighted distributed hash tables"; Resch, "New hashing
//! algorithms for data storage", 2015). A group that goes takes only its own keys along, one that
//! comes takes its share and moves nothing else.
//!
//! The hash and the logarithm are spelled out in operations that IEEE 754 and Rust define to the
//! last bit, because two nodes must never differ: `f64::ln` may differ between platforms.

use std::f64::consts::LN_2;

use crate::config::GroupId;

use super::key::KeyRef;

/// A hash of a key that is the same in every process.
pub(super) fn key_hash(key: KeyRef<'_>) -> u64 {
    let mut hash = fnv1a(0xcbf2_9ce4_8422_2325, &key.ip.octets());
    if let Some(slice) = key.slice {
        // An empty slice is another key than none.
        hash = fnv1a(hash ^ 1, slice);
    }
    mix(hash)
}

/// What a group scores for a key of this hash.
pub(super) fn score(key_hash: u64, group: GroupId, weight: f64) -> f64 {
    let hash = mix(key_hash ^ mix(u64::from(group.0)));
    weight / negative_ln(hash)
}

/// FNV-1a (Fowler, Noll, Vo), continued from `hash`.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// One step of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `-ln(hash / 2^64)`, above zero.
fn negative_ln(hash: u64) -> f64 {
    let hash = hash | 1;
    let zeros = hash.leading_zeros();
    // hash / 2^64 = mantissa / 2^(zeros + 1), the mantissa in [1, 2].
    let mantissa = (hash << zeros) as f64 / (1u64 << 63) as f64;
    // ln(m) = 2 (s + s^3/3 + s^5/5 + …) with s = (m - 1) / (m + 1), at most 1/3.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut power = s;
    let mut sum = 0.0;
    for odd in (1..34).step_by(2) {
        sum += power / f64::from(odd);
        power *= square;
    }
    let ln = f64::from(zeros + 1) * LN_2 - 2.0 * sum;
    ln.max(f64::EPSILON * f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::stick::ClientIp;

    #[test]
    fn logarithm_is_right() {
        for hash in [
            1,
            2,
            3,
            1 << 20,
            u64::MAX / 3,
            u64::MAX / 2,
            u64::MAX / 4 * 3,
        ] {
            let exact = -((hash | 1) as f64 / 2f64.powi(64)).ln();
            assert!((negative_ln(hash) - exact).abs() < 1e-12, "hash {hash}");
        }
        assert!(negative_ln(u64::MAX) > 0.0);
        assert!(negative_ln(0).is_finite());
    }

    /// The expected values come from a second implementation, in another language.
    #[test]
    fn hashes_are_the_same_in_every_process() {
        let ip = ClientIp::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 128);
        let slice: Option<&[u8]> = Some(b"user");
        let plain = KeyRef { ip, slice: None };
        let sliced = KeyRef { ip, slice };
        assert_eq!(key_hash(plain), 0x2358_ec4b_6cf3_798e);
        assert_eq!(key_hash(sliced), 0x9c52_3fdc_3a21_2f31);
        let score = score(key_hash(plain), GroupId(1), 3.0);
        assert_eq!(score.to_bits(), 0x4014_9c26_ab9d_e8d7); // 5.152491
    }
}
