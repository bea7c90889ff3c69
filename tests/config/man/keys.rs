//! tcpffee.toml(5) against the reference of the configuration: what either of them knows, the other
//! knows, in the same words.

use tcpffee::config::reference::{Absent, KEYS, Key};

use super::file_page;
use super::mdoc::{Item, items, text};

/// The rows that the page is to have of a key, in their order.
fn rows(key: &Key) -> Vec<(String, String)> {
    let name = key.pattern.rsplit('.').next().unwrap_or(key.pattern);
    let default = match key.default {
        Absent::Required => "required",
        Absent::Toml(value) => value,
        Absent::Words(words) => words,
    };
    let rows = vec![
        (
            "Takes",
            format!("{}: {}", key.kind.name(), key.kind.range()),
        ),
        ("Default", default.to_owned()),
        ("Change", key.takes_effect.to_string()),
        ("Example", format!("{name} = {}", key.example)),
    ];
    let row = |(name, words): (&str, String)| (name.to_owned(), words.replace('`', ""));
    rows.into_iter().map(row).collect()
}

/// The keys of the page, each with its lines.
fn described() -> Vec<Item> {
    let page = file_page();
    let begin = page.lines().iter().position(|line| line == ".Sh LISTENING");
    let end = page.lines().iter().position(|line| line == ".Sh EXAMPLES");
    items(&page.lines()[begin.expect("keys begin")..end.expect("keys end")])
}

#[test]
fn the_page_describes_every_key_and_no_other() {
    let described = described();
    let found: Vec<&str> = described.iter().map(|item| item.head.as_str()).collect();
    let expected: Vec<&str> = KEYS.iter().map(|key| key.pattern).collect();
    assert_eq!(found, expected, "the order is the reference's");
}

#[test]
fn each_key_is_described_as_the_reference_has_it() {
    for item in described() {
        let key = KEYS.iter().find(|key| key.pattern == item.head);
        let key = key.unwrap_or_else(|| panic!("{} is no key", item.head));
        let found: Vec<(String, String)> = items(&item.body)
            .iter()
            .map(|row| (row.head.clone(), text(&row.body[..])))
            .collect();
        assert_eq!(found, rows(key), "{}", item.head);
    }
}

#[test]
fn each_key_begins_with_the_meaning_that_the_reference_gives() {
    for item in described() {
        let key = KEYS.iter().find(|key| key.pattern == item.head);
        let key = key.unwrap_or_else(|| panic!("{} is no key", item.head));
        let prose = item.body.iter().position(|line| line == ".Pp");
        let prose = text(&item.body[prose.expect("there is a text")..]);
        let meaning = key.about.replace('`', "");
        assert!(
            prose.starts_with(&meaning),
            "{}: {prose}\n{meaning}",
            item.head
        );
    }
}
