//! The system's allocator, counting.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

/// Counts what is asked of the system's allocator.
pub struct Counting {
    /// Bytes that were taken and not given back since the last measurement began. Negative where
    /// something older was given back.
    live: AtomicIsize,
    most_live: AtomicIsize,
    largest: AtomicUsize,
}

/// What was taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Bytes at the worst moment, beyond those at the beginning.
    pub live: usize,
    /// Bytes of the largest allocation.
    pub single: usize,
}

impl Counting {
    pub const fn new() -> Counting {
        Counting {
            live: AtomicIsize::new(0),
            most_live: AtomicIsize::new(0),
            largest: AtomicUsize::new(0),
        }
    }

    /// What `run` takes; of a process in which nothing else runs meanwhile.
    pub fn measure(&self, run: impl FnOnce()) -> Taken {
        self.live.store(0, Relaxed);
        self.most_live.store(0, Relaxed);
        self.largest.store(0, Relaxed);
        run();
        Taken {
            live: self.most_live.load(Relaxed).max(0).unsigned_abs(),
            single: self.largest.load(Relaxed),
        }
    }

    fn took(&self, bytes: usize) {
        self.largest.fetch_max(bytes, Relaxed);
        let live = self.live.fetch_add(bytes as isize, Relaxed) + bytes as isize;
        self.most_live.fetch_max(live, Relaxed);
    }

    fn gave_back(&self, bytes: usize) {
        self.live.fetch_sub(bytes as isize, Relaxed);
    }
}

// SAFETY: all is left to the system's allocator; counting allocates nothing and does not unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.took(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.took(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment both are there, where it has to move.
        self.took(size);
        self.gave_back(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        self.gave_back(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}
