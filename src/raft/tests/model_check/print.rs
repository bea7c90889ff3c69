//! Values that carry a hash of themselves, made once: most of a state is that of the one before.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A shared value that is compared and hashed by its print alone. Two different values with one
/// print would be taken for one, as the checker itself takes two states with one hash; at some
/// millions of values the odds are one in a million.
#[derive(Debug)]
pub struct Printed<T> {
    print: u64,
    value: Arc<T>,
}

impl<T: Hash> Printed<T> {
    /// The value with its print.
    pub fn new(value: T) -> Printed<T> {
        let mut hasher = Folding(0x243f_6a88_85a3_08d3);
        value.hash(&mut hasher);
        Printed {
            print: hasher.finish(),
            value: Arc::new(value),
        }
    }

    /// Its print: an order that is the same in every run.
    pub fn print(&self) -> u64 {
        self.print
    }
}

impl<T> Clone for Printed<T> {
    fn clone(&self) -> Self {
        Printed {
            print: self.print,
            value: Arc::clone(&self.value),
        }
    }
}

impl<T> PartialEq for Printed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl<T> Eq for Printed<T> {}

impl<T> Hash for Printed<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.print);
    }
}

impl<T> Deref for Printed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Folded multiplication, as in wyhash: a state is mostly small numbers, and the standard
/// library's hash takes several times as long for them.
struct Folding(u64);

impl Folding {
    fn fold(&mut self, word: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ word) * u128::from(ODD);
        self.0 = (product as u64) ^ ((product >> 64) as u64).rotate_left(23) ^ ODD;
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
        self.fold(bytes.len() as u64);
    }

    fn write_u8(&mut self, word: u8) {
        self.fold(u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.fold(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.fold(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }

    fn finish(&self) -> u64 {
        let mut last = Folding(self.0);
        last.fold(0);
        last.0
    }
}
