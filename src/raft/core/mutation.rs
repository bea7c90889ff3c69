//! Small faults that can be put into the core on purpose, to see that the tests would find them.
//!
//! Without the feature `mutations`, which only tests switch on, [`is`] is a constant `false`.

/// A fault, named for what the core then does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mutation {
    /// Messages leave before the term and vote that they speak of are durable.
    AnswersBeforeTermIsDurable,
    /// A vote is given although another was given in the term.
    VotesTwice,
    /// A start forgets the vote.
    ForgetsVoteAtStart,
    /// Entries of earlier terms are committed by counting.
    CommitsOldTermsByCounting,
    /// After a rejection the leader goes on one place too late.
    HintOffByOne,
    /// Entries are acknowledged before they are durable.
    AcknowledgesBeforeDurable,
    /// The leader counts its own entries before they are durable.
    CountsOwnBeforeDurable,
    /// Entries are dropped although the leader's agree with them.
    TruncatesWhatAgrees,
    /// Whose log is longer is more up to date, whatever the terms.
    UpToDateByLengthOnly,
    /// Whose last term is higher or equal is up to date, whatever the length.
    UpToDateByTermOnly,
    /// Nobody is asked before an election.
    StandsWithoutPreVote,
    /// Votes are given while a leader is alive.
    VotesWhileLeaderLives,
    /// A leader without a majority goes on.
    LeadsWithoutMajority,
    /// Learners count for what is committed.
    LearnersCount,
    /// A membership is in force only once it is committed.
    MembershipInForceLate,
    /// A change begins before the one before it is committed.
    ChangesTwoAtOnce,
    /// A change begins before the leader has committed an entry of its term.
    ChangesBeforeOwnEntry,
    /// A snapshot replaces a log that agrees with it and is longer.
    SnapshotReplacesLongerLog,
    /// A snapshot takes the commit index back.
    SnapshotTakesCommitBack,
    /// What another store acknowledges counts.
    OtherStoresAcknowledge,
    /// Votes of other stores count.
    OtherStoresVote,
    /// A restored copy passes for the life on record.
    BelievesRestoredCopies,
    /// Acknowledgements count before the life that gives them is on record.
    CountsUnrecordedLives,
    /// A stamp is echoed without a confirmed round.
    LeaseWithoutRound,
    /// A lease begins before its commit index is applied.
    LeaseBeforeApplied,
    /// An echo for an earlier boot is taken for a new lease.
    LeaseOfEarlierBoot,
    /// A new leader does not wait for leases that others granted.
    FenceForgetsEarlierLeaders,
    /// The fence does not wait for members that left.
    FenceForgetsFormerMembers,
    /// A leader that is no voter any more goes on.
    RemovedLeaderGoesOn,
    /// A voter on its way out does not stand for election.
    LeaverNeverStands,
    /// What is lost on its way is not sent again.
    RepeatsNothing,
    /// The time of a new leader begins at 0.
    TimeGoesBack,
    /// Proposals are taken while leadership is handed over.
    ProposesWhileHandingOver,
    /// A dropped membership stays in force.
    TruncationKeepsMembership,
    /// A heartbeat commits what was never compared.
    HeartbeatCommitsUnverified,
    /// Entries are taken in whatever term stands before them.
    IgnoresPreviousTerm,
    /// Messages of earlier terms are heard.
    HearsEarlierTerms,
    /// What is not durable here is applied.
    AppliesBeforeDurable,
    /// A leader leaves what earlier terms left uncommitted until somebody proposes.
    NoEntryAtTermBegin,
}

#[cfg(feature = "mutations")]
mod switch {
    use super::Mutation;
    use std::cell::Cell;
    use std::sync::OnceLock;

    thread_local! {
        static SET: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Puts a fault into all cores of this thread, or none.
    pub fn set(mutation: Option<Mutation>) {
        SET.set(mutation);
    }

    /// Whether the fault is there: set for this thread, or named by `RAFT_MUTATION` for the whole
    /// process.
    pub(crate) fn is(mutation: Mutation) -> bool {
        static NAMED: OnceLock<Option<String>> = OnceLock::new();
        let named = NAMED.get_or_init(|| std::env::var("RAFT_MUTATION").ok());
        SET.get() == Some(mutation)
            || named
                .as_ref()
                .is_some_and(|name| *name == format!("{mutation:?}"))
    }
}

#[cfg(feature = "mutations")]
pub(crate) use switch::is;
#[cfg(feature = "mutations")]
pub use switch::set;

/// Whether the fault is there: never.
#[cfg(not(feature = "mutations"))]
pub(crate) const fn is(_: Mutation) -> bool {
    false
}
