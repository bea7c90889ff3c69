//! How much all connections together hold for slow receivers.

use std::sync::atomic::{AtomicU64, Ordering};

/// The process's total of held bytes and its bound.
#[derive(Debug, Default)]
pub struct HeldTotal {
    bytes: AtomicU64,
    max: AtomicU64,
}

impl HeldTotal {
    /// A total with its bound.
    pub fn new(max: u64) -> HeldTotal {
        HeldTotal {
            bytes: AtomicU64::new(0),
            max: AtomicU64::new(max),
        }
    }

    /// Changes the bound; what is held already stays.
    pub fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// The bound.
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the bound is reached.
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.max()
    }

    /// A direction that held `before` bytes holds `now`. Most hold nothing before and after: then
    /// no shared cache line is touched.
    pub fn change(&self, before: u32, now: u32) {
        if now > before {
            self.bytes
                .fetch_add(u64::from(now - before), Ordering::Relaxed);
        } else if now < before {
            self.bytes
                .fetch_sub(u64::from(before - now), Ordering::Relaxed);
        }
    }
}
