//! What the keeper's thread does, turn by turn.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{debug, error, info};

use crate::clock::{Clock, Millis};
use crate::logging::RateLimit;
use crate::stick::Table;
use crate::watchdog::{Pulse, Pulses};

use super::KeyShape;
use super::codec::{Header, Kind};
use super::file::EntryFile;
use super::full;
use super::journal::Journal;
use super::keeper::{ABANDON, NAME, STOP, Shared, StopError};
use super::paths::Paths;
use super::saver::{Order, Outcome, Saver};

/// How long news may gather before it is written: well below the 100 ms that may be lost.
const BATCH: Duration = Duration::from_millis(20);

/// Between sweeps, at least and at most.
const MIN_SWEEP_INTERVAL: Duration = Duration::from_millis(50);
const MAX_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Between two log lines about the same trouble with the disk.
const ERROR_LINE_INTERVAL: Duration = Duration::from_secs(60);

/// The state of the keeper's thread.
#[derive(Debug)]
pub(super) struct Keeping {
    table: Arc<Table>,
    paths: Paths,
    shape: KeyShape,
    shared: Arc<Shared>,
    clock: Clock,
    saver: Saver,
    journal: Option<Journal>,
    /// Above the number of every journal there is.
    next_sequence: u64,
    /// [`Table::changes`] before the save being written, and before the last good one.
    saving_changes: u64,
    saved_changes: Option<u64>,
    last_save_failed: bool,
    next_sweep: Millis,
    /// When the last save was begun.
    last_save: Option<Millis>,
    save_errors: RateLimit,
    journal_errors: RateLimit,
}

impl Keeping {
    pub fn new(
        table: Arc<Table>,
        paths: Paths,
        shape: KeyShape,
        shared: Arc<Shared>,
        clock: Clock,
        saver: Saver,
    ) -> Keeping {
        Keeping {
            next_sequence: first_sequence(&paths, shape),
            next_sweep: clock.now(),
            journal: None,
            saving_changes: 0,
            saved_changes: None,
            last_save_failed: false,
            last_save: None,
            save_errors: RateLimit::every(ERROR_LINE_INTERVAL),
            journal_errors: RateLimit::every(ERROR_LINE_INTERVAL),
            table,
            paths,
            shape,
            shared,
            clock,
            saver,
        }
    }

    /// Keeps the table until told to end.
    pub fn run(mut self, pulses: &Pulses) -> Result<(), StopError> {
        let this = thread::current();
        self.table.journal_to(Some(this.clone()));
        let pulse = pulses.register(NAME, move |_| this.unpark());
        loop {
            pulse.beat();
            match self.shared.phase.load(Ordering::Acquire) {
                STOP => {
                    drop(pulse); // the loop has ended, the work has not
                    return self.finish();
                }
                ABANDON => {
                    self.table.journal_to(None);
                    self.saver.finish();
                    return Ok(());
                }
                _ => self.turn(&pulse),
            }
        }
    }

    /// Does what is due, then sleeps until the next thing is, or there is news.
    fn turn(&mut self, pulse: &Pulse) {
        let now = self.clock.now();
        if now >= self.next_sweep {
            self.sweep(now, pulse);
            let interval = self.table.settings().expiration / 8;
            self.next_sweep = now + interval.clamp(MIN_SWEEP_INTERVAL, MAX_SWEEP_INTERVAL);
        }
        // The disk may take as long as it likes: that is told by the journal's and the saves'
        // troubles, and no reason to end connections.
        let disk = pulse.excuse(Duration::MAX);
        if let Some(outcome) = self.saver.outcome() {
            self.saved(outcome);
        }
        if now >= self.next_save() && !self.saver.is_busy() {
            self.begin_save(now);
        }
        if self.table.has_news() {
            thread::sleep(BATCH);
            self.write_news();
            return;
        }
        let next = if self.saver.is_busy() {
            self.next_sweep // the outcome is looked at then
        } else {
            self.next_sweep.min(self.next_save())
        };
        drop(disk);
        thread::park_timeout(next.since(self.clock.now()));
    }

    /// Sweeps in small steps, so that news need not wait for a long one.
    fn sweep(&mut self, now: Millis, pulse: &Pulse) {
        for shard in 0..self.table.shard_count() {
            while self.table.sweep_some(shard, now) {
                pulse.beat();
                if self.table.has_news() {
                    let _disk = pulse.excuse(Duration::MAX);
                    self.write_news();
                }
            }
        }
    }

    fn next_save(&self) -> Millis {
        let interval_ms = self.shared.save_interval_ms.load(Ordering::Relaxed);
        self.last_save
            .map_or(Millis(0), |last| last + Duration::from_millis(interval_ms))
    }

    /// Begins a full save, on top of which a journal applies that is open by then. Does nothing
    /// where a save would show what the last one shows.
    fn begin_save(&mut self, now: Millis) {
        self.last_save = Some(now);
        let changes = self.table.changes();
        let journals = self.journal.as_ref().is_some_and(|it| !it.is_broken());
        if journals && self.saved_changes == Some(changes) {
            return;
        }
        self.rotate_journal(now);
        let sequence = match &self.journal {
            Some(journal) => journal.sequence(),
            None => self.next_sequence,
        };
        self.saving_changes = changes;
        self.saver.begin(Order {
            header: self.header(sequence, false),
            now,
        });
    }

    /// Sees to it that the journal in use can have the next save below it.
    ///
    /// That is a new one, but where the last save failed the present one goes on: old and new
    /// save then need it alike, and failing saves do not pile up journals. A broken journal
    /// always ends: its last record of a key may be older than what the save says of it.
    fn rotate_journal(&mut self, now: Millis) {
        let reason_to_keep = |journal: &Journal| {
            !journal.is_broken() && (journal.is_empty() || self.last_save_failed)
        };
        if self.journal.as_ref().is_some_and(reason_to_keep) {
            return;
        }
        // One that holds nothing is begun afresh under its number.
        let sequence = match &self.journal {
            Some(journal) if journal.is_empty() => journal.sequence(),
            _ => self.next_sequence,
        };
        match Journal::create(&self.paths, &self.header(sequence, false)) {
            Ok(journal) => {
                self.journal = Some(journal);
                self.next_sequence = sequence + 1;
            }
            Err(error) => {
                self.journal = None;
                self.next_sequence = sequence.max(self.next_sequence);
                self.journal_failed(sequence, &error, now);
            }
        }
    }

    fn write_news(&mut self) {
        self.table.answer_bell();
        let Some(journal) = &mut self.journal else {
            self.table.drop_news(); // the next full save has it
            return;
        };
        match journal.append_news(&self.table) {
            Ok(records) => {
                self.shared.records.fetch_add(records, Ordering::Relaxed);
            }
            Err(error) => {
                let sequence = journal.sequence();
                self.table.drop_news();
                self.saved_changes = None;
                self.journal_failed(sequence, &error, self.clock.now());
            }
        }
    }

    fn journal_failed(&mut self, sequence: u64, error: &io::Error, now: Millis) {
        self.shared.journal_failures.fetch_add(1, Ordering::Relaxed);
        if let Some(left_out) = self.journal_errors.admit(now) {
            error!(
                "cannot journal new sticks in {}: {error}; the next full save has them{left_out}",
                self.paths.journal(sequence).display()
            );
        }
    }

    fn saved(&mut self, outcome: Outcome) {
        let sequence = outcome.order.header.sequence;
        let deleted = outcome.result.and_then(|entries| {
            self.shared.note_save(None);
            debug!("saved {entries} sticks in {}", self.paths.save().display());
            self.paths.delete_journals_before(sequence)
        });
        match deleted {
            Ok(()) => {
                self.saved_changes = Some(self.saving_changes);
                if std::mem::take(&mut self.last_save_failed) {
                    info!("the stick table is saved again");
                }
            }
            Err(error) => self.save_failed(&error, outcome.order.now),
        }
    }

    fn save_failed(&mut self, error: &io::Error, now: Millis) {
        self.last_save_failed = true;
        self.shared.note_save(Some(error.to_string()));
        if let Some(left_out) = self.save_errors.admit(now) {
            error!(
                "cannot save the stick table in {}: {error}; it is tried again after \
                 stick_table_save_interval{left_out}",
                self.paths.save().display()
            );
        }
    }

    /// The clean end: one save that nothing applies to.
    fn finish(mut self) -> Result<(), StopError> {
        self.table.journal_to(None);
        self.write_news(); // in case the save fails
        let now = self.clock.now();
        let header = self.header(self.next_sequence, true);
        self.saver.finish();
        full::write(&self.table, &self.paths, &header, now)
            .and_then(|entries| {
                let path = self.paths.save().display();
                info!("saved {entries} sticks in {path} at the end");
                self.paths.delete_journals_before(header.sequence)
            })
            .map_err(|source| StopError {
                path: self.paths.save().to_owned(),
                source,
            })
    }

    fn header(&self, sequence: u64, clean: bool) -> Header {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = since_1970.unwrap_or_default().as_millis();
        Header {
            shape: self.shape,
            sequence,
            wall_ms: u64::try_from(wall).unwrap_or(u64::MAX),
            clean,
        }
    }
}

/// A number above those of all journals there are, and above that which the save names.
fn first_sequence(paths: &Paths, shape: KeyShape) -> u64 {
    let journals = paths.journals().unwrap_or_default();
    let named =
        EntryFile::open(paths.save(), Kind::Save, shape).map_or(0, |save| save.header().sequence);
    journals.last().map_or(0, |&last| last).max(named) + 1
}
