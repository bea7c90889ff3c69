//! Who founds the cluster, and what stands in a form; which form is taken.

use std::sync::Arc;

use super::form::{Beginning, Form, Holding, Misfit};
use super::state::Obstacle;
use super::{Effect, Forming, Standing};
use crate::ids::{ClusterId, NodeId};
use crate::membership::{Member, Membership, RecordedLife, Role};

impl Forming {
    /// Founds a cluster, where it is this node's turn.
    pub(super) fn consider(&mut self) {
        if matches!(self.standing, Standing::Free { .. }) && self.founder() == Ok(self.id) {
            let form = self.draw_up();
            self.take(form);
        }
    }

    /// Who is to found the cluster.
    ///
    /// # Errors
    /// What speaks against forming one.
    pub(super) fn founder(&self) -> Result<NodeId, Vec<Obstacle>> {
        let mut obstacles = Vec::new();
        let mut seeds = Vec::new();
        if matches!(self.holding(), Holding::Seed { .. }) {
            seeds.push(self.id);
        }
        if !self.statement.peers.contains(&self.id) {
            obstacles.push(Obstacle::Unlisted);
        }
        for (&peer, view) in &self.views {
            if let Some(cluster) = view.cluster() {
                let leader = view.leader();
                obstacles.push(Obstacle::Belongs {
                    peer,
                    cluster,
                    leader,
                });
                continue;
            }
            let Some(facts) = &view.facts else {
                obstacles.push(Obstacle::Waiting(peer));
                continue;
            };
            let (ours, theirs) = (&self.statement.peers, &facts.statement.peers);
            if ours != theirs {
                let without = |some: &[NodeId], others: &[NodeId]| {
                    let some = some.iter().copied();
                    some.filter(|id| !others.contains(id)).collect()
                };
                obstacles.push(Obstacle::OtherList {
                    peer,
                    more: without(theirs, ours),
                    fewer: without(ours, theirs),
                });
            }
            if matches!(facts.holding, Holding::Seed { .. }) {
                seeds.push(peer);
            }
        }
        if seeds.len() > 1 {
            seeds.sort_unstable();
            obstacles.push(Obstacle::Seeds(seeds));
            return Err(obstacles);
        }
        let lowest = self.statement.peers.first().copied();
        match seeds.first().copied().or(lowest) {
            Some(founder) if obstacles.is_empty() => Ok(founder),
            _ => Err(obstacles),
        }
    }

    /// The form by which this node founds a cluster of all its peers by itself.
    fn draw_up(&self) -> Form {
        match self.standing {
            Standing::Free { seed: Some(_) } => {
                self.form_of(self.draw, Beginning::Seed, |id| id == self.id)
            }
            _ => self.form_of(self.draw, Beginning::Empty, |_| true),
        }
    }

    /// A form with some of the configured nodes as voters, and the others as learners that are to
    /// vote once they have caught up.
    pub(super) fn form_of(
        &self,
        cluster: ClusterId,
        beginning: Beginning,
        is_voter: impl Fn(NodeId) -> bool,
    ) -> Form {
        let recorded_at = beginning.first_index();
        let member = |&id: &NodeId| {
            let (life, statement) = match self.views.get(&id) {
                None => (Some(self.life), Some(self.statement.clone())),
                Some(view) => {
                    // The life of a node that holds another log is not one that it can join with.
                    let facts = view.facts.as_ref().filter(|facts| facts.holding.is_free());
                    let life = view.life.filter(|_| facts.is_some());
                    (life, facts.map(|facts| facts.statement.clone()))
                }
            };
            let role = match is_voter(id) {
                true => Role::Voter,
                false => Role::Learner { promote: true },
            };
            let life = life.map(|incarnation| RecordedLife {
                incarnation,
                recorded_at,
            });
            let member = Member {
                role,
                life,
                statement,
            };
            (id, member)
        };
        let members = self.statement.peers.iter().map(member).collect();
        let retired = Vec::new();
        Form {
            cluster,
            membership: Arc::new(Membership { members, retired }),
            beginning,
        }
    }

    /// A peer's form.
    pub(super) fn offered(&mut self, from: NodeId, form: Form) {
        let cluster = form.cluster;
        let fits = match self.holding().cluster() {
            // What it has already, or what its leader has sent it more of.
            Some(own) if own == cluster => return,
            Some(own) => Err(Misfit::OtherCluster(own)),
            None => form.fits(self.id, &self.life, &self.statement.peers),
        };
        match fits {
            Ok(()) => self.take(form),
            Err(misfit) => self.effects.push(Effect::Refused {
                from,
                cluster,
                misfit,
            }),
        }
    }

    /// Decides for a form. From here on every statement says so.
    pub(super) fn take(&mut self, form: Form) {
        self.effects.push(Effect::Persist(form.clone()));
        self.standing = Standing::Taking(form);
        self.tell_all();
    }
}
