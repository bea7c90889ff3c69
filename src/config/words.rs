//! The words that settings with a fixed choice take, and back.

use super::schema::{
    Balance, FallAction, HttpMethod, NoQuorum, OnDisabled, ProxyHeader, StickTableFull,
};

/// A choice between words of the configuration file.
pub(super) trait Words: Copy + 'static {
    /// Every word with what it stands for.
    const WORDS: &'static [(&'static str, Self)];

    /// What a word stands for.
    fn from_word(word: &str) -> Option<Self> {
        let found = Self::WORDS.iter().find(|(known, _)| *known == word);
        found.map(|(_, value)| *value)
    }
}

/// The words alone, for the reference.
pub(super) const fn names<T: Copy, const N: usize>(
    words: &'static [(&'static str, T)],
) -> [&'static str; N] {
    let mut names = [""; N];
    let mut at = 0;
    while at < N {
        names[at] = words[at].0;
        at += 1;
    }
    names
}

macro_rules! words {
    ($type:ident { $($word:literal => $variant:ident),+ $(,)? }) => {
        impl Words for $type {
            const WORDS: &'static [(&'static str, $type)] = &[$(($word, $type::$variant)),+];
        }

        impl $type {
            /// The word for it in the configuration file.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Balance {
    "least-sticks" => LeastSticks,
    "least-connections" => LeastConnections,
    "round-robin" => RoundRobin,
    "hash" => Hash,
});
words!(StickTableFull { "refuse" => Refuse, "evict" => Evict });
words!(NoQuorum { "assign" => Assign, "refuse" => Refuse });
words!(OnDisabled { "keep" => Keep, "reset" => Reset });
words!(FallAction { "Draining" => Draining, "Disabled" => Disabled, "Up" => Up });
words!(HttpMethod { "GET" => Get, "POST" => Post });
words!(ProxyHeader { "v1" => V1, "v2" => V2 });
