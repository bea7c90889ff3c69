//! What stands behind a path's question mark, read strictly: a parameter that is unknown, there
//! twice or out of range is refused by name, never ignored.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::answer::Answer;
use crate::stick::key::hex_digit;

/// The parameters of a request. Each is taken once; in the end none may be left.
#[derive(Debug)]
pub struct Query<'a> {
    left: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    known: Vec<&'static str>,
}

impl<'a> Query<'a> {
    /// The parameters in `text`, which is empty where there are none.
    ///
    /// # Errors
    /// What is wrong with it, as a problem.
    pub fn parse(text: &'a str) -> Result<Query<'a>, Answer> {
        let mut left: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decoded(name, Plus::IsSpace)?;
            if left.iter().any(|(there, _)| *there == name) {
                let detail = format!("the parameter {} is there twice", shown(&name));
                return Err(Answer::problem(400, detail));
            }
            left.push((name, decoded(value, Plus::IsSpace)?));
        }
        Ok(Query {
            left,
            known: Vec::new(),
        })
    }

    /// Takes a parameter, read by `read`, which says what was expected where it is not that.
    ///
    /// # Errors
    /// The parameter is there and cannot be read.
    pub fn take<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Answer> {
        self.known.push(name);
        let Some(at) = self.left.iter().position(|(there, _)| there == name) else {
            return Ok(None);
        };
        let (_, value) = self.left.swap_remove(at);
        let refused = |expected| {
            let detail = format!("{name}: found {}, expected {expected}", shown(&value));
            Answer::problem(400, detail)
        };
        read(&value).map(Some).map_err(refused)
    }

    /// Takes a number within a range.
    ///
    /// # Errors
    /// The parameter is there and is no such number.
    pub fn number<N>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<N>,
    ) -> Result<Option<N>, Answer>
    where
        N: FromStr + PartialOrd + Display,
    {
        self.take(name, |text| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text
                .parse()
                .ok()
                .filter(|number| is_plain && range.contains(number));
            let (first, last) = (range.start(), range.end());
            number.ok_or_else(|| format!("an integer from {first} to {last}"))
        })
    }

    /// All parameters have been taken.
    ///
    /// # Errors
    /// One was not.
    pub fn finish(self) -> Result<(), Answer> {
        let Some((name, _)) = self.left.first() else {
            return Ok(());
        };
        let known = match self.known.as_slice() {
            [] => "this path takes none".to_owned(),
            known => format!("known here: {}", known.join(", ")),
        };
        let detail = format!("there is no parameter {}; {known}", shown(name));
        Err(Answer::problem(400, detail))
    }
}

/// What a plus sign stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plus {
    /// A space, as HTML forms have it.
    IsSpace,
    /// Itself, as in paths.
    IsPlus,
}

/// Text with its percent-encoded bytes decoded.
///
/// # Errors
/// It is not well encoded, or no UTF-8.
pub fn decoded(text: &str, plus: Plus) -> Result<Cow<'_, str>, Answer> {
    let is_plain = |byte| byte != b'%' && (byte != b'+' || plus == Plus::IsPlus);
    if text.bytes().all(is_plain) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = rest
                    .next()
                    .and_then(hex_digit)
                    .zip(rest.next().and_then(hex_digit));
                let wrong = || {
                    let detail = format!("a % without two hexadecimal digits in {}", shown(text));
                    Answer::problem(400, detail)
                };
                let (high, low) = digits.ok_or_else(wrong)?;
                high << 4 | low
            }
            b'+' if plus == Plus::IsSpace => b' ',
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes);
    text.map(Cow::Owned)
        .map_err(|_| Answer::problem(400, "what is percent-encoded is not UTF-8"))
}

/// What a problem repeats of a text from outside.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => format!("{text:?}"),
        Some((at, _)) => format!("{:?}…", &text[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(answer: Answer) -> String {
        assert_eq!(answer.status, 400);
        let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        value["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn parameters_are_read_by_name() {
        let mut query = Query::parse("limit=10&&ip=2001%3Adb8%3a%3A1&x=a+b%2B").unwrap();
        assert_eq!(query.number("limit", 1..=1_000_u32).unwrap(), Some(10));
        assert_eq!(query.number("after", 0..=9_u64).unwrap(), None);
        let text = |text: &str| Ok::<_, String>(text.to_owned());
        assert_eq!(query.take("ip", text).unwrap().unwrap(), "2001:db8::1");
        assert_eq!(query.take("x", text).unwrap().unwrap(), "a b+");
        query.finish().unwrap();
        Query::parse("").unwrap().finish().unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        for bad in [
            "0",
            "1001",
            "-1",
            "+1",
            "x",
            "",
            "1.0",
            "99999999999999999999",
            "%31%",
        ] {
            let text = format!("limit={}", bad.replace('+', "%2B"));
            let outcome =
                Query::parse(&text).and_then(|mut query| query.number("limit", 1..=1_000_u32));
            let detail = detail(outcome.unwrap_err());
            assert!(detail.contains("limit") || detail.contains('%'), "{detail}");
        }
        let mut query = Query::parse("limit=5&limits=6").unwrap();
        query.number("limit", 1..=9_u32).unwrap();
        let detail_of = detail(query.finish().unwrap_err());
        assert_eq!(
            detail_of,
            "there is no parameter \"limits\"; known here: limit"
        );
        assert!(detail(Query::parse("a=1&a=2").unwrap_err()).contains("twice"));
        assert!(detail(Query::parse("a=%ff").unwrap_err()).contains("UTF-8"));
        assert!(detail(Query::parse("a").unwrap().finish().unwrap_err()).contains("takes none"));
    }

    #[test]
    fn a_plus_in_a_path_is_a_plus() {
        assert_eq!(decoded("a+b%20c", Plus::IsPlus).unwrap(), "a+b c");
    }
}
