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

/// In how many of a thousand seeds each is to be seen at least.
const EXPECTED: &[(Seen, u64)] = &[
    (Seen::MessageLost, 400),
    (Seen::MessageDoubled, 200),
    (Seen::MessageToDeadLife, 200),
    (Seen::Crash, 400),
    (Seen::PowerLoss, 400),
    (Seen::UnsyncedAtPowerLoss, 30),
    (Seen::CrashBetweenSteps, 100),
    (Seen::AllCrashed, 50),
    (Seen::Cut, 100),
    (Seen::CutOneWay, 100),
    (Seen::Isolated, 100),
    (Seen::LeaderPaused, 50),
    (Seen::PausedBeyondLease, 50),
    (Seen::DiskSlow, 100),
    (Seen::DiskFailed, 30),
    (Seen::LeaderDiskFailed, 10),
    (Seen::Wiped, 100),
    (Seen::WipedVoterBack, 100),
    (Seen::Restored, 30),
    (Seen::RestoredRefused, 20),
    (Seen::SetAside, 20),
    (Seen::Elections, 800),
    (Seen::ManyElections, 50),
    (Seen::Truncation, 100),
    (Seen::SnapshotTaken, 300),
    (Seen::SnapshotArrived, 200),
    (Seen::SnapshotRestored, 200),
    (Seen::SnapshotInterrupted, 5),
    (Seen::RestartFromSnapshot, 200),
    (Seen::Compaction, 200),
    (Seen::TransferAsked, 150),
    (Seen::TransferDone, 150),
    (Seen::LearnerAdded, 500),
    (Seen::Promoted, 300),
    (Seen::Demoted, 200),
    (Seen::Removed, 150),
    (Seen::LeaderRemovedItself, 5),
    (Seen::Dismissed, 150),
    (Seen::ChangeRefused, 150),
    (Seen::Steered, 80),
    (Seen::Stated, 500),
    (Seen::NewerLifeRecorded, 500),
    (Seen::Lease, 900),
    (Seen::FenceHeldBack, 500),
    (Seen::RetryAnsweredOnce, 200),
    (Seen::ProposalLost, 30),
    (Seen::BackPressure, 5),
    (Seen::StepDown, 400),
    (Seen::CommittedAcrossTerms, 200),
    // All others were overwhelmed (`Overwhelmed`).
    (Seen::Rested, 970),
];

impl Coverage {
    /// What too few of the seeds have seen, with how many did.
    pub fn lacking(&self, seeds: u64) -> Vec<(Seen, u64)> {
        let seen_in = |seen| self.0.get(seen).copied().unwrap_or(0);
        EXPECTED
            .iter()
            .map(|(seen, of_thousand)| (*seen, seen_in(seen), seeds * of_thousand / 1000))
            .filter(|(_, is, least)| is < least)
            .map(|(seen, is, _)| (seen, is))
            .collect()
    }
}
