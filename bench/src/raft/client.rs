//! A client of one node: one line out, one line back.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// One connection to a node.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether it leads.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// Up to where its log is committed.
    pub commit: u64,
    /// Up to where it has applied its log.
    pub applied: u64,
    /// The end of its log.
    pub last: u64,
    /// Bytes of its log in memory.
    pub log_bytes: u64,
    /// The place of its newest snapshot, or 0.
    pub snapshot: u64,
    /// Nodes that vote, as far as it knows.
    pub voters: u64,
    /// Entries of its stick table, where it has one.
    pub entries: Option<u64>,
}

/// What came of proposals that a node made by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Proposals that were made.
    pub count: u64,
    /// Proposals that failed.
    pub failed: u64,
    /// From the first proposal to the last answer.
    pub time: Duration,
    /// The median time from a proposal to its answer.
    pub median: Duration,
    /// The 99th percentile of the same.
    pub p99: Duration,
    /// The longest of them.
    pub longest: Duration,
}

impl Client {
    /// Connects; each answer is waited for at most `limit`.
    pub fn connect(address: SocketAddr, limit: Duration) -> anyhow::Result<Client> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, limit)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(limit))?;
            Ok::<_, std::io::Error>(stream)
        };
        let stream = connect().with_context(|| format!("connect to node {address}"))?;
        Ok(Client {
            address,
            stream: BufReader::new(stream),
        })
    }

    /// What the node says of itself.
    pub fn status(&mut self) -> anyhow::Result<Status> {
        let line = self.exchange("status")?;
        parse_status(&line).with_context(|| format!("node {} said {line:?}", self.address))
    }

    /// Writes a register. Answers whether it is done; anything else is to be tried again.
    pub fn put(&mut self, key: &str, value: u64) -> anyhow::Result<bool> {
        Ok(self.exchange(&format!("put {key} {value}"))? == "ok")
    }

    /// Has the node take a snapshot soon.
    pub fn snapshot(&mut self) -> anyhow::Result<()> {
        let line = self.exchange("snapshot")?;
        ensure!(line == "ok", "node {} said {line:?}", self.address);
        Ok(())
    }

    /// Lets the node make proposals at its own interface, `window` at a time. What `what` is, the
    /// node knows: how many bytes each has, or which key is the first.
    pub fn load(&mut self, count: u64, window: usize, what: u64) -> anyhow::Result<Load> {
        let line = self.exchange(&format!("load {count} {window} {what}"))?;
        let load = parse_load(&line)
            .with_context(|| format!("node {} answered {line:?} to load", self.address))?;
        ensure!(
            load.count == count && load.failed == 0,
            "of {count} proposals at node {} {} failed",
            self.address,
            load.failed
        );
        Ok(load)
    }

    fn exchange(&mut self, line: &str) -> anyhow::Result<String> {
        let mut exchange = || {
            self.stream
                .get_mut()
                .write_all(format!("{line}\n").as_bytes())?;
            let mut answer = String::new();
            self.stream.read_line(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer =
            exchange().with_context(|| format!("ask node {} for {line:?}", self.address))?;
        if !answer.ends_with('\n') {
            bail!("node {} closed the connection after {line:?}", self.address);
        }
        Ok(answer.trim_end().to_owned())
    }
}

fn parse_status(line: &str) -> Option<Status> {
    let number = |name: &str| field(line, name)?.parse().ok();
    Some(Status {
        leads: field(line, "role")? == "leader",
        term: number("term")?,
        commit: number("commit")?,
        applied: number("applied")?,
        last: number("last")?,
        log_bytes: number("log_bytes")?,
        snapshot: number("snapshot")?,
        voters: number("voters")?,
        entries: number("entries"),
    })
}

fn parse_load(line: &str) -> Option<Load> {
    let number = |name: &str| field(line, name)?.parse().ok();
    let time = |name: &str| number(name).map(Duration::from_micros);
    Some(Load {
        count: number("count")?,
        failed: number("failed")?,
        time: time("elapsed_us")?,
        median: time("p50_us")?,
        p99: time("p99_us")?,
        longest: time("max_us")?,
    })
}

/// The value in `ok name=value name=value ...`.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = line.strip_prefix("ok ")?.split(' ');
    fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_field_by_field() {
        let line = "ok role=leader term=3 leader=2 commit=9 applied=8 persisted=9 first=1 \
                    last=10 log_bytes=4711 snapshot=5 voters=3 learners=0";
        let status = parse_status(line).unwrap();
        assert!(status.leads);
        assert_eq!((status.term, status.commit, status.applied), (3, 9, 8));
        assert_eq!((status.last, status.log_bytes), (10, 4711));
        assert_eq!(
            (status.snapshot, status.voters, status.entries),
            (5, 3, None)
        );
        assert_eq!(parse_status("busy"), None);
    }

    #[test]
    fn a_loads_answer_tells_what_failed() {
        let line = "ok count=10 failed=3 elapsed_us=1500 p50_us=7 p99_us=9 max_us=11";
        let load = parse_load(line).unwrap();
        assert_eq!((load.count, load.failed), (10, 3));
        assert_eq!(load.time, Duration::from_micros(1500));
        assert_eq!(load.p99, Duration::from_micros(9));
        assert_eq!(parse_load("ok count=1"), None);
    }
}
