//! The consensus itself: a pure, deterministic state machine.
//!
//! It does no I/O, reads no clock and starts no thread: messages, ticks, proposals and the
//! disk's reports go in, an [`Output`] comes out. Randomness comes from a seed. What leaves a
//! node always waits, inside the core, for the term and vote that it speaks of to be durable
//! (`disk`); so a runner may send every message at once, and carry out writes at the disk's
//! pace.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod` | the state, and which input goes where |
//! | `election` | standing for election, voting, becoming leader or follower |
//! | `follow` | a follower's side of replication |
//! | `install` | a follower's side of snapshots |
//! | `lead` | a leader's side of replication, commitment, proposals, hand-over |
//! | `send` | what a leader sends of its log |
//! | `ship` | a leader's side of snapshots |
//! | `lives` | which life of a member counts |
//! | `members` | changes of the membership, asked for or following what members state |
//! | `lease` | heartbeat rounds, leases, the fence, log time |
//! | `disk` | what is being made durable, and what waits for it |
//! | `view` | what can be read |

mod dice;
mod disk;
mod election;
mod follow;
mod install;
mod lead;
mod lease;
mod lives;
mod members;
#[cfg(feature = "mutations")]
pub mod mutation;
#[cfg(not(feature = "mutations"))]
pub(crate) mod mutation;
mod output;
mod send;
mod ship;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::durable::Recovered;
use crate::entry::Payload;
use crate::ids::{Incarnation, Index, LogTime, NodeId, NodeTime, Position, Term};
use crate::log::Log;
use crate::membership::{Membership, Statement};
use crate::message::{Envelope, LeaseGrant, Message, SnapshotMeta};
use crate::settings::Settings;

use self::dice::Dice;
use self::disk::Disk;
use self::install::Receiving;
use self::lead::Leading;
use self::mutation::Mutation;

pub use self::members::{Change, ChangeError};
pub use self::output::{
    ChunkRead, ChunkWrite, CoreEvent, Output, ProposeError, Role, TransferError,
};
pub use self::view::PeerView;

/// One node of one Raft group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Core {
    id: NodeId,
    incarnation: Incarnation,
    settings: Settings,
    dice: Dice,
    now: NodeTime,
    /// When this life began, by the node's clock.
    began: NodeTime,
    statement: Option<Statement>,

    term: Term,
    vote: Option<NodeId>,
    log: Log,
    commit: Index,
    /// The membership of the newest committed entry of that kind, and of every later one in the
    /// log. The last one is in force.
    memberships: Vec<(Index, Arc<Membership>)>,
    /// The newest snapshot whose file is durable here.
    snapshot: Option<Arc<SnapshotMeta>>,

    state: State,
    /// The role and term that were told last.
    told: (Role, Term),
    leader: Option<NodeId>,
    /// When the leader was last heard.
    leader_heard: Option<NodeTime>,
    election_due: NodeTime,
    /// Up to where the log is known to agree with that of this term's leader.
    verified: Index,
    /// The newest log time that any leader has told.
    known_time: LogTime,
    /// Granted, and waiting for its commit index to be applied.
    lease_pending: Option<LeaseGrant>,
    lease: Option<LeaseGrant>,
    /// Until when nodes that are no members any more may hold a lease, by this leader's clock.
    former_leases: NodeTime,
    receiving: Option<Receiving>,

    /// Handed out to be applied.
    applying: Index,
    applied: Index,
    disk: Disk,
    /// Whether the cluster has dismissed this node.
    dismissed: bool,
    /// Whether it has been seen that it must do nothing more.
    halted: bool,
    out: Output,
}

/// What a node is, with what only that role needs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum State {
    Follower,
    PreCandidate { granted: BTreeMap<NodeId, bool> },
    Candidate { granted: BTreeMap<NodeId, bool> },
    Leader(Box<Leading>),
}

/// What a core begins with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The node.
    pub id: NodeId,
    /// The life that begins. Its start counter is durable.
    pub incarnation: Incarnation,
    /// Times and bounds.
    pub settings: Settings,
    /// Where randomness comes from.
    pub seed: u64,
    /// The node's clock.
    pub now: NodeTime,
    /// What the node's configuration states.
    pub statement: Option<Statement>,
    /// What the disk holds. The state machine has been restored from its snapshot.
    pub recovered: Recovered,
}

impl Core {
    /// A node that starts, as a follower.
    pub fn new(start: Start) -> Core {
        let Recovered {
            hard_state,
            snapshot,
            entries,
        } = start.recovered;
        let snapshot = snapshot.map(Arc::new);
        let (log, memberships) = recovered_log(snapshot.as_deref(), entries);
        let known = snapshot.as_ref().map_or(Index(0), |meta| meta.last.index);
        // A torn batch may have kept its hard state and lost its entries, which nobody was told
        // of; the leader will tell the commit index again.
        let commit = hard_state.commit.min(log.last().index).max(known);
        let mut core = Core {
            id: start.id,
            incarnation: start.incarnation,
            settings: start.settings,
            dice: Dice(start.seed),
            now: start.now,
            began: start.now,
            statement: start.statement,
            term: hard_state.term,
            vote: hard_state
                .vote
                .filter(|_| !mutation::is(Mutation::ForgetsVoteAtStart)),
            commit,
            memberships,
            snapshot,
            state: State::Follower,
            told: (Role::Follower, hard_state.term),
            leader: None,
            leader_heard: None,
            election_due: start.now,
            verified: Index(0),
            known_time: log.last_time(),
            lease_pending: None,
            lease: None,
            former_leases: NodeTime(0),
            receiving: None,
            applying: known,
            applied: known,
            disk: Disk::new(log.last().index),
            log,
            dismissed: false,
            halted: false,
            out: Output::default(),
        };
        core.forget_settled_memberships();
        core.postpone_election();
        core
    }

    /// Time has passed. To be called before whatever else came at `now`.
    pub fn tick(&mut self, now: NodeTime) {
        let elapsed = now.since(self.now);
        self.now = self.now.max(now);
        if self.is_silent() {
            return;
        }
        match self.state {
            State::Leader(_) => self.lead(elapsed),
            _ if self.now >= self.election_due => self.stand(),
            _ => {}
        }
    }

    /// A message has come. Whatever it holds, it does no harm that Raft does not allow for.
    pub fn receive(&mut self, envelope: Envelope) {
        if self.is_silent() || envelope.to != self.id {
            return;
        }
        if envelope.from == self.id {
            if envelope.incarnation != self.incarnation {
                self.event(CoreEvent::Impostor(self.id));
            }
            return;
        }
        let Envelope {
            from,
            incarnation,
            term,
            message,
            ..
        } = envelope;
        if !self.settle_term(from, term, &message) {
            return;
        }
        match message {
            Message::PreVote { last } => self.on_pre_vote(from, incarnation, term, last),
            Message::PreVoteReply { granted } => {
                self.on_pre_vote_reply(from, incarnation, term, granted);
            }
            Message::Vote { last, .. } => self.on_vote(from, incarnation, last),
            Message::VoteReply { granted } => self.on_vote_reply(from, incarnation, granted),
            Message::Append {
                previous,
                commit,
                entries,
            } => self.on_append(from, previous, commit, entries),
            Message::Heartbeat {
                round,
                commit,
                time,
                lease,
            } => self.on_heartbeat(from, round, commit, time, lease),
            Message::SnapshotChunk {
                snapshot,
                offset,
                data,
            } => self.on_snapshot_chunk(from, snapshot, offset, data),
            Message::TimeoutNow => self.on_timeout_now(from),
            Message::Refused(refusal) => self.on_refused(refusal),
            Message::Appended { .. }
            | Message::AppendRejected { .. }
            | Message::HeartbeatReply { .. }
            | Message::SnapshotProgress { .. } => self.on_reply(from, incarnation, message),
        }
    }

    /// The state machine has applied up to here.
    pub fn applied(&mut self, index: Index) {
        if self.is_silent() {
            return;
        }
        self.applied = self.applied.max(index);
        self.begin_lease();
        self.begin_log_time();
        self.hand_out();
    }

    /// A snapshot that was taken here is durable: the log behind it may go, but for a tail.
    pub fn snapshot_taken(&mut self, meta: Arc<SnapshotMeta>) {
        if self
            .snapshot
            .as_ref()
            .is_some_and(|held| held.last.index >= meta.last.index)
        {
            return;
        }
        assert!(
            meta.last.index <= self.applied && meta.last.index <= self.disk.persisted,
            "a snapshot holds nothing that is not applied and durable"
        );
        self.log.compact(meta.last.index, self.settings.tail_bytes);
        self.snapshot = Some(meta);
    }

    /// What this node's configuration states, from now on.
    pub fn state(&mut self, statement: Statement) {
        self.statement = Some(statement);
    }

    /// Everything that has come up. Also sends what is waiting: proposals made since the last
    /// call travel together.
    pub fn output(&mut self) -> Output {
        if !self.is_silent() {
            self.send_appends();
        }
        self.write_out();
        self.hand_out();
        std::mem::take(&mut self.out)
    }

    /// Hands out committed entries to be applied: those that are durable here, a bounded number.
    fn hand_out(&mut self) {
        let most = Index(self.applied.0 + self.settings.max_applying_entries as u64);
        let durable = match mutation::is(Mutation::AppliesBeforeDurable) {
            true => self.commit,
            false => self.disk.persisted,
        };
        let to = self.commit.min(durable).min(most);
        if to <= self.applying || self.halted {
            return;
        }
        let entries = self.log.slice(self.applying.next(), to, usize::MAX);
        assert_eq!(
            entries.first().map(|entry| entry.index),
            Some(self.applying.next()),
            "entries stay in the log until they are applied"
        );
        self.out.committed.extend(entries);
        self.applying = to;
    }

    /// Takes the commit index forward.
    fn commit_to(&mut self, index: Index) {
        if index <= self.commit {
            return;
        }
        assert!(
            index <= self.log.last().index,
            "only what is there is committed"
        );
        let (mut bytes, mut members) = (0, false);
        for entry in self.log.range(self.commit.next(), index) {
            bytes += lead::proposed_bytes(entry);
            members |= matches!(entry.payload, Payload::Membership(_));
        }
        self.commit = index;
        if let State::Leader(leading) = &mut self.state {
            leading.uncommitted_bytes = leading.uncommitted_bytes.saturating_sub(bytes);
        }
        self.commit_is_news();
        let former = Arc::clone(&self.memberships[0].1);
        self.forget_settled_memberships();
        if members {
            if matches!(self.state, State::Leader(_)) {
                self.dismiss(&former);
            }
            self.on_membership_committed();
        }
        self.hand_out();
    }

    /// Keeps of the committed memberships only the newest.
    fn forget_settled_memberships(&mut self) {
        let settled = self
            .memberships
            .iter()
            .rposition(|(index, _)| *index <= self.commit)
            .unwrap_or(0);
        self.memberships.drain(..settled);
    }

    /// Queues a message; it leaves once the term and vote that it speaks of are durable.
    fn post(&mut self, to: NodeId, term: Term, message: Message) {
        let envelope = Envelope {
            from: self.id,
            incarnation: self.incarnation,
            to,
            term,
            message,
        };
        if self.disk.term_is_durable() || mutation::is(Mutation::AnswersBeforeTermIsDurable) {
            self.out.messages.push(envelope);
        } else {
            self.disk.hold(envelope);
        }
    }

    fn event(&mut self, event: CoreEvent) {
        self.out.events.push(event);
    }

    /// Does nothing more: what was seen contradicts what every node relies on.
    fn halt(&mut self, at: Position, what: &'static str) {
        self.fall_silent(CoreEvent::Halted { at, what });
    }

    /// Does nothing more, for the reason that the event tells.
    fn fall_silent(&mut self, event: CoreEvent) {
        if matches!(self.state, State::Leader(_)) {
            self.step_down(None);
        }
        self.halted = true;
        self.event(event);
    }

    /// Whether it neither says nor hears anything any more.
    fn is_silent(&self) -> bool {
        self.halted || self.disk.failed
    }
}

/// The log and the memberships in it, as a start finds them.
fn recovered_log(
    snapshot: Option<&SnapshotMeta>,
    mut entries: Vec<crate::entry::Entry>,
) -> (Log, Vec<(Index, Arc<Membership>)>) {
    let (mut base, mut base_time) = (Position::default(), LogTime(0));
    let mut memberships = vec![(Index(0), Arc::new(Membership::default()))];
    if let Some(meta) = snapshot {
        (base, base_time) = (meta.last, meta.time);
        memberships = vec![(meta.membership_index, Arc::clone(&meta.membership))];
        let first = entries
            .first()
            .map_or(base.index.next(), |entry| entry.index);
        let agrees =
            first == base.index.next() || entries.iter().any(|entry| entry.position() == meta.last);
        if !agrees {
            // The snapshot came from a leader, and the log that it replaced is still there.
            entries.clear();
        } else if first <= base.index {
            // The first entry that is left names the place where the log begins.
            let begin = entries.remove(0);
            (base, base_time) = (begin.position(), begin.time);
        }
    }
    let mut log = Log::new(base, base_time);
    for entry in entries {
        let newer = snapshot.is_none_or(|meta| entry.index > meta.last.index);
        if let (Payload::Membership(membership), true) = (&entry.payload, newer) {
            memberships.push((entry.index, Arc::clone(membership)));
        }
        log.append(entry);
    }
    (log, memberships)
}
