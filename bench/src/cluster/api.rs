//! What a node's statistics say of its Raft.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(2);

/// How the stick table's Raft group stands, as a node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Whether the node leads.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// The end of its log.
    pub last: u64,
    /// Bytes of its log in memory.
    pub log_bytes: u64,
}

/// Asks `/api/v1/raft`.
pub fn stick_table(statistics: SocketAddrV4) -> anyhow::Result<Group> {
    let text = get(statistics, "/api/v1/raft")?;
    read(&text).with_context(|| format!("{statistics}/api/v1/raft says {text}"))
}

fn read(text: &str) -> anyhow::Result<Group> {
    let answer: Value = serde_json::from_str(text).context("read JSON")?;
    let group = &answer["stick_table"];
    let number = |name: &str| group[name].as_u64().with_context(|| name.to_owned());
    Ok(Group {
        leads: group["role"] == "leader",
        term: number("term")?,
        last: number("last")?,
        log_bytes: number("log_bytes")?,
    })
}

fn get(address: SocketAddrV4, path: &str) -> anyhow::Result<String> {
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&address.into(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let text = exchange().with_context(|| format!("ask {address} for {path}"))?;
    let (head, body) = text.split_once("\r\n\r\n").context("an answer's head")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{address}{path}: {head}");
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_of_its_stick_table_is_read() {
        let text = r#"{"stick_table": {"role": "leader", "term": 3, "last": 10, "log_bytes": 99,
                       "members": []}, "healthchecks": null}"#;
        let group = read(text).unwrap();
        assert!(group.leads);
        assert_eq!((group.term, group.last, group.log_bytes), (3, 10, 99));
        assert!(read(r#"{"stick_table": null, "healthchecks": null}"#).is_err());
    }
}
