//! The thread for snapshots: writes those of this node, stores the pieces of one that arrives,
//! and reads pieces for others.
//!
//! Pieces go first: between two pieces of its own snapshot it looks after those of others, so
//! that a large state does not keep a follower waiting.

use std::io::Read;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::applier::{Marked, OpenedSnapshot};
use super::mailbox::Outbox;
use super::report::Report;
use crate::core::{ChunkRead, ChunkWrite};
use crate::ids::Position;
use crate::message::SnapshotMeta;
use crate::store::files::Files;
use crate::store::{SnapshotWriter, Snapshots, StoreError};

/// What the thread is asked to do.
pub(super) enum Job {
    /// Write this node's own state.
    Take(Box<Marked>),
    /// Store a piece.
    Store(ChunkWrite),
    /// Read a piece.
    Read(ChunkRead),
    /// Open a snapshot for the applier.
    Open {
        snapshot: Position,
        to: Sender<OpenedSnapshot>,
    },
    /// Remove what is older: nothing needs it any more.
    RemoveBefore(Position),
}

struct Thread<'a, F: Files> {
    /// For the log.
    group: &'a str,
    snapshots: Snapshots<F>,
    reports: &'a Outbox<Report>,
    /// The one being written.
    taking: Option<Taking<F>>,
}

/// A local snapshot that is being written.
struct Taking<F: Files> {
    writer: SnapshotWriter<F>,
    state: Box<Marked>,
    piece: Vec<u8>,
}

/// The driver has ended.
struct Ended;

/// Works until nobody can ask any more.
pub(super) fn run<F: Files>(
    group: &str,
    snapshots: Snapshots<F>,
    jobs: &Receiver<Job>,
    reports: &Outbox<Report>,
) {
    let mut thread = Thread {
        group,
        snapshots,
        reports,
        taking: None,
    };
    // An error of the channels means that the driver has ended.
    while let Ok(job) = thread.next(jobs) {
        let done = match job {
            Some(job) => thread.carry_out(job),
            None => thread.go_on(),
        };
        if done.is_err() {
            break;
        }
    }
}

impl<F: Files> Thread<'_, F> {
    /// The next job; none where there is none and a snapshot is to be gone on with.
    fn next(&self, jobs: &Receiver<Job>) -> Result<Option<Job>, Ended> {
        if self.taking.is_none() {
            return jobs.recv().map(Some).map_err(|_| Ended);
        }
        match jobs.try_recv() {
            Ok(job) => Ok(Some(job)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Ended),
        }
    }

    fn carry_out(&mut self, job: Job) -> Result<(), Ended> {
        match job {
            Job::Take(state) => self.begin(state),
            Job::Store(piece) => self.store(&piece),
            Job::Read(read) => self.read(read),
            Job::Open { snapshot, to } => {
                let opened = self.snapshots.open(snapshot);
                // The applier has ended where it does not listen.
                let _ = to.send(opened.map(|reader| Box::new(reader) as Box<dyn Read + Send>));
                Ok(())
            }
            Job::RemoveBefore(position) => {
                if let Err(error) = self.snapshots.remove_before(position) {
                    let group = self.group;
                    log::warn!(
                        "raft {group}: snapshots older than {position} stay for now: {error}"
                    );
                }
                Ok(())
            }
        }
    }

    fn report(&self, report: Report) -> Result<(), Ended> {
        self.reports.send(report).map_err(|_| Ended)
    }

    fn begin(&mut self, state: Box<Marked>) -> Result<(), Ended> {
        debug_assert!(self.taking.is_none(), "one at a time");
        let meta = SnapshotMeta {
            last: state.last,
            time: state.time,
            membership: Arc::clone(&state.membership),
            membership_index: state.membership_index,
            size_bytes: 0,
            checksum: 0,
        };
        match self.snapshots.begin(meta) {
            Ok(writer) => {
                self.taking = Some(Taking {
                    writer,
                    state,
                    piece: Vec::new(),
                });
                Ok(())
            }
            Err(error) => self.report(Report::NotTaken(error.to_string())),
        }
    }

    /// Writes the next piece of the node's own snapshot.
    fn go_on(&mut self) -> Result<(), Ended> {
        let Some(mut taking) = self.taking.take() else {
            return Ok(());
        };
        match taking.write_piece() {
            Ok(true) => {
                self.taking = Some(taking);
                Ok(())
            }
            Ok(false) => match taking.writer.finish() {
                Ok(meta) => self.report(Report::Taken(Arc::new(meta))),
                Err(error) => self.report(Report::NotTaken(error.to_string())),
            },
            Err(error) => self.report(Report::NotTaken(error)),
        }
    }

    fn store(&mut self, piece: &ChunkWrite) -> Result<(), Ended> {
        let meta = &piece.snapshot;
        let snapshot = Arc::clone(meta);
        let stored = if piece.offset == 0 {
            // Some of it may have come in an earlier attempt, or an earlier life.
            match self.snapshots.partial(meta) {
                Ok(0) => self.snapshots.receive_chunk(meta, 0, &piece.data),
                other => other,
            }
        } else {
            self.snapshots
                .receive_chunk(meta, piece.offset, &piece.data)
        };
        self.report(match stored {
            Ok(offset) => Report::Stored { snapshot, offset },
            // The sender is told where to go on.
            Err(StoreError::ChunkOutOfPlace { expected, .. }) => Report::Stored {
                snapshot,
                offset: expected,
            },
            Err(error) => Report::ChunkFailed {
                snapshot: meta.last,
                error: error.to_string(),
            },
        })
    }

    fn read(&mut self, read: ChunkRead) -> Result<(), Ended> {
        let snapshot = read.snapshot.last;
        let piece = self
            .snapshots
            .read_chunk(snapshot, read.offset, read.length);
        self.report(match piece {
            Ok(data) => Report::Read(read, data),
            Err(error) => Report::Unreadable {
                snapshot,
                error: error.to_string(),
            },
        })
    }
}

impl<F: Files> Taking<F> {
    /// Answers false where the state has come to its end.
    fn write_piece(&mut self) -> Result<bool, String> {
        self.piece.clear();
        self.state
            .state
            .next_piece(&mut self.piece)
            .map_err(|error| format!("the state cannot be read: {error}"))?;
        if self.piece.is_empty() {
            return Ok(false);
        }
        self.writer
            .write(&self.piece)
            .map_err(|error| error.to_string())?;
        Ok(true)
    }
}

/// Writes a whole snapshot at once; for a node that does not run yet.
pub(super) fn write_whole<F: Files>(
    snapshots: &Snapshots<F>,
    meta: SnapshotMeta,
    state: &mut super::state_stream::StateStream,
) -> Result<SnapshotMeta, String> {
    let mut writer = snapshots.begin(meta).map_err(|error| error.to_string())?;
    let mut piece = Vec::new();
    loop {
        piece.clear();
        state
            .next_piece(&mut piece)
            .map_err(|error| format!("the state cannot be read: {error}"))?;
        if piece.is_empty() {
            return writer.finish().map_err(|error| error.to_string());
        }
        writer.write(&piece).map_err(|error| error.to_string())?;
    }
}
