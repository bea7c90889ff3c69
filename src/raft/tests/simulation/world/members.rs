//! Changes of the membership: how leaders make them, and what they mean once they are certain.

use tcpffee_raft::core::Role;
use tcpffee_raft::durable::Write;
use tcpffee_raft::entry::{Entry, Payload};
use tcpffee_raft::ids::Position;
use tcpffee_raft::membership::Membership;

use super::World;
use super::coverage::Seen;
use super::history::{Checked, ensure};

impl World {
    /// Changes of the membership that a leader makes go one at a time, after an entry of its own
    /// term is committed.
    pub(super) fn changes(&mut self, at: usize, write: &Write) -> Checked {
        let changes = |entry: &Entry| matches!(entry.payload, Payload::Membership(_));
        let damaged: Vec<bool> = match write.entries.iter().any(changes) {
            true => self
                .nodes
                .iter()
                .map(|node| node.damaged.is_some())
                .collect(),
            false => Vec::new(),
        };
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(());
        };
        if let Some(meta) = &write.reset {
            live.memberships = vec![(meta.membership_index, meta.membership.clone())];
        }
        for entry in &write.entries {
            live.memberships.retain(|(index, _)| *index < entry.index);
            let Payload::Membership(membership) = &entry.payload else {
                continue;
            };
            let before = live.memberships.last().cloned();
            live.memberships.push((entry.index, membership.clone()));
            let makes = live.core.role() == Role::Leader && live.core.term() == entry.term;
            let (true, Some((_, before))) = (makes, before) else {
                continue;
            };
            ensure(
                before.may_become(membership),
                "one step of membership at a time",
                || format!("{before:?} is to become {membership:?}"),
            )?;
            // What changes no voter changes no majority.
            if before.changed_voters(membership) == 0 {
                continue;
            }
            let lost = membership
                .voters()
                .filter_map(|id| damaged.get(id.0 as usize - 1))
                .filter(|damaged| **damaged)
                .count();
            if 2 * lost >= membership.voters().count() {
                // The leader could not know yet: now too many disks are lost.
                self.overwhelmed = true;
                self.coverage.see(Seen::Overwhelmed);
            }
            let commit = live.core.commit();
            let under_way = live.memberships[..live.memberships.len() - 1]
                .windows(2)
                .any(|pair| pair[1].0 > commit && pair[0].1.changed_voters(&pair[1].1) > 0);
            ensure(
                !under_way && live.log.term_at(commit) == Some(entry.term),
                "a change waits for the one before and for an entry of its term",
                || {
                    format!(
                        "node {} changes at {}, another is under way: {under_way}, committed \
                         {commit}",
                        at + 1,
                        entry.position()
                    )
                },
            )?;
        }
        Ok(())
    }

    /// A membership is committed: which disks are whole again, and what was seen.
    pub(super) fn membership_agreed(
        &mut self,
        before: &Membership,
        now: &Membership,
        position: Position,
    ) {
        self.say(|| format!("MEMBERSHIP {position}: {}", super::brief::membership(now)));
        for (id, member) in &now.members {
            let Some(at) = self.node_at(*id) else {
                continue;
            };
            let old = before.members.get(id);
            match old {
                None => self.see(Seen::LearnerAdded),
                Some(old) if before.is_voter(*id) && !now.is_voter(*id) => {
                    self.see(Seen::Demoted);
                    let _ = old;
                }
                Some(old) if !before.is_voter(*id) && now.is_voter(*id) => {
                    self.see(Seen::Promoted);
                    let _ = old;
                }
                Some(old) if old.statement != member.statement => self.see(Seen::Stated),
                Some(old) if old.life != member.life => self.see(Seen::NewerLifeRecorded),
                Some(_) => {}
            }
            let node = &mut self.nodes[at];
            if node.damaged.is_some() && now.is_voter(*id) && node.is_recorded_anew(now) {
                node.damaged = None;
                node.lost.clear();
                self.see(Seen::WipedVoterBack);
            }
        }
        for id in before.members.keys() {
            if now.members.contains_key(id) {
                continue;
            }
            self.see(Seen::Removed);
            if self.node_at(*id).is_some_and(|at| self.nodes[at].leads()) {
                self.see(Seen::LeaderRemovedItself);
            }
        }
    }
}
