//! `tcpffee status`: how the node stands, once or every second.

mod cluster; // how the node stands in its cluster

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::ask::{Asking, Refused};
use crate::cli::words::{bytes, plain, span, table};
use crate::cli::{Exit, complain, say};
use crate::control::Command;
use crate::counted::counted;
use cluster::Cluster;

/// Between two looks with `--watch`.
const LOOK: Duration = Duration::from_secs(1);

/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints how the node stands; with `watch` every second, until it is interrupted or nobody reads.
pub fn status(json: bool, watch: bool) -> ExitCode {
    let asking = Asking::start();
    if watch {
        return keep_watching(&asking, json);
    }
    match look(&asking) {
        Ok(look) => {
            say(&look.shown(json, None));
            look.exit().into()
        }
        Err(refused) => refused.tell(),
    }
}

fn keep_watching(asking: &Asking, json: bool) -> ExitCode {
    let is_screen = std::io::stdout().is_terminal() && !json;
    let mut before: Option<Look> = None;
    loop {
        let began = Instant::now();
        let now = look(asking);
        let shown = match &now {
            Ok(now) => Some(now.shown(json, before.as_ref())),
            // A line that is no JSON would end who reads it.
            Err(refused) if json => {
                refused.lines.iter().for_each(|line| complain(line));
                None
            }
            Err(refused) => Some(refused.lines.join("\n")),
        };
        let text = shown.map(|text| match (is_screen, json) {
            (true, _) => format!("{CLEAR}{text}\n"),
            (false, true) => format!("{text}\n"),
            (false, false) => format!("{text}\n\n"),
        });
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.unwrap_or_default().as_bytes());
        if written.and_then(|()| out.flush()).is_err() {
            return Exit::Done.into(); // whoever watched has gone
        }
        before = now.ok();
        thread::sleep(LOOK.saturating_sub(began.elapsed()));
    }
}

/// The node at one moment.
struct Look {
    /// All of it, as it came.
    whole: Value,
    /// What the table shows of it.
    node: Node,
}

/// Asks the running process.
fn look(asking: &Asking) -> Result<Look, Refused> {
    let mut groups = Vec::new();
    let answer = asking.request(Command::Status, &mut |piece| {
        groups.extend(
            piece
                .data
                .as_ref()
                .and_then(|data| data.get("group"))
                .cloned(),
        );
    })?;
    let mut last = answer.data.unwrap_or_default();
    let whole = json!({
        "overview": last["overview"].take(),
        "groups": groups,
        "health": last["health"].take(),
        "cluster": last["cluster"].take(),
    });
    match Node::deserialize(&whole) {
        Ok(node) => Ok(Look { whole, node }),
        Err(error) => Err(Refused {
            lines: vec![format!(
                "tcpffee status: the answer is not understood: {error}"
            )],
            exit: Exit::NoAnswer as u8,
        }),
    }
}

impl Look {
    fn shown(&self, json: bool, before: Option<&Look>) -> String {
        match json {
            true => self.whole.to_string(),
            false => self.node.table(before.map(|before| &before.node)),
        }
    }

    fn exit(&self) -> Exit {
        match self.node.is_healthy() {
            true => Exit::Done,
            false => Exit::Refused,
        }
    }
}

/// What the table shows. Fields that a process of another version does not send are empty.
#[derive(Debug, Default, Deserialize)]
struct Node {
    overview: Overview,
    groups: Vec<Group>,
    health: Health,
    /// Null where a process of an older version does not send it.
    #[serde(default)]
    cluster: Option<Cluster>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Overview {
    version: String,
    node: Option<String>,
    started: String,
    uptime_seconds: f64,
    generation: u64,
    totals: Totals,
    sticks: Sticks,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Totals {
    connections: u64,
    max_connections: u64,
    accepted: u64,
    bytes_in: u64,
    bytes_out: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sticks {
    entries: u64,
    max_entries: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Health {
    status: String,
    reasons: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Group {
    id: u32,
    name: Option<String>,
    status: String,
    reason: String,
    sticks: u64,
    connections: u64,
    max_connections: Option<u64>,
    queued: u64,
    connections_total: u64,
    bytes_in: u64,
    bytes_out: u64,
    drained: bool,
    draining: Option<Draining>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Draining {
    drained_in_at_most_seconds: Option<f64>,
}

impl Node {
    fn is_healthy(&self) -> bool {
        self.health.status == "ok"
    }

    /// The table; with what was `before`, it has rates.
    fn table(&self, before: Option<&Node>) -> String {
        let since = before.and_then(|before| Since::between(before, self));
        let mut lines = vec![self.title()];
        let health = &self.health;
        lines.extend(
            health
                .reasons
                .iter()
                .map(|text| format!("  reason: {}", plain(text))),
        );
        lines.extend(
            health
                .warnings
                .iter()
                .map(|text| format!("  warning: {}", plain(text))),
        );
        lines.push(String::new());
        lines.extend(self.totals(since.as_ref()));
        lines.extend(self.cluster.iter().flat_map(Cluster::lines));
        lines.push(String::new());
        lines.push(self.group_table(since.as_ref()));
        lines.join("\n")
    }

    fn title(&self) -> String {
        let overview = &self.overview;
        format!(
            "tcpffee {}, {}: {}, up {}, generation {}",
            plain(&overview.version),
            match &overview.node {
                Some(node) => format!("node {}", plain(node)),
                None => "on its own".to_owned(),
            },
            match self.is_healthy() {
                true => "healthy".to_owned(),
                false => plain(&self.health.status),
            },
            span(overview.uptime_seconds),
            overview.generation,
        )
    }

    fn totals(&self, since: Option<&Since<'_>>) -> [String; 3] {
        let (totals, sticks) = (&self.overview.totals, &self.overview.sticks);
        let rate = |pick: fn(&Totals) -> u64| {
            since.map(|since| since.rate(pick(&since.before.overview.totals), pick(totals)))
        };
        let accepted = rate(|totals| totals.accepted).map(|rate| format!(" ({rate:.1}/s)"));
        let [in_rate, out_rate] = [
            rate(|totals| totals.bytes_in),
            rate(|totals| totals.bytes_out),
        ]
        .map(|rate| {
            rate.map(|rate| format!(" ({}/s)", bytes(rate)))
                .unwrap_or_default()
        });
        [
            format!(
                "connections  {} of {}, {} accepted{}",
                totals.connections,
                totals.max_connections,
                totals.accepted,
                accepted.unwrap_or_default(),
            ),
            format!(
                "bytes        {} in{in_rate}, {} out{out_rate}",
                bytes(totals.bytes_in as f64),
                bytes(totals.bytes_out as f64),
            ),
            format!("sticks       {} of {}", sticks.entries, sticks.max_entries),
        ]
    }

    fn group_table(&self, since: Option<&Since<'_>>) -> String {
        let mut head = vec!["GROUP", "NAME", "STATUS", "STICKS", "CONNECTIONS"];
        let mut right = vec![true, false, false, true, true];
        if since.is_some() {
            head.extend(["NEW/S", "IN/S", "OUT/S"]);
            right.extend([true; 3]);
        }
        head.push("REASON");
        right.push(false);
        let row = |group: &Group| {
            let mut row = vec![
                group.id.to_string(),
                plain(group.name.as_deref().unwrap_or("")),
                plain(&group.status),
                group.sticks.to_string(),
                group.connections.to_string(),
            ];
            row.extend(since.iter().flat_map(|since| since.rates(group)));
            row.push(group.why());
            row
        };
        let rows: Vec<Vec<String>> = self.groups.iter().map(row).collect();
        table(&head, &right, &rows)
    }
}

impl Group {
    /// The reason for its status, how far it has drained, and who waits for it.
    fn why(&self) -> String {
        let mut words = Vec::new();
        if !self.reason.is_empty() {
            words.push(plain(&self.reason));
        }
        if self.drained {
            words.push("drained".to_owned());
        } else if let Some(draining) = &self.draining {
            let end = match draining.drained_in_at_most_seconds {
                Some(seconds) => format!(", drained in at most {}", span(seconds.ceil())),
                None => String::new(),
            };
            words.push(format!(
                "{}, {} left{end}",
                counted(self.sticks, "key"),
                counted(self.connections, "connection"),
            ));
        }
        if let Some(max) = self.max_connections.filter(|_| self.queued > 0) {
            let wait = counted(self.queued, "connection");
            words.push(format!("{wait} waiting for one of its {max} places"));
        }
        words.join("; ")
    }
}

/// What passed between two looks at one process.
struct Since<'a> {
    before: &'a Node,
    seconds: f64,
}

impl<'a> Since<'a> {
    /// `None`: the process is another one.
    fn between(before: &'a Node, now: &Node) -> Option<Since<'a>> {
        let seconds = now.overview.uptime_seconds - before.overview.uptime_seconds;
        let is_same = before.overview.started == now.overview.started;
        (is_same && seconds > 0.0).then_some(Since { before, seconds })
    }

    fn rate(&self, before: u64, now: u64) -> f64 {
        now.saturating_sub(before) as f64 / self.seconds
    }

    /// New connections and bytes each way, for each second.
    fn rates(&self, group: &Group) -> [String; 3] {
        let before = self
            .before
            .groups
            .iter()
            .find(|before| before.id == group.id);
        let Some(before) = before else {
            return ["-"; 3].map(str::to_owned);
        };
        [
            format!(
                "{:.1}",
                self.rate(before.connections_total, group.connections_total)
            ),
            bytes(self.rate(before.bytes_in, group.bytes_in)),
            bytes(self.rate(before.bytes_out, group.bytes_out)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(uptime: f64, connections_total: u64) -> Node {
        let value = json!({
            "overview": {
                "version": "0.1.0", "node": null, "started": "2026-11-26T10:00:00Z",
                "uptime_seconds": uptime, "generation": 2,
                "totals": {
                    "connections": 3, "max_connections": 1000, "accepted": connections_total,
                    "bytes_in": connections_total * 1000, "bytes_out": 0,
                },
                "sticks": {"entries": 5, "max_entries": 1_000_000},
            },
            "groups": [
                {"id": 0, "name": "alder", "status": "Up", "reason": "", "sticks": 2,
                 "connections": 2, "max_connections": 2, "queued": 3,
                 "connections_total": connections_total,
                 "bytes_in": connections_total * 1000, "bytes_out": 0},
                {"id": 12, "name": "b\u{1b}irch", "status": "Draining", "reason": "drain = true",
                 "sticks": 3, "connections": 1,
                 "draining": {"drained_in_at_most_seconds": 41.2}},
                {"id": 13, "name": null, "status": "Disabled", "reason": "disabled = true",
                 "drained": true},
            ],
            "health": {"status": "ok", "reasons": [], "warnings": ["group 12 is Draining"]},
        });
        Node::deserialize(&value).unwrap()
    }

    #[test]
    fn one_look_shows_what_is() {
        assert_eq!(
            node(3_725.0, 7).table(None),
            "tcpffee 0.1.0, on its own: healthy, up 1 h 2 min, generation 2\n  \
               warning: group 12 is Draining\n\
             \n\
             connections  3 of 1000, 7 accepted\n\
             bytes        7.0 kB in, 0 B out\n\
             sticks       5 of 1000000\n\
             \n\
             GROUP  NAME         STATUS    STICKS  CONNECTIONS  REASON\n    \
                 0  alder        Up             2            2  3 connections waiting for one of its 2 places\n   \
                12  b\\u{1b}irch  Draining       3            1  drain = true; 3 keys, 1 connection left, drained in at most 42 s\n   \
                13               Disabled       0            0  disabled = true; drained"
        );
    }

    #[test]
    fn two_looks_show_rates() {
        let shown = node(12.0, 9).table(Some(&node(10.0, 5)));
        assert!(shown.contains("9 accepted (2.0/s)"), "{shown}");
        assert!(
            shown.contains("9.0 kB in (2.0 kB/s), 0 B out (0 B/s)"),
            "{shown}"
        );
        assert!(shown.contains("NEW/S    IN/S  OUT/S  REASON"), "{shown}");
        assert!(shown.contains("    2.0  2.0 kB    0 B  3 conn"), "{shown}");
    }

    #[test]
    fn a_process_started_anew_has_no_rates_yet() {
        let mut before = node(10.0, 5);
        before.overview.started = "2026-11-26T09:00:00Z".to_owned();
        assert!(!node(12.0, 9).table(Some(&before)).contains("/s"));
        assert!(!node(2.0, 1).table(Some(&node(10.0, 5))).contains("/s"));
    }

    #[test]
    fn an_unhealthy_node_says_why() {
        let mut node = node(1.0, 0);
        node.health.status = "unhealthy".to_owned();
        node.health.reasons = vec!["no group is Up".to_owned()];
        let shown = node.table(None);
        assert!(shown.contains("on its own: unhealthy, up 1 s"), "{shown}");
        assert!(shown.contains("\n  reason: no group is Up\n"), "{shown}");
    }
}
