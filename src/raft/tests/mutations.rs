//! Explore.
#[path = "simulation/world/mod.rs"]
mod world;
use std::sync::Arc;
use tcpffee_raft::core::mutation::{Mutation, set};
use world::Checks;
use world::runs::{Runs, quiet_panics};

const ALL: &[Mutation] = &[
    Mutation::AnswersBeforeTermIsDurable,
    Mutation::VotesTwice,
    Mutation::ForgetsVoteAtStart,
    Mutation::CommitsOldTermsByCounting,
    Mutation::HintOffByOne,
    Mutation::AcknowledgesBeforeDurable,
    Mutation::CountsOwnBeforeDurable,
    Mutation::TruncatesWhatAgrees,
    Mutation::UpToDateByLengthOnly,
    Mutation::UpToDateByTermOnly,
    Mutation::StandsWithoutPreVote,
    Mutation::VotesWhileLeaderLives,
    Mutation::LeadsWithoutMajority,
    Mutation::LearnersCount,
    Mutation::MembershipInForceLate,
    Mutation::ChangesTwoAtOnce,
    Mutation::ChangesBeforeOwnEntry,
    Mutation::SnapshotReplacesLongerLog,
    Mutation::SnapshotTakesCommitBack,
    Mutation::OtherStoresAcknowledge,
    Mutation::OtherStoresVote,
    Mutation::BelievesRestoredCopies,
    Mutation::CountsUnrecordedLives,
    Mutation::LeaseWithoutRound,
    Mutation::LeaseBeforeApplied,
    Mutation::LeaseOfEarlierBoot,
    Mutation::FenceForgetsEarlierLeaders,
    Mutation::FenceForgetsFormerMembers,
    Mutation::RemovedLeaderGoesOn,
    Mutation::LeaverNeverStands,
    Mutation::MatchGoesBack,
    Mutation::TimeGoesBack,
    Mutation::ProposesWhileHandingOver,
    Mutation::TruncationKeepsMembership,
    Mutation::HeartbeatCommitsUnverified,
    Mutation::IgnoresPreviousTerm,
    Mutation::HearsEarlierTerms,
    Mutation::AppliesBeforeDurable,
    Mutation::NoEntryAtTermBegin,
];

#[test]
fn explore() {
    quiet_panics();
    let count = std::env::var("RAFT_SEEDS").map_or(1000, |words| words.parse().unwrap());
    let only = std::env::var("ONLY").ok();
    for mutation in ALL {
        if only
            .as_ref()
            .is_some_and(|only| !only.split(',').any(|name| name == format!("{mutation:?}")))
        {
            continue;
        }
        eprintln!("{mutation:?} ...");
        for checks in if std::env::var("OUTCOME").is_ok() {
            vec![Checks::Outcome]
        } else {
            vec![Checks::All]
        } {
            let runs = Runs {
                checks,
                prepare: Arc::new(move || set(Some(*mutation))),
                ..Runs::default()
            };
            match runs.many(0, count) {
                Ok(_) => println!("{mutation:?} {checks:?}: SURVIVES"),
                Err(failure) => println!(
                    "{mutation:?} {checks:?}: seed {} step {}: {} | {}",
                    failure.seed,
                    failure.step,
                    failure.violation.invariant,
                    failure
                        .violation
                        .detail
                        .chars()
                        .take(150)
                        .collect::<String>()
                        .replace('\n', " ")
                ),
            }
        }
    }
}
