//! Faults put into the core on purpose, and which test finds each of them.
//!
//! `cargo test -p tcpffee-raft --features mutations --test mutations`

#[path = "simulation/world/mod.rs"]
#[allow(
    dead_code,
    reason = "the world is that of the simulation's tests, which use more of it"
)]
mod world;

use std::process::Command;
use std::sync::Arc;

use tcpffee_raft::core::mutation::{Mutation, set};
use world::runs::{Runs, quiet_panics};

/// What finds a fault.
enum Finds {
    /// The simulation, within so many seeds from 0 on.
    Simulation(u64),
    /// A scenario, by its name: worlds with this fault hold what the simulation checks, for it
    /// costs time or calm, not agreement.
    Scenario(&'static str),
}

use Finds::{Scenario, Simulation};

/// Every fault with what finds it.
const FAULTS: &[(Mutation, Finds)] = &[
    (Mutation::AnswersBeforeTermIsDurable, Simulation(300)),
    (Mutation::VotesTwice, Simulation(300)),
    (Mutation::ForgetsVoteAtStart, Simulation(300)),
    (Mutation::CommitsOldTermsByCounting, Simulation(300)),
    (Mutation::HintOffByOne, Simulation(300)),
    (Mutation::AcknowledgesBeforeDurable, Simulation(300)),
    (Mutation::CountsOwnBeforeDurable, Simulation(300)),
    (Mutation::TruncatesWhatAgrees, Simulation(300)),
    (
        Mutation::UpToDateByLengthOnly,
        Scenario("elections::only_a_log_that_is_at_least_as_new_gets_a_vote"),
    ),
    (Mutation::UpToDateByTermOnly, Simulation(300)),
    (
        Mutation::StandsWithoutPreVote,
        Scenario("partitions::a_node_that_was_cut_off_comes_back_without_an_election"),
    ),
    (
        Mutation::VotesWhileLeaderLives,
        Scenario("elections::nobody_votes_while_the_leader_is_heard"),
    ),
    (
        Mutation::LeadsWithoutMajority,
        Scenario("partitions::a_leader_that_a_majority_does_not_answer_steps_down"),
    ),
    (Mutation::LearnersCount, Simulation(300)),
    (Mutation::MembershipInForceLate, Simulation(300)),
    (Mutation::ChangesTwoAtOnce, Simulation(300)),
    (Mutation::ChangesBeforeOwnEntry, Simulation(300)),
    (Mutation::SnapshotReplacesLongerLog, Simulation(1000)),
    (Mutation::SnapshotTakesCommitBack, Simulation(300)),
    (Mutation::OtherStoresAcknowledge, Simulation(300)),
    (Mutation::OtherStoresVote, Simulation(300)),
    (Mutation::BelievesRestoredCopies, Simulation(300)),
    (Mutation::CountsUnrecordedLives, Simulation(300)),
    (Mutation::LeaseWithoutRound, Simulation(1000)),
    (Mutation::LeaseBeforeApplied, Simulation(300)),
    (
        Mutation::LeaseOfEarlierBoot,
        Scenario("leases::an_echo_for_an_earlier_boot_is_no_lease"),
    ),
    (Mutation::FenceForgetsEarlierLeaders, Simulation(300)),
    (Mutation::FenceForgetsFormerMembers, Simulation(300)),
    (Mutation::RemovedLeaderGoesOn, Simulation(300)),
    (Mutation::LeaverNeverStands, Simulation(300)),
    (Mutation::RepeatsNothing, Simulation(300)),
    (Mutation::TimeGoesBack, Simulation(300)),
    (
        Mutation::ProposesWhileHandingOver,
        Scenario("transfer::no_proposal_is_taken_meanwhile_and_a_hand_over_that_fails_is_given_up"),
    ),
    (Mutation::TruncationKeepsMembership, Simulation(300)),
    (Mutation::HeartbeatCommitsUnverified, Simulation(300)),
    (Mutation::IgnoresPreviousTerm, Simulation(300)),
    (Mutation::HearsEarlierTerms, Simulation(300)),
    (Mutation::AppliesBeforeDurable, Simulation(300)),
    (Mutation::NoEntryAtTermBegin, Simulation(300)),
];

#[test]
fn the_simulation_finds_every_fault_that_breaks_a_promise() {
    quiet_panics();
    let mut unseen = Vec::new();
    for (mutation, finds) in FAULTS {
        let Simulation(seeds) = finds else {
            continue;
        };
        let mutation = *mutation;
        let runs = Runs {
            prepare: Arc::new(move || set(Some(mutation))),
            ..Runs::default()
        };
        match runs.many(0, *seeds) {
            Ok(_) => unseen.push(mutation),
            Err(failure) => println!(
                "{mutation:?}: seed {}, step {}: {}",
                failure.seed, failure.step, failure.violation.invariant
            ),
        }
    }
    // Panics are quiet here: the words go out as they are.
    if !unseen.is_empty() {
        println!("not found: {unseen:?}");
        std::process::exit(1);
    }
}

#[test]
fn scenarios_find_every_other_fault() {
    for (mutation, finds) in FAULTS {
        let Scenario(name) = finds else {
            continue;
        };
        for (fault, holds) in [(String::new(), true), (format!("{mutation:?}"), false)] {
            let run = Command::new(env!("CARGO"))
                .args([
                    "test",
                    "-q",
                    "-p",
                    "tcpffee-raft",
                    "--features",
                    "mutations",
                ])
                .args(["--test", "scenarios", "--", "--exact", name])
                .env("RAFT_MUTATION", &fault)
                .output()
                .expect("cargo runs");
            let words = String::from_utf8_lossy(&run.stdout);
            let ran = match holds {
                true => words.contains("1 passed"),
                false => words.contains("1 failed"),
            };
            if !ran || run.status.success() != holds {
                println!("{name} with the fault \"{fault}\": {words}");
                std::process::exit(1);
            }
        }
        println!("{mutation:?}: {name}");
    }
}
