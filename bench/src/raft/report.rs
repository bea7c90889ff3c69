//! The table: figure, goal, ratio.

use std::fmt;

use super::machine::Machine;

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Anything.
    None,
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

/// All figures of a run.
#[derive(Debug)]
pub struct Report {
    machine: Machine,
    rows: Vec<(String, f64, Goal)>,
}

impl Report {
    /// An empty one.
    pub fn new(machine: Machine) -> Report {
        Report {
            machine,
            rows: Vec::new(),
        }
    }

    /// One more figure, told at once.
    pub fn add(&mut self, label: &str, value: f64, goal: Goal) {
        eprintln!("{label}: {}", shown(value));
        self.rows.push((label.to_owned(), value, goal));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.machine)?;
        writeln!(
            f,
            "{:<52}{:>10}{:>12}{:>8}",
            "", "measured", "goal", "ratio"
        )?;
        for (label, value, goal) in &self.rows {
            write!(f, "{label:<52}{:>10}", shown(*value))?;
            match verdict(*value, *goal) {
                Some((goal, ratio, word)) if ratio.is_finite() => {
                    writeln!(f, "{goal:>12}{ratio:>8.2}  {word}")?;
                }
                Some((goal, _, word)) => writeln!(f, "{goal:>12}{:>8}  {word}", "-")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// The goal in words, the figure's ratio to it, and whether it is reached.
fn verdict(value: f64, goal: Goal) -> Option<(String, f64, &'static str)> {
    let (text, ratio, reached) = match goal {
        Goal::None => return None,
        Goal::AtMost(most) => (format!("≤ {}", shown(most)), value / most, value <= most),
        Goal::AtLeast(least) => (format!("≥ {}", shown(least)), value / least, value >= least),
    };
    Some((text, ratio, if reached { "reached" } else { "missed" }))
}

fn shown(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value >= 1_000.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_the_side_that_its_goal_is_on() {
        let (text, ratio, word) = verdict(60_000.0, Goal::AtLeast(50_000.0)).unwrap();
        assert_eq!((text.as_str(), word), ("≥ 50000", "reached"));
        assert!((ratio - 1.2).abs() < 1e-9);
        assert_eq!(verdict(1.5, Goal::AtMost(1.0)).unwrap().2, "missed");
        assert!(verdict(1.5, Goal::None).is_none());
    }
}
