//! Plans in words for humans.

use std::fmt;

use super::form::{Holding, LogFacts};
use super::plan::{Answered, Loss, NotHere, Plan, Way};
use super::state::list;

impl Plan {
    /// The plan in lines for humans: what each node holds, what would be done, what is lost.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.nodes.iter().map(|node| self.node_line(node)).collect();
        match &self.way {
            Ok(way) => {
                lines.push(format!("founder: {}, {way}", self.here));
                lines.extend(self.losses.iter().map(|loss| format!("lost: {loss}")));
            }
            Err(reason) => lines.push(format!("not here: {reason}")),
        }
        lines
    }

    fn node_line(&self, answered: &Answered) -> String {
        let mut line = format!("node {}", answered.node);
        if answered.node == self.here {
            line.push_str(" (this node)");
        }
        match (answered.refused_for, answered.holding) {
            (Some(cluster), _) => line.push_str(&format!(": belongs to cluster {cluster}")),
            (None, Some(holding)) => line.push_str(&format!(": {holding}")),
            (None, None) => line.push_str(": no answer"),
        }
        if answered.holding.is_some() && !answered.same_list {
            line.push_str("; its configuration names other peers");
        }
        line
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holding::Blank => f.write_str("empty"),
            Holding::Seed { entries } => {
                write!(f, "no log, a table of {entries} entries from running alone")
            }
            Holding::Taking(cluster) => write!(f, "about to join cluster {cluster}"),
            Holding::Log(log) => {
                let LogFacts { cluster, last, .. } = log;
                let (index, term) = (last.index, last.term);
                write!(
                    f,
                    "log of cluster {cluster} up to index {index} of term {term}, "
                )?;
                match log.leader {
                    Some(leader) => write!(f, "led by {leader}"),
                    None => f.write_str("without a leader"),
                }
            }
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Empty { voters } => write!(
                f,
                "with an empty log; voters: {}; other peers join when they are there",
                list(voters)
            ),
            Way::Seed { entries } => write!(
                f,
                "with its table of {entries} entries; all other peers join it"
            ),
            Way::Continue(log) => write!(
                f,
                "with all of its log up to index {} of term {}, under a new cluster id in place \
                 of {}; all other peers join it",
                log.last.index, log.last.term, log.cluster
            ),
        }
    }
}

impl fmt::Display for NotHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotHere::Underway => f.write_str("a cluster is being formed by itself; look again"),
            NotHere::Led { cluster, leader } => write!(
                f,
                "cluster {cluster} has a leader, {leader}, and needs no other; a node that it \
                 should take in must be among the [[peers]] of most of its members"
            ),
            NotHere::Newer { node, log } => write!(
                f,
                "{node} holds a log up to index {} of term {}: if its cluster has lost its \
                 majority for ever, run this there, or else nothing of that log is kept: stop \
                 {node} then",
                log.last.index, log.last.term
            ),
            NotHere::Belongs { node, cluster } => write!(
                f,
                "{node} belongs to cluster {cluster}: if that has lost its majority for ever, run \
                 this there"
            ),
            NotHere::Outvoted { cluster } => write!(
                f,
                "most peers belong to cluster {cluster}: to join it, stop this node, move its \
                 Raft directory away and start it again"
            ),
            NotHere::Seeds(nodes) => write!(
                f,
                "run this on the node whose table is to be kept: {}",
                list(nodes)
            ),
            NotHere::Lower(node) => write!(f, "run this on {node}, which holds as much"),
            NotHere::Unlisted => f.write_str("the peers of this node do not include itself"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Missing(node) => write!(
                f,
                "whatever {node} holds, which does not answer: make sure that it is not running, \
                 and move its Raft directory away before it starts again"
            ),
            Loss::Log { node, cluster } => write!(
                f,
                "the log of cluster {cluster} on {node}: stop it, move its Raft directory away \
                 and start it again, and it joins"
            ),
            Loss::Seed { node, entries } => {
                write!(f, "the table of {entries} entries on {node}")
            }
            Loss::Beyond(last) => write!(
                f,
                "what nodes that are gone have acknowledged after index {} of term {}",
                last.index, last.term
            ),
        }
    }
}
