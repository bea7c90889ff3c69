//! Prometheus' text format 0.0.4: families with HELP and TYPE, samples with labels.

use std::fmt::{Display, Write};

use crate::histogram::Histogram;

/// Series that a metric by port or target may have; further ones are summed in one whose labels
/// are [`OTHER`].
pub const MAX_SERIES: usize = 1_000;
/// Stands for all that have no series of their own.
pub const OTHER: &str = "other";
/// Characters of a label's value; more than any host name has.
const MAX_LABEL_CHARS: usize = 512;

/// Names and values of labels.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// A rendering that grows.
#[derive(Debug, Default)]
pub struct Text {
    out: String,
    /// Metrics that have an [`OTHER`], each with how many series that stands for.
    left_out: Vec<(&'static str, usize)>,
}

/// One metric, for its samples to be added.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut Text,
    name: &'static str,
}

impl Text {
    /// A metric that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// A metric that only grows.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// A metric of durations in buckets.
    pub fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        Family { text: self, name }
    }

    /// Says what was left out, and gives the rendering.
    pub fn finish(mut self) -> String {
        let left_out = std::mem::take(&mut self.left_out);
        let mut family = self.gauge(
            "tcpffee_metrics_series_left_out",
            "Series of a metric that are summed in the one whose labels are \"other\".",
        );
        for (metric, count) in left_out {
            family.sample(&[("metric", metric)], count);
        }
        self.out
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.out, "{line}").expect("a String takes everything");
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: Labels<'_>, value: impl Display) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        for (at, (label, of)) in labels.iter().enumerate() {
            self.out.push(if at == 0 { '{' } else { ',' });
            self.out.push_str(label);
            self.out.push_str("=\"");
            escape(of, &mut self.out);
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        self.line(format_args!(" {value}"));
    }
}

impl Family<'_> {
    /// One value.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.text.sample(self.name, "", labels, value);
    }

    /// One value, whether something is so.
    pub fn flag(&mut self, labels: Labels<'_>, is_so: bool) {
        self.sample(labels, u8::from(is_so));
    }

    /// One series of a histogram.
    pub fn durations(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let mut all: Vec<(&str, &str)> = labels.to_vec();
        let mut bucket = |bound: &str, count: u64| {
            all.truncate(labels.len());
            let bound: (&str, &str) = ("le", bound);
            let labels = [&all[..], &[bound]].concat();
            self.text.sample(self.name, "_bucket", &labels, count);
        };
        for (bound, count) in histogram.cumulative() {
            bucket(&bound.to_string(), count);
        }
        bucket("+Inf", histogram.count());
        let sum = histogram.sum_seconds();
        self.text.sample(self.name, "_sum", labels, sum);
        self.text
            .sample(self.name, "_count", labels, histogram.count());
    }

    /// One value for each of many, at most `most` of them (at least 1); the others, and `rest`, are
    /// summed. `labels` name the values of each; `fixed` is the same for all.
    pub fn bounded<const N: usize>(
        &mut self,
        most: usize,
        labels: [&str; N],
        fixed: Labels<'_>,
        series: &[([String; N], u64)],
        rest: Option<u64>,
    ) {
        let all = series.len() + usize::from(rest.is_some());
        let own = if all > most { most - 1 } else { series.len() };
        let (own, others) = series.split_at(own.min(series.len()));
        let mut one = |values: [&str; N], value: u64| {
            let mut with: Vec<(&str, &str)> = labels.into_iter().zip(values).collect();
            with.extend(fixed);
            self.sample(&with, value);
        };
        for (values, value) in own {
            one(values.each_ref().map(String::as_str), *value);
        }
        if rest.is_some() || !others.is_empty() {
            let sum: u64 = others.iter().map(|(_, value)| value).sum();
            one([OTHER; N], sum + rest.unwrap_or(0));
        }
        self.leave_out(others.len());
    }

    fn leave_out(&mut self, count: usize) {
        let left_out = &mut self.text.left_out;
        match left_out.last_mut() {
            _ if count == 0 => {}
            Some((name, sum)) if *name == self.name => *sum += count,
            _ => left_out.push((self.name, count)),
        }
    }
}

fn escape(value: &str, out: &mut String) {
    for character in value.chars().take(MAX_LABEL_CHARS) {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped_and_cut() {
        let mut text = Text::default();
        let long = "é".repeat(1_000);
        let mut family = text.gauge("a", "One.");
        family.sample(&[("x", "a\\b\"c\nd"), ("y", &long)], 1.5);
        let expected = format!(
            "# HELP a One.\n# TYPE a gauge\na{{x=\"a\\\\b\\\"c\\nd\",y=\"{}\"}} 1.5\n",
            "é".repeat(MAX_LABEL_CHARS)
        );
        assert_eq!(text.out, expected);
    }

    #[test]
    fn what_is_beyond_the_bound_is_summed_and_counted() {
        let series: Vec<_> = (1..=5).map(|n| ([format!("p{n}")], n)).collect();
        let rendered = |most, rest| {
            let mut text = Text::default();
            text.counter("a", "A.")
                .bounded(most, ["port"], &[("r", "x")], &series, rest);
            text.finish()
        };
        let all = rendered(5, None);
        assert!(all.contains("a{port=\"p5\",r=\"x\"} 5\n"), "{all}");
        assert!(!all.contains("other\","), "{all}");
        assert!(!all.contains("metric="), "{all}");
        let few = rendered(3, None);
        assert!(few.contains("a{port=\"p2\",r=\"x\"} 2\n"), "{few}");
        assert!(few.contains("a{port=\"other\",r=\"x\"} 12\n"), "{few}");
        assert!(!few.contains("p3"), "{few}");
        assert!(
            few.ends_with("tcpffee_metrics_series_left_out{metric=\"a\"} 3\n"),
            "{few}"
        );
        let with_rest = rendered(6, Some(7));
        assert!(
            with_rest.contains("a{port=\"p5\",r=\"x\"} 5\n"),
            "{with_rest}"
        );
        assert!(
            with_rest.contains("a{port=\"other\",r=\"x\"} 7\n"),
            "{with_rest}"
        );
    }
}
