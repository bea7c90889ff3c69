//! The table: medians, spread, ratio to the best other, goal.

use std::fmt::Write as _;

use crate::cli::BalancerName;
use crate::figure::{Sample, median};
use crate::work::{Goal, Work};

const MIB: f64 = 1024.0 * 1024.0;

/// Every sample of a comparison.
#[derive(Debug, Default)]
pub struct Results(Vec<(Work, BalancerName, Sample)>);

impl Results {
    /// One more sample.
    pub fn add(&mut self, work: Work, name: BalancerName, sample: Sample) {
        self.0.push((work, name, sample));
    }

    /// Connections that failed, all samples together.
    pub fn errors(&self) -> u64 {
        self.0.iter().map(|(_, _, sample)| sample.errors).sum()
    }

    fn values(&self, work: Work, name: BalancerName, of: fn(&Sample) -> f64) -> Vec<f64> {
        let wanted = self.0.iter().filter(|(w, n, _)| (*w, *n) == (work, name));
        wanted.map(|(_, _, sample)| of(sample)).collect()
    }

    fn median(&self, work: Work, name: BalancerName, of: fn(&Sample) -> f64) -> f64 {
        median(self.values(work, name, of))
    }
}

/// The table as text.
pub fn render(works: &[Work], names: &[BalancerName], results: &Results) -> String {
    let mut text = format!("{:<34}", "median over the rounds");
    for name in names {
        write!(text, "{:>13}", name.as_str()).expect("a string takes all");
    }
    text.push_str("   to best other  goal\n");
    for &work in works {
        writeln!(text, "{}", work.title()).expect("a string takes all");
        cost_rows(&mut text, work, names, results);
        let mut plain = |label: &str, of: fn(&Sample) -> f64, show: fn(f64) -> String| {
            row(&mut text, label, names, |name| {
                show(results.median(work, name, of))
            });
            text.push('\n');
        };
        plain(rate_unit(work), |s| s.rate, rate);
        plain(
            "  system time, %",
            |s| s.system_share * 100.0,
            |v| format!("{v:.0}"),
        );
        plain(
            "  resident memory, MiB",
            |s| s.memory.resident_bytes as f64 / MIB,
            |v| format!("{v:.1}"),
        );
        plain(
            "  failed connections",
            |s| s.errors as f64,
            |v| format!("{v:.0}"),
        );
    }
    text
}

/// What the work costs, the ratio and the goal; and how far the rounds lie apart.
fn cost_rows(text: &mut String, work: Work, names: &[BalancerName], results: &Results) {
    let of_cost = |name| results.median(work, name, |s| s.cost);
    let label = format!("  {}", cost_unit(work));
    row(text, &label, names, |name| cost(work, of_cost(name)));
    let own = names
        .contains(&BalancerName::Tcpffee)
        .then(|| of_cost(BalancerName::Tcpffee));
    let best = names
        .iter()
        .filter(|name| matches!(name, BalancerName::Haproxy | BalancerName::Nginx))
        .map(|&name| of_cost(name))
        .min_by(f64::total_cmp);
    writeln!(text, "   {}", verdict(work.goal(), own, best)).expect("a string takes all");
    row(text, "    lowest to highest", names, |name| {
        let values = results.values(work, name, |s| s.cost);
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{}-{}", cost(work, lowest), cost(work, highest))
    });
    text.push('\n');
    if matches!(work, Work::Idle(_)) {
        row(text, "  resident B per connection", names, |name| {
            format!("{:.0}", results.median(work, name, |s| s.resident_growth))
        });
        text.push('\n');
    }
    if names.contains(&BalancerName::Other)
        && let Some(own) = own
    {
        let ratio = own / of_cost(BalancerName::Other);
        writeln!(text, "  tcpffee to other: {ratio:.3}").expect("a string takes all");
    }
}

fn row(
    text: &mut String,
    label: &str,
    names: &[BalancerName],
    cell: impl Fn(BalancerName) -> String,
) {
    write!(text, "{label:<34}").expect("a string takes all");
    for &name in names {
        write!(text, "{:>13}", cell(name)).expect("a string takes all");
    }
}

/// The ratio of tcpffee to the best other, the goal, and whether it is reached.
fn verdict(goal: Goal, own: Option<f64>, best: Option<f64>) -> String {
    let ratio = own.zip(best).map(|(own, best)| own / best);
    let (goal, reached) = match goal {
        Goal::OfBest(part) => (format!("≤ {part:.2}"), ratio.map(|ratio| ratio <= part)),
        Goal::AtMost(most) => (format!("≤ {most:.0} B"), own.map(|own| own <= most)),
    };
    let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    let word = match reached {
        Some(true) => " reached",
        Some(false) => " missed",
        None => "",
    };
    format!("{ratio:>13}  {goal}{word}")
}

/// What the cost of a work is counted in.
pub fn cost_unit(work: Work) -> &'static str {
    match work {
        Work::Connect(_) => "CPU µs per connection",
        Work::Pingpong(_) => "CPU µs per round trip",
        Work::Bulk(..) => "CPU s per GB",
        Work::Idle(_) => "private B per connection",
    }
}

fn rate_unit(work: Work) -> &'static str {
    match work {
        Work::Connect(_) => "  connections/s",
        Work::Pingpong(_) => "  round trips/s",
        Work::Bulk(..) => "  GB/s",
        Work::Idle(_) => "  connections opened/s",
    }
}

/// A cost in the unit of its work.
pub fn cost(work: Work, value: f64) -> String {
    match work {
        Work::Connect(_) | Work::Pingpong(_) => format!("{:.2}", value / 1e3),
        Work::Bulk(..) => format!("{:.3}", value / 1e9),
        Work::Idle(_) => format!("{value:.0}"),
    }
}

/// Units per second.
pub fn rate(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_beside_the_best_other_is_judged_by_the_ratio() {
        let goal = Goal::OfBest(0.9);
        assert!(verdict(goal, Some(80.0), Some(100.0)).contains("0.80  ≤ 0.90 reached"));
        assert!(verdict(goal, Some(95.0), Some(100.0)).contains("0.95  ≤ 0.90 missed"));
    }

    #[test]
    fn an_absolute_goal_needs_no_other() {
        assert!(verdict(Goal::AtMost(600.0), Some(500.0), None).contains("≤ 600 B reached"));
    }

    #[test]
    fn without_tcpffee_no_goal_is_judged() {
        let text = verdict(Goal::OfBest(0.9), None, Some(1.0));
        assert!(text.ends_with("≤ 0.90"));
    }
}
