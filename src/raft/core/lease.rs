//! Heartbeat rounds, and what rests on them: leases, the fence, and log time.
//!
//! A node may answer from its own copy of the state while it holds a lease. Its replies to
//! heartbeats carry its own clock; the leader echoes such a stamp, with the log time and the
//! commit index, only once a majority has answered a round that was *sent after the stamp came*.
//! Whoever answered had not voted in a later term by then; so every later leader was elected
//! after the stamp, and a leader that counts all leases from its own election counts enough.

use crate::ids::{Index, LogTime, NodeId, NodeTime};
use crate::membership::Statement;
use crate::message::{LeaseGrant, Message};
use crate::progress::Stamp;

use super::lives::Standing;
use super::mutation::{self, Mutation};
use super::{Core, CoreEvent, State};

/// What log time may advance by in one step, in milliseconds: a leader that was stopped and goes
/// on does not make everybody's time jump.
const MAX_TIME_STEP_MS: u64 = 200;

impl Core {
    /// Sends a round of heartbeats.
    pub(super) fn heartbeat(&mut self) {
        let (now, commit, last) = (self.now, self.commit, self.log.last().index);
        let time = self.log_time();
        let grants = self.may_grant();
        let heartbeat_ms = self.settings.heartbeat_ms;
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        leading.begin_round(now);
        leading.heartbeat_due = now.plus(heartbeat_ms);
        leading.mark = last;
        let round = leading.round;
        let beats: Vec<(NodeId, Message)> = leading
            .progress
            .iter()
            .map(|(id, progress)| {
                let lease = progress
                    .confirmed
                    .filter(|_| grants)
                    .map(|stamp| LeaseGrant {
                        stamp,
                        time,
                        commit,
                    });
                let commit = match mutation::is(Mutation::HeartbeatCommitsUnverified) {
                    true => commit,
                    false => commit.min(progress.matched),
                };
                let beat = Message::Heartbeat {
                    round,
                    commit,
                    time,
                    lease,
                };
                (*id, beat)
            })
            .collect();
        for (id, beat) in beats {
            self.post(id, self.term, beat);
        }
        self.confirm_rounds();
    }

    pub(super) fn on_heartbeat_reply(
        &mut self,
        from: NodeId,
        round: u64,
        stamp: NodeTime,
        applied: Index,
        statement: Option<Statement>,
    ) {
        let now = self.now;
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        if round > leading.round {
            return;
        }
        let next_round = leading.round + 1;
        let Some(progress) = leading.progress.get_mut(&from) else {
            return;
        };
        progress.round = progress.round.max(round);
        progress.applied = progress.applied.max(applied);
        progress.stamp.get_or_insert(Stamp {
            clock: stamp,
            round: next_round,
            came: now,
        });
        if mutation::is(Mutation::LeaseWithoutRound) {
            progress.confirmed = Some(stamp);
        }
        if let Some(statement) = statement {
            leading.statements.insert(from, statement);
        }
        self.confirm_rounds();
    }

    /// Finds the newest round that a majority has answered, and confirms what waited for it.
    fn confirm_rounds(&mut self) {
        let confirmed = self.majority_of(|core, id| match (&core.state, core.progress(id)) {
            (State::Leader(leading), _) if id == core.id => leading.round,
            (_, Some(progress)) if core.counts(id) => progress.round,
            _ => 0,
        });
        let (id, time, commit) = (self.id, self.log_time(), self.commit);
        let lease_ms = self.lease_bound_ms();
        let may_grant = self.may_grant();
        let member = self.membership().members.contains_key(&id);
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        let mut sent = None;
        while let Some((round, at)) = leading.rounds.front().copied() {
            if round > confirmed {
                break;
            }
            leading.rounds.pop_front();
            sent = Some(at);
        }
        for progress in leading.progress.values_mut() {
            if let Some(stamp) = progress.stamp.filter(|stamp| stamp.round <= confirmed) {
                progress.stamp = None;
                progress.confirmed = Some(stamp.clock);
                progress.lease_until = progress.lease_until.max(stamp.came.plus(lease_ms));
            }
        }
        if let Some(stamp) = sent.filter(|_| may_grant && member) {
            self.take_lease(LeaseGrant {
                stamp,
                time,
                commit,
            });
        }
    }

    /// Whether the life that a member was heard in is the one on record.
    pub(super) fn counts(&self, id: NodeId) -> bool {
        self.progress(id)
            .and_then(|progress| progress.life)
            .is_some_and(|life| self.standing(id, life) == Standing::Recorded)
    }

    /// Whether this leader's commit index and time are those of the cluster: once an entry of
    /// its own term is committed and applied.
    fn may_grant(&self) -> bool {
        matches!(&self.state, State::Leader(leading) if leading.time.is_some())
    }

    /// How long a lease may run by another's clock.
    pub(super) fn lease_bound_ms(&self) -> u64 {
        // Clocks differ by less than three per cent.
        self.settings.hit_lease_ms + self.settings.hit_lease_ms / 32 + 1
    }

    /// This node's clock as only this life can read it: the clocks of two boots of one machine
    /// show the same times again, and an echo from before the last one must not pass for a new
    /// one.
    pub(super) fn stamp(&self) -> NodeTime {
        if mutation::is(Mutation::LeaseOfEarlierBoot) {
            return self.now;
        }
        NodeTime(self.now.0.wrapping_add(self.incarnation.boot))
    }

    /// The clock's time in an echoed stamp; far off where another life made it.
    pub(super) fn read_stamp(&self, stamp: NodeTime) -> NodeTime {
        if mutation::is(Mutation::LeaseOfEarlierBoot) {
            return stamp;
        }
        NodeTime(stamp.0.wrapping_sub(self.incarnation.boot))
    }

    /// Takes a lease, to be in force once what was committed at its moment is applied.
    pub(super) fn take_lease(&mut self, grant: LeaseGrant) {
        let plausible = grant.stamp >= self.began && grant.stamp <= self.now;
        let newer = self.lease.is_none_or(|lease| grant.stamp > lease.stamp);
        if !plausible || !newer {
            return;
        }
        // One that waits is only replaced where it has become worthless, or it would never do.
        let waits = self
            .lease_pending
            .is_some_and(|pending| pending.stamp.plus(self.settings.hit_lease_ms) > self.now);
        if !waits {
            self.lease_pending = Some(grant);
        }
        self.begin_lease();
    }

    /// Puts a lease in force.
    pub(super) fn begin_lease(&mut self) {
        if let Some(grant) = self.lease_pending
            && (grant.commit <= self.applied || mutation::is(Mutation::LeaseBeforeApplied))
        {
            self.lease_pending = None;
            self.lease = Some(grant);
            self.event(CoreEvent::Lease(grant));
        }
    }

    /// As leader: whether no node can answer from a state that lacks `index` any more: every
    /// member has applied it, or can hold no lease. Leases that earlier leaders granted, to nodes
    /// that may be no members any more too, are counted from this leader's election.
    pub fn fence(&self, index: Index) -> bool {
        let State::Leader(leading) = &self.state else {
            return false;
        };
        let now = self.now;
        let old_leases = leading.began.plus(self.lease_bound_ms());
        let all_passed = |id: &NodeId| match leading.progress.get(id) {
            Some(progress) => progress.applied >= index || now > progress.lease_until,
            None => *id == self.id,
        };
        (now > old_leases || mutation::is(Mutation::FenceForgetsEarlierLeaders))
            && (self.former_leases < now || mutation::is(Mutation::FenceForgetsFormerMembers))
            && self.applied >= index
            && self.membership().members.keys().all(all_passed)
    }

    /// Log time begins for a leader once everything of earlier terms is applied: from the
    /// highest time in its log.
    pub(super) fn begin_log_time(&mut self) {
        let (applied, highest, term) = (self.applied, self.log.last_time(), self.term);
        if let State::Leader(leading) = &mut self.state
            && leading.time.is_none()
            && applied >= leading.first
        {
            leading.time = Some(highest);
            self.event(CoreEvent::LeaderReady(term));
        }
    }

    /// What a leader knows of time it goes on knowing when it leads no longer.
    pub(super) fn keep_log_time(&mut self) {
        self.known_time = self.log_time();
    }

    /// Log time goes on only while a majority answers.
    pub(super) fn advance_log_time(&mut self, elapsed_ms: u64) {
        let heard = self.majority_heard_within(self.settings.election_min_ms);
        if let State::Leader(leading) = &mut self.state
            && let Some(time) = &mut leading.time
            && heard
        {
            time.0 += elapsed_ms.min(MAX_TIME_STEP_MS);
        }
    }

    /// The cluster's time as this node knows it: of a leader its own, else the newest that was
    /// told.
    pub fn log_time(&self) -> LogTime {
        let own = match &self.state {
            State::Leader(leading) => leading.time,
            _ => Some(self.known_time),
        };
        own.unwrap_or_default().max(self.log.last_time())
    }
}
