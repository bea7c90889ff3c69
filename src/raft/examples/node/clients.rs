//! Lines of clients, answered one by one.
//!
//! | line | answer |
//! | --- | --- |
//! | `get k`, `put k v`, `cas k old new`, `add k n` | what the log answers (`register`); `busy`: refused, no effect ever; `unknown`: not in time, may have an effect at any time |
//! | `status` | `ok` and `name=value` pairs |
//! | `lease` | `ok` and the milliseconds that are left, or `none` |
//! | `snapshot` | `ok`; one is taken soon |
//! | `transfer n` | `ok`, or `fail` and the reason |
//! | `load count out bytes` | `ok` and figures, after that many proposals (`load`) |

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use bytes::Bytes;
use tcpffee_raft::core::Role;
use tcpffee_raft::driver::{Handle, Status, boot_time};
use tcpffee_raft::ids::NodeId;

use crate::load;
use crate::register::{VERSION, View};

/// The longest line.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// What clients are served from.
#[derive(Clone)]
pub struct Clients {
    pub node: Handle,
    pub view: View,
    pub local_reads: bool,
    pub patience_ms: u64,
}

impl Clients {
    /// Serves for ever; each client has a thread of its own.
    pub fn serve(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            let clients = self.clone();
            let served = stream.and_then(|stream| {
                stream.set_nodelay(true)?;
                thread::Builder::new()
                    .name("client".to_owned())
                    .spawn(move || {
                        // A client that goes away is no fault.
                        let _ = clients.answer_all(stream);
                    })
            });
            if let Err(error) = served {
                log::warn!("a client cannot be served: {error}");
            }
        }
    }

    fn answer_all(&self, stream: TcpStream) -> io::Result<()> {
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = String::new();
            let mut bounded = io::Read::take(&mut lines, MAX_LINE_BYTES);
            if bounded.read_line(&mut line)? == 0 || !line.ends_with('\n') {
                return Ok(());
            }
            let mut answer = self.answer(line.trim_end());
            answer.push('\n');
            lines.get_mut().write_all(answer.as_bytes())?;
        }
    }

    fn answer(&self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["get", name] if self.local_reads => {
                let seen = self.view.look();
                format!("ok {}", seen.values.get(name).map_or("nil", String::as_str))
            }
            ["get", _] | ["put", _, _] | ["cas", _, _, _] | ["add", _, _] => self.agree(line),
            ["status"] => shown(&self.node.status()),
            ["lease"] => {
                let now = boot_time();
                match self.node.lease().until(now) {
                    Some(until) => format!("ok {}", until.since(now)),
                    None => "none".to_owned(),
                }
            }
            ["snapshot"] => {
                self.node.take_snapshot();
                "ok".to_owned()
            }
            ["transfer", to] => match to.parse() {
                Ok(to) => match self.node.transfer_leadership(NodeId(to)) {
                    Ok(()) => "ok".to_owned(),
                    Err(error) => format!("fail {error}"),
                },
                Err(error) => format!("fail {error}"),
            },
            ["load", count, out, bytes] => match (count.parse(), out.parse(), bytes.parse()) {
                (Ok(count), Ok(out), Ok(bytes)) => load::run(&self.node, count, out, bytes),
                _ => "fail three numbers are needed".to_owned(),
            },
            _ => "fail not understood".to_owned(),
        }
    }

    fn agree(&self, line: &str) -> String {
        let body = Bytes::copy_from_slice(line.as_bytes());
        let deadline = boot_time().plus(self.patience_ms);
        match self.node.propose_and_wait(body, VERSION, deadline) {
            Ok(answer) => String::from_utf8_lossy(&answer).into_owned(),
            Err(error) if error.is_certain() => "busy".to_owned(),
            Err(_) => "unknown".to_owned(),
        }
    }
}

fn shown(status: &Status) -> String {
    let role = match status.role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Learner => "learner",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
    };
    let leader = status
        .leader
        .map_or_else(|| "none".to_owned(), |id| id.0.to_string());
    let snapshot = status.snapshot.map_or(0, |index| index.0);
    format!(
        "ok role={role} term={} leader={leader} commit={} applied={} persisted={} first={} \
         last={} log_bytes={} snapshot={snapshot} voters={} learners={} syncs={} turns={} \
         sent_again={} trouble={}",
        status.term,
        status.commit,
        status.applied,
        status.persisted,
        status.first,
        status.last.index,
        status.log_bytes,
        status.voters.len(),
        status.learners.len(),
        status.counters.syncs,
        status.counters.turns,
        status.proposals.sent_again,
        u8::from(status.trouble.is_some()),
    )
}
