//! One value of a parsed file, read as the type that its row of the reference says.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::findings::{Findings, Span};
use super::kind::Kind;
use super::problem::{Fault, nearest};
use super::reference::{self, Key};
use super::schema::PerSecond;
use super::section::{Section, join};
use super::shown::{shown, shown_key, shown_with_type};
use super::words::Words;

/// Keys whose values may hold what only the checked servers are to know.
const SECRET: [&str; 2] = ["http_headers", "http_body"];

/// One value of the file.
pub(super) struct Entry<'a> {
    pub findings: &'a Findings<'a>,
    pub value: &'a Spanned<DeValue<'a>>,
    /// Where its key stands.
    pub key_span: Span,
    /// As in the file: `groups.1.weight`, `ports[2]`.
    pub path: String,
    /// As in the reference: `groups.N.weight`, `ports`.
    pub pattern: String,
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
        let found = self.found(shown);
        self.findings
            .error(self.span(), &self.path, Fault::Value { found, expected });
    }

    /// The value as a problem repeats it: problems are logged, and told by the statistics.
    fn found(&self, show: fn(&DeValue<'_>) -> String) -> String {
        let value = self.value.get_ref();
        match SECRET.iter().any(|key| self.pattern.contains(key)) {
            true => format!("a value of type {} (not shown)", value.type_str()),
            false => show(value),
        }
    }

    /// Reports the type of the value as not what is expected.
    fn refuse_type(&self, expected: impl Into<String>) {
        let expected = expected.into();
        let found = self.found(shown_with_type);
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

    /// A rate within the bounds of the reference, rounded to thousandths.
    pub fn per_second(&self) -> Option<PerSecond> {
        let kind = self.key().kind;
        let Kind::PerSecond {
            min_thousandths,
            max_thousandths,
        } = kind
        else {
            unreachable!("{} is read as a rate", self.pattern);
        };
        self.thousandths_within(min_thousandths, max_thousandths, &kind.expected())
            .map(PerSecond::from_thousandths)
    }

    /// A time within bounds, rounded to milliseconds.
    pub fn seconds_within(&self, min_ms: u64, max_ms: u64, expected: &str) -> Option<Duration> {
        self.thousandths_within(min_ms, max_ms, expected)
            .map(Duration::from_millis)
    }

    /// A number within bounds given in thousandths, rounded to those.
    fn thousandths_within(&self, min: u64, max: u64, expected: &str) -> Option<u64> {
        let number: f64 = match self.value.get_ref() {
            DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
                .map_or(f64::NAN, |i| i as f64),
            DeValue::Float(float) => float.as_str().parse().unwrap_or(f64::NAN),
            _ => {
                self.refuse_type(expected);
                return None;
            }
        };
        let within = number >= min as f64 / 1000.0 && number <= max as f64 / 1000.0;
        if !within {
            self.refuse_for(expected);
            return None;
        }
        Some((number * 1000.0).round() as u64)
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
