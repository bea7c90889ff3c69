//! What others hold of a node that runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{RecvTimeoutError, Sender, TrySendError};

use super::mailbox::Outbox;
use super::status::Status;
use crate::core::{Change, ChangeError, TransferError};
use crate::forming::{Ask, Operator, Report};
use crate::ids::{Index, NodeId, NodeTime, Position};
use crate::lease::LeaseReader;
use crate::membership::Statement;
use crate::proposals::{Done, ProposalError};
use crate::transport::PeerAddress;
use crate::wire::hello::Agreement;
use crate::wire::secrets::Secrets;

/// How long an answer of the driver is waited for; it answers within a turn of its loop.
const PATIENCE: Duration = Duration::from_secs(5);

/// A command on its way to the driver.
pub(super) struct Proposal {
    pub(super) body: Bytes,
    pub(super) version: u16,
    pub(super) deadline: NodeTime,
    pub(super) done: Promise,
}

/// Who is to hear what becomes of a proposal: always somebody does. Where it is dropped on its
/// way, the node has stopped.
pub(super) struct Promise(Option<Done>);

impl Promise {
    fn keep(self, result: Result<Bytes, ProposalError>) {
        self.into_done()(result);
    }

    /// For whoever keeps it from now on.
    pub(super) fn into_done(mut self) -> Done {
        self.0.take().expect("only what consumes it takes it")
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(ProposalError::Stopped));
        }
    }
}

/// Called in the driver's thread; dropped without, where the node has stopped.
pub type Turned = Box<dyn FnOnce() + Send>;

/// What the driver is asked to do.
pub(super) enum Request {
    Peers(Vec<PeerAddress>),
    Agreement(Agreement),
    Secrets(Secrets),
    State(Statement),
    Transfer(NodeId, Sender<Result<(), TransferError>>),
    Change(Change, Sender<Result<Position, ChangeError>>),
    Fence(Index, Sender<bool>),
    Operate(Ask, Sender<Report>),
    Snapshot,
    Turn(Turned),
    Stop,
}

/// A node that runs. Clones are the same node; it stops when the last one is dropped.
#[derive(Clone)]
pub struct Handle {
    pub(super) proposals: Outbox<Proposal>,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) requests: Outbox<Request>,
    pub(super) status: Arc<Mutex<Option<Status>>>,
    pub(super) lease: LeaseReader,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
}

/// Why a request has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError<E> {
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] E),
    /// The node has stopped, or does not answer; what was asked may yet be done.
    #[error("the node has stopped or does not answer")]
    Silent,
}

impl Handle {
    /// Proposes a command: sends it to whoever leads, and again until there is an answer or
    /// `deadline` has passed; it is applied once at most. `done` hears what became of it: in the
    /// driver's thread, or in this one where it is refused at once. It must not wait.
    pub fn propose(&self, body: Bytes, version: u16, deadline: NodeTime, done: Done) {
        let proposal = Proposal {
            body,
            version,
            deadline,
            done: Promise(Some(done)),
        };
        match self.proposals.try_send(proposal) {
            Ok(()) => {}
            Err(TrySendError::Full(proposal)) => proposal.done.keep(Err(ProposalError::Busy {
                waiting: super::PROPOSALS_QUEUED,
                waiting_bytes: 0,
            })),
            Err(TrySendError::Disconnected(proposal)) => {
                proposal.done.keep(Err(ProposalError::Stopped));
            }
        }
    }

    /// [`Handle::propose`], waiting for the answer.
    ///
    /// # Errors
    /// As [`ProposalError`] says.
    pub fn propose_and_wait(
        &self,
        body: Bytes,
        version: u16,
        deadline: NodeTime,
    ) -> Result<Bytes, ProposalError> {
        let (sender, answer) = crossbeam_channel::bounded(1);
        let done = Box::new(move |result| {
            // Whoever asked waits until this is called or dropped.
            let _ = sender.send(result);
        });
        self.propose(body, version, deadline, done);
        answer.recv().unwrap_or(Err(ProposalError::Stopped))
    }

    /// How the node stands, as of some milliseconds ago at most.
    pub fn status(&self) -> Status {
        let status = self.shared.status.lock();
        let status = status.unwrap_or_else(PoisonError::into_inner).clone();
        status.expect("it is there before the node is handed out")
    }

    /// Until when it may answer by itself: for hot paths.
    pub fn lease(&self) -> LeaseReader {
        self.shared.lease.clone()
    }

    /// Where the peers are from now on.
    pub fn set_peers(&self, peers: Vec<PeerAddress>) {
        self.ask(Request::Peers(peers));
    }

    /// What must be the same on all nodes is this from now on; connections begin anew.
    pub fn set_agreement(&self, agreement: Agreement) {
        self.ask(Request::Agreement(agreement));
    }

    /// What all nodes share is this from now on; connections begin anew.
    pub fn set_secrets(&self, secrets: Secrets) {
        self.ask(Request::Secrets(secrets));
    }

    /// What the node's configuration states from now on.
    pub fn state(&self, statement: Statement) {
        self.ask(Request::State(statement));
    }

    /// Takes a snapshot soon, however little has changed since the last one.
    pub fn take_snapshot(&self) {
        self.ask(Request::Snapshot);
    }

    /// Has the driver call `turned`, which must not wait, within its next turn: to see whether it
    /// does. Never waits.
    pub fn on_turn(&self, turned: Turned) {
        self.ask(Request::Turn(turned));
    }

    /// Hands leadership over.
    ///
    /// # Errors
    /// Where this node does not lead or the other may not; where it does not answer.
    pub fn transfer_leadership(&self, to: NodeId) -> Result<(), RequestError<TransferError>> {
        Ok(self.wait(|reply| Request::Transfer(to, reply))??)
    }

    /// Changes the membership. It is in force at once, and certain once the place that is
    /// answered is committed.
    ///
    /// # Errors
    /// Where it may not be changed so, or not now; where the node does not answer.
    pub fn change_membership(&self, change: Change) -> Result<Position, RequestError<ChangeError>> {
        Ok(self.wait(|reply| Request::Change(change, reply))??)
    }

    /// Whether this node leads, and no node answers from a state that lacks `index` any more.
    /// Not to be asked from the driver's own thread.
    pub fn fence(&self, index: Index) -> bool {
        self.wait::<_, ChangeError>(|reply| Request::Fence(index, reply))
            .unwrap_or(false)
    }

    /// Stops the node in good order and waits until its threads have ended: as leader it hands
    /// over before, for as long as the longest election time-out; what was taken in is durable
    /// then, and proposals without an answer have been told so. Later calls do nothing.
    pub fn stop(&self) {
        self.shared.stop();
    }

    fn ask(&self, request: Request) {
        // A node that has stopped has nothing to be told.
        let _ = self.shared.requests.send(request);
    }

    fn wait<T, E>(&self, request: impl FnOnce(Sender<T>) -> Request) -> Result<T, RequestError<E>> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.ask(request(reply));
        answer
            .recv_timeout(PATIENCE)
            .map_err(|_| RequestError::Silent)
    }
}

impl Operator for Handle {
    fn operate(&mut self, ask: Ask) -> Report {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.ask(Request::Operate(ask, reply));
        answer.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            Report::Silent(match error {
                RecvTimeoutError::Timeout => "the node does not answer".to_owned(),
                RecvTimeoutError::Disconnected => "the node has stopped".to_owned(),
            })
        })
    }
}

impl Shared {
    fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
        let thread = self.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        // Where the last handle is dropped by the driver itself, it ends without being waited for.
        let foreign = |thread: &JoinHandle<()>| thread.thread().id() != std::thread::current().id();
        if let Some(thread) = thread.filter(foreign) {
            // One that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop();
    }
}
