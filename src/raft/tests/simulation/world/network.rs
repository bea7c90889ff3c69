//! The ways between nodes: what is lost, doubled, late, out of order or cut.

use std::collections::BTreeSet;

use super::plan::Plan;
use super::rng::Rng;

/// One cut: the ways that it blocks.
pub type Ways = Vec<(usize, usize)>;

/// The ways between all nodes.
pub struct Network {
    nodes: usize,
    blocked: Vec<u16>,
    newest_us: Vec<u64>,
    cuts: Vec<Option<Ways>>,
    calm: bool,
}

impl Network {
    /// All ways are open.
    pub fn new(nodes: usize) -> Network {
        Network {
            nodes,
            blocked: vec![0; nodes * nodes],
            newest_us: vec![0; nodes * nodes],
            cuts: Vec::new(),
            calm: false,
        }
    }

    /// Whether nothing gets from one node to the other.
    pub fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked[from * self.nodes + to] > 0
    }

    /// Cuts ways; says the cut's number.
    pub fn cut(&mut self, ways: Ways) -> usize {
        for (from, to) in &ways {
            self.blocked[from * self.nodes + to] += 1;
        }
        self.cuts.push(Some(ways));
        self.cuts.len() - 1
    }

    /// Mends a cut.
    pub fn mend(&mut self, cut: usize) {
        for (from, to) in self.cuts[cut].take().unwrap_or_default() {
            self.blocked[from * self.nodes + to] -= 1;
        }
    }

    /// Mends everything and loses nothing any more.
    pub fn calm(&mut self) {
        for cut in 0..self.cuts.len() {
            self.mend(cut);
        }
        self.calm = true;
    }

    /// The ways between two groups of nodes, in both directions.
    pub fn between(&self, some: &BTreeSet<usize>) -> Ways {
        let mut ways = Ways::new();
        for from in 0..self.nodes {
            for to in 0..self.nodes {
                if some.contains(&from) != some.contains(&to) {
                    ways.push((from, to));
                }
            }
        }
        ways
    }

    /// When a message that is sent now arrives: never, once or twice.
    pub fn arrivals(
        &mut self,
        plan: &Plan,
        rng: &mut Rng,
        now_us: u64,
        from: usize,
        to: usize,
    ) -> (Option<u64>, Option<u64>) {
        if self.is_blocked(from, to) || (!self.calm && rng.chance_ppm(plan.loss_ppm)) {
            return (None, None);
        }
        let first = self.arrival(plan, rng, now_us, from, to);
        let second = match !self.calm && rng.chance_ppm(plan.double_ppm) {
            true => Some(self.arrival(plan, rng, now_us, from, to)),
            false => None,
        };
        (Some(first), second)
    }

    fn arrival(&mut self, plan: &Plan, rng: &mut Rng, now_us: u64, from: usize, to: usize) -> u64 {
        let mut way_us = plan.way_us / 2 + rng.gap(plan.way_us);
        if !self.calm && rng.chance_ppm(plan.delay_ppm) {
            way_us += rng.gap(400_000);
        }
        let newest = &mut self.newest_us[from * self.nodes + to];
        let mut at_us = now_us + way_us;
        if !plan.reorder {
            at_us = at_us.max(*newest + 1);
        }
        *newest = at_us.max(*newest);
        at_us
    }
}
