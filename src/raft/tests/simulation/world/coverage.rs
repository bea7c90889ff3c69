//! What the seeds got to see: a simulation that exercises nothing must fail.

use std::collections::BTreeMap;

/// Something that must occur.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Seen {
    MessageLost,
    MessageDoubled,
    MessageToDeadLife,
    Crash,
    PowerLoss,
    UnsyncedAtPowerLoss,
    CrashBetweenSteps,
    AllCrashed,
    Cut,
    CutOneWay,
    Isolated,
    LeaderPaused,
    PausedBeyondLease,
    DiskSlow,
    DiskFailed,
    LeaderDiskFailed,
    Wiped,
    WipedVoterBack,
    Restored,
    RestoredRefused,
    SetAside,
    Elections,
    ManyElections,
    Truncation,
    SnapshotTaken,
    SnapshotArrived,
    SnapshotRestored,
    SnapshotInterrupted,
    RestartFromSnapshot,
    Compaction,
    TransferAsked,
    TransferDone,
    LearnerAdded,
    Promoted,
    Demoted,
    Removed,
    LeaderRemovedItself,
    Dismissed,
    ChangeRefused,
    Steered,
    Stated,
    NewerLifeRecorded,
    Overwhelmed,
    Rested,
    Lease,
    FenceHeldBack,
    RetryAnsweredOnce,
    ProposalLost,
    BackPressure,
    LogFull,
    StepDown,
    CommittedAcrossTerms,
}

/// In how many seeds each was seen.
#[derive(Clone, Default, Debug)]
pub struct Coverage(pub BTreeMap<Seen, u64>);

impl Coverage {
    /// It was seen.
    pub fn see(&mut self, seen: Seen) {
        *self.0.entry(seen).or_default() += 1;
    }

    /// Adds one seed's.
    pub fn add_seed(&mut self, of_seed: &Coverage) {
        for seen in of_seed.0.keys() {
            self.see(*seen);
        }
    }
}
