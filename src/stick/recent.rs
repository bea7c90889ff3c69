//! The slice entries of each address, the most recently routed first.

use super::entry::{NO_SLOT, SliceKey};
use super::index::Index;
use super::key::ClientIp;
use super::slab::Slab;

/// Finds the newest entry of an address; the entries link to the others.
#[derive(Debug)]
pub(super) struct Recent {
    newest: Index,
}

impl Recent {
    pub fn new() -> Recent {
        Recent {
            newest: Index::new(),
        }
    }

    /// The entries of an address, the most recently routed first.
    pub fn of<'s>(
        &self,
        slab: &'s Slab,
        ip_hash: u64,
        ip: ClientIp,
    ) -> impl Iterator<Item = u32> + use<'s> {
        let newest = self.newest.find(ip_hash, |slot| slab[slot].ip == ip);
        std::iter::successors(newest, |&slot| {
            let older = slab[slot].slice.as_ref()?.older;
            (older != NO_SLOT).then_some(older)
        })
    }

    /// Adds a slice entry as the newest of its address.
    pub fn add(&mut self, slab: &mut Slab, slot: u32, hash_ip: impl Fn(ClientIp) -> u64) {
        let ip = slab[slot].ip;
        let ip_hash = hash_ip(ip);
        let before = self.newest.find(ip_hash, |other| slab[other].ip == ip);
        if let Some(before) = before {
            self.newest.replace(ip_hash, before, slot);
            slice_key(slab, before).newer = slot;
        } else {
            self.newest.insert(ip_hash, slot);
        }
        let own = slice_key(slab, slot);
        own.newer = NO_SLOT;
        own.older = before.unwrap_or(NO_SLOT);
    }

    /// Takes a slice entry out.
    pub fn remove(&mut self, slab: &mut Slab, slot: u32, hash_ip: impl Fn(ClientIp) -> u64) {
        let own = slice_key(slab, slot);
        let (newer, older) = (own.newer, own.older);
        if older != NO_SLOT {
            slice_key(slab, older).newer = newer;
        }
        if newer != NO_SLOT {
            slice_key(slab, newer).older = older;
            return;
        }
        let ip_hash = hash_ip(slab[slot].ip);
        if older == NO_SLOT {
            self.newest.remove(ip_hash, slot);
        } else {
            self.newest.replace(ip_hash, slot, older);
        }
    }

    /// Notes that a slice entry was routed just now.
    pub fn touch(&mut self, slab: &mut Slab, slot: u32, hash_ip: impl Fn(ClientIp) -> u64) {
        if slice_key(slab, slot).newer != NO_SLOT {
            self.remove(slab, slot, &hash_ip);
            self.add(slab, slot, hash_ip);
        }
    }
}

fn slice_key(slab: &mut Slab, slot: u32) -> &mut SliceKey {
    slab[slot]
        .slice
        .as_deref_mut()
        .expect("only entries with a slice are listed here")
}
