//! What an operator can do where no cluster forms by itself, or one has lost its majority for
//! ever: `tcpffee cluster form`.
//!
//! [`Forming::plan`] says what would be done here and what it would cost, or where else it is to
//! be done; [`Ask::Form`] does it. That of several nodes exactly one is the place for it
//! keeps two orders on two nodes apart: the node with the newest log; where there is no log, the
//! one with a table; where there is none, the lowest id of those that answer. Only between nodes
//! with tables the operator chooses, by where the order is given.

use super::form::{Beginning, Form, Holding, LogFacts};
use super::{Forming, Standing};
use crate::ids::{ClusterId, NodeId, Position};

/// What an operator asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// What would be done?
    Plan,
    /// Do it, and call the new cluster so: an id drawn at random.
    Form(ClusterId),
}

/// Whoever can be asked: a [`Forming`], or what stands for one that runs elsewhere.
pub trait Operator {
    /// Answers, and does what is asked where that can be done.
    fn operate(&mut self, ask: Ask) -> Report;
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// This would be done.
    Possible(Plan),
    /// This is being done: the form is on its way to the disk.
    Ordered(Plan),
    /// Nothing is done: the plan's way says why.
    Refused(Plan),
    /// Nobody answered in time, or the disk has failed: what was asked may yet be done.
    Silent(String),
}

/// What would be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The node that was asked.
    pub here: NodeId,
    /// Every configured node, this one included, and what is known of it.
    pub nodes: Vec<Answered>,
    /// What would be done here, or why nothing can be.
    pub way: Result<Way, NotHere>,
    /// What would be lost. Empty where nothing can be done here.
    pub losses: Vec<Loss>,
}

/// What is known of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The node.
    pub node: NodeId,
    /// What it holds; none where it does not answer.
    pub holding: Option<Holding>,
    /// The cluster for whose sake it refuses to talk.
    pub refused_for: Option<ClusterId>,
    /// Whether it names the same peers as this node.
    pub same_list: bool,
}

/// How a cluster would be formed here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// From nothing, by these voters.
    Empty {
        /// This node and others that answer.
        voters: Vec<NodeId>,
    },
    /// From this node's table.
    Seed {
        /// Its entries.
        entries: u64,
    },
    /// From this node's log.
    Continue(LogFacts),
}

/// Why nothing can be done here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotHere {
    /// The cluster is about to be formed.
    Underway,
    /// The cluster that the nodes belong to works.
    Led {
        /// The cluster.
        cluster: ClusterId,
        /// Its leader.
        leader: NodeId,
    },
    /// Another node holds a log, or more of it.
    Newer {
        /// That node.
        node: NodeId,
        /// Its log.
        log: LogFacts,
    },
    /// Another node belongs to a cluster and refuses to talk.
    Belongs {
        /// That node.
        node: NodeId,
        /// Its cluster.
        cluster: ClusterId,
    },
    /// Most nodes belong to another cluster than this one.
    Outvoted {
        /// Their cluster.
        cluster: ClusterId,
    },
    /// Other nodes have a table of the time when they ran alone.
    Seeds(Vec<NodeId>),
    /// Among nodes that hold the same, another one comes first.
    Lower(NodeId),
    /// The node's own list does not name it.
    Unlisted,
}

/// What would be lost, or would have to be done by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// A node does not answer: nothing of what it holds is carried over.
    Missing(NodeId),
    /// A node's log is void.
    Log {
        /// The node.
        node: NodeId,
        /// The cluster that it belongs to.
        cluster: ClusterId,
    },
    /// A node's table is not carried over.
    Seed {
        /// The node.
        node: NodeId,
        /// Its entries.
        entries: u64,
    },
    /// What other nodes may have acknowledged after the end of this node's log.
    Beyond(Position),
}

impl Operator for Forming {
    fn operate(&mut self, ask: Ask) -> Report {
        match ask {
            Ask::Plan => {
                let plan = self.plan();
                match plan.way {
                    Ok(_) => Report::Possible(plan),
                    Err(_) => Report::Refused(plan),
                }
            }
            Ask::Form(cluster) => self.order(cluster),
        }
    }
}

impl Forming {
    /// What an order would do.
    pub fn plan(&self) -> Plan {
        let nodes = self.nodes();
        let way = self.way(&nodes);
        let losses = match &way {
            Ok(way) => self.losses(way, &nodes),
            Err(_) => Vec::new(),
        };
        Plan {
            here: self.id,
            nodes,
            way,
            losses,
        }
    }

    /// Forms a cluster of this id as [`Forming::plan`] says, where it can be done here.
    fn order(&mut self, cluster: ClusterId) -> Report {
        let plan = self.plan();
        let form = match &plan.way {
            Err(_) => return Report::Refused(plan),
            Ok(Way::Empty { voters }) => {
                self.form_of(cluster, Beginning::Empty, |id| voters.contains(&id))
            }
            Ok(Way::Seed { .. }) => self.form_alone(cluster, Beginning::Seed),
            Ok(Way::Continue(log)) => {
                self.form_alone(cluster, Beginning::Continued { after: log.last })
            }
        };
        self.take(form);
        Report::Ordered(plan)
    }

    fn form_alone(&self, cluster: ClusterId, beginning: Beginning) -> Form {
        self.form_of(cluster, beginning, |id| id == self.id)
    }

    /// Every configured node, and this one, in the order of their ids.
    fn nodes(&self) -> Vec<Answered> {
        let others = self.views.iter().map(|(&node, view)| Answered {
            node,
            holding: view.facts.as_ref().map(|facts| facts.holding),
            refused_for: view.refused_for,
            same_list: view
                .facts
                .as_ref()
                .is_some_and(|facts| facts.statement.peers == self.statement.peers),
        });
        let own = Answered {
            node: self.id,
            holding: Some(self.holding()),
            refused_for: None,
            same_list: true,
        };
        let mut nodes: Vec<Answered> = others.chain([own]).collect();
        nodes.sort_unstable_by_key(|answered| answered.node);
        nodes
    }

    fn way(&self, nodes: &[Answered]) -> Result<Way, NotHere> {
        if !self.statement.peers.contains(&self.id) {
            return Err(NotHere::Unlisted);
        }
        match &self.standing {
            Standing::Taking(_) => Err(NotHere::Underway),
            Standing::Free { seed } => self.way_of_free(*seed, nodes),
            Standing::Member { log, .. } => self.way_of_member(*log, nodes),
        }
    }

    fn way_of_free(&self, seed: Option<u64>, nodes: &[Answered]) -> Result<Way, NotHere> {
        let is_taking = |holding| matches!(holding, Some(Holding::Taking(_)));
        if self.founder().is_ok() || nodes.iter().any(|node| is_taking(node.holding)) {
            return Err(NotHere::Underway);
        }
        let logs = || nodes.iter().filter_map(Answered::log);
        if let Some((cluster, leader)) = led(logs().map(|(_, log)| log)) {
            return Err(NotHere::Led { cluster, leader });
        }
        if let Some((node, log)) = newest(logs()) {
            return Err(NotHere::Newer { node, log });
        }
        let refusing = nodes
            .iter()
            .find_map(|node| Some((node.node, node.refused_for?)));
        if let Some((node, cluster)) = refusing {
            return Err(NotHere::Belongs { node, cluster });
        }
        if let Some(entries) = seed {
            return Ok(Way::Seed { entries });
        }
        let seeds: Vec<NodeId> = nodes
            .iter()
            .filter(|node| matches!(node.holding, Some(Holding::Seed { .. })))
            .map(|node| node.node)
            .collect();
        if !seeds.is_empty() {
            return Err(NotHere::Seeds(seeds));
        }
        let voters: Vec<NodeId> = nodes
            .iter()
            .filter(|node| node.holding == Some(Holding::Blank) && node.same_list)
            .map(|node| node.node)
            .collect();
        match voters.first() {
            Some(&lowest) if lowest != self.id => Err(NotHere::Lower(lowest)),
            _ => Ok(Way::Empty { voters }),
        }
    }

    fn way_of_member(&self, own: LogFacts, nodes: &[Answered]) -> Result<Way, NotHere> {
        let ours = || {
            let logs = nodes.iter().filter_map(Answered::log);
            logs.filter(|(_, log)| log.cluster == own.cluster)
        };
        if let Some((cluster, leader)) = led(ours().map(|(_, log)| log)) {
            return Err(NotHere::Led { cluster, leader });
        }
        let others = nodes.iter().filter_map(Answered::cluster);
        for cluster in others.filter(|&cluster| cluster != own.cluster) {
            let belong = nodes.iter().filter(|node| node.cluster() == Some(cluster));
            if belong.count() * 2 > nodes.len() {
                return Err(NotHere::Outvoted { cluster });
            }
        }
        match newest(ours()) {
            Some((node, log)) if log.last != own.last => Err(NotHere::Newer { node, log }),
            Some((node, _)) if node != self.id => Err(NotHere::Lower(node)),
            _ => Ok(Way::Continue(own)),
        }
    }

    fn losses(&self, way: &Way, nodes: &[Answered]) -> Vec<Loss> {
        let mut losses = Vec::new();
        if let Way::Continue(log) = way {
            losses.push(Loss::Beyond(log.last));
        }
        for other in nodes.iter().filter(|other| other.node != self.id) {
            let node = other.node;
            match (other.cluster(), other.holding) {
                (Some(cluster), _) => losses.push(Loss::Log { node, cluster }),
                (None, None) => losses.push(Loss::Missing(node)),
                (None, Some(Holding::Seed { entries })) => {
                    losses.push(Loss::Seed { node, entries });
                }
                (None, Some(_)) => {}
            }
        }
        losses
    }
}

impl Answered {
    fn log(&self) -> Option<(NodeId, LogFacts)> {
        match self.holding {
            Some(Holding::Log(log)) => Some((self.node, log)),
            _ => None,
        }
    }

    fn cluster(&self) -> Option<ClusterId> {
        self.refused_for
            .or_else(|| self.holding.and_then(Holding::cluster))
    }
}

fn led(logs: impl Iterator<Item = LogFacts>) -> Option<(ClusterId, NodeId)> {
    let mut leaders = logs.filter_map(|log| Some((log.cluster, log.leader?)));
    leaders.next()
}

/// The newest log; of equal ones that of the lowest id.
fn newest(logs: impl Iterator<Item = (NodeId, LogFacts)>) -> Option<(NodeId, LogFacts)> {
    logs.reduce(|best, next| {
        match (next.1.last.term, next.1.last.index) > (best.1.last.term, best.1.last.index) {
            true => next,
            false => best,
        }
    })
}
