//! The process's file descriptors: the limit raised, and split among those who need them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept free for saves, the log, the control socket and peers.
pub const RESERVE: usize = 256;
/// Pipes that all workers together may have; two descriptors each.
pub const MAX_PIPES: usize = 1024;
/// What the process opens after its start besides listeners, pipes and connections: two for each
/// worker's event loop, the journal, a save, the control socket's clients.
const AFTER_START: usize = 16;
/// Descriptors of one proxied connection: client and target.
const PER_CONNECTION: usize = 2;

/// How many descriptors go where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// What the process may open.
    pub limit: usize,
    /// Listeners of all workers.
    pub listeners: usize,
    /// [`RESERVE`], or less where the limit is small, but never less than the process itself needs.
    pub reserve: usize,
    /// Health checks at once.
    pub checks: usize,
    /// The statistics server and its clients.
    pub statistics: usize,
    /// Pipes of all workers, two descriptors each.
    pub pipes: usize,
    /// Connections, two descriptors each.
    pub connections: usize,
}

impl Split {
    /// Splits a limit; `own` descriptors are open already.
    pub fn new(
        limit: usize,
        listeners: usize,
        checks: usize,
        statistics: usize,
        own: usize,
    ) -> Split {
        let reserve = RESERVE.min(limit / 8).max(own + AFTER_START);
        let pipes = MAX_PIPES.min(limit / 40);
        let taken = listeners + reserve + checks + statistics + pipes * 2;
        let connections = limit.saturating_sub(taken) / PER_CONNECTION;
        Split {
            limit,
            listeners,
            reserve,
            checks,
            statistics,
            pipes,
            connections,
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} file descriptors: {} for listeners, {} in reserve, {} for health checks, {} for \
             statistics, {} pipes, {} connections",
            self.limit,
            self.listeners,
            self.reserve,
            self.checks,
            self.statistics,
            self.pipes,
            self.connections
        )
    }
}

/// Descriptors that the process has open now, in about.
pub fn open_now() -> usize {
    // Without /proc the usual number stands in.
    const USUAL: usize = 16;
    std::fs::read_dir("/proc/self/fd").map_or(USUAL, Iterator::count)
}

/// Raises the soft limit to the hard one and returns what holds then.
pub fn raise_limit() -> usize {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    let in_force = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => now.maximum,
        Err(error) => {
            log::warn!("cannot raise the limit of file descriptors: {error}");
            now.current
        }
    };
    in_force.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_never_exceed_the_limit() {
        for limit in [16, 64, 256, 1_024, 20_000, 1_000_000] {
            for listeners in [1, 6, 200] {
                let split = Split::new(limit, listeners, 3, 24, 12);
                let sum = listeners + split.reserve + 27 + 2 * (split.pipes + split.connections);
                assert!(
                    sum <= limit.max(listeners + split.reserve + 27 + 2 * split.pipes),
                    "{split}"
                );
            }
        }
        assert!(Split::new(20_000, 6, 0, 276, 12).connections > 9_000);
    }
}
