//! The cluster's part of `tcpffee status`; a lone node has none.

use serde::Deserialize;

use crate::cli::words::{bytes, plain, table};
use crate::counted::counted;

/// Differences that are shown one by one.
const MOST_DIFFERENCES: usize = 10;

/// How the node stands in its cluster, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cluster {
    raft: Raft,
    peers: Peers,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raft {
    stick_table: Option<RaftGroup>,
    healthchecks: Option<RaftGroup>,
    node: Option<Serving>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RaftGroup {
    cluster: Option<String>,
    forming: String,
    role: String,
    term: u64,
    leader: Option<String>,
    commit: u64,
    applied: u64,
    log_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Serving {
    has_lease: bool,
    quorum_lost: bool,
    no_quorum: String,
    commit_latency: Latency,
    differences: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Latency {
    p50_seconds: Option<f64>,
    p99_seconds: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Peers {
    peers: Vec<Peer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Peer {
    node: String,
    host: Option<String>,
    own: bool,
    connected: bool,
    conflict: Option<String>,
    stick_table: Option<Member>,
    healthchecks: Option<Member>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Member {
    belongs: bool,
    votes: bool,
    lag: Option<u64>,
    flow: Option<String>,
}

impl Cluster {
    /// The lines for it, with an empty one before; none for a lone node.
    pub(super) fn lines(&self) -> Vec<String> {
        let Some(sticks) = &self.raft.stick_table else {
            return Vec::new();
        };
        let mut lines = vec![String::new()];
        lines.push(format!("stick table  {}", self.standing(sticks)));
        if let Some(checks) = &self.raft.healthchecks {
            lines.push(format!("checks       {}", self.standing(checks)));
        }
        if let Some(node) = &self.raft.node {
            lines.push(format!("cluster      {}", node.words()));
            let differences = node.differences.iter().take(MOST_DIFFERENCES);
            lines.extend(differences.map(|line| format!("  differs: {}", plain(line))));
            if node.differences.len() > MOST_DIFFERENCES {
                let more = node.differences.len() - MOST_DIFFERENCES;
                lines.push(format!("  {}", counted(more as u64, "more difference")));
            }
        }
        lines.push(String::new());
        lines.push(self.nodes(sticks));
        lines
    }

    fn standing(&self, group: &RaftGroup) -> String {
        if group.cluster.is_none() {
            return plain(&group.forming);
        }
        let leader = match &group.leader {
            Some(leader) => format!("led by {}", self.title(leader)),
            None => "no leader".to_owned(),
        };
        format!(
            "{} in term {}, {leader}; {} committed, {} applied, log of {}",
            plain(&group.role),
            group.term,
            group.commit,
            group.applied,
            bytes(group.log_bytes as f64),
        )
    }

    /// A node by its id and host.
    fn title(&self, node: &str) -> String {
        let found = self.peers.peers.iter().find(|peer| peer.node == node);
        match found {
            Some(peer) if peer.own => "this node".to_owned(),
            Some(Peer {
                host: Some(host), ..
            }) => format!("{} ({})", plain(node), plain(host)),
            _ => plain(node),
        }
    }

    fn nodes(&self, sticks: &RaftGroup) -> String {
        let head = ["NODE", "HOST", "ROLE", "BEHIND", "STATE"];
        let right = [false, false, false, true, false];
        let row = |peer: &Peer| {
            let leads = sticks.leader.as_deref() == Some(peer.node.as_str());
            vec![
                plain(&peer.node),
                plain(peer.host.as_deref().unwrap_or("")),
                peer.role(leads).to_owned(),
                peer.lag(),
                peer.state(),
            ]
        };
        let rows: Vec<Vec<String>> = self.peers.peers.iter().map(row).collect();
        table(&head, &right, &rows)
    }
}

impl Serving {
    fn words(&self) -> String {
        let mut words = vec![
            match self.has_lease {
                true => "has a lease",
                false => "has no lease",
            }
            .to_owned(),
        ];
        if self.quorum_lost {
            let policy = plain(&self.no_quorum);
            words.push(format!("no leader answers (no_quorum = \"{policy}\")"));
        }
        let latency = &self.commit_latency;
        if let (Some(p50), Some(p99)) = (latency.p50_seconds, latency.p99_seconds) {
            words.push(format!(
                "agreed within {:.1} ms (p99 {:.1} ms)",
                p50 * 1_000.0,
                p99 * 1_000.0
            ));
        }
        words.join("; ")
    }
}

impl Peer {
    fn role(&self, leads: bool) -> &'static str {
        match &self.stick_table {
            _ if leads => "leader",
            Some(member) if member.votes => "follower",
            Some(member) if member.belongs => "learner",
            _ => "no member",
        }
    }

    /// Entries that it lacks, of both logs; only their leaders know.
    fn lag(&self) -> String {
        let both = [&self.stick_table, &self.healthchecks];
        let lags = both.into_iter().flatten().filter_map(|member| member.lag);
        lags.reduce(|one, other| one + other)
            .map_or("-".to_owned(), |lag| lag.to_string())
    }

    fn state(&self) -> String {
        let mut words = vec![match self.connected {
            _ if self.own => "this node".to_owned(),
            true => "connected".to_owned(),
            false => "not connected".to_owned(),
        }];
        let both = [&self.stick_table, &self.healthchecks];
        let mut flows = both.into_iter().flatten().map(|member| &member.flow);
        if flows.any(|flow| flow.as_deref() == Some("snapshot")) {
            words.push("is being sent a snapshot".to_owned());
        }
        words.extend(self.conflict.as_deref().map(plain));
        words.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster() -> Cluster {
        let member = |votes, lag: Option<u64>, flow: Option<&str>| json!({"belongs": true, "votes": votes, "lag": lag, "flow": flow});
        let peer = |id: u8, connected, stick_table| {
            json!({
                "node": format!("02:00:00:00:00:0{id}"), "host": format!("h{id}.example"),
                "own": id == 1, "connected": connected, "conflict": null,
                "stick_table": stick_table, "healthchecks": null,
            })
        };
        let mut third = peer(3, false, member(false, Some(40), Some("snapshot")));
        third["conflict"] = json!("the peer secrets\u{1b} differ");
        let value = json!({
            "raft": {
                "stick_table": {
                    "cluster": "c", "role": "leader", "term": 7, "leader": "02:00:00:00:00:01",
                    "commit": 90, "applied": 89, "log_bytes": 1_200,
                },
                "healthchecks": null,
                "node": {
                    "has_lease": true, "quorum_lost": false, "no_quorum": "assign",
                    "commit_latency": {"count": 5, "p50_seconds": 0.0012, "p99_seconds": 0.0105},
                    "differences": ["expiration is 1 s in this node's file"],
                },
            },
            "peers": {"peers": [
                peer(1, true, member(true, Some(0), None)),
                peer(2, true, member(true, Some(3), Some("replicate"))),
                third,
            ]},
        });
        Cluster::deserialize(&value).unwrap()
    }

    #[test]
    fn a_node_of_a_cluster_shows_how_all_stand() {
        let expected = "
stick table  leader in term 7, led by this node; 90 committed, 89 applied, log of 1.2 kB
cluster      has a lease; agreed within 1.2 ms (p99 10.5 ms)
  differs: expiration is 1 s in this node's file

NODE               HOST        ROLE      BEHIND  STATE
02:00:00:00:00:01  h1.example  leader         0  this node
02:00:00:00:00:02  h2.example  follower       3  connected
02:00:00:00:00:03  h3.example  learner       40  not connected; is being sent a snapshot; the peer secrets\\u{1b} differ";
        assert_eq!(cluster().lines().join("\n"), expected);
    }

    #[test]
    fn without_a_leader_and_before_a_cluster_it_says_so() {
        let mut cluster = cluster();
        let sticks = cluster.raft.stick_table.as_mut().unwrap();
        sticks.leader = None;
        let node = cluster.raft.node.as_mut().unwrap();
        (node.has_lease, node.quorum_lost) = (false, true);
        let lines = cluster.lines();
        assert!(lines[1].contains("in term 7, no leader; "), "{lines:?}");
        let words = "has no lease; no leader answers (no_quorum = \"assign\")";
        assert!(lines[2].contains(words), "{lines:?}");
        let sticks = cluster.raft.stick_table.as_mut().unwrap();
        (sticks.cluster, sticks.forming) = (None, "no cluster yet".to_owned());
        assert_eq!(cluster.lines()[1], "stick table  no cluster yet");
    }

    #[test]
    fn a_lone_node_shows_nothing() {
        assert!(Cluster::default().lines().is_empty());
    }
}
