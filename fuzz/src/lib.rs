//! What the fuzz targets share: a bound on the memory that one input may take.
//!
//! [`Bound::keeps`] runs what a target does with one input, and panics where it took more memory
//! than the input's length and the documented limits allow. It counts what is asked of the
//! allocator, whatever that makes of it.

mod allocator; // counts

use tcpffee::proxy_protocol::MAX_HEADER_BYTES;
use tcpffee::stick::replicated::exercise::{FIRST_PAGE_BYTES, FIRST_PAGES_BYTES, STATES};
use tcpffee_raft::membership::MAX_MEMBERS;
use tcpffee_raft::message::MAX_APPEND_MEMBERSHIPS;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting::new();

/// Bytes of memory that a member takes at most, without its statement: ids that come in order fill
/// a B-tree's nodes half.
const MEMBER_BYTES: usize = 2 * 160;

/// The largest node of such a tree, with room for 11 members.
const TREE_NODE_BYTES: usize = 2 * 1024;

/// One Noise message, opened: each end of a connection keeps room for the longest.
const NOISE_BYTES: usize = 65_535;

/// A piece of a snapshot that is read to check it (`store/snapshots/file.rs`).
const CHECK_BYTES: usize = 128 * 1024;

/// All that is small: sessions, paths, messages of errors, values made from the input.
const SMALL_BYTES: usize = 64 * 1024;

/// What one input may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Bytes at any one moment.
    live: usize,
    /// Bytes of any one allocation.
    single: usize,
}

impl Bound {
    /// For frames of `arrived` bytes. For each byte:
    ///
    /// - 3 of the buffer that it arrives in, which doubles and for a moment is there twice;
    /// - 1 of the frame's body;
    /// - 11 of what is read: of answers the shortest has 10 bytes and takes 48, and a text of
    ///   bytes that are no UTF-8 takes three for one, in a string that doubles;
    /// - as much again of what is written and read again.
    ///
    /// Memberships take more than they measure, and their number is bounded. The largest
    /// allocation is a list of answers, or a buffer that has doubled.
    pub fn frames(arrived: usize) -> Bound {
        let membership = TREE_NODE_BYTES + MAX_MEMBERS * MEMBER_BYTES;
        let memberships = 2 * MAX_APPEND_MEMBERSHIPS * membership;
        Bound {
            live: 30 * arrived + memberships + SMALL_BYTES,
            single: 6 * arrived + TREE_NODE_BYTES,
        }
    }

    /// The same for connections of two ends that may be under a secret.
    pub fn connections(arrived: usize) -> Bound {
        let frames = Bound::frames(arrived);
        Bound {
            live: frames.live + 2 * NOISE_BYTES,
            single: frames.single.max(NOISE_BYTES),
        }
    }

    /// For a store with files of `planted` bytes beside those of a known log, of which less than
    /// 64 KiB is there. For each byte of the files:
    ///
    /// - 3 of the disk in memory, and 2 of the segment that is read, and the one before it;
    /// - 40 of what is found: a record of a membership has 46 bytes and takes a node of a B-tree;
    ///   another 40 since what is found twice is compared.
    ///
    /// The largest allocation is what a snapshot is checked in, or a list of entries that has
    /// doubled.
    pub fn store(planted: usize) -> Bound {
        let known = 64 * 1024;
        Bound {
            live: 85 * planted + 8 * known + CHECK_BYTES + SMALL_BYTES,
            single: (8 * planted + known).max(CHECK_BYTES),
        }
    }

    /// For a header of the PROXY protocol, whatever arrived: what is kept of one, what is written
    /// from that, and that read again, each of them once and bounded by the longest header; lists
    /// that double on the way.
    pub fn header() -> Bound {
        let most = MAX_HEADER_BYTES;
        Bound {
            live: 10 * most,
            single: 2 * most,
        }
    }

    /// For a log of the stick table, and its snapshots, made from `arrived` bytes. Each state
    /// takes:
    ///
    /// - what one has that is empty;
    /// - a page for the first entry of each shard; an entry is made from 4 bytes;
    /// - 256 for each byte: a group that is stated in 4 bytes is there with a reason of 100, on
    ///   its own and as it was agreed on, before and now, in trees that are filled half.
    ///
    /// In the place of all that, what is read takes 100 for each byte at most: an outcome of one
    /// byte takes 48, in a list that doubles. That is the largest allocation, or a page is.
    pub fn stick_log(arrived: usize) -> Bound {
        let pages = FIRST_PAGES_BYTES.min(arrived.div_ceil(4) * FIRST_PAGE_BYTES);
        Bound {
            live: STATES * (SMALL_BYTES + pages + 256 * arrived),
            single: (100 * arrived + TREE_NODE_BYTES).max(FIRST_PAGE_BYTES),
        }
    }

    /// For a log of the health checks, and its snapshots, made from `arrived` bytes. For each
    /// byte 128: a check that is made from 2 takes 34 in a tree, of what was said and of the
    /// verdicts, of each of three replicas; beside them nodes of trees that hold little. The
    /// largest allocation is a list of checks that has doubled, of 24 for 13.
    pub fn health_log(arrived: usize) -> Bound {
        Bound {
            live: 128 * arrived + 2 * SMALL_BYTES,
            single: 4 * arrived + TREE_NODE_BYTES,
        }
    }

    /// Runs what takes one input.
    ///
    /// # Panics
    /// Where it took more.
    pub fn keeps(self, run: impl FnOnce()) {
        let taken = ALLOCATOR.measure(run);
        assert!(
            taken.live <= self.live && taken.single <= self.single,
            "it took {taken:?}, of at most {self:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{ALLOCATOR, Bound};

    // One test: what another thread takes meanwhile would count too.
    #[test]
    fn memory_is_counted_and_more_than_the_bound_is_found() {
        let taken = ALLOCATOR.measure(|| {
            drop(vec![1_u8; 1_000_000]);
            let mut grown = Vec::<u8>::with_capacity(400_000);
            grown.resize(800_000, 1);
        });
        assert!((1_000_000..1_300_000).contains(&taken.live), "{taken:?}");
        assert_eq!(taken.single, 1_000_000);

        let bound = Bound::frames(100);
        bound.keeps(|| drop(vec![1_u8; bound.single]));
        for (bytes, times) in [(bound.single + 1, 1), (bound.single, 300)] {
            let beyond = std::panic::catch_unwind(|| {
                bound.keeps(|| drop(Vec::from_iter((0..times).map(|_| vec![1_u8; bytes]))));
            });
            assert!(beyond.is_err(), "{times} of {bytes} bytes were not noticed");
        }
    }
}
