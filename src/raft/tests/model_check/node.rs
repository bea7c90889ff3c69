//! One node of the model: the real core, with a disk that takes its time and a state machine that
//! only remembers.

use std::sync::Arc;

use tcpffee_raft::core::{Core, CoreEvent, Output, Start};
use tcpffee_raft::durable::{HardState, Recovered, Write};
use tcpffee_raft::entry::{Entry, Payload};
use tcpffee_raft::ids::{Incarnation, Index, LogTime, NodeId, NodeTime, StoreId, Term};
use tcpffee_raft::membership::{Member, Membership, RecordedLife, Role, Statement};
use tcpffee_raft::message::Envelope;
use tcpffee_raft::settings::Settings;

/// Nodes of the cluster, all of them voters.
pub const NODES: usize = 3;

/// When a disk says that something is durable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Disk {
    /// When it is.
    Honest,
    /// As soon as it is asked to: a crash may still lose it. Wrong on purpose.
    Lying,
}

/// A node between two steps.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    id: NodeId,
    disk: Disk,
    start: u64,
    now: NodeTime,
    /// The consensus.
    pub core: Core,
    durable: Durable,
    /// Asked to be made durable, in this order.
    pending: Vec<Write>,
    /// Applied since the node started, from the log's first entry on.
    pub applied: Vec<Entry>,
    /// What must never come up here.
    pub alarms: Vec<CoreEvent>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Durable {
    hard_state: HardState,
    entries: Vec<Entry>,
}

/// The id of the node at a place.
pub fn id_of(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

/// Times with nothing random in them, so that states that differ only in draws are one; and each
/// entry travels by itself.
pub fn settings() -> Settings {
    Settings {
        election_min_ms: 300,
        election_max_ms: 300,
        // No time entries: they would come with every long step of the clock.
        time_entry_ms: u64::MAX,
        commit_news_ms: 0,
        max_append_bytes: 1,
        ..Settings::default()
    }
}

impl Node {
    /// The node of a cluster that has just been formed.
    pub fn formed(node: usize, disk: Disk) -> Node {
        let durable = Durable {
            hard_state: HardState {
                term: Term(1),
                vote: None,
                commit: Index(1),
            },
            entries: vec![genesis()],
        };
        let core = started(id_of(node), 1, &durable);
        Node {
            id: id_of(node),
            disk,
            start: 1,
            now: NodeTime(0),
            core,
            durable,
            pending: Vec::new(),
            applied: Vec::new(),
            alarms: Vec::new(),
        }
    }

    /// Whether something waits to be durable.
    pub fn is_writing(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The core's clock goes on.
    pub fn elapse(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        self.core.tick(self.now);
    }

    /// The oldest write becomes durable.
    pub fn persist(&mut self) {
        let write = self.pending.remove(0);
        self.durable.take(&write);
        if self.disk == Disk::Honest {
            self.core.persisted(write.id);
        }
    }

    /// The commands among what it has applied.
    pub fn applied_commands(&self) -> Vec<&Entry> {
        self.applied
            .iter()
            .filter(|entry| is_command(entry))
            .collect()
    }

    /// The log up to a place.
    pub fn log_to(&self, last: Index) -> Vec<Entry> {
        (1..=last.0)
            .filter_map(|index| self.core.entry(Index(index)).cloned())
            .collect()
    }

    /// The process ends, what is not durable is gone, the process starts again.
    pub fn crash(&mut self) {
        self.start += 1;
        self.now = NodeTime(0);
        self.pending.clear();
        self.applied.clear();
        self.core = started(self.id, self.start, &self.durable);
    }

    /// Carries out everything that the core asks for; the messages are left to be delivered.
    pub fn settle(&mut self) -> Vec<Envelope> {
        let mut sent = Vec::new();
        loop {
            let output = self.core.output();
            if output == Output::default() {
                return sent;
            }
            sent.extend(output.messages);
            self.alarms
                .extend(output.events.into_iter().filter(is_alarm));
            for write in output.writes {
                self.ask_to_write(write);
            }
            if let Some(last) = output.committed.last() {
                let last = last.index;
                self.applied.extend(output.committed);
                self.core.applied(last);
            }
            let other = (output.restore, output.chunk_reads, output.chunk_writes);
            assert_eq!(other, Default::default(), "no snapshot was ever taken");
        }
    }

    fn ask_to_write(&mut self, write: Write) {
        if self.disk == Disk::Lying {
            self.core.persisted(write.id);
        }
        self.pending.push(write);
    }
}

impl Durable {
    fn take(&mut self, write: &Write) {
        assert_eq!(write.reset, None, "no snapshot was ever taken");
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(first) = write.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            self.entries.extend(write.entries.iter().cloned());
        }
    }
}

/// The same start counter has always the same boot number: what tells lives apart here is the
/// counter.
fn incarnation(id: NodeId, start: u64) -> Incarnation {
    Incarnation {
        store: StoreId(u128::from(id.0)),
        start,
        boot: start,
    }
}

fn started(id: NodeId, start: u64, durable: &Durable) -> Core {
    Core::new(Start {
        id,
        incarnation: incarnation(id, start),
        settings: settings(),
        seed: 0,
        now: NodeTime(0),
        statement: Some(statement()),
        recovered: Recovered {
            hard_state: durable.hard_state,
            snapshot: None,
            entries: durable.entries.clone(),
        },
    })
}

fn statement() -> Statement {
    Statement {
        peers: (0..NODES).map(id_of).collect(),
        version: 1,
    }
}

/// The entry by which every founder's log begins.
fn genesis() -> Entry {
    let member = |node| {
        let member = Member {
            role: Role::Voter,
            life: Some(RecordedLife {
                incarnation: incarnation(id_of(node), 1),
                recorded_at: Index(1),
            }),
            statement: Some(statement()),
        };
        (id_of(node), member)
    };
    let founders = Membership {
        members: (0..NODES).map(member).collect(),
        retired: Vec::new(),
    };
    Entry {
        index: Index(1),
        term: Term(1),
        time: LogTime(0),
        payload: Payload::Membership(Arc::new(founders)),
    }
}

/// Nobody is wiped, copied or removed in this model.
fn is_alarm(event: &CoreEvent) -> bool {
    matches!(
        event,
        CoreEvent::Halted { .. }
            | CoreEvent::Impostor(_)
            | CoreEvent::StoreRetired(_)
            | CoreEvent::Dismissed
    )
}

/// Whether a command stands in the node's log.
pub fn holds_command(node: &Node) -> bool {
    node.log_to(node.core.last().index).iter().any(is_command)
}

/// Whether an entry is for the state machine.
pub fn is_command(entry: &Entry) -> bool {
    matches!(entry.payload, Payload::Command(_))
}
