//! What runs a node: threads, clock, disk and network around the core.
//!
//! ```text
//!                 proposals, requests          peers
//!                         │                      │
//!                         ▼                      ▼
//!    ┌───────────── driver: core, transport, proposal client ─────────────┐
//!    │        │                     │                        │            │
//!    │      writes            committed entries       snapshot pieces     │
//!    │        ▼                     ▼                        ▼            │
//!    │   log writer             applier: state        snapshots: local    │
//!    │   append, fdatasync      machine, sessions ──▶ ones, arriving,     │
//!    │        │                     │        marked   leaving ones        │
//!    └──◀─ persisted ───────◀─ applied, answers ─────◀─ stored, read ─────┘
//! ```
//!
//! One thread for each Raft group runs core and transport on one poll and never waits for the
//! disk, the state machine or another thread. What the others do comes back as reports. A slow
//! disk therefore delays acknowledgements, and never heartbeats.
//!
//! - **Batching.** A turn of the loop takes in everything that has come before it asks the core
//!   once what follows; the log writer appends all that has queued up and syncs once.
//! - **Order.** Writes, entries to be applied and pieces of snapshots each go through one queue
//!   and are carried out in its order. A snapshot to be restored goes through the applier's queue
//!   as entries do.
//! - **Failure.** A write that fails is reported to the core and never tried again: the node
//!   neither leads, votes nor acknowledges until it is restarted. A thread that panics takes the
//!   process down. A snapshot that fails is tried again later.
//! - **Bounds.** Proposals wait in a bounded queue; what the core hands out is bounded by its
//!   settings; what arrives, by the transport. Requests are few, those of the node's owner, and
//!   may be made in the driver's own thread: their queue has no bound, so that none waits there.

mod applier; // the thread that owns the state machine
mod clock; // boot time
mod commands; // proposals of this node and of others
mod config; // what a node is started with
mod conflicts; // peers that are not taken
mod founding; // how it comes to belong to a cluster
mod handle; // what others hold of it
mod life; // a store, a core and threads
mod mailbox; // ways into the driver's thread
mod node; // the driver's thread
mod order; // orders that were not finished
mod output; // what the core asks for
mod peers; // what peers say
mod report; // what the other threads tell
mod reports; // the same, taken in
mod requests; // what the owner asks
mod saving; // when snapshots are taken
mod snapshots; // the thread for snapshots
mod state_stream; // a snapshot's bytes
mod status; // what a node tells of itself
mod threads; // threads that must not die
mod workers; // all of them but the driver's
mod writer; // the thread that writes the log

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use mio::{Poll, Token, Waker};

use crate::entry::ClientId;
use crate::ids::NodeTime;
use crate::lease::LeaseWriter;
use crate::proposals::client::{self, Client};
use crate::proposals::desk::Desk;
use crate::store::files::Files;
use crate::transport::{Transport, TransportConfig};
use crate::wire::frame::MAX_BODY_BYTES;

pub use clock::boot_time;
pub use config::{
    Config, Event, MakeMachine, Network, Notify, ProposalLimits, SNAPSHOT_AFTER_BYTES, Seed,
    StartError,
};
pub use conflicts::Conflict;
pub use handle::{Handle, RequestError, Turned};
pub use status::{Counters, Status, Trouble};

use conflicts::Conflicts;
use handle::Shared;
use life::{Beginning, Life};
use mailbox::{Bell, Outbox};
use node::{Node, Stopping};
use saving::Saving;

/// Local proposals that wait for the driver's next turn.
const PROPOSALS_QUEUED: usize = 4096;

/// More than a frame holds beside a command, a batch or a piece: with a piece of a snapshot goes
/// the membership, of [`crate::membership::MAX_MEMBERS`] at most.
const AROUND_BYTES: usize = 128 * 1024;

/// Heartbeats after which a proposal without an answer is sent again.
const RESEND_HEARTBEATS: u64 = 10;

/// The poll's token for the bell.
const BELL: Token = Token(0);

/// The first of the transport's tokens.
const TRANSPORT: usize = 1;

/// Starts a node: opens its store, restores its state machine, listens, and runs until it is
/// stopped. `seed` is a lone node's state, from which a cluster may be formed.
///
/// # Errors
/// Where the store cannot be used, the state not be restored, or an address not be listened at.
pub fn start<F: Files>(
    files: F,
    config: Config,
    mut make_machine: MakeMachine,
    seed: Option<Seed>,
    notify: Notify,
) -> Result<Handle, StartError> {
    let group = config.group.clone();
    check_bounds(&config)?;
    let system = |doing| {
        let group = group.clone();
        move |source: io::Error| StartError::System {
            group,
            doing,
            source,
        }
    };
    let poll = Poll::new().map_err(system("making an event queue"))?;
    let waker = Waker::new(poll.registry(), BELL).map_err(system("making a waker"))?;
    let bell = Bell::new(waker);
    let (life, found) = Life::begin(
        &files,
        &config,
        &mut make_machine,
        &bell,
        Beginning::Counted,
    )?;
    let now = boot_time();
    let joined = life.cluster();
    let transport = Transport::open(
        transport_config(&config, &life),
        poll.registry(),
        TRANSPORT,
        now,
    )?;
    let forming = founding::forming(&config, &life, found, seed.as_ref(), now)?;
    let trouble = life.unfinished.map(Trouble::Unfinished);
    if let Some(trouble) = &trouble {
        log::error!("raft {group}: {trouble}");
    }
    let (proposals, proposals_in) = Outbox::new(PROPOSALS_QUEUED, &bell);
    let (requests, requests_in) = Outbox::unbounded(&bell);
    let lease = LeaseWriter::new(config.settings.hit_lease_ms);
    let client = client(&config, &life);
    let reader = lease.reader();
    let mut node = Node {
        files,
        make_machine,
        notify,
        seed,
        poll,
        bell,
        transport,
        proposals: proposals_in,
        requests: requests_in,
        life,
        forming,
        joined,
        joining: None,
        forming_told: now,
        lease,
        client,
        desk: Desk::default(),
        answers: BTreeMap::new(),
        clusters: BTreeMap::new(),
        conflicts: Conflicts::default(),
        saving: Saving::default(),
        leads: false,
        members_told: Default::default(),
        trouble,
        counters: Counters::default(),
        status: Arc::default(),
        status_at: NodeTime(0),
        status_due: None,
        now,
        stopping: Stopping::No,
        config,
    };
    node.publish_status();
    let status = Arc::clone(&node.status);
    let thread = threads::spawn(format!("raft {group}"), move || node.run())
        .map_err(system("starting a thread"))?;
    Ok(Handle {
        proposals,
        shared: Arc::new(Shared {
            requests,
            status,
            lease: reader,
            thread: Mutex::new(Some(thread)),
        }),
    })
}

/// What the settings let be proposed, batched and cut into pieces must fit into one frame.
fn check_bounds(config: &Config) -> Result<(), StartError> {
    let settings = &config.settings;
    let most = MAX_BODY_BYTES - AROUND_BYTES;
    for (name, bytes) in [
        ("max_command_bytes", settings.max_command_bytes),
        ("max_append_bytes", settings.max_append_bytes),
        ("snapshot_chunk_bytes", settings.snapshot_chunk_bytes),
    ] {
        if bytes > most {
            let group = config.group.clone();
            return Err(StartError::TooLarge {
                group,
                name,
                bytes,
                most,
            });
        }
    }
    Ok(())
}

fn transport_config<F: Files>(config: &Config, life: &Life<F>) -> TransportConfig {
    let network = &config.network;
    TransportConfig {
        id: config.node,
        group: config.group.clone(),
        incarnation: life.core.incarnation(),
        cluster: life.cluster(),
        agreement: network.agreement.clone(),
        secrets: network.secrets.clone(),
        listen_logs: network.listen_logs,
        listen_proposals: network.listen_proposals,
        peers: network.peers.clone(),
        limits: network.limits,
    }
}

fn client<F: Files>(config: &Config, life: &Life<F>) -> Client {
    let heartbeat_ms = config.settings.heartbeat_ms;
    let id = ClientId {
        node: config.node,
        boot: life.core.incarnation().boot,
    };
    Client::new(
        id,
        client::Limits {
            max_waiting: config.proposals.max_waiting,
            max_waiting_bytes: config.proposals.max_waiting_bytes,
            max_command_bytes: config.settings.max_command_bytes,
            pause_ms: heartbeat_ms,
            resend_ms: RESEND_HEARTBEATS * heartbeat_ms,
        },
    )
}
