//! A snapshot takes the place of the state, under the eyes of the workers.

use std::io::{self, Read};
use std::sync::Arc;

use tcpffee_raft::codec::MAX_NUMBER;

use super::header::{Header, MAX_HEADER_BYTES, get_header};
use super::page::{MAX_PAGE_BYTES, get_page};
use super::{FORMAT, malformed, next_number};
use crate::stick::hash::shard_of;
use crate::stick::replicated::replica::entry::Entry;
use crate::stick::replicated::state::State;
use crate::stick::replicated::state::entries::Entries;

impl State {
    /// Takes the state that a snapshot holds: its entries replace those of the same keys, one
    /// after the other, and then the others go. A snapshot being read of what was is given up.
    ///
    /// # Errors
    /// Where the bytes are no such state. Then this one is none of any place in the log either.
    pub fn restore(&mut self, state: &mut dyn Read) -> io::Result<()> {
        let [format] = read_array(state)?;
        if format != FORMAT {
            let text = format!("a stick table in format {format}, this version reads {FORMAT}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let header = read_framed(state, MAX_HEADER_BYTES)?;
        let header = get_header(&header).map_err(malformed)?;
        next_number(&self.entries.replica);
        let slots = header.agreement.members.iter();
        let members = slots.fold(0, |members, (&node, member)| {
            self.entries.replica.members.set(member.slot, node);
            members | 1 << member.slot
        });
        self.restored = if self.restored == 1 { 2 } else { 1 };
        let mut serials = Vec::new();
        loop {
            let page = read_framed(state, MAX_PAGE_BYTES)?;
            if page.is_empty() {
                break;
            }
            for entry in get_page(&page, members).map_err(malformed)? {
                serials.push(entry.serial);
                put_in(&mut self.entries, entry, self.restored)?;
            }
        }
        let next_serial = u64::from_le_bytes(read_array(state)?);
        serials.sort_unstable();
        if !serials.is_sorted_by(|one, next| one < next) {
            // Which of them goes first is not to depend on where this node has put them.
            return Err(disorder("two entries of one serial"));
        }
        let last_serial = serials.last().copied().unwrap_or(0);
        if next_serial <= last_serial || next_serial > MAX_NUMBER {
            return Err(disorder("an entry of the future"));
        }
        let restored = self.restored;
        self.entries.for_each(&mut |entries, shard, at, slot| {
            if shard.entry(slot).restored != restored {
                entries.remove(shard, at, slot);
            }
        });
        self.entries.next_serial = next_serial;
        self.take(header);
        Ok(())
    }

    fn take(&mut self, header: Header) {
        let Header {
            time,
            index,
            changed_at,
            counts,
            agreement,
        } = header;
        self.time = time;
        self.index = index;
        let entries = self.entries.counts.entries;
        self.entries.counts = crate::stick::Counts { entries, ..counts };
        self.entries.fences_changed = false;
        self.agreement = agreement;
        let agreed = self.agreement.as_agreed(changed_at, &self.entries);
        self.agreement.agreed = Arc::new(agreed);
        self.publish();
        self.publish_applied();
    }
}

/// Puts an entry in the place of the one of the same key.
fn put_in(entries: &mut Entries, mut entry: Entry, restored: u8) -> io::Result<()> {
    entry.restored = restored;
    let replica = Arc::clone(&entries.replica);
    let ip_hash = replica.hasher.ip(entry.ip);
    let at = shard_of(ip_hash);
    let mut shard = replica.lock(at);
    match shard.find(ip_hash, entry.key()) {
        None => {
            entries.insert(&mut shard, at, ip_hash, entry);
        }
        Some(slot) if shard.entry(slot).restored == restored => {
            return Err(disorder("two entries of one key"));
        }
        Some(slot) => entries.change(&mut shard, at, slot, |before| *before = entry),
    }
    Ok(())
}

/// Reads bytes with their length before them.
fn read_framed(state: &mut dyn Read, most: u32) -> io::Result<Vec<u8>> {
    let length = u32::from_le_bytes(read_array(state)?);
    if length > most {
        return Err(disorder("a part that is longer than any can be"));
    }
    // Grows with what really comes.
    let mut bytes = Vec::new();
    state.take(length.into()).read_to_end(&mut bytes)?;
    match bytes.len() == length as usize {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn read_array<const N: usize>(state: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    state.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn disorder(what: &str) -> io::Error {
    let text = format!("a stick table that contradicts itself: {what}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
