//! What must hold for any bytes that come out of the log or out of a snapshot: for the fuzz target,
//! and for a property test that runs with every other test.

mod limits; // more than there may be
mod made; // what can be said, from bytes of any kind
mod node; // one replica, driven by hand
mod replicas; // the same log, the same state
#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::codec::{CommandError, encode};
use super::command::{Answer, Batch};
use super::replica::entry::Entry;
use super::replica::shard::PAGE_SLOTS;
use crate::stick::hash::SHARDS;
use made::Made;

/// Tables that one input fills at most, at any one moment.
pub const STATES: usize = 4;

/// Bytes of a table's first pages, once it has an entry in each of its shards.
pub const FIRST_PAGES_BYTES: usize = SHARDS * FIRST_PAGE_BYTES;

/// Bytes of one page, which are asked for at once.
pub const FIRST_PAGE_BYTES: usize = PAGE_SLOTS * size_of::<Entry>();

/// By the first byte: reads the rest as a command and an answer; makes them from it, writes them and
/// reads them whole and damaged; says more than there may be; restores what it is as a snapshot; or
/// has several replicas apply a log that it says.
///
/// # Panics
/// Where a promise of the log's language, of the state or of its snapshots is broken.
pub fn log(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 8 {
        0 => {
            read_batch(bytes);
            read_answer(bytes);
        }
        1 => said(bytes),
        2 => limits::beyond(bytes),
        3 => replicas::arbitrary_snapshot(bytes),
        _ => replicas::one_log(bytes),
    }
}

/// Whatever is a command is written and read again as the same.
fn read_batch(bytes: &[u8]) {
    if let Ok(batch) = Batch::decode(bytes) {
        assert_eq!(Batch::decode(&encode(&batch)), Ok(batch));
    }
}

/// Whatever is an answer is written and read again as the same.
fn read_answer(bytes: &[u8]) {
    if let Ok(answer) = Answer::decode(bytes) {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
}

/// What can be said is read as it was written; no part of it is anything, and nothing follows it.
fn said(bytes: &[u8]) {
    let mut made = Made::new(bytes);
    let (cut, damage) = (made.source.short(), made.damage());
    let batch = made.batch();
    let written = encode(&batch);
    assert_eq!(Batch::decode(&written), Ok(batch));
    only_whole(&written, cut, |bytes| Batch::decode(bytes).err());
    read_batch(&damage.done_to(&written));

    let answer = made.answer();
    let written = answer.encode();
    assert_eq!(Answer::decode(&written), Ok(answer));
    only_whole(&written, cut, |bytes| Answer::decode(bytes).err());
    read_answer(&damage.done_to(&written));
}

fn only_whole(written: &Bytes, cut: u16, error: impl Fn(&[u8]) -> Option<CommandError>) {
    let cut = usize::from(cut) % written.len();
    assert!(error(&written[..cut]).is_some(), "{cut} bytes");
    let longer = [&written[..], &[0]].concat();
    assert_eq!(error(&longer), Some(CommandError::Trailing(1)));
}
