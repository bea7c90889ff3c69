//! Whether it pays to read from a client right after it was accepted.

/// Learns whether clients of a port speak at once. Reading right after accept then saves a wake-up
/// and a segment towards the target; where the server speaks first it would only cost a call.
#[derive(Clone, Copy, Debug)]
pub struct EarlyData {
    score: i8,
    skipped: u8,
}

impl EarlyData {
    const TRIES_ONE_IN: u8 = 32;
    const LIMIT: i8 = 16;

    /// Expects data until it has learnt otherwise.
    pub fn new() -> EarlyData {
        EarlyData {
            score: Self::LIMIT,
            skipped: 0,
        }
    }

    /// Whether to try a read now.
    pub fn is_expected(&mut self) -> bool {
        if self.score >= 0 {
            return true;
        }
        self.skipped = (self.skipped + 1) % Self::TRIES_ONE_IN;
        self.skipped == 0
    }

    /// Takes in what a read found.
    pub fn learn(&mut self, was_there: bool) {
        let step = if was_there { 4 } else { -1 };
        self.score = (self.score + step).clamp(-Self::LIMIT, Self::LIMIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_whose_server_speaks_first_is_soon_read_only_once_in_a_while() {
        let mut early = EarlyData::new();
        let mut reads = 0;
        for _ in 0..1_000 {
            if early.is_expected() {
                reads += 1;
                early.learn(false);
            }
        }
        assert!((18..100).contains(&reads), "{reads} reads");
        for _ in 0..EarlyData::TRIES_ONE_IN as usize * 8 {
            if early.is_expected() {
                early.learn(true);
            }
        }
        assert!(early.is_expected() && early.is_expected());
    }
}
