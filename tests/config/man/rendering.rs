//! What mandoc and man say of the pages, and what they show a reader.

use std::path::Path;
use std::process::{Command, Output};

use super::{file_page, program_page};

const PAGES: [&str; 2] = ["man/tcpffee.8", "man/tcpffee.toml.5"];

/// Runs a program on a page. Where it is missing the test is skipped and says so; with
/// TESTS_NEED_PROGRAMS set, it fails.
fn run(program: &str, arguments: &[&str], width: u32, page: &str) -> Option<Output> {
    let output = Command::new(program)
        .args(arguments)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(page))
        .env("MANWIDTH", width.to_string())
        .env("LC_ALL", "C.UTF-8")
        .output();
    match output {
        Ok(output) => Some(output),
        Err(error) => {
            let missing = format!("{program} cannot be run: {error}; see .ci/packages");
            assert!(
                std::env::var_os("TESTS_NEED_PROGRAMS").is_none(),
                "{missing}"
            );
            println!("SKIPPED: {missing}");
            eprintln!("SKIPPED: {missing}");
            None
        }
    }
}

fn is_silent(output: &Output, page: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{page}: {said}");
}

/// A page as a terminal of that width shows it.
fn shown(page: &str, width: u32) -> Option<String> {
    let output = run("man", &["-l", "-E", "UTF-8", "-Tutf8"], width, page)?;
    is_silent(&output, page);
    let mut text = String::new();
    for c in String::from_utf8_lossy(&output.stdout).chars() {
        match c {
            // Bold and underlined letters are struck twice.
            '\u{8}' => drop(text.pop()),
            _ => text.push(c),
        }
    }
    Some(without_colours(&text))
}

/// The text without what sets a terminal's colours and weights.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain += piece.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain
}

#[test]
fn mandoc_finds_nothing_to_say() {
    for page in PAGES {
        if let Some(output) = run("mandoc", &["-Tlint", "-Wwarning"], 80, page) {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.is_empty(), "{said}");
            is_silent(&output, page);
        }
    }
}

#[test]
fn man_has_no_warnings() {
    for page in PAGES {
        let arguments = ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"];
        if let Some(output) = run("man", &arguments, 80, page) {
            is_silent(&output, page);
        }
    }
}

#[test]
fn what_is_shown_can_be_copied() {
    for (page, source) in PAGES.iter().zip([program_page(), file_page()]) {
        let Some(shown) = shown(page, 80) else {
            return;
        };
        let trimmed = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.trim().to_owned()).collect()
        };
        let shown = trimmed(&shown);
        for display in source.displays() {
            let lines = trimmed(&display);
            let is_shown = shown.windows(lines.len()).any(|window| window == lines);
            assert!(is_shown, "{page} does not show as it stands:\n{display}");
        }
    }
}

/// A bare `-` or `'` is a hyphen or a typographic quote to some formatters.
#[test]
fn displays_and_commands_are_written_to_be_copied() {
    for page in [program_page(), file_page()] {
        let mut is_display = false;
        for line in page.lines() {
            is_display &= line != ".Ed";
            let copied = match line.split_once("Ql ") {
                Some((_, quoted)) if line.starts_with('.') => quoted,
                _ if is_display => line,
                _ => "",
            };
            let bare = copied.replace("\\-", "");
            assert!(!bare.contains(['-', '\'', '`', '~', '^']), "{line}");
            is_display |= line.starts_with(".Bd");
        }
    }
}

#[test]
fn no_name_is_hyphenated() {
    for page in PAGES {
        for width in [72, 80, 100, 120] {
            let Some(shown) = shown(page, width) else {
                return;
            };
            for line in shown.lines().filter(|line| line.ends_with('\u{2010}')) {
                let word = line.rsplit(' ').next().unwrap_or(line);
                let is_name = word.contains(['_', '"', '/', '.', '=']);
                assert!(!is_name, "{page} at {width} columns: {line}");
            }
        }
    }
}

#[test]
fn displays_fit_a_terminal() {
    for (page, source) in PAGES.iter().zip([program_page(), file_page()]) {
        for display in source.displays() {
            for line in display.lines() {
                let columns = line.chars().count();
                assert!(columns <= 74, "{page}: {columns} columns: {line}");
            }
        }
    }
}
