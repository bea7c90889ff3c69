//! Lines of clients, answered one by one.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use tcpffee_raft::core::Role;

use super::load;
use super::start::Sticky;

/// Serves for ever; each client has a thread of its own.
pub fn serve(node: &Arc<Sticky>, listener: &TcpListener) {
    for stream in listener.incoming() {
        let node = Arc::clone(node);
        let served = stream.and_then(|stream| {
            stream.set_nodelay(true)?;
            thread::Builder::new()
                .name("client".to_owned())
                .spawn(move || {
                    // A client that goes away is no fault.
                    let _ = answer_all(&node, stream);
                })
        });
        if let Err(error) = served {
            log::warn!("a client cannot be served: {error}");
        }
    }
}

fn answer_all(node: &Sticky, stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut answer = answer(node, line.trim_end());
        answer.push('\n');
        lines.get_mut().write_all(answer.as_bytes())?;
    }
}

fn answer(node: &Sticky, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["status"] => status(node),
        ["snapshot"] => {
            node.raft.take_snapshot();
            "ok".to_owned()
        }
        ["load", count, out, first] => match (count.parse(), out.parse(), first.parse()) {
            (Ok(count), Ok(out), Ok(first)) => load::run(node, count, out, first),
            _ => "fail three numbers are needed".to_owned(),
        },
        _ => "fail not understood".to_owned(),
    }
}

fn status(node: &Sticky) -> String {
    let status = node.raft.status();
    let role = match status.role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Learner => "learner",
        Role::PreCandidate | Role::Candidate => "candidate",
    };
    format!(
        "ok role={role} term={} commit={} applied={} last={} log_bytes={} snapshot={} voters={} \
         entries={}",
        status.term,
        status.commit,
        status.applied,
        status.last.index,
        status.log_bytes,
        status.snapshot.map_or(0, |index| index.0),
        status.voters.len(),
        node.replica.entries(),
    )
}
