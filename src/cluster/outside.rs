//! What surrounds the stick table's node.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use tcpffee_raft::driver::{Handle, boot_time};
use tcpffee_raft::ids::NodeTime;
use tcpffee_raft::proposals::Done;

use crate::groups::Groups;
use crate::history::{History, Kind};
use crate::proxy::{Completer, View};
use crate::stick::replicated::node::Outside;
use crate::stick::{Route, Ticket};

/// Raft, the proxy and the log.
pub(super) struct Surroundings {
    handle: Handle,
    history: Arc<History>,
    proxy: OnceLock<(Completer, View)>,
    /// Answers from before the proxy could be told.
    early: Mutex<Vec<(Ticket, Route)>>,
}

impl Surroundings {
    pub fn new(handle: Handle, history: Arc<History>) -> Surroundings {
        Surroundings {
            handle,
            history,
            proxy: OnceLock::new(),
            early: Mutex::default(),
        }
    }

    /// From now on answers go there.
    pub fn connect(&self, completer: Completer, view: View) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        for (ticket, route) in early.drain(..) {
            completer.complete(ticket, route);
        }
        // There is one proxy in a process.
        let _ = self.proxy.set((completer, view));
    }
}

impl Outside for Arc<Surroundings> {
    fn now(&self) -> NodeTime {
        boot_time()
    }

    fn propose(&self, body: Bytes, version: u16, deadline: NodeTime, done: Done) {
        self.handle.propose(body, version, deadline, done);
    }

    fn complete(&self, ticket: Ticket, route: Route) {
        if let Some((completer, _)) = self.proxy.get() {
            return completer.complete(ticket, route);
        }
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        match self.proxy.get() {
            Some((completer, _)) => completer.complete(ticket, route),
            None => early.push((ticket, route)),
        }
    }

    fn with_groups(&self, look: &mut dyn FnMut(&Groups)) {
        if let Some((_, view)) = self.proxy.get() {
            look(&view.generation().groups);
        }
    }

    fn note(&self, is_warning: bool, text: String) {
        match is_warning {
            true => log::warn!("{text}"),
            false => log::info!("{text}"),
        }
        self.history.note(Kind::Cluster, is_warning, text);
    }
}
