//! A reader of Prometheus' text format 0.0.4, stricter than Prometheus itself.

use std::collections::BTreeSet;

/// A rendering, taken apart.
#[derive(Debug, Default)]
pub struct Rendering {
    pub families: Vec<Family>,
    pub samples: Vec<Sample>,
}

/// What HELP and TYPE say.
#[derive(Debug)]
pub struct Family {
    pub name: String,
    pub kind: String,
    pub help: String,
}

/// One value.
#[derive(Debug)]
pub struct Sample {
    /// With the suffix of a histogram's parts.
    pub name: String,
    /// The name that HELP and TYPE have.
    pub family: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

impl Rendering {
    /// Takes a rendering apart. Every sample must follow HELP and TYPE of its own metric.
    pub fn parse(text: &str) -> Rendering {
        assert!(text.ends_with('\n'));
        let mut rendering = Rendering::default();
        let mut helped: Option<(String, String)> = None;
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a text follows the name");
                helped = Some((name.to_owned(), help.to_owned()));
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type follows the name");
                let (helped, help) = helped.take().expect("HELP comes before TYPE");
                assert_eq!(helped, name);
                rendering.families.push(Family {
                    name: name.to_owned(),
                    kind: kind.to_owned(),
                    help,
                });
            } else {
                let family = rendering.families.last().expect("TYPE comes first");
                rendering.samples.push(Sample::parse(line, family));
            }
        }
        rendering
    }

    /// The value of one series.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut samples = self.samples.iter();
        let found = samples.find(|sample| {
            sample.name == name
                && sample.labels.len() == labels.len()
                && labels
                    .iter()
                    .all(|(label, value)| sample.label(label) == Some(*value))
        });
        found.map(|sample| sample.value)
    }

    /// Names are as Prometheus wants them, no series comes twice, and histograms add up.
    pub fn assert_is_sound(&self) {
        let mut families = BTreeSet::new();
        for family in &self.families {
            assert!(families.insert(&family.name), "{} comes twice", family.name);
            assert_eq!(
                family.name.ends_with("_total"),
                family.kind == "counter",
                "{family:?}"
            );
            assert!(
                family.help.ends_with('.') && !family.help.contains('\\'),
                "{family:?}"
            );
        }
        let mut series = BTreeSet::new();
        for sample in &self.samples {
            assert!(
                series.insert((&sample.name, &sample.labels)),
                "{sample:?} comes twice"
            );
            assert!(sample.value >= 0.0, "{sample:?}");
        }
        self.assert_histograms_add_up();
    }

    fn assert_histograms_add_up(&self) {
        let mut last: Option<(f64, f64)> = None; // bound and count
        for sample in &self.samples {
            let Some(le) = sample.name.ends_with("_bucket").then(|| sample.label("le")) else {
                last = None;
                continue;
            };
            let le = le.expect("a bucket has a bound");
            let bound: f64 = le.parse().expect("a bound is a number");
            if let Some((before, count)) = last {
                assert!(before < bound && count <= sample.value, "{sample:?}");
            }
            last = Some((bound, sample.value));
            if le == "+Inf" {
                let others = sample.labels.iter().filter(|(label, _)| label != "le");
                let others: Vec<_> = others.map(|(l, v)| (l.as_str(), v.as_str())).collect();
                let count = self.value(&format!("{}_count", sample.family), &others);
                assert_eq!(count, Some(sample.value), "{sample:?}");
                let sum = self.value(&format!("{}_sum", sample.family), &others);
                assert!(sum.is_some(), "{sample:?}");
                last = None;
            }
        }
    }
}

impl Sample {
    fn parse(line: &str, family: &Family) -> Sample {
        let name_end = line.find(['{', ' ']).expect("a value follows the name");
        let (name, mut rest) = line.split_at(name_end);
        let suffix = name.strip_prefix(family.name.as_str());
        let suffix = suffix.unwrap_or_else(|| panic!("{line} follows {}", family.name));
        match family.kind.as_str() {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            "gauge" | "counter" => assert_eq!(suffix, "", "{line}"),
            other => panic!("{other} is no type"),
        }
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                let (label, value) = rest.split_once("=\"").expect("a label has a value");
                let valid = |c: char| c.is_ascii_lowercase() || c == '_';
                assert!(!label.is_empty() && label.chars().all(valid), "{line}");
                let (value, after) = unescape(value);
                labels.push((label.to_owned(), value));
                match after.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => {
                        rest = after.strip_prefix('}').expect("labels end");
                        break;
                    }
                }
            }
        }
        let value = rest.strip_prefix(' ').expect("one blank before the value");
        Sample {
            name: name.to_owned(),
            family: family.name.clone(),
            labels,
            value: value
                .parse()
                .unwrap_or_else(|_| panic!("{line} has no number")),
        }
    }

    fn label(&self, name: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        let found = labels.find(|(label, _)| label == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The value up to its closing quote, and what follows that.
fn unescape(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some(escaped @ ('\\' | '"')) => value.push(escaped),
                other => panic!("{other:?} is not to be escaped"),
            },
            other => value.push(other),
        }
    }
    panic!("a value without an end: {text}")
}
