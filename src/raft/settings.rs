//! Times and bounds.

/// What a core is run with. Times are milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Settings {
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
    /// The shortest time without a leader before an election; a leader that has not heard a
    /// majority for as long steps down.
    pub election_min_ms: u64,
    /// The longest such time.
    pub election_max_ms: u64,
    /// How long a node may answer by itself after the moment a lease is stamped with.
    pub hit_lease_ms: u64,
    /// Without any other entry, time itself is logged as often.
    pub time_entry_ms: u64,
    /// How long news of a commit waits for entries that it can travel with; it travels with
    /// heartbeats too. Short: followers apply that much later where nothing else is going on.
    pub commit_news_ms: u64,
    /// Bytes of entries in one message.
    pub max_append_bytes: usize,
    /// Unanswered appends to one follower.
    pub max_inflight_messages: usize,
    /// Unanswered bytes to one follower.
    pub max_inflight_bytes: usize,
    /// Bytes of proposals that are not committed yet; beyond it, proposals are refused.
    pub max_uncommitted_bytes: usize,
    /// Bytes of one command's body.
    pub max_command_bytes: usize,
    /// Bytes of entries in memory; beyond it, proposals are refused and appends wait until a
    /// snapshot has let the log be cut.
    pub max_log_bytes: usize,
    /// Bytes of entries that stay in the log behind a snapshot, for followers that lag a little.
    pub tail_bytes: usize,
    /// Bytes of one piece of a snapshot.
    pub snapshot_chunk_bytes: usize,
    /// Committed entries that wait to be applied; further ones are kept back.
    pub max_applying_entries: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            heartbeat_ms: 50,
            election_min_ms: 300,
            election_max_ms: 600,
            hit_lease_ms: 1500,
            time_entry_ms: 1000,
            commit_news_ms: 2,
            max_append_bytes: 256 * 1024,
            max_inflight_messages: 64,
            max_inflight_bytes: 8 * 1024 * 1024,
            max_uncommitted_bytes: 16 * 1024 * 1024,
            max_command_bytes: 1024 * 1024,
            max_log_bytes: 512 * 1024 * 1024,
            tail_bytes: 16 * 1024 * 1024,
            snapshot_chunk_bytes: 128 * 1024,
            max_applying_entries: 8192,
        }
    }
}
