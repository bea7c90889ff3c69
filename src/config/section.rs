//! One table of a parsed file, read by key.
//!
//! Whatever is wrong goes to the [`Findings`] with its position; the reader gets `None` and goes
//! on, so that one pass finds every problem.

use std::time::Duration;

use toml::de::DeTable;

use super::entry::Entry;
use super::findings::{Findings, Span};
use super::problem::{Fault, nearest};
use super::reference;
use super::schema::{PerSecond, ProxyHeader};
use super::shown::shown_key;
use super::words::Words;

/// One table of the file.
pub(super) struct Section<'a> {
    pub findings: &'a Findings<'a>,
    pub table: &'a DeTable<'a>,
    /// Where the table begins.
    pub span: Span,
    /// As in the file: `groups.1`; empty at the top.
    pub path: String,
    /// As in the reference: `groups.N`.
    pub pattern: String,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub fn top(findings: &'a Findings<'a>, table: &'a DeTable<'a>) -> Section<'a> {
        Section {
            findings,
            table,
            span: 0..0,
            path: String::new(),
            pattern: String::new(),
        }
    }

    /// The value of a key, where the file gives one.
    pub fn get(&self, name: &str) -> Option<Entry<'a>> {
        let (key, value) = self.table.get_key_value(name)?;
        let pattern = join(&self.pattern, name);
        Some(Entry {
            findings: self.findings,
            value,
            key_span: key.span(),
            path: join(&self.path, name),
            pattern,
        })
    }

    /// A version of the PROXY protocol's header, or `off`; `None`: not given, or refused.
    pub fn proxy_header(&self, name: &str) -> Option<Option<ProxyHeader>> {
        let entry = self.get(name)?;
        match entry.text()? {
            "off" => Some(None),
            "v1" => Some(Some(ProxyHeader::V1)),
            "v2" => Some(Some(ProxyHeader::V2)),
            other => {
                entry.refuse_word(nearest(other, ["off", "v1", "v2"]));
                None
            }
        }
    }

    pub fn bool(&self, name: &str, default: bool) -> bool {
        self.get(name)
            .and_then(|entry| entry.bool())
            .unwrap_or(default)
    }

    /// An integer within the bounds of the reference, in the type that holds them.
    pub fn integer<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        T::try_from(self.get(name)?.integer()?).ok()
    }

    pub fn seconds(&self, name: &str) -> Option<Duration> {
        self.get(name)?.seconds()
    }

    pub fn per_second(&self, name: &str) -> Option<PerSecond> {
        self.get(name)?.per_second()
    }

    /// A time with a default in milliseconds.
    pub fn seconds_or(&self, name: &str, default_ms: u64) -> Duration {
        self.seconds(name)
            .unwrap_or(Duration::from_millis(default_ms))
    }

    pub fn word<T: Words>(&self, name: &str) -> Option<T> {
        self.get(name)?.word()
    }

    /// Reports that a required key is not there.
    pub fn missing(&self, name: &str, expected: impl Into<String>) {
        let expected = expected.into();
        let fault = Fault::Missing { expected };
        self.findings
            .error(self.span.clone(), &join(&self.path, name), fault);
    }

    /// Reports every key that the reference does not know at this place.
    pub fn refuse_unknown_keys(&self) {
        let known = reference::names_below(&self.pattern);
        for key in self.table.keys() {
            if known.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let name = key.get_ref();
            let guess = || {
                let here = nearest(name, known.iter().copied()).map(str::to_owned);
                here.or_else(|| self.known_elsewhere(name))
            };
            let fault = Fault::Unknown {
                what: "key",
                nearest: (!self.findings.is_full()).then(guess).flatten(),
                known: known.clone(),
            };
            let path = join(&self.path, &shown_key(name));
            self.findings.error(key.span(), &path, fault);
        }
    }

    /// The pattern of the key of another table that looks most like `name`: what was meant where
    /// a key stands below the wrong header.
    fn known_elsewhere(&self, name: &str) -> Option<String> {
        let last = |pattern: &'static str| pattern.rsplit('.').next().unwrap_or(pattern);
        let patterns = || reference::KEYS.iter().map(|key| key.pattern);
        let found = nearest(name, patterns().map(last))?;
        patterns()
            .find(|pattern| last(pattern) == found)
            .map(str::to_owned)
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
