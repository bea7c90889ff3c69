//! The driver's thread: the loop, and what it holds.
//!
//! Each turn takes in everything that has come meanwhile, asks the core once what follows, hands
//! that on, and sleeps until something comes or is due. So what comes in a burst travels, and is
//! written, together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::{Events, Poll};

use super::clock::boot_time;
use super::config::{Config, Event, MakeMachine, Notify, Seed};
use super::conflicts::Conflicts;
use super::handle::{Proposal, Request};
use super::life::Life;
use super::mailbox::Bell;
use super::saving::Saving;
use super::status::{Counters, Status, Trouble};
use crate::core::{PeerView, Role};
use crate::forming::{Forming, REPEAT_MS};
use crate::ids::{ClusterId, NodeId, NodeTime};
use crate::lease::LeaseWriter;
use crate::proposals::ProposalError;
use crate::proposals::client::{Client, Copies};
use crate::proposals::desk::Desk;
use crate::store::files::Files;
use crate::transport::{ConnectionId, Transport};
use crate::wire::proposal::Answer;

/// Local proposals taken in within one turn.
const PROPOSALS_PER_TURN: usize = 4096;

/// Between two looks at the status that others see, in milliseconds at least; nothing that has
/// changed stays unseen for longer.
const STATUS_MS: u64 = 20;

/// Who waits for a command at the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    /// This node's own client, by the command's sequence.
    Here(u64),
    /// Another node.
    Peer {
        /// The connection that the command came by.
        connection: ConnectionId,
        /// The number that its answer bears.
        id: u64,
    },
}

/// A node that runs: what the driver's thread holds.
pub(super) struct Node<F: Files> {
    pub(super) files: F,
    pub(super) config: Config,
    pub(super) make_machine: MakeMachine,
    pub(super) notify: Notify,
    /// Until a cluster was formed from it, or without it.
    pub(super) seed: Option<Seed>,
    pub(super) poll: Poll,
    pub(super) bell: Arc<Bell>,
    pub(super) transport: Transport,
    pub(super) proposals: Receiver<Proposal>,
    pub(super) requests: Receiver<Request>,
    pub(super) life: Life<F>,
    pub(super) forming: Forming,
    /// The cluster that this node belongs to, as the peers are told: as long as a snapshot of it
    /// arrives it holds nothing of it yet, and a start would find it blank.
    pub(super) joined: Option<ClusterId>,
    /// The cluster whose leader has taken this node in, until that is noted.
    pub(super) joining: Option<ClusterId>,
    /// When forming was last told how the log stands.
    pub(super) forming_told: NodeTime,
    pub(super) lease: LeaseWriter,
    pub(super) client: Client,
    pub(super) desk: Desk<Asker>,
    /// Answers to other nodes, to be sent at the end of the turn.
    pub(super) answers: BTreeMap<ConnectionId, Vec<Answer>>,
    /// The clusters of the peers that are connected.
    pub(super) clusters: BTreeMap<NodeId, ClusterId>,
    pub(super) conflicts: Conflicts,
    pub(super) saving: Saving,
    /// Whether the state machine has been told that this node leads.
    pub(super) leads: bool,
    /// Voters and learners, as they were last logged.
    pub(super) members_told: (String, String),
    pub(super) trouble: Option<Trouble>,
    pub(super) counters: Counters,
    pub(super) status: Arc<Mutex<Option<Status>>>,
    pub(super) status_at: NodeTime,
    /// When others are to see what has come up since; none where they have seen everything.
    pub(super) status_due: Option<NodeTime>,
    pub(super) now: NodeTime,
    pub(super) stopping: Stopping,
}

/// Whether the node is about to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stopping {
    /// It runs.
    No,
    /// It hands leadership over before, which is waited for until then.
    HandingOver(NodeTime),
    /// With the end of this turn.
    Now,
}

impl<F: Files> Node<F> {
    /// Runs until it is asked to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        while self.stopping != Stopping::Now {
            self.turn();
            self.sleep(&mut events);
        }
        self.end();
    }

    /// One turn: everything that has come is taken in before anything goes out.
    fn turn(&mut self) {
        self.counters.turns += 1;
        self.now = boot_time();
        self.life.core.tick(self.now);
        self.transport.tick(self.now);
        if self.client.tick(self.now) == Copies::Late {
            self.route_to_leader();
        }
        self.take_reports();
        self.take_messages();
        self.take_requests();
        self.take_proposals();
        self.go_on_forming();
        self.send_proposals();
        let output = self.life.core.output();
        self.carry_out(output);
        self.consider_snapshot();
        self.send_answers();
        self.transport.flush();
        if let Stopping::HandingOver(until) = self.stopping
            && (self.now >= until || self.life.core.role() != Role::Leader)
        {
            self.stopping = Stopping::Now;
        }
        let due = self.status_at.plus(STATUS_MS);
        self.status_due = Some(due);
        if self.now >= due {
            self.forget_old_conflicts();
            self.publish_status();
        }
    }

    fn take_proposals(&mut self) {
        for _ in 0..PROPOSALS_PER_TURN {
            let Ok(proposal) = self.proposals.try_recv() else {
                return;
            };
            let Proposal {
                body,
                version,
                deadline,
                done,
            } = proposal;
            self.client
                .propose(body, version, deadline, done.into_done());
        }
    }

    /// Waits until something comes or is due.
    fn sleep(&mut self, events: &mut Events) {
        self.bell.lie_down();
        let wait = self.patience();
        let polled = self.poll.poll(events, Some(wait));
        self.bell.get_up();
        match polled {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return,
            // It fails only where its own descriptor is not one any more.
            Err(error) => panic!("raft {}: poll: {error}", self.config.group),
        }
        let now = boot_time();
        for event in events.iter() {
            if self.transport.owns(event.token()) {
                self.transport.handle(event, now);
            }
        }
    }

    /// How long nothing is to be done unless something comes.
    fn patience(&self) -> Duration {
        let reports = self.life.workers.as_ref().map(|workers| &workers.reports);
        let waiting = reports.is_some_and(|reports| !reports.is_empty())
            || !self.requests.is_empty()
            || !self.proposals.is_empty()
            || self.stopping == Stopping::Now;
        if waiting {
            return Duration::ZERO;
        }
        let mut until = self.now.plus(REPEAT_MS).min(self.client.next_deadline());
        if let Some(due) = self.status_due {
            until = until.min(due);
        }
        if let Stopping::HandingOver(end) = self.stopping {
            until = until.min(end);
        }
        if !self.life.core.is_stopped() {
            until = until.min(self.life.core.next_deadline());
        }
        if let Some(deadline) = self.transport.next_deadline() {
            until = until.min(deadline);
        }
        Duration::from_millis(until.since(boot_time()))
    }

    /// Begins to stop: a leader hands over to whoever holds most of the log, so that the cluster
    /// need not wait for an election time-out.
    pub(super) fn begin_to_stop(&mut self) {
        let core = &mut self.life.core;
        let patience = self.config.settings.election_max_ms;
        let heard = |peer: &PeerView| peer.silent_ms.is_some_and(|ms| ms < patience);
        let heirs = core.peers().into_iter().filter(heard);
        let heir = heirs
            .filter(|peer| core.is_voter(peer.id))
            .max_by_key(|peer| peer.matched);
        let handed = heir.map(|heir| core.transfer_leadership(heir.id));
        self.stopping = match handed {
            Some(Ok(())) => Stopping::HandingOver(self.now.plus(patience)),
            // Nobody is there to take over, or it does not lead.
            Some(Err(_)) | None => Stopping::Now,
        };
    }

    /// Something has gone wrong for good, or until it is mended.
    pub(super) fn in_trouble(&mut self, trouble: Trouble) {
        log::error!("raft {}: {trouble}", self.config.group);
        // A node that hears nothing any more learns of no other leader.
        match trouble {
            Trouble::Disk(_) => self.client.stop(ProposalError::DiskFailed),
            Trouble::Halted { .. } => self.client.stop(ProposalError::Halted),
            Trouble::Dismissed | Trouble::Unfinished(_) | Trouble::Snapshot(_) => {}
        }
        self.trouble = Some(trouble);
    }

    pub(super) fn tell(&mut self, event: Event) {
        (self.notify)(event);
    }

    /// The log can no longer be written, or the store not be used.
    pub(super) fn fail_disk(&mut self, error: String) {
        self.life.core.write_failed();
        self.lease.end();
        self.in_trouble(Trouble::Disk(error.clone()));
        self.tell(Event::DiskFailed(error));
    }

    fn end(&mut self) {
        self.lease.end();
        self.client.stop(ProposalError::Stopped);
        // With its receiver a queue ends: what is in it, and what comes from now on, is answered.
        self.proposals = crossbeam_channel::never();
        self.life.close();
        self.publish_status();
    }
}
