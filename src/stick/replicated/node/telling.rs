//! What the log is told of connections: short activity is renewed, what stays open is held, all
//! of it in batches a few times in an `expiration`, and again until it is acknowledged.

use std::sync::atomic::Ordering;

use tcpffee_raft::ids::{Index, LogTime};

use crate::stick::KeyRef;
use crate::stick::replicated::command::{Op, Outcome};

use super::mutation::{self, Mutation};
use super::outbox::{About, Queued, Told};
use super::record::{Entry, Hold};
use super::{Node, RECORDS_PER_HOLD, Shard, count, for_each_slot, locked};

impl Node {
    /// Has the log told whatever it does not know of this node's connections.
    pub(super) fn tell_all(&self) {
        for shard in &self.shards {
            let mut rest = std::mem::take(&mut locked(shard).due);
            while !rest.is_empty() {
                let some = rest.split_off(rest.len().saturating_sub(RECORDS_PER_HOLD as usize));
                let mut shard = locked(shard);
                for slot in some {
                    self.tell(&mut shard, slot);
                }
            }
        }
        self.pump();
    }

    fn tell(&self, shard: &mut Shard, slot: u32) {
        let Some(record) = shard.get_mut(slot) else {
            return;
        };
        record.is_due = false;
        let latest = self.lease.latest_time(self.outside.now());
        let news = record.entry.as_mut().and_then(|entry| news(entry, latest));
        let is_asked = |entry: &Entry| entry.hold == Hold::Asked;
        if record.entry.as_ref().is_some_and(is_asked) {
            // An answer may take long: what comes meanwhile is told all the same.
            record.is_due = true;
            shard.due.push(slot);
        }
        let Some(record) = shard.get_mut(slot) else {
            return;
        };
        let Some((what, serial, version)) = news else {
            shard.tidy(slot);
            return;
        };
        let key = record.key.clone();
        let op = match what {
            Told::Held => Op::Hold {
                key: key.clone(),
                version,
            },
            Told::Released(activity) => Op::Release {
                key: key.clone(),
                version,
                activity,
            },
            Told::Activity(activity) => Op::Renew {
                key: key.clone(),
                version,
                activity,
            },
        };
        self.outbox.push(Queued {
            op,
            about: About::Telling { key, serial, what },
        });
    }

    /// The log has answered what it was told, at this place in it.
    pub(super) fn told(
        &self,
        index: Index,
        key: KeyRef<'_>,
        serial: u64,
        what: Told,
        outcome: &Outcome,
    ) {
        self.with_told(key, serial, |entry| {
            if *outcome != Outcome::Done {
                // It is gone, or another: its connections go on and hold nothing.
                count(&self.counters.lost);
                return false;
            }
            match what {
                Told::Activity(activity) => {
                    count(&self.counters.renewals);
                    entry.told = entry.told.max(activity);
                }
                Told::Held => {
                    count(&self.counters.holds);
                    // What was said before this node's session ended counts no more.
                    let counts = index.0 > self.session_ended.load(Ordering::Acquire);
                    entry.hold = if counts { Hold::Yes } else { Hold::No };
                }
                Told::Released(activity) => {
                    count(&self.counters.releases);
                    entry.hold = Hold::No;
                    entry.told = entry.told.max(activity);
                }
            }
            true
        });
    }

    /// Nobody knows whether the log has heard it: it is told again.
    pub(super) fn not_told(&self, key: KeyRef<'_>, serial: u64, what: Told) {
        self.with_told(key, serial, |entry| {
            match what {
                Told::Activity(_) => {}
                Told::Held => entry.hold = Hold::No,
                Told::Released(_) => entry.hold = Hold::Yes,
            }
            entry.sent = entry.told;
            true
        });
    }

    /// Has the entry changed, where it still is the one that something was told of; false forgets
    /// it.
    fn with_told(&self, key: KeyRef<'_>, serial: u64, change: impl FnOnce(&mut Entry) -> bool) {
        let (ip_hash, mut shard) = self.shard_of_key(key);
        let Some(slot) = shard.find(ip_hash, key) else {
            return;
        };
        let Some(record) = shard.get_mut(slot) else {
            return;
        };
        let Some(entry) = record.entry.as_mut().filter(|entry| entry.serial == serial) else {
            return;
        };
        if !change(entry) {
            record.entry = None;
        } else if has_news(entry) {
            shard.note_due(slot);
        }
        shard.tidy(slot);
    }

    /// This node's session was ended at this place in the log: it holds nothing until it has said
    /// so again.
    pub(super) fn note_session_ended(&self, index: Index) {
        if self.session_ended.fetch_max(index.0, Ordering::AcqRel) >= index.0 {
            return;
        }
        for shard in &self.shards {
            for_each_slot(shard, |shard, slot| {
                let entry = shard.get_mut(slot).and_then(|record| record.entry.as_mut());
                if let Some(entry) = entry.filter(|entry| entry.hold == Hold::Yes) {
                    entry.hold = Hold::No;
                    shard.note_due(slot);
                }
            });
        }
    }
}

/// What the log does not know of an entry, if anything; it is on its way from now on. `latest`: the
/// latest that the log's time may be.
fn news(entry: &mut Entry, latest: LogTime) -> Option<(Told, u64, Index)> {
    if entry.is_alone() || mutation::is(Mutation::HoldsNothing) {
        return None;
    }
    if entry.hold == Hold::Asked && entry.open > 0 {
        // Not known to be held, and as good as active.
        entry.activity = entry.activity.max(latest);
    }
    let what = match (entry.hold, entry.open) {
        (Hold::No, 1..) => Told::Held,
        (Hold::Yes, 0) => Told::Released(entry.activity),
        (Hold::Yes, _) => return None,
        (Hold::No | Hold::Asked, _) if entry.sent < entry.activity => {
            Told::Activity(entry.activity)
        }
        (Hold::No | Hold::Asked, _) => return None,
    };
    match what {
        Told::Activity(activity) => entry.sent = activity,
        Told::Released(activity) => {
            entry.sent = activity;
            entry.hold = Hold::Asked;
        }
        Told::Held => entry.hold = Hold::Asked,
    }
    Some((what, entry.serial, entry.version))
}

/// Whether there is something that the log does not know and is not being told.
fn has_news(entry: &Entry) -> bool {
    match entry.hold {
        Hold::Asked => false,
        Hold::No => entry.open > 0 || entry.told < entry.activity,
        Hold::Yes => entry.open == 0,
    }
}
