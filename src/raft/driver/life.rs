//! One life: an open store, a core on it, and the threads that work for it.

use std::io;
use std::sync::Arc;

use super::applier::Applier;
use super::clock::boot_time;
use super::config::{Config, MakeMachine, StartError};
use super::mailbox::Bell;
use super::order;
use super::workers::Workers;
use crate::core::{Core, Start};
use crate::durable::Recovered;
use crate::entry::Entry;
use crate::forming::{Form, Found, LogFacts};
use crate::ids::{ClusterId, Incarnation, StoreId};
use crate::machine::StateMachine;
use crate::store::files::Files;
use crate::store::{IdentityFile, Store};

/// A node as long as it runs on one store and one core.
pub(super) struct Life<F: Files> {
    pub(super) core: Core,
    /// None where the store has been closed and could not be opened again.
    pub(super) identity: Option<IdentityFile<F>>,
    pub(super) workers: Option<Workers>,
    /// The cluster that the log was to go on as by an order that did not finish.
    pub(super) unfinished: Option<ClusterId>,
}

/// Which life it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Beginning {
    /// A new one: its start is counted.
    Counted,
    /// The same one goes on, with a log that was begun for it.
    GoesOn(Incarnation),
}

/// Draws a random number.
pub(super) fn draw_u64(group: &str) -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| StartError::System {
        group: group.to_owned(),
        doing: "drawing a random number",
        source: io::Error::other(error.to_string()),
    })
}

/// Draws a random id.
pub(super) fn draw_u128(group: &str) -> Result<u128, StartError> {
    let (high, low) = (draw_u64(group)?, draw_u64(group)?);
    Ok(u128::from(high) << 64 | u128::from(low))
}

impl<F: Files> Life<F> {
    /// Opens the store, restores the state machine from its newest snapshot, and begins. Also
    /// answers what forming a cluster begins with.
    pub(super) fn begin(
        files: &F,
        config: &Config,
        make_machine: &mut MakeMachine,
        bell: &Arc<Bell>,
        beginning: Beginning,
    ) -> Result<(Life<F>, Found), StartError> {
        let group = config.group.as_str();
        let failed = |source| StartError::Store {
            group: group.to_owned(),
            source,
        };
        let fresh = StoreId(draw_u128(group)?);
        let (mut store, _, recovered) = Store::open(
            files.clone(),
            &config.folder,
            config.node,
            config.store,
            fresh,
        )
        .map_err(failed)?;
        let cluster = store.identity.get().cluster;
        let mut found = found(cluster, &recovered).ok_or_else(|| StartError::NoCluster {
            group: group.to_owned(),
            folder: config.folder.clone(),
        })?;
        let mut unfinished = None;
        if let Found::Log { facts, form } = &mut found
            && is_unfinished(files, config, facts)?
        {
            unfinished = Some(facts.cluster);
            // It is what another cluster began with.
            *form = None;
        }
        let incarnation = match beginning {
            Beginning::Counted => {
                let identity = store.identity.begin_life().map_err(failed)?;
                identity.incarnation(draw_u64(group)?)
            }
            Beginning::GoesOn(incarnation) => incarnation,
        };
        let state = restored(group, &store, &recovered, make_machine())?;
        let workers = Workers::start(group, store.log, store.snapshots, state, bell);
        let workers = workers.map_err(|source| StartError::System {
            group: group.to_owned(),
            doing: "starting a thread",
            source,
        })?;
        let core = Core::new(Start {
            id: config.node,
            incarnation,
            settings: config.settings,
            seed: draw_u64(group)?,
            now: boot_time(),
            statement: Some(config.statement.clone()),
            recovered,
        });
        let life = Life {
            core,
            identity: Some(store.identity),
            workers: Some(workers),
            unfinished,
        };
        Ok((life, found))
    }

    /// The cluster that the store belongs to. One that it was about to join, and holds nothing
    /// of, does not count.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        let cluster = self.identity.as_ref()?.get().cluster;
        cluster.filter(|_| !self.core.is_blank())
    }

    /// Ends the threads and closes the store; what was written is durable then.
    pub(super) fn close(&mut self) {
        if let Some(workers) = self.workers.take() {
            workers.stop();
        }
        self.identity = None;
    }
}

/// The state that the log goes on from.
fn restored<F: Files>(
    group: &str,
    store: &Store<F>,
    recovered: &Recovered,
    machine: Box<dyn StateMachine>,
) -> Result<Applier, StartError> {
    let mut applier = Applier::new(machine);
    if let Some(meta) = &recovered.snapshot {
        let opened = store.snapshots.open(meta.last).map_err(io::Error::other);
        opened
            .and_then(|mut state| applier.restore(meta, &mut state))
            .map_err(|error| StartError::Restore {
                group: group.to_owned(),
                snapshot: meta.last,
                error: error.to_string(),
            })?;
    }
    Ok(applier)
}

/// Whether an order to go on with this log did not finish.
fn is_unfinished<F: Files>(files: &F, config: &Config, log: &LogFacts) -> Result<bool, StartError> {
    let folder = &config.folder;
    order::is_unfinished(files, folder, log.cluster, log.last.index).map_err(|(path, source)| {
        StartError::Order {
            group: config.group.clone(),
            path,
            source,
        }
    })
}

/// What forming begins with; none where it holds something that is of no cluster.
fn found(cluster: Option<ClusterId>, recovered: &Recovered) -> Option<Found> {
    if recovered.is_blank() {
        return Some(Found::Blank { seed: None });
    }
    let cluster = cluster?;
    let snapshot = recovered.snapshot.as_ref().map(|meta| meta.last);
    let entry = recovered.entries.last().map(Entry::position);
    let last = entry.into_iter().chain(snapshot).max_by_key(|at| at.index);
    Some(Found::Log {
        facts: LogFacts {
            cluster,
            last: last.unwrap_or_default(),
            leader: None,
        },
        form: Form::of_log(cluster, recovered),
    })
}
