//! A snapshot being read, in one shard: pages are copied before they change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::Entry;
use crate::stick::replicated::snapshot::put_page;

/// What a snapshot still needs of one shard.
#[derive(Debug)]
pub(in super::super) struct Mark {
    number: u64,
    pages: Vec<Page>,
    /// Bytes that are kept, over all shards.
    kept_bytes: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Page {
    /// As it was when the snapshot was begun.
    Unchanged,
    /// It has changed since: what it was, as bytes.
    Kept(Vec<u8>),
    /// It has been read, and may change.
    Read,
}

impl Mark {
    /// Of a shard with so many pages.
    pub fn new(number: u64, pages: usize, kept_bytes: &Arc<AtomicU64>) -> Mark {
        Mark {
            number,
            pages: std::iter::repeat_with(|| Page::Unchanged)
                .take(pages)
                .collect(),
            kept_bytes: Arc::clone(kept_bytes),
        }
    }

    /// Which snapshot.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A page is about to change.
    pub fn keep(&mut self, page: usize, entries: &[Entry]) {
        let Some(page @ Page::Unchanged) = self.pages.get_mut(page) else {
            return;
        };
        let mut bytes = Vec::new();
        put_page(entries, &mut bytes);
        bytes.shrink_to_fit();
        self.kept_bytes
            .fetch_add(bytes.capacity() as u64, Ordering::Relaxed);
        *page = Page::Kept(bytes);
    }

    /// Appends a page as it was; nothing of one that was read before.
    pub fn read(&mut self, page: usize, entries: &[Entry], out: &mut Vec<u8>) {
        let Some(page) = self.pages.get_mut(page) else {
            return;
        };
        match std::mem::replace(page, Page::Read) {
            Page::Unchanged => put_page(entries, out),
            Page::Kept(bytes) => {
                out.extend_from_slice(&bytes);
                self.forget(&bytes);
            }
            Page::Read => {}
        }
    }

    fn forget(&self, bytes: &Vec<u8>) {
        self.kept_bytes
            .fetch_sub(bytes.capacity() as u64, Ordering::Relaxed);
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        for page in &self.pages {
            if let Page::Kept(bytes) = page {
                self.forget(bytes);
            }
        }
    }
}
