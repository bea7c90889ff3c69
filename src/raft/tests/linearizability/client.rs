//! A client of one node: one line out, one line back.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::history::{Call, Outcome, Value};

/// One connection to a node.
pub struct Connection {
    stream: BufReader<TcpStream>,
    limit: Duration,
}

/// What a node says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Whether it takes itself for the leader.
    pub leads: bool,
    /// Its term.
    pub term: u64,
}

/// What came back for an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// An outcome, [`Outcome::Unknown`] included.
    Outcome(Outcome),
    /// The node refused: no effect, now or later.
    Refused,
}

impl Connection {
    /// Connects; each answer is waited for at most `limit`.
    pub fn open(to: SocketAddr, limit: Duration) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&to, limit)?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream: BufReader::new(stream),
            limit,
        })
    }

    /// Asks for the node's status; none without a proper answer in time.
    pub fn status(&mut self) -> Option<Status> {
        let line = self.exchange("status\n").ok()?;
        let field = |name: &str| {
            line.split(' ')
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Status {
            leads: field("role")? == "leader",
            term: field("term")?.parse().ok()?,
        })
    }

    /// Carries out one operation. An error means that the outcome is unknown and that the
    /// connection is of no more use.
    pub fn call(&mut self, key: u64, call: Call) -> io::Result<Answer> {
        let shown = |value: Value| value.map_or_else(|| "nil".to_owned(), |v| v.to_string());
        let line = match call {
            Call::Get => self.exchange(&format!("get k{key}\n"))?,
            Call::Put(value) => self.exchange(&format!("put k{key} {value}\n"))?,
            Call::Cas { old, new } => {
                self.exchange(&format!("cas k{key} {} {new}\n", shown(old)))?
            }
        };
        Ok(parse(call, &line).unwrap_or_else(|| panic!("{call:?} was answered {line:?}")))
    }

    fn exchange(&mut self, line: &str) -> io::Result<String> {
        let deadline = Instant::now() + self.limit;
        self.stream.get_mut().set_write_timeout(Some(self.limit))?;
        self.stream.get_mut().write_all(line.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            let left = deadline.saturating_duration_since(Instant::now());
            // A time-out of zero would mean none at all.
            let left = left.max(Duration::from_millis(1));
            self.stream.get_mut().set_read_timeout(Some(left))?;
            if self.stream.read_until(b'\n', &mut answer)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let answer = String::from_utf8(answer)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(answer.trim_end().to_owned())
    }
}

fn parse(call: Call, line: &str) -> Option<Answer> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let outcome = match (word, call) {
        ("busy", _) => return Some(Answer::Refused),
        ("unknown", _) => Outcome::Unknown,
        ("ok", Call::Get) if rest == "nil" => Outcome::Read(None),
        ("ok", Call::Get) => Outcome::Read(Some(rest.parse().ok()?)),
        ("ok", Call::Put(_) | Call::Cas { .. }) => Outcome::Written,
        ("fail", Call::Cas { .. }) => Outcome::Different,
        _ => return None,
    };
    Some(Answer::Outcome(outcome))
}
