//! Writing a full save, page by page beside the connections.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::clock::Millis;
use crate::state_file;
use crate::stick::entry::{Entry, State};
use crate::stick::{Cursor, Table};

use super::codec::{self, BLOCK_BYTES, Header, Kind};
use super::paths::Paths;

/// Writes every active entry that has not expired at `now`, and puts the file in the place of the
/// last save once it is whole and on disk. Returns the number of entries. The file there was
/// stays as it is unless all went well.
pub(super) fn write(table: &Table, paths: &Paths, header: &Header, now: Millis) -> io::Result<u64> {
    let beside = paths.new_save();
    let result = write_beside(table, paths, header, now);
    if result.is_err() {
        // It may never have come into being; what remains is overwritten by the next save.
        let _ = fs::remove_file(&beside);
    }
    result
}

fn write_beside(table: &Table, paths: &Paths, header: &Header, now: Millis) -> io::Result<u64> {
    state_file::make_directory(paths.save())?;
    let mut file = state_file::create_new(paths.save())?;
    file.write_all(&codec::file_start(Kind::Save, header))?;
    let entries = write_entries(table, &mut file, now)?;
    file.write_all(&codec::end_frame(entries))?;
    state_file::replace_by_new(paths.save(), &file)?;
    Ok(entries)
}

fn write_entries(table: &Table, file: &mut File, now: Millis) -> io::Result<u64> {
    let expiration = table.settings().expiration;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    codec::begin_entries(&mut block);
    let empty_bytes = block.len();
    let mut entries = 0;
    let mut next = Some(Cursor::START);
    while let Some(cursor) = next {
        next = table.visit(cursor, |entry| {
            entries += u64::from(save_entry(&mut block, entry, now, expiration));
            if block.len() < BLOCK_BYTES {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        if block.len() >= BLOCK_BYTES || (next.is_none() && block.len() > empty_bytes) {
            codec::finish_frame(&mut block, 0);
            file.write_all(&block)?;
            block.clear();
            codec::begin_entries(&mut block);
        }
    }
    Ok(entries)
}

/// Adds an entry to the block; false where it has no place in a save.
fn save_entry(block: &mut Vec<u8>, entry: &mut Entry, now: Millis, expiration: Duration) -> bool {
    if entry.state != State::Active || !entry.is_valid(now, expiration) {
        // A connection may still revive it: then the journal has to say so.
        entry.stored = false;
        return false;
    }
    let left = entry.remaining(now, expiration).unwrap_or(expiration);
    let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    codec::put_entry(block, entry.key(), entry.group, left_ms);
    true
}
