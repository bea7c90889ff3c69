//! What this node states in the stick table's log, and what its leader does there besides: ending
//! sessions of nodes that are silent, copying health verdicts, saying what every node knows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use log::Level;
use tcpffee_raft::core::Role;
use tcpffee_raft::driver::{Conflict, Handle, MakeMachine, Status, Trouble};
use tcpffee_raft::ids::{Index, LogTime, NodeId};

use super::differences::differences;
use super::hosts::Hosts;
use super::members::Members;
use super::milliseconds;
use super::peerage::Peerage;
use crate::config::GroupId;
use crate::groups;
use crate::history::{History, Kind};
use crate::proxy::{Generation, Statuses, View};
use crate::stick::replicated::command::{Full, Op, StatedGroup, Statement, Verdict};
use crate::stick::replicated::node::{Identity, Node, Saying};
use crate::stick::replicated::{Agreed, AgreedMember, Listener, Replica, machine};
use crate::watchdog::Pulse;

/// What the health checks make of the groups that are not Up, with reasons; none where that is not
/// known.
pub type Verdicts = Box<dyn Fn() -> Option<Vec<(GroupId, groups::Status, String)>> + Send>;

/// Between two looks, where nothing wakes the clerk.
const LOOK: Duration = Duration::from_millis(100);
/// A node unheard for as long holds nothing any more.
const SESSION_MS: u64 = 3_000;
/// Members come and go; between two looks.
const PEERS_LOOK: Duration = Duration::from_secs(1);
/// A new leader's own view of the checks is taken for the cluster's after as long.
const SETTLED: Duration = Duration::from_secs(1);
/// What a node unheard for as long states does not count any more.
const ABSENCE_MS: u64 = 60_000;

/// Why a group is Up again in a cluster.
const AGREED_UP: &str = "no node keeps it out";

/// What the thread that applies tells the clerk.
#[derive(Debug)]
pub(super) struct Clerk {
    identity: Identity,
    leads: AtomicBool,
    thread: Mutex<Option<Thread>>,
    /// Where this node's file differs from what is agreed on.
    differences: ArcSwap<Vec<String>>,
}

impl Clerk {
    pub fn new(identity: Identity) -> Clerk {
        Clerk {
            identity,
            leads: AtomicBool::new(false),
            thread: Mutex::default(),
            differences: ArcSwap::default(),
        }
    }

    /// Where this node's file differs from what is agreed on, a line for each point.
    pub fn differences(&self) -> Arc<Vec<String>> {
        self.differences.load_full()
    }

    /// There may be something to do.
    pub fn wake(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = &*thread {
            thread.unpark();
        }
    }

    /// Makes the machines of the replica's log, with the clerk listening.
    pub fn machines(self: &Arc<Clerk>, replica: Arc<Replica>, own: NodeId) -> MakeMachine {
        let clerk = Arc::clone(self);
        Box::new(move || {
            let ear = Box::new(Ear(Arc::clone(&clerk)));
            machine(Arc::clone(&replica), own, ear)
        })
    }
}

struct Ear(Arc<Clerk>);

impl Listener for Ear {
    fn agreed_changed(&mut self, _: &Arc<Agreed>) {
        self.0.wake();
    }

    fn became_leader(&mut self) {
        self.0.leads.store(true, Ordering::Release);
        self.0.wake();
    }

    fn ceased_to_lead(&mut self) {
        self.0.leads.store(false, Ordering::Release);
    }

    fn applied(&mut self, _: Index, _: LogTime) {}
}

/// The clerk's thread.
pub(super) struct Run {
    pub clerk: Arc<Clerk>,
    pub history: Arc<History>,
    pub hosts: Arc<Hosts>,
    pub node: Arc<Node>,
    pub handle: Handle,
    pub view: View,
    pub statuses: Arc<Statuses>,
    pub verdicts: Verdicts,
    pub peerage: Arc<Peerage>,
    pub is_stopping: Arc<AtomicBool>,
    pub pulse: Pulse,
}

/// What the clerk has said and not heard of yet, each of one kind at a time.
#[derive(Default)]
struct Said {
    statement: Option<Saying>,
    duties: Option<Saying>,
    /// What was agreed on when it last took effect here.
    shown: Option<Arc<Agreed>>,
    /// The log has had a word of this process: what it says from there on is news. What comes
    /// before is gone through once more at each start, and happened long ago.
    has_caught_up: bool,
    /// When the peers were last looked at.
    peers_at: Option<Instant>,
    /// Since when this node leads.
    leads_since: Option<Instant>,
    members: Members,
}

impl Run {
    pub fn run(self) {
        *self
            .clerk
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
        let mut said = Said::default();
        while !self.is_stopping.load(Ordering::Acquire) {
            self.pulse.beat();
            let agreed = self.node.replica().agreed();
            self.show(&agreed, &mut said);
            let status = self.handle.status();
            self.node.bar(barred(&status));
            self.tell_members(&status, &mut said);
            self.state(&agreed, &mut said);
            self.lead(&agreed, &status, &mut said);
            if said.peers_at.is_none_or(|at| at.elapsed() >= PEERS_LOOK) {
                said.peers_at = Some(Instant::now());
                self.peerage.refresh(&self.view.generation().config);
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Has what is agreed on take effect on this node's groups. What it was before this process began
    /// is nothing to tell, and no group has come back by it.
    fn show(&self, agreed: &Arc<Agreed>, said: &mut Said) {
        let is_news = said
            .shown
            .as_ref()
            .is_none_or(|shown| !Arc::ptr_eq(shown, agreed));
        let catches_up = !said.has_caught_up && self.own(agreed).is_some();
        said.has_caught_up |= catches_up;
        let generation = self.view.generation();
        for group in generation.groups.iter() {
            let (status, reason) = agreed_status(agreed, group.id);
            if let Some(terms) = agreed.groups.get(&group.id) {
                group.counters.agree_on_terms(terms.weight, terms.backup);
            }
            let cell = &group.counters.agreed;
            let (before, why) = cell.with_reason();
            let differs = before != status || *why != *reason;
            if differs {
                cell.set(status, &reason);
            }
            if catches_up || (differs && said.has_caught_up) {
                let cause = match reason.as_str() {
                    "" => AGREED_UP,
                    reason => reason,
                };
                self.statuses.review(group.id, cause, Level::Debug);
                // Routes go by it even where what this node finds is worse, and stays.
                self.statuses.enforce();
            }
        }
        if is_news && said.has_caught_up {
            self.tell_apart(agreed);
            said.shown = Some(Arc::clone(agreed));
        }
    }

    /// Says what this node's file says otherwise than the others'.
    fn tell_apart(&self, agreed: &Agreed) {
        let apart = differences(agreed, self.clerk.identity.node, &self.hosts);
        let before = self.clerk.differences.swap(Arc::new(apart));
        let now = self.clerk.differences();
        for line in now.iter().filter(|line| !before.contains(line)) {
            log::warn!("{line}");
            self.history.note(Kind::Cluster, true, line.clone());
        }
        if now.is_empty() && !before.is_empty() {
            let text = "this node's file and what is agreed on are the same again";
            self.history.note(Kind::Cluster, false, text);
        }
    }

    /// Notes who has come and who has left.
    fn tell_members(&self, status: &Status, said: &mut Said) {
        let (voters, learners) = (&status.voters, &status.learners);
        for line in said.members.news(voters, learners, &self.hosts) {
            let text = format!("stick table: {line}");
            self.history.note(Kind::Cluster, false, text);
        }
    }

    /// What this process has stated in the log, where it counts.
    fn own<'a>(&self, agreed: &'a Agreed) -> Option<&'a AgreedMember> {
        let own = agreed.members.get(&self.clerk.identity.node);
        own.filter(|own| own.boot == self.clerk.identity.boot && own.present)
    }

    /// Has the log know what this process states.
    fn state(&self, agreed: &Agreed, said: &mut Said) {
        let own = self.own(agreed);
        let wanted = statement(&self.view.generation());
        self.node.set_stated(own.is_some());
        if own.is_some_and(|own| *own.statement == wanted) {
            said.statement = None;
        } else if said.statement.as_ref().is_none_or(Saying::is_over) {
            said.statement = Some(self.node.say(vec![Op::State(wanted)]));
        }
    }

    /// What is a leader's to do.
    fn lead(&self, agreed: &Agreed, status: &Status, said: &mut Said) {
        if status.role != Role::Leader || !self.clerk.leads.load(Ordering::Acquire) {
            said.leads_since = None;
            said.duties = None;
            return;
        }
        let since = *said.leads_since.get_or_insert_with(Instant::now);
        if said.duties.as_ref().is_some_and(|duties| !duties.is_over()) {
            return;
        }
        let mut ops = Vec::new();
        for (&node, member) in &agreed.members {
            ops.extend(about_member(
                node,
                member,
                status,
                milliseconds(since.elapsed()),
            ));
        }
        // What follows from the checks takes a moment to be known here.
        let verdicts = self
            .wanted_verdicts()
            .filter(|_| since.elapsed() >= SETTLED);
        let statuses = |verdicts: &[Verdict]| -> Vec<_> {
            let verdicts = verdicts.iter();
            verdicts
                .map(|verdict| (verdict.group, verdict.status))
                .collect()
        };
        if let Some(verdicts) = verdicts
            && statuses(&verdicts) != statuses(&agreed.verdicts)
        {
            ops.push(Op::Verdicts(verdicts));
        }
        let newest_first = agreed
            .fences
            .last()
            .into_iter()
            .chain(agreed.fences.first());
        ops.extend(
            newest_first
                .copied()
                .find(|&index| self.handle.fence(index))
                .map(Op::Passed),
        );
        said.duties = (!ops.is_empty()).then(|| self.node.say(ops));
    }

    fn wanted_verdicts(&self) -> Option<Vec<Verdict>> {
        let mut verdicts: Vec<Verdict> = (self.verdicts)()?
            .into_iter()
            .map(|(group, status, reason)| Verdict::new(group, status, &reason))
            .collect();
        verdicts.sort_by_key(|verdict| verdict.group);
        Some(verdicts)
    }
}

/// What a leader says of a member that it has not heard for a while.
fn about_member(
    node: NodeId,
    member: &AgreedMember,
    status: &Status,
    leads_for_ms: u64,
) -> Option<Op> {
    if node == status.node {
        return None;
    }
    let view = status.members.iter().find(|view| view.id == node);
    let silent_ms = view.and_then(|view| view.silent_ms);
    // Who has not been heard by this leader may have been by the one before.
    let silent_ms = silent_ms.unwrap_or(leads_for_ms);
    if member.present && silent_ms >= ABSENCE_MS {
        return Some(Op::Absent { node });
    }
    let boot = member.boot;
    (member.has_session && silent_ms >= SESSION_MS).then_some(Op::EndSession { node, boot })
}

/// What the cluster makes of a group, and why; Up before anything is agreed on.
fn agreed_status(agreed: &Agreed, id: GroupId) -> (groups::Status, String) {
    match agreed.groups.get(&id) {
        Some(group) if group.takes_new => (groups::Status::Up, String::new()),
        Some(group) => (
            group.status.max(groups::Status::Draining),
            group.reason.clone(),
        ),
        None if agreed.groups.is_empty() => (groups::Status::Up, String::new()),
        None => (
            groups::Status::Draining,
            "the cluster has not agreed on it yet".to_owned(),
        ),
    }
}

/// Whether what this node's file and operators say stands in the log, and its groups show what the
/// cluster makes of them.
pub(super) fn has_taken_effect(agreed: &Agreed, own: NodeId, generation: &Generation) -> bool {
    let member = agreed.members.get(&own);
    let is_stated = member.is_some_and(|member| *member.statement == statement(generation));
    let shows =
        |group: &groups::Group| group.counters.agreed.status() == agreed_status(agreed, group.id).0;
    is_stated && generation.groups.iter().all(shows)
}

/// What this node's file, and its operators, say.
fn statement(generation: &Generation) -> Statement {
    let config = &generation.config;
    let groups = generation.groups.iter().map(|group| StatedGroup {
        id: group.id,
        status: group.stated(),
        weight: group.weight,
        backup: group.backup,
    });
    Statement {
        expiration_ms: milliseconds(config.expiration),
        max_entries: config.stick_table_max_entries as u64,
        full: Full::from(config.stick_table_full),
        groups: groups.collect(),
    }
}

/// Why a node may not serve, by what its Raft group says.
fn barred(status: &Status) -> Option<String> {
    if let Some(trouble @ (Trouble::Dismissed | Trouble::Halted { .. })) = &status.trouble {
        return Some(trouble.to_string());
    }
    let bars = |conflict: &&Conflict| {
        matches!(
            conflict,
            Conflict::Agreement { .. } | Conflict::Impostor | Conflict::Cluster { .. }
        )
    };
    status
        .conflicts
        .values()
        .find(bars)
        .map(ToString::to_string)
}
