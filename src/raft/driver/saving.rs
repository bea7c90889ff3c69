//! When a snapshot of the node's own state is taken, and what goes when it is there.

use std::sync::Arc;

use super::applier;
use super::node::Node;
use super::snapshots;
use super::status::Trouble;
use super::writer;
use crate::core::PeerView;
use crate::durable::WriteId;
use crate::ids::{NodeTime, Position};
use crate::message::SnapshotMeta;
use crate::settings::Settings;
use crate::store::files::Files;

/// After a snapshot that failed, the next attempt waits as long, in milliseconds.
const RETRY_MS: u64 = 10_000;

/// While a member that answers is sent a snapshot, the next one waits until as many times the usual
/// bytes have come up: a newer one would cut the log that the member needs next. A log that is
/// half full does not wait: once it is full, nothing goes on.
const PATIENCE: usize = 4;

/// What is known of snapshots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Saving {
    /// Bytes of entries handed to the state machine since the newest snapshot was marked.
    pub(super) bytes: usize,
    /// One is asked for whatever has come up.
    pub(super) asked: bool,
    /// One is being written.
    under_way: bool,
    /// No attempt before.
    not_before: NodeTime,
    /// Once this write is durable, what is older than the snapshot that came with it may go.
    replaced: Option<(WriteId, Position)>,
}

impl<F: Files> Node<F> {
    /// Begins a snapshot where it is time for one.
    pub(super) fn consider_snapshot(&mut self) {
        let Some(workers) = &self.life.workers else {
            return;
        };
        let core = &self.life.core;
        if core.is_stopped() {
            return;
        }
        let nothing_new = core.newest_snapshot() >= Some(core.applied_index());
        let may = !self.saving.under_way && self.now >= self.saving.not_before;
        if may && !nothing_new && !core.is_blank() && self.is_snapshot_due() {
            self.saving.under_way = true;
            self.saving.asked = false;
            self.saving.bytes = 0;
            // It has ended only where the process ends.
            let _ = workers.applier.send(applier::Job::Mark);
        }
    }

    fn is_snapshot_due(&self) -> bool {
        let core = &self.life.core;
        let Settings {
            max_log_bytes,
            tail_bytes,
            election_max_ms,
            ..
        } = self.config.settings;
        // What a snapshot leaves in the log is no reason to take the next one.
        let cuttable = core.log_bytes().saturating_sub(tail_bytes);
        if self.saving.asked || cuttable >= max_log_bytes.saturating_sub(tail_bytes) / 2 {
            return true;
        }
        let usual = self.config.snapshot_after_bytes;
        if self.saving.bytes < usual {
            return false;
        }
        let being_sent = |peer: &PeerView| {
            let alive = peer.silent_ms.is_some_and(|ms| ms < election_max_ms);
            alive && peer.snapshot_bytes.is_some()
        };
        self.saving.bytes >= usual.saturating_mul(PATIENCE) || !core.peers().iter().any(being_sent)
    }

    pub(super) fn snapshot_marked(&mut self, state: Box<applier::Marked>) {
        if let Some(workers) = &self.life.workers {
            let _ = workers.snapshots.send(snapshots::Job::Take(state));
        }
    }

    pub(super) fn snapshot_taken(&mut self, meta: Arc<SnapshotMeta>) {
        self.saving.under_way = false;
        self.counters.snapshots_taken += 1;
        if matches!(self.trouble, Some(Trouble::Snapshot(_))) {
            self.trouble = None;
        }
        log::info!(
            "raft {}: snapshot of {} taken, {} bytes",
            self.config.group,
            meta.last,
            meta.size_bytes
        );
        let position = meta.last;
        self.life.core.snapshot_taken(meta);
        // A newer one of the leader may have come meanwhile: the log is cut with its write.
        if self.life.core.newest_snapshot() == Some(position.index) {
            self.cut_log(position);
        }
    }

    pub(super) fn snapshot_not_taken(&mut self, error: String) {
        self.saving.under_way = false;
        self.saving.asked = true;
        self.saving.not_before = self.now.plus(RETRY_MS);
        self.counters.snapshots_failed += 1;
        self.in_trouble(Trouble::Snapshot(error));
    }

    /// A snapshot cannot be sent as it is on disk.
    pub(super) fn snapshot_unreadable(&mut self, snapshot: Position, error: &str) {
        self.life.core.snapshot_failed(snapshot);
        let group = &self.config.group;
        // Of an older one, a newer has taken the place meanwhile.
        if self.life.core.newest_snapshot() != Some(snapshot.index) {
            log::debug!("raft {group}: snapshot {snapshot} is sent no further: {error}");
            return;
        }
        self.saving.asked |= !self.saving.under_way;
        log::error!(
            "raft {group}: snapshot {snapshot} cannot be sent, a new one is to take its place: \
             {error}"
        );
    }

    /// A snapshot of a leader takes the log's place with this write.
    pub(super) fn snapshot_replaces_log(&mut self, write: WriteId, position: Position) {
        self.saving.replaced = Some((write, position));
    }

    /// The write is durable.
    pub(super) fn snapshot_has_replaced_log(&mut self, durable: WriteId) {
        if let Some((write, position)) = self.saving.replaced
            && write <= durable
        {
            self.saving.replaced = None;
            self.cut_log(position);
        }
    }

    /// A snapshot is durable: what it stands for may go.
    fn cut_log(&mut self, position: Position) {
        let Some(workers) = &self.life.workers else {
            return;
        };
        let first = self.life.core.first_index();
        let _ = workers.writer.send(writer::Job::Compact(first));
        let remove = snapshots::Job::RemoveBefore(position);
        let _ = workers.snapshots.send(remove);
    }
}
