//! Which life of a member counts.
//!
//! A vote and an acknowledgement are promises of a disk. A disk that was wiped, or replaced by
//! an old copy of itself, has forgotten promises; so the log records which store each member
//! has and how often that was started, and only what agrees with the record counts.
//!
//! - The same life as recorded counts.
//! - A later start of the same store is a restart: it is recorded, and its acknowledgements
//!   count from the record on. Whoever holds what it acknowledged then holds the record too, so
//!   that an older copy of the store is found out by everybody who could be deceived by it.
//! - A start of the same store that is not later, but another life, is a restored copy. It is
//!   told so and must begin with an empty store.
//! - Another store is an empty disk: its member becomes a learner with the new store on record
//!   and the old one retired, is caught up, and is made a voter again.
//!
//! What cannot be found out: a copy that was taken in, or after, the last life that is on record;
//! one that was started unheard so often that its count has passed the recorded one; and copies
//! that, with voters that lag behind the record, make a majority.

use crate::ids::{Incarnation, NodeId};
use crate::membership::RecordedLife;
use crate::message::{Message, Refusal};

use super::mutation::{self, Mutation};
use super::{Core, CoreEvent, State};

/// What a life is to the membership in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Of a node that is no member.
    Stranger,
    /// Of a member whose life is not on record yet.
    Unrecorded,
    /// The life on record.
    Recorded,
    /// A later start of the store on record.
    Newer,
    /// Another life of the store on record that did not start later: a restored copy, or a
    /// message that was on its way for long.
    Stale,
    /// A store that was retired.
    Retired,
    /// A store that nobody has seen.
    OtherStore,
}

impl Core {
    pub(super) fn standing(&self, id: NodeId, life: Incarnation) -> Standing {
        let membership = self.membership();
        let Some(member) = membership.members.get(&id) else {
            return Standing::Stranger;
        };
        if mutation::is(Mutation::BelievesRestoredCopies)
            && member
                .life
                .is_some_and(|known| known.incarnation.store == life.store)
        {
            return Standing::Recorded;
        }
        if membership.is_retired(life.store) {
            return Standing::Retired;
        }
        match member.life.map(|recorded| recorded.incarnation) {
            None => Standing::Unrecorded,
            Some(known) if known == life => Standing::Recorded,
            Some(known) if known.store != life.store => Standing::OtherStore,
            Some(known) if life.start > known.start => Standing::Newer,
            Some(_) => Standing::Stale,
        }
    }

    /// Whether the membership in force can no longer be taken back.
    fn membership_is_settled(&self) -> bool {
        self.memberships.len() == 1 && self.memberships[0].0 <= self.commit
    }

    /// Refuses a life that has forgotten promises. Answers whether it did.
    pub(super) fn refuse_stale_life(&mut self, from: NodeId, life: Incarnation) -> bool {
        match self.standing(from, life) {
            Standing::Stale | Standing::Retired => {
                if self.membership_is_settled() {
                    let refusal = Refusal::StoreRetired(life);
                    self.post(from, self.term, Message::Refused(refusal));
                }
                true
            }
            _ => false,
        }
    }

    /// As leader, tells a node that is no member so.
    pub(super) fn refuse_stranger(&mut self, from: NodeId) {
        let is_member = self.membership().members.contains_key(&from);
        if matches!(self.state, State::Leader(_)) && !is_member && self.membership_is_settled() {
            self.post(from, self.term, Message::Refused(Refusal::NotAMember));
        }
    }

    /// A leader hears a member. Answers whether what it says is to be taken in.
    pub(super) fn hear(&mut self, from: NodeId, life: Incarnation) -> bool {
        if self.refuse_stale_life(from, life) {
            return false;
        }
        let standing = self.standing(from, life);
        let next = self.log.last().index.next();
        let now = self.now;
        let State::Leader(leading) = &mut self.state else {
            return false;
        };
        let Some(progress) = leading.progress.get_mut(&from) else {
            self.refuse_stranger(from);
            return false;
        };
        match standing {
            Standing::OtherStore if mutation::is(Mutation::OtherStoresAcknowledge) => {}
            Standing::OtherStore => {
                leading.replaced.insert(from, life);
                return false;
            }
            Standing::Newer | Standing::Unrecorded => {
                leading.to_record.insert(from, life);
            }
            _ => {}
        }
        match progress.life {
            Some(known) if known == life => {}
            // Said before a restart that is known already.
            Some(known) if known.store == life.store && known.start > life.start => return false,
            _ => progress.begin_life(life, next, now),
        }
        progress.heard = Some(now);
        true
    }

    /// Records the lives and statements that were heard.
    pub(super) fn record_news(&mut self) {
        let at = self.log.last().index.next();
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        if leading.to_record.is_empty() && leading.statements.is_empty() {
            return;
        }
        let lives = std::mem::take(&mut leading.to_record);
        let statements = std::mem::take(&mut leading.statements);
        let mut next = self.membership().as_ref().clone();
        for (id, incarnation) in lives {
            if let Some(member) = next.members.get_mut(&id) {
                member.life = Some(RecordedLife {
                    incarnation,
                    recorded_at: at,
                });
            }
        }
        for (id, statement) in statements {
            if let Some(member) = next.members.get_mut(&id) {
                member.statement = Some(statement);
            }
        }
        if next != **self.membership() {
            self.append_membership(next);
        }
    }

    /// A new leader records its own life.
    pub(super) fn record_own_life(&mut self) {
        let (id, life) = (self.id, self.incarnation);
        if self.standing(id, life) == Standing::Recorded {
            return;
        }
        if let State::Leader(leading) = &mut self.state {
            leading.to_record.insert(id, life);
        }
        self.record_news();
    }

    /// Most other voters do not speak with this node any more: the cluster has dismissed it,
    /// and no leader can tell it so.
    pub fn dropped(&mut self) {
        self.on_refused(Refusal::NotAMember);
    }

    /// The cluster does not listen to this node.
    pub(super) fn on_refused(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::NotAMember => {
                if !self.dismissed && !self.membership().members.is_empty() {
                    self.dismissed = true;
                    self.event(CoreEvent::Dismissed);
                }
            }
            Refusal::StoreRetired(life) if life == self.incarnation => {
                self.fall_silent(CoreEvent::StoreRetired(life.store));
            }
            Refusal::StoreRetired(_) => {}
        }
    }
}
