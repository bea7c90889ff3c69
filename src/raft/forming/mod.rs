//! How a cluster comes into being: a deterministic state machine without I/O.
//!
//! Every node states to every peer what it is ([`Facts`]): the peers that its configuration
//! names, and what its store holds. Where all configured peers are there, name the same peers and
//! none holds a log, one of them is the *founder*: the one that holds a lone node's table, or,
//! where none does, the one with the lowest id. It draws up a [`Form`] (a cluster id and the first
//! membership), makes it durable, and sends it to the others; whoever has made it durable may
//! vote in that cluster, and passes it on. A founder with a table is the only voter, and its
//! leader sends the others what they need. Anything else needs an operator (`plan`).
//!
//! # Why two clusters never both take hold
//!
//! A cluster of a form takes hold when a majority of the voters that the form names hold it.
//!
//! 1. *A store takes one form in its life.* [`Forming`] takes one only while it holds neither a
//!    form nor a log, and makes it durable before it votes or passes it on. A form names the
//!    store of each voter, and a node whose store is another refuses it ([`Form::fits`]).
//! 2. Two forms with the same voters on the same stores therefore cannot both have a majority: it
//!    would share a store. This needs nothing of what follows: not that facts are fresh, nor that
//!    messages come in order, once, or at all.
//! 3. Two forms can differ in a node's store only where that node was wiped in between, and in
//!    their voters only where the lists were changed in between (or by 4). Then facts decide. From the
//!    moment when a node decides for a form, before it is durable, it states so and never again
//!    that it is free, except where it dies before it is durable, and then the form is gone from
//!    it. Facts count for the life that states them and the life that they are stated to; both
//!    are forgotten when a peer is lost. A form is listened to only from the life that the
//!    receiver knows the sender to be in, and only where it names exactly the receiver's list as
//!    it stands now. So when a later founder hears from a node, in that node's present life and
//!    after the node has learnt of the founder's, that it is free, then the node holds nothing of
//!    a form of a founder that is gone, and takes it no more: neither from that founder, whose
//!    life is not the present one, nor under a list that it no longer states. It could only
//!    come from a node that holds it, and that one would have told the later founder so.
//! 4. A founder that is the only voter takes hold alone. What makes it founder, the table, is a
//!    fact of its life that does not change: without its word no other can found, and the word
//!    that it gives another says that it has the table.
//!
//! What this does not cover is what an operator does: an order given while nodes that do not
//! answer run on (the plan says so), a disk put back that was taken out, lists that are changed
//! to and fro, or several nodes wiped, while a cluster is being formed. Even then (1) and (2)
//! hold.

mod form; // facts, and the form
mod founding; // who founds, and which form is taken
mod message; // what is sent, as bytes
mod plan; // what an operator may order
mod state; // how far it has come, for humans
mod telling; // what peers are told, and when
#[cfg(test)]
mod tests;
mod words; // plans for humans

use std::collections::BTreeMap;

use crate::ids::{ClusterId, Incarnation, Index, NodeId, NodeTime, Position};
use crate::membership::Statement;

pub use form::{Beginning, Facts, Form, GENESIS, Holding, LogFacts, Misfit};
pub use message::{MAX_MESSAGE_BYTES, Message};
pub use plan::{Answered, Ask, Loss, NotHere, Operator, Plan, Report, Way};
pub use state::{Obstacle, State};

/// Between two statements to one peer of what has not changed, and between two sendings of a
/// form that a peer still lacks, in milliseconds.
pub const REPEAT_MS: u64 = 500;

/// What a node begins with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The node.
    pub id: NodeId,
    /// Its life.
    pub life: Incarnation,
    /// What its configuration says.
    pub statement: Statement,
    /// What its store holds.
    pub found: Found,
    /// The id of the cluster that this life may found by itself, drawn at random.
    pub draw: ClusterId,
}

/// What a start finds in its store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// No log.
    Blank {
        /// Entries of a lone node's table, where there is such a table.
        seed: Option<u64>,
    },
    /// A log.
    Log {
        /// Of which cluster, and how far.
        facts: LogFacts,
        /// What the log began with, where it holds nothing else ([`Form::of_log`]).
        form: Option<Form>,
    },
}

/// What is to be done, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send this by a forming frame. May be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Make the form durable: first the cluster's id in the store's identity, then what the log
    /// begins with ([`Beginning`]). Answered by [`Forming::persisted`]. A start that finds such
    /// an id and no log has found nothing ([`Found::Blank`]). With [`Beginning::Continued`] the
    /// core that runs is stopped before.
    Persist(Form),
    /// Start the core on the store as it is now.
    Begin(Form),
    /// A peer has sent a form that this node does not take: for the log, at a bounded rate.
    Refused {
        /// The peer.
        from: NodeId,
        /// The form's cluster.
        cluster: ClusterId,
        /// Why.
        misfit: Misfit,
    },
}

/// What this node is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Standing {
    /// It holds no log, and no form.
    Free { seed: Option<u64> },
    /// It has decided for a form, which is being made durable.
    Taking(Form),
    /// It holds a log; the form is what it began with, as long as no leader has been known.
    Member { log: LogFacts, form: Option<Form> },
}

/// What is known of a peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct View {
    /// The life that it was last seen in; none where it is not connected.
    life: Option<Incarnation>,
    /// What that life has stated.
    facts: Option<Facts>,
    /// The cluster that it belongs to, as its refusal to talk says.
    refused_for: Option<ClusterId>,
    /// When it was last told anything.
    told: Option<NodeTime>,
}

/// One node's part in forming a cluster.
///
/// It goes on after the cluster is formed: peers that lack the form get it, and an operator's
/// orders are judged by what peers state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forming {
    id: NodeId,
    life: Incarnation,
    statement: Statement,
    draw: ClusterId,
    standing: Standing,
    /// Every configured peer but this node.
    views: BTreeMap<NodeId, View>,
    now: NodeTime,
    effects: Vec<Effect>,
}

impl Forming {
    /// Begins. What follows from it alone is among the effects at once: a node that is its only
    /// peer needs nobody.
    pub fn new(start: Start, now: NodeTime) -> Forming {
        let standing = match start.found {
            Found::Blank { seed } => Standing::Free { seed },
            Found::Log { facts, form } => Standing::Member { log: facts, form },
        };
        let mut forming = Forming {
            id: start.id,
            life: start.life,
            statement: start.statement,
            draw: start.draw,
            standing,
            views: BTreeMap::new(),
            now,
            effects: Vec::new(),
        };
        forming.adopt_list();
        forming.consider();
        forming
    }

    /// What is to be done since it was last asked.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Time passes: what may have been lost is said again.
    pub fn tick(&mut self, now: NodeTime) {
        self.now = now;
        let peers: Vec<NodeId> = self.views.keys().copied().collect();
        for peer in peers {
            if self.may_repeat(peer) && self.has_news_for(peer) {
                self.tell(peer);
            }
        }
    }

    /// A peer is connected, in this life. To be called for each handshake, before what comes by
    /// its connection.
    pub fn peer_up(&mut self, peer: NodeId, life: Incarnation) {
        let Some(view) = self.views.get_mut(&peer) else {
            return;
        };
        if view.life != Some(life) {
            *view = View {
                life: Some(life),
                ..View::default()
            };
        }
        view.refused_for = None;
        self.tell(peer);
    }

    /// A peer is not connected any more: what it has stated counts no longer.
    pub fn peer_down(&mut self, peer: NodeId) {
        if let Some(view) = self.views.get_mut(&peer) {
            *view = View::default();
        }
    }

    /// A peer has refused the handshake, because it belongs to this cluster.
    pub fn peer_belongs(&mut self, peer: NodeId, cluster: ClusterId) {
        if let Some(view) = self.views.get_mut(&peer) {
            *view = View {
                refused_for: Some(cluster),
                ..View::default()
            };
        }
    }

    /// A peer's message; `life` is that of its connection.
    pub fn receive(&mut self, from: NodeId, life: Incarnation, message: Message) {
        let Some(view) = self.views.get_mut(&from) else {
            return;
        };
        if view.life != Some(life) {
            return;
        }
        match message {
            // Said to an earlier life, or another store, of this node: it is not known here what
            // the peer knew when it said so.
            Message::Facts { to, .. } if to != self.life => {}
            Message::Facts { facts, .. } => {
                view.facts = Some(facts);
                self.answer(from);
                self.consider();
            }
            Message::Form(form) => self.offered(from, form),
        }
    }

    /// What the configuration says has changed, by a reload.
    pub fn state_anew(&mut self, statement: Statement) {
        if self.statement == statement {
            return;
        }
        self.statement = statement;
        self.adopt_list();
        self.tell_all();
        self.consider();
    }

    /// The form that was to be made durable is.
    pub fn persisted(&mut self, cluster: ClusterId) {
        let Standing::Taking(form) = &self.standing else {
            return;
        };
        if form.cluster != cluster {
            return;
        }
        let form = form.clone();
        let log = LogFacts {
            cluster,
            last: form.first_position(),
            leader: None,
        };
        self.effects.push(Effect::Begin(form.clone()));
        self.standing = Standing::Member {
            log,
            form: Some(form),
        };
        self.tell_all();
    }

    /// How the log stands: to be called as soon as a blank node takes first entries or a snapshot
    /// from a leader (before they are durable: from then on it is not free any more), when the
    /// leader is another, and at least every [`REPEAT_MS`] while there is no leader.
    pub fn log_stands(&mut self, log: LogFacts) {
        let changed = match &mut self.standing {
            Standing::Member { log: known, form } => {
                // With a leader, a majority has the form, and the leader sends the others more.
                if known.cluster != log.cluster || log.leader.is_some() {
                    *form = None;
                }
                let changed = (known.cluster, known.leader) != (log.cluster, log.leader);
                *known = log;
                changed
            }
            Standing::Free { .. } => {
                self.standing = Standing::Member { log, form: None };
                true
            }
            // An order is being carried out: how the log stood before it matters no more.
            Standing::Taking(_) => false,
        };
        if changed {
            self.tell_all();
        }
    }

    /// Whether messages of a cluster's members may be handed to the core of this node: a node
    /// that is about to take a form is not to be taken in by another cluster.
    pub fn may_join(&self, cluster: ClusterId) -> bool {
        match self.holding() {
            Holding::Blank | Holding::Seed { .. } => true,
            Holding::Taking(_) => false,
            Holding::Log(log) => log.cluster == cluster,
        }
    }

    /// How far it has come.
    pub fn state(&self) -> State {
        match &self.standing {
            Standing::Free { .. } => match self.founder() {
                Ok(founder) => State::AwaitingFounder(founder),
                Err(obstacles) => State::Blocked(obstacles),
            },
            Standing::Taking(form) => State::Taking(form.cluster),
            Standing::Member { log, form } => State::Member {
                cluster: log.cluster,
                lacking: self.lacking(form.as_ref()),
            },
        }
    }

    fn holding(&self) -> Holding {
        match &self.standing {
            Standing::Free { seed: None } => Holding::Blank,
            Standing::Free {
                seed: Some(entries),
            } => Holding::Seed { entries: *entries },
            Standing::Taking(form) => Holding::Taking(form.cluster),
            Standing::Member { log, .. } => Holding::Log(*log),
        }
    }

    fn adopt_list(&mut self) {
        self.statement.peers.sort_unstable();
        self.statement.peers.dedup();
        let listed = &self.statement.peers;
        self.views.retain(|peer, _| listed.contains(peer));
        for &peer in listed.iter().filter(|&&peer| peer != self.id) {
            self.views.entry(peer).or_default();
        }
    }
}

impl View {
    /// The cluster that the peer belongs to, as far as known.
    fn cluster(&self) -> Option<ClusterId> {
        let stated = self.facts.as_ref();
        self.refused_for
            .or_else(|| stated.and_then(|facts| facts.holding.cluster()))
    }

    /// The leader that the peer states.
    fn leader(&self) -> Option<NodeId> {
        match self.facts.as_ref()?.holding {
            Holding::Log(log) => log.leader,
            _ => None,
        }
    }
}

impl Beginning {
    /// The place of the entry that holds the first membership.
    pub fn first_index(self) -> Index {
        match self {
            Beginning::Empty | Beginning::Seed => GENESIS,
            Beginning::Continued { after } => after.index.next(),
        }
    }
}

impl Form {
    /// The end of the log that it begins, as far as it is known: which term a continued log
    /// goes on in is decided when it is made durable.
    fn first_position(&self) -> Position {
        let term = match self.beginning {
            Beginning::Empty | Beginning::Seed => crate::ids::Term(1),
            Beginning::Continued { after } => crate::ids::Term(after.term.0 + 1),
        };
        Position {
            term,
            index: self.beginning.first_index(),
        }
    }
}
