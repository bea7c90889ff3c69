//! Raft with tcpffee's stick table behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use tcpffee::config::GroupId;
use tcpffee::groups::{GroupRegistry, Status};
use tcpffee::stick::replicated::command::{
    Answer, Batch, Full, Op, StatedGroup, Statement, VERSION,
};
use tcpffee::stick::replicated::{Agreed, Listener, Replica, encode, machine};
use tcpffee_raft::driver::{self, Config, Handle, Network, ProposalLimits, SNAPSHOT_AFTER_BYTES};
use tcpffee_raft::ids::{ClusterId, Index, LogTime, NodeId, NodeTime};
use tcpffee_raft::membership;
use tcpffee_raft::proposals::ProposalError;
use tcpffee_raft::settings::Settings;
use tcpffee_raft::store::files::SystemFiles;
use tcpffee_raft::transport::PeerAddress;
use tcpffee_raft::wire::hello::Agreement;
use tcpffee_raft::wire::secrets::Secrets;
use tcpffee_raft::{store, transport};

use crate::cli::ClusterNodeOptions;

/// Groups that keys are given to.
pub const GROUPS: u32 = 2;
/// More than any measurement makes.
const MAX_ENTRIES: u64 = 10_000_000;
/// No entry expires while something is measured.
const EXPIRATION_MS: u64 = 3_600_000;
/// How long a proposal may take.
const PATIENCE_MS: u64 = 30_000;

/// A node that runs.
pub struct Sticky {
    /// Its Raft.
    pub raft: Handle,
    /// Its copy of the table.
    pub replica: Arc<Replica>,
    node: NodeId,
    boot: u64,
}

/// Opens the store, listens, and begins to state what tcpffee's file would say.
pub fn start(options: &ClusterNodeOptions) -> anyhow::Result<Arc<Sticky>> {
    let replica = Replica::new(Arc::new(GroupRegistry::new(1)));
    let node = NodeId(options.id);
    let written = Arc::clone(&replica);
    let raft = driver::start(
        SystemFiles,
        config(options)?,
        Box::new(move || machine(Arc::clone(&written), node, Box::new(Deaf))),
        None,
        Box::new(|event| log::info!("{event:?}")),
    )?;
    let ClusterId(drawn) = ClusterId::draw().context("draw the number of this process")?;
    let sticky = Arc::new(Sticky {
        raft,
        replica,
        node,
        boot: drawn as u64, // half of it is random enough
    });
    let states = Arc::clone(&sticky);
    thread::Builder::new()
        .name("states".to_owned())
        .spawn(move || states.state())
        .context("start a thread")?;
    Ok(sticky)
}

impl Sticky {
    /// Proposes operations as tcpffee's nodes do.
    pub fn propose(
        &self,
        ops: Vec<Op>,
        done: impl FnOnce(Result<Answer, String>) + Send + 'static,
    ) {
        let batch = Batch {
            from: self.node,
            boot: self.boot,
            ops,
        };
        let done = Box::new(move |result: Result<Bytes, ProposalError>| {
            let bytes = result.map_err(|error| error.to_string());
            done(bytes.and_then(|bytes| Answer::decode(&bytes).map_err(|error| error.to_string())));
        });
        let deadline = NodeTime(driver::boot_time().0 + PATIENCE_MS);
        self.raft.propose(encode(&batch), VERSION, deadline, done);
    }

    /// Says what tcpffee's file would, until the log has it.
    fn state(&self) {
        loop {
            let (sender, answer) = std::sync::mpsc::channel();
            self.propose(vec![Op::State(statement())], move |result| {
                // It is waited for below.
                let _ = sender.send(result);
            });
            match answer.recv() {
                Ok(Ok(_)) => return,
                Ok(Err(error)) => log::warn!("this node's statement: {error}"),
                Err(error) => log::warn!("this node's statement: {error}"),
            }
        }
    }

    /// Whether new keys can be given groups: most nodes have stated theirs.
    pub fn is_agreed(&self) -> bool {
        let agreed = self.replica.agreed();
        agreed.max_entries == MAX_ENTRIES && (0..GROUPS).all(|id| agreed.takes_new(GroupId(id)))
    }
}

fn statement() -> Statement {
    let group = |id| StatedGroup {
        id: GroupId(id),
        status: Status::Up,
        weight: 1,
        backup: false,
    };
    Statement {
        expiration_ms: EXPIRATION_MS,
        max_entries: MAX_ENTRIES,
        full: Full::Refuse,
        groups: (0..GROUPS).map(group).collect(),
    }
}

/// Nobody needs to be told.
struct Deaf;

impl Listener for Deaf {
    fn agreed_changed(&mut self, _: &Arc<Agreed>) {}

    fn became_leader(&mut self) {}

    fn ceased_to_lead(&mut self) {}

    fn applied(&mut self, _: Index, _: LogTime) {}
}

fn config(options: &ClusterNodeOptions) -> anyhow::Result<Config> {
    let peers: Vec<PeerAddress> = options
        .peer
        .iter()
        .map(|text| peer(text).with_context(|| format!("--peer {text}")))
        .collect::<Result<_, _>>()?;
    let node = NodeId(options.id);
    let own = peers.iter().find(|peer| peer.id == node).copied();
    let own = own.context("no --peer is this node")?;
    let mut ids: Vec<NodeId> = peers.iter().map(|peer| peer.id).collect();
    ids.sort_unstable();
    Ok(Config {
        group: "stick table".to_owned(),
        node,
        folder: options.directory.clone(),
        store: store::Limits::default(),
        settings: Settings::default(),
        proposals: ProposalLimits::default(),
        snapshot_after_bytes: options.snapshot_after_bytes.unwrap_or(SNAPSHOT_AFTER_BYTES),
        statement: membership::Statement {
            peers: ids,
            version: VERSION,
        },
        network: Network {
            listen_logs: own.logs,
            listen_proposals: own.proposals,
            peers,
            agreement: Agreement {
                hash: [0; 32],
                text: "sticks".to_owned(),
            },
            secrets: Secrets::none(),
            limits: transport::Limits::default(),
        },
    })
}

fn peer(text: &str) -> anyhow::Result<PeerAddress> {
    let parts = text.split_once('=').and_then(|(id, addresses)| {
        let (logs, proposals) = addresses.split_once(',')?;
        Some((id, logs, proposals))
    });
    let (id, logs, proposals) =
        parts.ok_or_else(|| anyhow!("expected NUMBER=LOGS_ADDRESS,PROPOSALS_ADDRESS"))?;
    let address = |text: &str| text.parse::<SocketAddr>().with_context(|| text.to_owned());
    Ok(PeerAddress {
        id: NodeId(id.parse().with_context(|| id.to_owned())?),
        logs: address(logs)?,
        proposals: address(proposals)?,
    })
}
