//! The worker's pool of pipes for `splice(2)`.
//!
//! A direction borrows a pipe for one turn and gives it back when it is empty, so that only
//! directions whose receiver is slow keep one.

use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// What a pipe may hold, where the system lets it be made that large: as much as a session may
/// move in one turn (`fs.pipe-max-size` has the same default).
pub const PIPE_BYTES: usize = 1024 * 1024;

/// A pipe and how many bytes are in it.
#[derive(Debug)]
pub struct Pipe {
    /// Where bytes leave.
    pub read: OwnedFd,
    /// Where bytes enter.
    pub write: OwnedFd,
    /// Bytes inside.
    pub len: usize,
}

/// Pipes that no direction uses now, and how many there may be.
#[derive(Debug)]
pub struct PipePool {
    idle: Vec<Pipe>,
    /// Pipes in existence, lent ones included.
    open: usize,
    limit: usize,
}

impl PipePool {
    /// A pool of at most `limit` pipes (two descriptors each).
    pub fn new(limit: usize) -> PipePool {
        PipePool {
            idle: Vec::new(),
            open: 0,
            limit,
        }
    }

    /// An empty pipe, or `None` where the bound is reached or the system has none: the relay
    /// copies then.
    pub fn take(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.idle.pop() {
            return Some(pipe);
        }
        if self.open == self.limit {
            return None;
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A refusal leaves the pipe at its default size, which works as well, only slower.
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        self.open += 1;
        Some(Pipe {
            read,
            write,
            len: 0,
        })
    }

    /// Takes a pipe back. One with bytes left in it is closed: they belong to nobody else.
    pub fn give_back(&mut self, pipe: Pipe) {
        if pipe.len == 0 {
            self.idle.push(pipe);
        } else {
            self.open -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_keeps_its_bound_and_never_reuses_a_pipe_with_bytes_in_it() {
        let mut pool = PipePool::new(2);
        let (first, second) = (pool.take().expect("first"), pool.take().expect("second"));
        assert!(pool.take().is_none());
        pool.give_back(Pipe { len: 7, ..first });
        pool.give_back(second);
        assert!(pool.take().is_some_and(|pipe| pipe.len == 0));
        assert!(pool.take().is_some_and(|pipe| pipe.len == 0));
        assert!(pool.take().is_none());
    }
}
