//! What peers are told, and when it is said again.

use super::form::{Facts, Form, Holding};
use super::message::Message;
use super::{Effect, Forming, REPEAT_MS, Standing};
use crate::ids::NodeId;

impl Forming {
    pub(super) fn tell_all(&mut self) {
        let peers: Vec<NodeId> = self.views.keys().copied().collect();
        for peer in peers {
            self.tell(peer);
        }
    }

    /// Tells a peer what this node is, and gives it the form if it lacks it.
    pub(super) fn tell(&mut self, peer: NodeId) {
        let facts = Facts {
            statement: self.statement.clone(),
            holding: self.holding(),
        };
        let form = self.form_for(peer).cloned();
        let now = self.now;
        let Some(view) = self.views.get_mut(&peer) else {
            return;
        };
        let Some(to) = view.life else {
            return;
        };
        view.told = Some(now);
        let facts = Message::Facts { to, facts };
        for message in [Some(facts), form.map(Message::Form)].into_iter().flatten() {
            self.effects.push(Effect::Send { to: peer, message });
        }
    }

    /// The form to send to a peer: durable here, and, as far as is known, lacking there and
    /// fit for it.
    fn form_for(&self, peer: NodeId) -> Option<&Form> {
        let Standing::Member {
            form: Some(form), ..
        } = &self.standing
        else {
            return None;
        };
        let view = self.views.get(&peer)?;
        let (life, facts) = (view.life?, view.facts.as_ref()?);
        let lacks = facts.holding.is_free();
        let fits = || form.fits(peer, &life, &facts.statement.peers).is_ok();
        (lacks && fits()).then_some(form)
    }

    /// A peer has stated something: a node that says nothing by itself any more answers.
    pub(super) fn answer(&mut self, peer: NodeId) {
        if self.form_for(peer).is_some() || (self.is_settled() && self.may_repeat(peer)) {
            self.tell(peer);
        }
    }

    pub(super) fn may_repeat(&self, peer: NodeId) -> bool {
        let told = self.views.get(&peer).and_then(|view| view.told);
        told.is_none_or(|told| self.now.since(told) >= REPEAT_MS)
    }

    /// Whether a peer is to be told again. A cluster that has a leader keeps silent.
    pub(super) fn has_news_for(&self, peer: NodeId) -> bool {
        let facts = self.views.get(&peer).and_then(|view| view.facts.as_ref());
        let peer_has_log = facts.is_some_and(|facts| matches!(facts.holding, Holding::Log(_)));
        !self.is_settled() || !peer_has_log
    }

    fn is_settled(&self) -> bool {
        match self.holding() {
            Holding::Log(log) => log.leader.is_some(),
            _ => false,
        }
    }

    /// Founding voters that are not known to hold the cluster's form or log.
    pub(super) fn lacking(&self, form: Option<&Form>) -> Vec<NodeId> {
        let Some(form) = form else {
            return Vec::new();
        };
        let lacks = |id: &NodeId| match self.views.get(id) {
            Some(view) => view.cluster() != Some(form.cluster),
            None => false,
        };
        form.membership.voters().filter(lacks).collect()
    }
}
