//! How a node's lives begin, what they are given, and how they end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tcpffee_raft::core::{Core, Role, Start};
use tcpffee_raft::durable::Recovered;
use tcpffee_raft::entry::Payload;
use tcpffee_raft::ids::{Index, NodeId, Term};
use tcpffee_raft::membership::Membership;
use tcpffee_raft::message::Envelope;

use super::World;
use super::coverage::Seen;
use super::history::{Checked, Violation, ensure};
use super::machine::Machine;
use super::mirror::Mirror;
use super::node::{DiskPhase, Life};
use super::queue::Event;

impl World {
    /// A node starts, where it is down.
    pub(super) fn start(&mut self, at: usize) -> Checked {
        if self.nodes[at].live.is_some() {
            return Ok(());
        }
        let node = &mut self.nodes[at];
        if node.is_recorded_anew(&self.history.membership) {
            node.copy = None;
        }
        if let Some(copy) = &node.copy {
            node.disk.put_back(copy);
            node.lost.extend(node.durable.take());
        }
        let opened = self.nodes[at].disk.open(&mut self.rng);
        let (identity, recovered) = opened.map_err(|error| Violation {
            invariant: "a store opens",
            detail: format!("node {}: {error}", at + 1),
        })?;
        let log = Mirror::of(&recovered);
        let promised = recovered.hard_state;
        self.recovers(at, &log)?;
        let machine = self.restored(at, &recovered)?;
        let boot = self.rng.bits();
        let incarnation = identity.incarnation(boot);
        let newest_snapshot = machine.last;
        if recovered.snapshot.is_some() {
            self.see(Seen::RestartFromSnapshot);
        }
        self.say(|| {
            format!(
                "n{} starts: store {:04x}/{}, log ends at {}, {:?}",
                at + 1,
                incarnation.store.0 as u16,
                incarnation.start,
                log.last(),
                recovered.hard_state
            )
        });
        let memberships = memberships_of(&recovered);
        let seed = self.rng.bits();
        let now_us = self.now_us;
        let node = &mut self.nodes[at];
        node.life += 1;
        node.store = Some(identity.store);
        node.boots.push(boot);
        node.durable = Some(log.clone());
        node.unsure.clear();
        node.dismissed = false;
        let core = Core::new(Start {
            id: node.id,
            incarnation,
            settings: self.plan.settings,
            seed,
            now: node.clock.at(now_us),
            statement: node.statement.clone(),
            recovered,
        });
        node.live = Some(Life {
            incarnation,
            machine,
            work: VecDeque::new(),
            applying: false,
            drain_waits: false,
            queue: VecDeque::new(),
            written: VecDeque::new(),
            disk: DiskPhase::Idle,
            failed: false,
            log,
            commit: Index(0),
            state: core.hard_state(),
            applied: core.applied_index(),
            memberships,
            membership_at: Index(0),
            role: Role::Follower,
            proposals: BTreeMap::new(),
            lease: None,
            newest_snapshot,
            snapshot_under_way: false,
            chunks_free_us: 0,
            arriving: None,
            core,
        });
        let state = node
            .live
            .as_ref()
            .map(|live| live.state)
            .unwrap_or_default();
        ensure(
            (state.term, state.vote) == (promised.term, promised.vote),
            "a start forgets no term and no vote",
            || format!("node {}: {promised:?} became {state:?}", at + 1),
        )?;
        let life = node.life;
        self.later(0, Event::Tick { node: at, life });
        self.drain(at)
    }

    /// What a disk promised is there again.
    fn recovers(&mut self, at: usize, found: &Mirror) -> Checked {
        let node = &self.nodes[at];
        let Some(durable) = &node.durable else {
            return Ok(());
        };
        if self.checks != super::Checks::All {
            return Ok(());
        }
        let (was, is) = (durable.hard_state, found.hard_state);
        let vote_stands = is.term > was.term || was.vote.is_none() || is.vote == was.vote;
        ensure(
            is.term >= was.term && vote_stands,
            "the hard state never goes back",
            || format!("node {}: {was:?} was durable, {is:?} is found", at + 1),
        )?;
        // What was written later and not synced may have overwritten some of it, rightly.
        let mut sure = durable.last();
        for write in &node.unsure {
            if let Some(first) = write.entries.first() {
                sure = sure.min(first.index.previous());
            }
            if write.reset.is_some() {
                sure = Index(0);
            }
        }
        for index in (1..=sure.0).map(Index) {
            let (was, is) = (durable.term_at(index), found.term_at(index));
            ensure(
                is.is_some() && (is == was || is == Some(Term(0)) || was == Some(Term(0))),
                "what is durable stays",
                || {
                    format!(
                        "node {}: {index} was of term {was:?}, is {is:?} of a log up to {}",
                        at + 1,
                        found.last()
                    )
                },
            )?;
        }
        Ok(())
    }

    /// The state machine as the newest snapshot has it.
    fn restored(&mut self, at: usize, recovered: &Recovered) -> Result<Machine, Violation> {
        let Some(meta) = &recovered.snapshot else {
            return Ok(Machine::default());
        };
        let state = self.nodes[at].disk.snapshot(meta.last);
        let state = state.map_err(|error| Violation {
            invariant: "what is durable stays",
            detail: format!("node {}: the snapshot at {}: {error}", at + 1, meta.last),
        })?;
        let machine = Machine::from_snapshot(meta, state);
        if self.nodes[at].durable.is_some() && !self.plan.skip_sync {
            self.history.restores(meta.last, machine.chain)?;
        }
        Ok(machine)
    }

    /// A node's process ends; with `power_loss`, what its disk had not made durable may be gone,
    /// and its clock begins anew.
    pub(super) fn stop(&mut self, at: usize, power_loss: bool) {
        let now_us = self.now_us;
        self.say(|| format!("n{} ends, power loss: {power_loss}", at + 1));
        let node = &mut self.nodes[at];
        node.life += 1;
        node.paused = false;
        node.deferred.clear();
        let Some(live) = node.live.take() else {
            return;
        };
        node.memberships = live.memberships;
        node.unsure = live.written.into();
        let unsynced = !node.unsure.is_empty();
        node.disk.crash(&mut self.rng, power_loss);
        if power_loss {
            node.clock.boots(now_us, &mut self.rng);
            node.stamps.clear();
        }
        if node.leads() {
            self.coverage.see(Seen::StepDown);
        }
        self.see(match power_loss {
            true => Seen::PowerLoss,
            false => Seen::Crash,
        });
        if power_loss && unsynced {
            self.see(Seen::UnsyncedAtPowerLoss);
        }
    }

    /// Ends the node and starts it again a while later.
    pub(super) fn crash(&mut self, at: usize) {
        let power_loss = self.rng.percent(50);
        self.stop(at, power_loss);
        let after_us = self.rng.gap(1_000_000);
        self.later(after_us, Event::Start { node: at });
    }

    /// Between any two steps of a node it may end. True where it just did.
    pub(super) fn step_crash(&mut self, at: usize) -> bool {
        if self.calm_since_us.is_some() || !self.rng.chance_ppm(self.plan.step_crash_ppm) {
            return false;
        }
        self.see(Seen::CrashBetweenSteps);
        self.crash(at);
        true
    }

    /// A stopped process goes on: all that came meanwhile lies in its queues.
    pub(super) fn resume(&mut self, at: usize) -> Checked {
        let node = &mut self.nodes[at];
        if !node.paused {
            return Ok(());
        }
        node.paused = false;
        let deferred = std::mem::take(&mut node.deferred);
        self.say(|| format!("n{} goes on", at + 1));
        for event in deferred {
            self.later(0, event);
        }
        Ok(())
    }

    /// A node was told that its store is dismissed: it sets it aside and begins anew.
    pub(super) fn sets_aside(&mut self, at: usize, life: u64) -> Checked {
        if !self.lives(at, life) {
            return Ok(());
        }
        self.see(Seen::SetAside);
        self.stop(at, false);
        self.nodes[at].disk.set_aside().map_err(|error| Violation {
            invariant: "a store can be set aside",
            detail: format!("node {}: {error}", at + 1),
        })?;
        self.forgets(at);
        let after_us = self.rng.gap(100_000);
        self.later(after_us, Event::Start { node: at });
        Ok(())
    }

    /// The disk of a node that is down is empty from now on.
    pub(super) fn wipe(&mut self, at: usize) {
        self.say(|| format!("n{} has lost its disk", at + 1));
        self.nodes[at].disk.wipe();
        self.forgets(at);
    }

    /// What its disk promised counts for nothing any more.
    fn forgets(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.damaged = Some(None);
        node.copy = None;
        node.loses();
        node.unsure.clear();
    }

    /// A node looks at its clock, now and again soon.
    pub(super) fn ticks(&mut self, at: usize, life: u64) -> Checked {
        if !self.lives(at, life) {
            return Ok(());
        }
        let every_us = self.plan.settings.heartbeat_ms * 1000 / 5;
        self.later(every_us, Event::Tick { node: at, life });
        self.input(at, |_| ())
    }

    /// A message arrives.
    pub(super) fn delivers(&mut self, life: u64, envelope: Envelope) -> Checked {
        let (Some(from), Some(to)) = (self.node_at(envelope.from), self.node_at(envelope.to))
        else {
            return Ok(());
        };
        if !self.lives(to, life) {
            self.see(Seen::MessageToDeadLife);
            return Ok(());
        }
        if self.network.is_blocked(from, to) {
            return Ok(());
        }
        self.say(|| {
            format!(
                "n{} hears n{} t{}: {}",
                to + 1,
                from + 1,
                envelope.term,
                super::brief::message(&envelope.message)
            )
        });
        self.input(to, |core| core.receive(envelope))
    }

    /// Gives a core something, at the time of its clock, and carries out what comes of it.
    pub(super) fn input<R>(&mut self, at: usize, give: impl FnOnce(&mut Core) -> R) -> Checked {
        self.gives(at, give)?;
        Ok(())
    }

    /// As `input`, for what is answered at once; none where the node does not live.
    pub(super) fn gives<R>(
        &mut self,
        at: usize,
        give: impl FnOnce(&mut Core) -> R,
    ) -> Result<Option<R>, Violation> {
        self.stamps(at);
        let now = self.nodes[at].clock.at(self.now_us);
        let Some(live) = &mut self.nodes[at].live else {
            return Ok(None);
        };
        live.core.tick(now);
        let given = give(&mut live.core);
        let waits = live.drain_waits;
        if waits {
            return Ok(Some(given));
        }
        if self.calm_since_us.is_none() && self.rng.percent(self.plan.late_drain_percent) {
            if let Some(live) = &mut self.nodes[at].live {
                live.drain_waits = true;
            }
            let life = self.nodes[at].life;
            let after_us = self.rng.gap(2_000);
            self.later(after_us, Event::Drain { node: at, life });
        } else {
            self.drain(at)?;
        }
        Ok(Some(given))
    }

    /// The life of a peer that a message sent now goes to; none while it is down.
    pub(super) fn life_of(&self, id: NodeId) -> Option<(usize, u64)> {
        let at = self.node_at(id)?;
        let node = &self.nodes[at];
        node.live.is_some().then_some((at, node.life))
    }
}

/// The memberships in a log, each with its place.
fn memberships_of(recovered: &Recovered) -> Vec<(Index, Arc<Membership>)> {
    let mut memberships = Vec::new();
    if let Some(meta) = &recovered.snapshot {
        memberships.push((meta.membership_index, meta.membership.clone()));
    }
    let known = memberships.last().map_or(Index(0), |(index, _)| *index);
    for entry in &recovered.entries {
        if let Payload::Membership(membership) = &entry.payload
            && entry.index > known
        {
            memberships.push((entry.index, membership.clone()));
        }
    }
    memberships
}
