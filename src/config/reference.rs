//! The reference of the configuration file: every key, once.
//!
//! The loader takes its bounds and its known keys from here, problems their "expected …", reloads
//! the moment a change takes effect, and `docs/CONFIGURATION.md` all of it.

mod keys; // the rows

use super::kind::Kind;

pub use keys::KEYS;

/// When a changed setting takes effect at a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TakesEffect {
    /// At once.
    Live,
    /// For connections accepted from then on.
    NewConnections,
    /// At the next start: a reload that changes it is refused.
    Restart,
}

impl TakesEffect {
    /// The words for it in the reference.
    pub fn as_str(self) -> &'static str {
        match self {
            TakesEffect::Live => "live",
            TakesEffect::NewConnections => "new connections",
            TakesEffect::Restart => "restart",
        }
    }
}

impl std::fmt::Display for TakesEffect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What holds where a key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The key must be given.
    Required,
    /// This value, in TOML.
    Toml(&'static str),
    /// Something that no value of the file expresses, in words.
    Words(&'static str),
}

/// One key of the configuration file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its path, with `N` for a group's id and `[]` for the elements of an array.
    pub pattern: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds where it is left out.
    pub default: Absent,
    /// A value that it takes, in TOML.
    pub example: &'static str,
    /// When a change takes effect.
    pub takes_effect: TakesEffect,
    /// What it does, in one line.
    pub about: &'static str,
}

/// The row of a key; `None` where no key has that pattern.
pub fn find(pattern: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.pattern == pattern)
}

/// The names known directly below a pattern (`""` for the top of the file, `groups.N`,
/// `peers[]`), in the order of the reference.
pub fn names_below(pattern: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS {
        let Some(rest) = key.pattern.strip_prefix(pattern) else {
            continue;
        };
        let rest = match pattern {
            "" => rest,
            _ => match rest.strip_prefix('.') {
                Some(rest) => rest,
                None => continue,
            },
        };
        let name = rest.split(['.', '[']).next().unwrap_or(rest);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_stands_once() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(find(key.pattern).is_some());
            let later = &KEYS[at + 1..];
            assert!(later.iter().all(|other| other.pattern != key.pattern));
        }
    }

    #[test]
    fn names_are_known_below_their_table_only() {
        assert!(names_below("").contains(&"groups"));
        assert!(names_below("").contains(&"peers"));
        assert!(!names_below("").contains(&"weight"));
        assert!(names_below("groups.N").contains(&"healthchecks"));
        assert!(names_below("groups.N.healthchecks[]").contains(&"http_status"));
        assert_eq!(names_below("peers[]"), ["host", "mac_address", "ports"]);
        assert_eq!(names_below("peers[].ports").len(), 4);
    }
}
