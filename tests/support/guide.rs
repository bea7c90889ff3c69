//! The code blocks of the guides in `docs/`, so that tests run what readers copy.

use std::path::Path;

/// The one block of a guide that begins with this line.
pub fn block(guide: &str, first_line: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(guide);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let begins = format!("{first_line}\n");
    let mut blocks = text.split("\n```").filter_map(|part| {
        let (_, text) = part.split_once('\n')?;
        text.starts_with(&begins).then(|| format!("{text}\n"))
    });
    let found = blocks.next();
    assert!(blocks.next().is_none(), "two blocks begin so: {first_line}");
    found.unwrap_or_else(|| panic!("no block of {guide} begins so: {first_line}"))
}

/// A block with one thing put in place of another, which has to be there.
pub fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from:?} in:\n{text}");
    text.replace(from, to)
}
