//! `docs/CONFIGURATION.md`, written from the reference that the program itself reads by.
//!
//! The file is rewritten with `UPDATE_DOCS=1 cargo test --test config reference`.

use std::fmt::Write;
use std::path::Path;

use tcpffee::config::environment::VARIABLES;
use tcpffee::config::reference::{self, Absent, Key};

/// Sections of the page, with the keys that each begins at.
const SECTIONS: &[(&str, &str, &str)] = &[
    ("bind_addr", "Listening", ""),
    ("expiration", "Stickiness", ""),
    ("connect_timeout", "Time-outs", ""),
    (
        "allow",
        "Limits",
        "Whom the proxy serves, and how much one client may have of it; see also `max_connections`. \
         Who is refused is reset, for a reason that logs, metrics and API tell.",
    ),
    (
        "accept_proxy_from",
        "The client's address",
        "What servers see of the client; for the way to the servers see also `groups.N.send_proxy` \
         and `groups.N.transparent`.",
    ),
    (
        "groups.N.portmap",
        "Groups",
        "One table `[groups.N]` for each group, at least one and at most 4,096. N is an integer from \
         0 to 4294967295 and stays the same throughout the life of the group. All groups on all \
         ports make at most 1,000,000 targets.",
    ),
    (
        "groups.N.healthchecks[].fall",
        "Health checks",
        "Any number up to 64 of tables `[[groups.N.healthchecks]]` for each group.",
    ),
    ("stats_bind_socket", "Statistics", ""),
    (
        "raft_healthchecks_logs_bind_socket",
        "Cluster",
        "One table `[[peers]]` for each node of the cluster, this one included, at most 64; without \
         any, the proxy runs alone.",
    ),
];

const INTRODUCTION: &str = "\
# Configuration

Written from the table that the program itself reads by; edit `src/config/reference/keys.rs` or
`src/config/variables.rs`, then run `UPDATE_DOCS=1 cargo test --test config reference`.

One TOML file of at most 4 MiB, named by `--config` or `TCPFFEE_CONFIG_PATH`. `tcpffee check` reads
it and reports everything that is wrong with it at once, each with line, column, key, the value found
and what was expected; unknown keys are errors. Times are in seconds, integers or with a fraction.
An annotated example is `tcpffee.toml`; the man page tcpffee.toml(5) has advice on each key.

A reload (`tcpffee reload`, SIGUSR1 or SIGHUP) applies a changed file without cutting a connection.
Each key says when its change takes effect:

- **live**: at once.
- **new connections**: for connections accepted from then on.
- **restart**: at the next start. A reload that changes such a key is refused and changes nothing.
";

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn row(page: &mut String, key: &Key) {
    let default = match key.default {
        Absent::Required => "required".to_owned(),
        Absent::Toml(value) => format!("`{value}`"),
        Absent::Words(words) => words.to_owned(),
    };
    writeln!(
        page,
        "| `{}` | {} | {} | {default} | `{}` | {} | {} |",
        key.pattern,
        key.kind.name(),
        cell(&key.kind.range()),
        cell(key.example),
        key.takes_effect,
        cell(key.about),
    )
    .expect("a string takes whatever is written");
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for key in reference::KEYS {
        let section = SECTIONS.iter().find(|(first, _, _)| *first == key.pattern);
        if let Some((_, title, remark)) = section {
            writeln!(page, "\n## {title}\n").expect("a string takes whatever is written");
            if !remark.is_empty() {
                writeln!(page, "{remark}\n").expect("a string takes whatever is written");
            }
            page += "| key | type | range | default | example | change | meaning |\n";
            page += "| --- | --- | --- | --- | --- | --- | --- |\n";
        }
        row(&mut page, key);
    }
    page += "\n## Environment variables\n\n";
    page += "Read at start; a reload does not read them again. A variable that is empty counts as \
             unset.\nSubcommands that deal with a running process also read \
             `/etc/default/tcpffee` where their environment\nis silent.\n\n";
    page += "| variable | value | default | meaning |\n| --- | --- | --- | --- |\n";
    for variable in VARIABLES {
        let (name, values, default) = (variable.name, variable.values, variable.default);
        writeln!(
            page,
            "| `{name}` | {values} | {default} | {} |",
            variable.about
        )
        .expect("a string takes whatever is written");
    }
    page
}

#[test]
fn the_configuration_page_says_what_the_reference_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("a string takes whatever is written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/CONFIGURATION.md differs from the reference; run UPDATE_DOCS=1 cargo test --test \
         config reference"
    );
}

#[test]
fn every_section_of_the_page_begins_at_a_key() {
    for (first, title, _) in SECTIONS {
        assert!(reference::find(first).is_some(), "{title}");
    }
}
