//! How the node comes to belong to a cluster: what forming decides is carried out here.
//!
//! Making a form durable stops the core and its threads and opens the store again: it happens
//! once in a store's life, and the driver waits for the disk.

use std::sync::Arc;

use super::config::{Event, Seed};
use super::life::{self, Life};
use super::node::Node;
use super::order;
use super::snapshots;
use super::state_stream::StateStream;
use super::status::Trouble;
use crate::durable::{HardState, Write, WriteId};
use crate::entry::{Entry, Payload};
use crate::forming::{
    Beginning, Effect, Form, Forming, Found, GENESIS, LogFacts, REPEAT_MS, Start,
};
use crate::ids::{ClusterId, LogTime, Position, StoreId, Term};
use crate::message::SnapshotMeta;
use crate::sessions::Sessions;
use crate::store::files::Files;
use crate::store::{self, Store, StoreError};

/// Where a log begins that a cluster is formed with.
const FIRST: Position = Position {
    term: Term(1),
    index: GENESIS,
};

impl<F: Files> Node<F> {
    /// Lets forming go on, and carries out what it decides.
    pub(super) fn go_on_forming(&mut self) {
        self.forming.tick(self.now);
        if self.life.core.leader().is_none() && self.now.since(self.forming_told) >= REPEAT_MS {
            self.tell_forming();
        }
        for effect in self.forming.effects() {
            match effect {
                Effect::Send { to, message } => {
                    // What is lost is said again.
                    let _ = self.transport.send_forming(to, message.encode());
                }
                Effect::Persist(form) => self.take_form(&form),
                // The core has been started on the store as it was made durable.
                Effect::Begin(form) => log::info!(
                    "raft {}: cluster {} is formed",
                    self.config.group,
                    form.cluster
                ),
                Effect::Refused {
                    from,
                    cluster,
                    misfit,
                } => log::warn!(
                    "raft {}: {from} offers cluster {cluster}, which is not taken: {misfit}",
                    self.config.group
                ),
            }
        }
    }

    /// Tells forming how the log stands.
    pub(super) fn tell_forming(&mut self) {
        let core = &self.life.core;
        if let Some(cluster) = self.joined {
            self.forming_told = self.now;
            self.forming.log_stands(LogFacts {
                cluster,
                last: core.last(),
                leader: core.leader(),
            });
        }
    }

    /// A leader may have taken this node into its cluster: it belongs to it before anything of
    /// its log, or of a snapshot, is on disk. Answers false where the node does not go on as it was.
    pub(super) fn join_cluster_of_leader(&mut self) -> bool {
        let Some(identity) = &mut self.life.identity else {
            return false;
        };
        let Some(cluster) = self.joining.take() else {
            return true;
        };
        // A cluster that the store was about to belong to, and holds nothing of, binds nobody.
        if let Err(error) = identity.belong_to(cluster) {
            self.fail_disk(error.to_string());
            return false;
        }
        self.on_joined(cluster);
        self.tell_forming();
        true
    }

    fn on_joined(&mut self, cluster: ClusterId) {
        log::info!("raft {}: belongs to cluster {cluster}", self.config.group);
        self.joined = Some(cluster);
        self.joining = None;
        self.seed = None;
        self.transport.set_cluster(Some(cluster));
        self.tell(Event::Joined(cluster));
    }

    /// Makes a form durable and starts anew on what the log then begins with.
    fn take_form(&mut self, form: &Form) {
        log::info!(
            "raft {}: forming cluster {}",
            self.config.group,
            form.cluster
        );
        match self.try_take_form(form) {
            Ok(()) => {
                if matches!(self.trouble, Some(Trouble::Unfinished(_))) {
                    self.trouble = None;
                }
                self.on_joined(form.cluster);
                self.forming.persisted(form.cluster);
            }
            Err(error) => self.fail_disk(error),
        }
    }

    fn try_take_form(&mut self, form: &Form) -> Result<(), String> {
        let incarnation = self.life.core.incarnation();
        let known = self.life.core.term();
        self.stop_life();
        write_form(self, form, known)?;
        let beginning = life::Beginning::GoesOn(incarnation);
        self.start_life(beginning).map(drop)
    }

    /// The cluster has dismissed this store: the node goes on as one with a wiped disk.
    pub(super) fn begin_anew(&mut self, retired: StoreId) {
        log::error!(
            "raft {}: the cluster has dismissed store {retired}: it is set aside, and this node \
             begins anew with an empty one",
            self.config.group
        );
        match self.try_begin_anew() {
            Ok(()) => {
                let life = self.life.core.incarnation();
                self.tell(Event::BegunAnew { retired, life });
            }
            Err(error) => self.fail_disk(error),
        }
    }

    fn try_begin_anew(&mut self) -> Result<(), String> {
        self.stop_life();
        let aside = store::set_aside(&self.files, &self.config.folder);
        let aside = aside.map_err(|error| error.to_string())?;
        log::warn!(
            "raft {}: the store that was set aside is in {}",
            self.config.group,
            aside.display()
        );
        let found = self.start_life(life::Beginning::Counted)?;
        self.joined = None;
        self.joining = None;
        self.transport.set_incarnation(self.life.core.incarnation());
        self.transport.set_cluster(None);
        self.forming = forming(&self.config, &self.life, found, None, self.now)
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Ends core and threads; whoever waits for an answer is told to ask elsewhere.
    fn stop_life(&mut self) {
        self.lease.end();
        self.leads = false;
        self.saving = super::saving::Saving::default();
        for asker in self.desk.clear() {
            self.reply_not_leader(asker);
        }
        self.client
            .take_route(crate::proposals::client::Route::Nowhere);
        self.life.close();
    }

    fn start_life(&mut self, beginning: life::Beginning) -> Result<Found, String> {
        let begun = Life::begin(
            &self.files,
            &self.config,
            &mut self.make_machine,
            &self.bell,
            beginning,
        );
        let (life, found) = begun.map_err(|error| error.to_string())?;
        self.life = life;
        Ok(found)
    }
}

/// Forming's part of a life.
pub(super) fn forming<F: Files>(
    config: &super::config::Config,
    life: &Life<F>,
    found: Found,
    seed: Option<&Seed>,
    now: crate::ids::NodeTime,
) -> Result<Forming, super::config::StartError> {
    let draw = ClusterId(life::draw_u128(&config.group)?);
    let found = match found {
        Found::Blank { .. } => Found::Blank {
            seed: seed.map(|seed| seed.entries),
        },
        log @ Found::Log { .. } => log,
    };
    let start = Start {
        id: config.node,
        life: life.core.incarnation(),
        statement: config.statement.clone(),
        found,
        draw,
    };
    Ok(Forming::new(start, now))
}

/// Writes what the log of a new cluster begins with.
fn write_form<F: Files>(node: &mut Node<F>, form: &Form, known: Term) -> Result<(), String> {
    let config = &node.config;
    let text = |error: StoreError| error.to_string();
    let fresh = StoreId(life::draw_u128(&config.group).map_err(|error| error.to_string())?);
    let opened = Store::open(
        node.files.clone(),
        &config.folder,
        config.node,
        config.store,
        fresh,
    );
    let (mut store, _, recovered) = opened.map_err(text)?;
    if matches!(form.beginning, Beginning::Continued { .. }) {
        let snapshot = recovered.snapshot.as_ref().map(|meta| meta.last.index);
        let entry = recovered.entries.last().map(|entry| entry.index);
        let end = entry.or(snapshot).ok_or("there is no log to go on with")?;
        order::note(&node.files, &config.folder, form.cluster, end.next())?;
    }
    store.identity.belong_to(form.cluster).map_err(text)?;
    let membership = Payload::Membership(Arc::clone(&form.membership));
    let entry = |position: Position, time| Entry {
        index: position.index,
        term: position.term,
        time,
        payload: membership,
    };
    let committed = |position: Position| HardState {
        term: position.term,
        vote: None,
        commit: position.index,
    };
    let mut write = Write {
        id: WriteId(0),
        reset: None,
        hard_state: Some(committed(FIRST)),
        entries: Vec::new(),
    };
    match form.beginning {
        Beginning::Empty => write.entries.push(entry(FIRST, LogTime(0))),
        Beginning::Seed => {
            let seed = node.seed.take();
            let seed = seed.ok_or("there is no table to begin the cluster with")?;
            let meta = SnapshotMeta {
                last: FIRST,
                time: LogTime(0),
                membership: Arc::clone(&form.membership),
                membership_index: FIRST.index,
                size_bytes: 0,
                checksum: 0,
            };
            let mut state = StateStream::new(Sessions::default(), seed.state);
            let meta = snapshots::write_whole(&store.snapshots, meta, &mut state)?;
            write.reset = Some(Arc::new(meta));
        }
        Beginning::Continued { .. } => {
            let snapshot = recovered.snapshot.as_ref();
            let end = match (recovered.entries.last(), snapshot) {
                (Some(last), _) => (last.position(), last.time),
                (None, Some(meta)) => (meta.last, meta.time),
                (None, None) => return Err("there is no log to go on with".to_owned()),
            };
            let (last, time) = end;
            let next = Position {
                term: Term(known.0.max(last.term.0).max(recovered.hard_state.term.0) + 1),
                index: last.index.next(),
            };
            write.hard_state = Some(committed(next));
            write.entries.push(entry(next, time));
        }
    }
    store.log.append(&[write]).map_err(text)?;
    store.log.sync().map_err(text)
}
