//! Faults put in on purpose, by tests that show that the simulation finds them.

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    /// Answers from its own copy whether it has a lease or not.
    HitsWithoutLease,
    /// Answers by entries that another node may still move.
    HitsProvisional,
    /// Answers by an entry that it is just having moved.
    HitsWhileMoving,
    /// Lets bytes flow without a last look at the entry.
    BeginsUnchecked,
    /// Takes an entry that was held when it was given for one that never expires.
    TrustsOldHolds,
    /// Gives groups without asking anybody.
    SkipsTheLog,
    /// Never tells that connections are open.
    HoldsNothing,
}

#[cfg(test)]
thread_local! {
    static ON: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Whether the fault is in, in this thread.
#[cfg(test)]
pub(super) fn is(mutation: Mutation) -> bool {
    ON.get() == Some(mutation)
}

/// Never.
#[cfg(not(test))]
pub(super) const fn is(_: Mutation) -> bool {
    false
}

/// Puts a fault in, or takes it out.
#[cfg(test)]
pub(super) fn set(mutation: Option<Mutation>) {
    ON.set(mutation);
}
