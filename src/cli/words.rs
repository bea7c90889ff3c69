//! Figures and foreign texts as a person reads them.

/// A size: `512 B`, `1.2 kB`, `34.5 MB`.
pub(super) fn bytes(count: f64) -> String {
    let mut value = count;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        // Rounded to one place it stays below 1,000.
        if value < 999.95 {
            return match unit {
                "B" => format!("{value:.0} B"),
                unit => format!("{value:.1} {unit}"),
            };
        }
        value /= 1_000.0;
    }
    format!("{value:.1} PB")
}

/// A span of time, in its two largest units: `3 d 4 h`, `42 s`.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let units = [
        ("d", whole / 86_400),
        ("h", whole / 3_600 % 24),
        ("min", whole / 60 % 60),
    ];
    match units.iter().position(|(_, count)| *count > 0) {
        None => format!("{whole} s"),
        Some(at) => {
            let rest = units.get(at + 1).copied().unwrap_or(("s", whole % 60));
            format!("{} {} {} {}", units[at].1, units[at].0, rest.1, rest.0)
        }
    }
}

/// A text from elsewhere, without anything that a terminal would act upon.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => plain.extend(character.escape_unicode()),
            false => plain.push(character),
        }
    }
    plain
}

/// Rows under a head, columns as wide as they need to be; `right` says which are aligned to the
/// right. The last column is not padded.
pub(super) fn table(head: &[&str], right: &[bool], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..head.len())
        .map(|at| {
            let cells = rows.iter().map(|row| row[at].chars().count());
            cells.chain([head[at].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let lines = std::iter::once(&head)
        .chain(rows)
        .map(|row| line(row, &widths, right));
    lines.collect::<Vec<_>>().join("\n")
}

/// One row of a [`table`].
pub(super) fn line(row: &[String], widths: &[usize], right: &[bool]) -> String {
    let cells = row
        .iter()
        .zip(widths)
        .zip(right)
        .map(|((cell, &width), right)| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_suits_them() {
        for (count, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1_000.0, "1.0 kB"),
            (999_949.0, "999.9 kB"),
            (999_960.0, "1.0 MB"),
            (1.5e15, "1.5 PB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, text) in [
            (0.9, "0 s"),
            (59.0, "59 s"),
            (60.0, "1 min 0 s"),
            (3_725.0, "1 h 2 min"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn a_terminal_acts_upon_nothing_from_elsewhere() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [["1", "alder"], ["12", "b"]].map(|row| row.map(str::to_owned).to_vec());
        let shown = table(&["N", "NAME"], &[true, false], &rows);
        assert_eq!(shown, " N  NAME\n 1  alder\n12  b");
    }
}
