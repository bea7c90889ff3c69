//! One journal file, being written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;

use crate::stick::Table;

use super::codec::{self, BLOCK_BYTES, Header, Kind};
use super::paths::Paths;

/// An open journal. After a failed write it takes no more: what follows a torn record could not
/// be read, and a record that is missing could bring an older one of its key back.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    sequence: u64,
    records: u64,
    broken: bool,
}

impl Journal {
    /// Creates the journal that the header names, or empties the one there is.
    pub fn create(paths: &Paths, header: &Header) -> io::Result<Journal> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(paths.journal(header.sequence))?;
        file.write_all(&codec::file_start(Kind::Journal, header))?;
        Ok(Journal {
            file,
            sequence: header.sequence,
            records: 0,
            broken: false,
        })
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether it holds anything that a save might not.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether a write failed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Makes every further write fail as on a full disk.
    #[cfg(test)]
    pub fn fail_writes(&mut self) {
        let full = OpenOptions::new().write(true).open("/dev/full");
        self.file = full.unwrap();
    }

    /// Writes what became active since the last time, in blocks; returns the number of records.
    /// Without `fsync`: what is written survives the end of the process, which is all that a
    /// lone node's journal promises.
    pub fn append_news(&mut self, table: &Table) -> io::Result<u64> {
        let before = self.records;
        let mut block = Vec::new();
        let mut records = 0;
        for shard in 0..table.shard_count() {
            let mut more = true;
            while more {
                if block.is_empty() {
                    codec::begin_entries(&mut block);
                }
                more = table.take_news(shard, |key, group| {
                    codec::put_entry(&mut block, key, group, 0);
                    records += 1;
                    if block.len() < BLOCK_BYTES {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                });
                if block.len() >= BLOCK_BYTES {
                    self.append(&mut block, &mut records)?;
                }
            }
        }
        self.append(&mut block, &mut records)?;
        Ok(self.records - before)
    }

    fn append(&mut self, block: &mut Vec<u8>, records: &mut u64) -> io::Result<()> {
        if *records > 0 && !self.broken {
            codec::finish_frame(block, 0);
            // Should this fail, part of it may be there: broken until proven whole.
            self.broken = true;
            self.file.write_all(block)?;
            self.broken = false;
            self.records += *records;
        }
        *records = 0;
        block.clear();
        Ok(())
    }
}
