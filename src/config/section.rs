//! Typed reading of a parsed file: a [`Section`] is one table of it, an [`Entry`] one value.
//!
//! Whatever is wrong goes to the [`Findings`] with its position; the reader gets `None` and goes
//! on, so that one pass finds every problem.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::findings::{Findings, Span};
use super::kind::Kind;
use super::problem::{Fault, nearest};
use super::reference::{self, Key};
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
    pattern: String,
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
        if let Some((subject, setting)) = reference::not_acted_on(&pattern) {
            self.findings.unacted(subject, key.span(), setting);
        }
        Some(Entry {
            findings: self.findings,
            value,
            key_span: key.span(),
            path: join(&self.path, name),
            pattern,
        })
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

/// One value of the file.
pub(super) struct Entry<'a> {
    pub findings: &'a Findings<'a>,
    pub value: &'a Spanned<DeValue<'a>>,
    /// Where its key stands.
    pub key_span: Span,
    /// As in the file: `groups.1.weight`, `ports[2]`.
    pub path: String,
    pattern: String,
}

impl<'a> Entry<'a> {
    /// The row of the reference.
    fn key(&self) -> &'static Key {
        reference::find(&self.pattern).expect("every key that is read stands in the reference")
    }

    pub fn span(&self) -> Span {
        self.value.span()
    }

    /// Reports the value as not what the reference says.
    pub fn refuse(&self) {
        self.refuse_for(self.key().kind.expected());
    }

    /// Reports the value as not what is expected.
    pub fn refuse_for(&self, expected: impl Into<String>) {
        let expected = expected.into();
        let found = shown(self.value.get_ref());
        self.findings
            .error(self.span(), &self.path, Fault::Value { found, expected });
    }

    /// Reports the type of the value as not what is expected.
    fn refuse_type(&self, expected: impl Into<String>) {
        let expected = expected.into();
        let found = shown_with_type(self.value.get_ref());
        self.findings
            .error(self.span(), &self.path, Fault::Value { found, expected });
    }

    /// Reports an error that no found value expresses.
    pub fn error(&self, sentence: impl Into<String>) {
        self.findings
            .error(self.span(), &self.path, Fault::Other(sentence.into()));
    }

    pub fn warn(&self, sentence: impl Into<String>) {
        self.findings.warning(self.span(), &self.path, sentence);
    }

    /// Reports an error about the key rather than its value.
    pub fn error_at_key(&self, sentence: impl Into<String>) {
        let fault = Fault::Other(sentence.into());
        self.findings
            .error(self.key_span.clone(), &self.path, fault);
    }

    /// Warns about the key rather than its value.
    pub fn warn_at_key(&self, sentence: impl Into<String>) {
        self.findings
            .warning(self.key_span.clone(), &self.path, sentence);
    }

    /// The same entry once more: a value that may stand for an array of one.
    pub fn itself(&self) -> Entry<'a> {
        Entry {
            findings: self.findings,
            value: self.value,
            key_span: self.key_span.clone(),
            path: self.path.clone(),
            pattern: self.pattern.clone(),
        }
    }

    pub fn bool(&self) -> Option<bool> {
        let found = self.value.get_ref().as_bool();
        if found.is_none() {
            self.refuse_type(self.key().kind.expected());
        }
        found
    }

    /// An integer within the bounds of the reference.
    pub fn integer(&self) -> Option<u64> {
        let kind = self.key().kind;
        let (Kind::Integer { min, max } | Kind::WholeSeconds { min, max }) = kind else {
            unreachable!("{} is read as an integer", self.pattern);
        };
        self.integer_within(min, max, &kind.expected())
    }

    /// An integer within bounds.
    pub fn integer_within(&self, min: u64, max: u64, expected: &str) -> Option<u64> {
        let Some(integer) = self.value.get_ref().as_integer() else {
            self.refuse_type(expected);
            return None;
        };
        let value = i128::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|value| u64::try_from(value).ok())
            .filter(|value| (min..=max).contains(value));
        if value.is_none() {
            self.refuse_for(expected);
        }
        value
    }

    /// A time within the bounds of the reference, rounded to milliseconds.
    pub fn seconds(&self) -> Option<Duration> {
        let kind = self.key().kind;
        match kind {
            Kind::Seconds { min_ms, max_ms } => {
                self.seconds_within(min_ms, max_ms, &kind.expected())
            }
            Kind::WholeSeconds { .. } => self.integer().map(Duration::from_secs),
            _ => unreachable!("{} is read as a time", self.pattern),
        }
    }

    /// A time within bounds, rounded to milliseconds.
    pub fn seconds_within(&self, min_ms: u64, max_ms: u64, expected: &str) -> Option<Duration> {
        let seconds: f64 = match self.value.get_ref() {
            DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
                .map_or(f64::NAN, |i| i as f64),
            DeValue::Float(float) => float.as_str().parse().unwrap_or(f64::NAN),
            _ => {
                self.refuse_type(expected);
                return None;
            }
        };
        let within = seconds >= min_ms as f64 / 1000.0 && seconds <= max_ms as f64 / 1000.0;
        if !within {
            self.refuse_for(expected);
            return None;
        }
        Some(Duration::from_millis((seconds * 1000.0).round() as u64))
    }

    pub fn text(&self) -> Option<&'a str> {
        self.text_for(&self.key().kind.expected())
    }

    /// A string, where `expected` says what it should hold.
    pub fn text_for(&self, expected: &str) -> Option<&'a str> {
        let found = self.value.get_ref().as_str();
        if found.is_none() {
            self.refuse_type(expected);
        }
        found
    }

    /// A string that a parser understands; it is refused with the reference's words otherwise.
    pub fn parsed<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = parse(self.text()?);
        if value.is_none() {
            self.refuse();
        }
        value
    }

    /// One of the words of a choice.
    pub fn word<T: Words>(&self) -> Option<T> {
        let names = T::WORDS.iter().map(|(word, _)| *word);
        let text = self.text()?;
        let value = T::from_word(text);
        if value.is_none() {
            self.refuse_word(nearest(text, names));
        }
        value
    }

    /// Reports a word that is not among the choice.
    pub fn refuse_word(&self, nearest: Option<&str>) {
        let choice = self.key().kind.expected();
        self.refuse_for(match nearest {
            Some(nearest) => format!("{choice}; did you mean \"{nearest}\"?"),
            None => choice,
        });
    }

    /// The table that this value is.
    pub fn section(&self, expected: &str) -> Option<Section<'a>> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.refuse_type(expected);
            return None;
        };
        Some(Section {
            findings: self.findings,
            table,
            span: self.key_span.clone(),
            path: self.path.clone(),
            pattern: self.pattern.clone(),
        })
    }

    /// The entries of the table that this value is, all under one pattern (`N` for the name).
    pub fn members(&self, expected: &str) -> Vec<(&'a str, Entry<'a>)> {
        let Some(section) = self.section(expected) else {
            return Vec::new();
        };
        let member = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
            let entry = Entry {
                findings: self.findings,
                value,
                key_span: key.span(),
                path: join(&section.path, &shown_key(name)),
                pattern: join(&section.pattern, "N"),
            };
            (name.as_ref(), entry)
        };
        section.table.iter().map(member).collect()
    }

    /// The elements of the array that this value is; `None` where it is something else.
    pub fn elements(&self) -> Option<Vec<Entry<'a>>> {
        let array = self.value.get_ref().as_array()?;
        let element = |(at, value): (usize, &'a Spanned<DeValue<'a>>)| Entry {
            findings: self.findings,
            value,
            key_span: value.span(),
            path: format!("{}[{at}]", self.path),
            pattern: self.pattern.clone(),
        };
        Some(array.iter().enumerate().map(element).collect())
    }

    /// The elements of an array; anything else is refused with the reference's words.
    pub fn elements_of_array(&self) -> Vec<Entry<'a>> {
        self.elements().unwrap_or_else(|| {
            self.refuse_type(self.key().kind.expected());
            Vec::new()
        })
    }

    /// The tables of an array of tables (pattern with `[]`); refuses anything else.
    pub fn tables(&self, expected: &str) -> Vec<Section<'a>> {
        let Some(mut elements) = self.elements() else {
            self.refuse_type(expected);
            return Vec::new();
        };
        for element in &mut elements {
            element.pattern.push_str("[]");
        }
        elements
            .iter()
            .filter_map(|element| element.section(expected))
            .collect()
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The longest part of a value or key that a problem repeats, in characters.
const LONGEST_SHOWN: usize = 60;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// A key as TOML writes it.
fn shown_key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.bytes().all(bare) {
        shortened(name)
    } else {
        format!("{:?}", shortened(name))
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", shortened(text)),
        DeValue::Integer(integer) => shortened(&integer.to_string()),
        DeValue::Float(float) => shortened(&float.to_string()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(value) => value.to_string(),
        DeValue::Array(array) if array.is_empty() => "an empty array".to_owned(),
        DeValue::Array(array) => format!("an array of {}", array.len()),
        DeValue::Table(table) if table.is_empty() => "an empty table".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn shown_with_type(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Array(_) | DeValue::Table(_) => shown(value),
        DeValue::Datetime(_) => format!("the date {}", shown(value)),
        _ => format!("the {} {}", value.type_str(), shown(value)),
    }
}
