//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use tcpffee_raft::ids::NodeId;
use tcpffee_raft::transport::PeerAddress;

const USAGE: &str = "\
usage: node --id NUMBER --directory PATH --clients ADDRESS
            --peer NUMBER=LOGS_ADDRESS,PROPOSALS_ADDRESS ...
            [--form] [--local-reads] [--patience-ms MS] [--snapshot-after-bytes BYTES]";

/// What the node is told.
pub struct Arguments {
    /// Which of the peers it is.
    pub id: NodeId,
    /// Where log and snapshots are.
    pub directory: PathBuf,
    /// Where clients are listened for.
    pub clients: SocketAddr,
    /// All nodes, this one included.
    pub peers: Vec<PeerAddress>,
    /// The peers form a cluster. Without it, the node waits to be taken into one.
    pub form: bool,
    /// `get` is answered from this node's own state, lease or not: wrong on purpose.
    pub local_reads: bool,
    /// How long a command may take before it is answered with `unknown`.
    pub patience_ms: u64,
    /// Bytes of entries after which a snapshot is taken.
    pub snapshot_after_bytes: Option<usize>,
}

impl Arguments {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let (mut id, mut directory, mut clients) = (None, None, None);
        let mut snapshot_after_bytes = None;
        let mut patience_ms = 5000;
        let (mut peers, mut form, mut local_reads) = (Vec::new(), false, false);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value\n{USAGE}"));
            match word.as_str() {
                "--id" => id = Some(NodeId(parse(&value()?)?)),
                "--directory" => directory = Some(PathBuf::from(value()?)),
                "--clients" => clients = Some(parse(&value()?)?),
                "--peer" => peers.push(peer(&value()?)?),
                "--form" => form = true,
                "--local-reads" => local_reads = true,
                "--patience-ms" => patience_ms = parse(&value()?)?,
                "--snapshot-after-bytes" => snapshot_after_bytes = Some(parse(&value()?)?),
                _ => return Err(format!("{word} is not known\n{USAGE}")),
            }
        }
        let missing = |what| move || format!("{what} is missing\n{USAGE}");
        peers.sort_by_key(|peer| peer.id);
        Ok(Arguments {
            id: id.ok_or_else(missing("--id"))?,
            directory: directory.ok_or_else(missing("--directory"))?,
            clients: clients.ok_or_else(missing("--clients"))?,
            peers,
            form,
            local_reads,
            patience_ms,
            snapshot_after_bytes,
        })
    }

    /// This node among the peers.
    pub fn own(&self) -> Result<PeerAddress, String> {
        let own = self.peers.iter().find(|peer| peer.id == self.id);
        own.copied()
            .ok_or_else(|| format!("no --peer {}=...: this node must be among them", self.id.0))
    }
}

fn peer(text: &str) -> Result<PeerAddress, String> {
    let parts = text.split_once('=').and_then(|(id, addresses)| {
        let (logs, proposals) = addresses.split_once(',')?;
        Some((id, logs, proposals))
    });
    let (id, logs, proposals) = parts.ok_or_else(|| format!("{text} is no peer\n{USAGE}"))?;
    Ok(PeerAddress {
        id: NodeId(parse(id)?),
        logs: parse(logs)?,
        proposals: parse(proposals)?,
    })
}

fn parse<T: FromStr>(text: &str) -> Result<T, String> {
    let malformed = || format!("{text} is not what is expected there\n{USAGE}");
    text.parse().map_err(|_| malformed())
}
