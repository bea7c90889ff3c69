//! `tcpffee sticks`: the stick table, page after page.

use std::io::Write;
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::Value;

use crate::cli::ask::{Asking, Refused};
use crate::cli::words::{line, plain, span};
use crate::cli::{Exit, complain};
use crate::control::{Command, SticksQuestion};
use crate::stick::AddressFilter;

/// Names of the columns.
const HEAD: [&str; 4] = ["KEY", "GROUP", "EXPIRES IN", "CONNECTIONS"];
/// Which of them are aligned to the right.
const RIGHT: [bool; 4] = [false, true, true, true];
/// The width of the first one, at least; a page of longer keys makes it wider.
const KEY_WIDTH: usize = 15;

/// Which entries, and how they are printed.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct SticksFilter {
    /// Only entries of this group
    #[arg(long, value_name = "GROUP", value_hint = clap::ValueHint::Other)]
    pub group: Option<String>,
    /// Only entries of this address, or of this network
    #[arg(long, value_name = "ADDRESS[/BITS]", value_parser = network,
          value_hint = clap::ValueHint::Other)]
    pub ip: Option<String>,
    /// One JSON object in each line, with the fields of /api/v1/stick_table
    #[arg(long)]
    pub json: bool,
    /// Print this many entries at most
    #[arg(long, value_name = "N", value_hint = clap::ValueHint::Other)]
    pub limit: Option<u64>,
}

/// Whether it is an address or a network; what the process is asked is the text itself.
fn network(text: &str) -> Result<String, String> {
    match AddressFilter::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(expected) => Err(format!("expected {expected}")),
    }
}

/// Prints the entries that are asked for, in pieces: neither side holds the whole table.
pub fn sticks(filter: SticksFilter) -> ExitCode {
    match print(filter) {
        Ok(()) => Exit::Done.into(),
        Err(refused) => refused.tell(),
    }
}

fn print(filter: SticksFilter) -> Result<(), Refused> {
    let asking = Asking::start();
    let mut left = filter.limit.unwrap_or(u64::MAX);
    let mut question = SticksQuestion {
        after: None,
        group: filter.group,
        ip: filter.ip,
    };
    let mut print = Print::new(filter.json);
    loop {
        let mut page = page(&asking, &question)?;
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let is_cut = page.entries.len() > most;
        page.entries.truncate(most);
        left -= page.entries.len() as u64;
        if print.page(&page.entries).is_err() {
            return Ok(()); // whoever read has seen enough (`| head`)
        }
        if is_cut || (left == 0 && page.next.is_some()) {
            complain("there may be more entries: this is as many as --limit allows");
            return Ok(());
        }
        if page.next.is_none() {
            return Ok(());
        }
        question.after = page.next;
    }
}

#[derive(Debug, Deserialize)]
struct Page {
    entries: Vec<Value>,
    next: Option<String>,
}

fn page(asking: &Asking, question: &SticksQuestion) -> Result<Page, Refused> {
    let answer = asking.request(Command::Sticks(question.clone()), &mut |_| {})?;
    Page::deserialize(answer.data.unwrap_or_default()).map_err(|error| Refused {
        lines: vec![format!(
            "tcpffee sticks: the answer is not understood: {error}"
        )],
        exit: Exit::NoAnswer as u8,
    })
}

/// Prints pages, the first with a head.
struct Print {
    json: bool,
    has_head: bool,
    widths: [usize; 4],
}

impl Print {
    fn new(json: bool) -> Print {
        Print {
            json,
            has_head: json,
            widths: HEAD.map(str::len),
        }
    }

    fn page(&mut self, entries: &[Value]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(self.text(entries).as_bytes())?;
        out.flush()
    }

    fn text(&mut self, entries: &[Value]) -> String {
        if self.json {
            return entries.iter().map(|entry| format!("{entry}\n")).collect();
        }
        let rows: Vec<[String; 4]> = entries.iter().map(row).collect();
        let keys = rows.iter().map(|row| row[0].len());
        self.widths[0] = keys
            .chain([KEY_WIDTH, self.widths[0]])
            .max()
            .unwrap_or(KEY_WIDTH);
        let head = (!self.has_head).then(|| HEAD.map(str::to_owned));
        self.has_head = true;
        let lines = head.iter().chain(&rows);
        let shown = lines.map(|row| format!("{}\n", line(row, &self.widths, &RIGHT)));
        shown.collect()
    }
}

fn row(entry: &Value) -> [String; 4] {
    let word = |name: &str| match &entry[name] {
        Value::String(text) => plain(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let expires = match entry["expires_in_seconds"].as_f64() {
        _ if entry["provisional"] == true => "connecting".to_owned(),
        None => "held".to_owned(),
        Some(0.0) => "expired".to_owned(),
        Some(seconds) => span(seconds.ceil()),
    };
    [word("key"), word("group"), expires, word("connections")]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pages_come_under_one_head() {
        let mut print = Print::new(false);
        let first = [
            json!({"key": "10.0.0.1", "group": 1, "expires_in_seconds": 41.2, "connections": 0,
                   "provisional": false}),
            json!({"key": "10.0.0.2/a\\x00", "group": 12, "expires_in_seconds": null,
                   "connections": 3, "provisional": false}),
        ];
        assert_eq!(
            print.text(&first),
            "KEY              GROUP  EXPIRES IN  CONNECTIONS\n\
             10.0.0.1             1        42 s            0\n\
             10.0.0.2/a\\x00      12        held            3\n"
        );
        let second = [
            json!({"key": "::1", "group": 0, "expires_in_seconds": 0.0, "connections": 0}),
            json!({"key": "::2", "group": 0, "expires_in_seconds": 9.0, "provisional": true,
                   "connections": 0}),
        ];
        assert_eq!(
            print.text(&second),
            "::1                  0     expired            0\n\
             ::2                  0  connecting            0\n"
        );
    }

    #[test]
    fn json_is_one_object_in_each_line() {
        let entries = [json!({"key": "a"}), json!({"key": "b"})];
        assert_eq!(
            Print::new(true).text(&entries),
            "{\"key\":\"a\"}\n{\"key\":\"b\"}\n"
        );
    }

    #[test]
    fn an_address_or_a_network_is_asked_for() {
        for good in [
            "10.0.0.1",
            "10.0.0.0/8",
            "::1",
            "2001:db8::/128",
            "0.0.0.0/0",
        ] {
            assert_eq!(network(good), Ok(good.to_owned()));
        }
        for bad in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/x", "host"] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }
}
