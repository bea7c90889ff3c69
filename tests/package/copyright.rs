//! `packaging/debian/copyright`: whose work is in the binary, and on which terms.
//!
//! Written from what cargo says of the crates that are linked, between a head and an end written by
//! hand; rewritten by `UPDATE_DOCS=1 cargo test --test package copyright`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::deb::succeed;

const BEGIN: &str =
    "# Crates that are linked into the binary, written by tests/package/copyright.rs.\n";
const END: &str = "# End of the crates.\n";

/// The terms that are taken where a crate offers several, in this order.
const TERMS: [(&str, &str); 4] = [
    ("MIT", "Expat"),
    ("BSD-3-Clause", "BSD-3-clause"),
    ("Zlib", "Zlib"),
    ("Apache-2.0", "Apache-2.0"),
];

#[test]
fn the_copyright_file_names_every_crate_that_is_linked() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/debian/copyright");
    let file = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = file.split_once(BEGIN).expect("the crates begin");
    let (_, tail) = rest.split_once(END).expect("the crates end");
    let expected = format!("{head}{BEGIN}{}{END}{tail}", stanzas());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    assert!(
        file == expected || std::env::var_os("UPDATE_DOCS").is_some(),
        "{} differs from the crates that are linked; run UPDATE_DOCS=1 cargo test --test package \
         copyright",
        path.display()
    );
    // Each of the terms is told in full.
    let used = expected
        .lines()
        .filter_map(|line| line.strip_prefix("License: "));
    for terms in used {
        for short in terms.split(" and ") {
            let paragraph = format!("\nLicense: {short}\n ");
            assert!(expected.contains(&paragraph), "no text for {short}");
        }
    }
}

fn stanzas() -> String {
    let authors = authors();
    let tree = cargo(&[
        "tree",
        "--package",
        "tcpffee",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}|{l}",
        "--target",
        "x86_64-unknown-linux-gnu",
    ]);
    let mut crates = BTreeMap::new();
    for line in tree.lines() {
        let (package, licences) = line.trim_end_matches(" (*)").split_once('|').unwrap();
        let name = package.split(' ').next().unwrap();
        if !name.starts_with("tcpffee") {
            crates.insert(name.to_owned(), terms(licences));
        }
    }
    let stanza = |(name, terms): (&String, &String)| {
        let by = match authors.get(name).map(String::as_str) {
            None | Some("") => format!("the authors of {name}"),
            Some(authors) => authors.to_owned(),
        };
        format!("Files: crates/{name}/*\nCopyright: {by}\nLicense: {terms}\n\n")
    };
    crates.iter().map(stanza).collect()
}

/// Debian's short name of the terms.
fn terms(licences: &str) -> String {
    if licences == "(MIT OR Apache-2.0) AND Unicode-3.0" {
        return "Expat and Unicode-3.0".to_owned();
    }
    let offered: Vec<&str> = licences.split([' ', '/']).collect();
    let taken = TERMS.iter().find(|(name, _)| offered.contains(name));
    let taken = taken.unwrap_or_else(|| panic!("terms that nobody has looked at: {licences}"));
    taken.1.to_owned()
}

fn authors() -> BTreeMap<String, String> {
    let metadata = cargo(&["metadata", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let of = |package: &Value| {
        let authors = package["authors"].as_array().unwrap();
        let names: Vec<&str> = authors.iter().filter_map(Value::as_str).collect();
        let name = package["name"].as_str().unwrap().to_owned();
        (name, names.join(", "))
    };
    packages.iter().map(of).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    succeed(command.args(arguments).args(["--locked", "--offline"]))
}
