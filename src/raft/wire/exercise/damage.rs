//! What happens to bytes on their way.

/// A change at one place, be it none where there is no such place.
#[derive(Clone, Debug)]
pub struct Damage<'a> {
    pub(super) at: u16,
    pub(super) kind: u8,
    /// What comes in, or in place of something.
    pub(super) bytes: &'a [u8],
}

impl Damage<'_> {
    /// The bytes with it.
    pub fn done_to(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let at = usize::from(self.at) % bytes.len().max(1);
        match self.kind % 8 {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, self.bytes.iter().copied())),
            2 => {
                let end = bytes.len().min(at + self.bytes.len());
                bytes[at..end].copy_from_slice(&self.bytes[..end - at]);
            }
            3 => bytes.extend_from_slice(self.bytes),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= self.kind / 8 + 1;
                }
            }
        }
        bytes
    }
}
