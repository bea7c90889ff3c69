//! Leases and the fence: who may answer by itself, and what no leader may do meanwhile.

use tcpffee_raft::message::LeaseGrant;

use super::World;
use super::coverage::Seen;
use super::history::{Checked, ensure};

/// Stamps older than this are of no use to anybody.
const STAMPS_KEPT_MS: u64 = 5_000;

impl World {
    /// A node may take its clock's stamp now: what is committed by then?
    pub(super) fn stamps(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let stamp = node.clock.at(self.now_us);
        if node.stamps.back().is_some_and(|(last, _)| *last == stamp) {
            return;
        }
        node.stamps.push_back((stamp, self.history.committed()));
        while let Some((first, _)) = node.stamps.front() {
            if first.plus(STAMPS_KEPT_MS) >= stamp {
                break;
            }
            node.stamps.pop_front();
        }
    }

    /// A node has been granted a lease.
    pub(super) fn leased(&mut self, at: usize, grant: LeaseGrant) -> Checked {
        let now_us = self.now_us;
        let hit_lease_ms = self.plan.settings.hit_lease_ms;
        let node = &mut self.nodes[at];
        let now = node.clock.at(now_us);
        let Some(live) = &mut node.live else {
            return Ok(());
        };
        live.lease = Some(grant);
        if now >= grant.stamp.plus(hit_lease_ms) {
            return Ok(());
        }
        self.coverage.see(Seen::Lease);
        ensure(
            live.machine.last.index >= grant.commit,
            "a lease begins once its commit index is applied",
            || format!("node {} is at {}, {grant:?}", at + 1, live.machine.last),
        )?;
        let found = node
            .stamps
            .binary_search_by_key(&grant.stamp, |(stamp, _)| *stamp);
        let committed_then = found.ok().map(|found| node.stamps[found].1);
        ensure(
            committed_then.is_some_and(|then| then <= grant.commit),
            "a lease knows all that was committed at its stamp",
            || {
                format!(
                    "node {} is granted {grant:?} at {now}, then {committed_then:?} was committed",
                    at + 1
                )
            },
        )
    }

    /// No leader's fence is down for what a node that may still answer by itself has not applied.
    pub(super) fn observe_leases(&mut self, at: usize) -> Checked {
        for holder in 0..self.nodes.len() {
            if holder != at && !self.nodes[at].leads() {
                continue;
            }
            for leader in 0..self.nodes.len() {
                if (holder == at || leader == at) && holder != leader {
                    self.is_fenced(leader, holder)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn is_fenced(&mut self, leader: usize, holder: usize) -> Checked {
        if !self.nodes[leader].leads() {
            return Ok(());
        }
        let hit_lease_ms = self.plan.settings.hit_lease_ms;
        let Some(lease) = self.nodes[holder].may_hit(self.now_us, hit_lease_ms) else {
            return Ok(());
        };
        let (Some(leads), Some(holds)) = (&self.nodes[leader].live, &self.nodes[holder].live)
        else {
            return Ok(());
        };
        let next = holds.machine.last.index.next();
        if next > leads.core.commit() {
            return Ok(());
        }
        let down = leads.core.fence(next);
        if !down {
            self.coverage.see(Seen::FenceHeldBack);
        }
        ensure(!down, "the fence waits for all leases", || {
            format!(
                "node {} would go past {next}, node {} may hit by {lease:?} at {} and is at {}",
                leader + 1,
                holder + 1,
                self.nodes[holder].clock.at(self.now_us),
                holds.machine.last
            )
        })
    }
}
