//! What is measured, and medians of it.

use std::time::{Duration, Instant};

use crate::balancer::Running;
use crate::process::{Cpu, Memory, Tree};

/// One measurement: one balancer, one work, one round.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What a unit of the work costs: CPU nanoseconds, or bytes of memory.
    pub cost: f64,
    /// Units of work per second of time.
    pub rate: f64,
    /// System time's share of the CPU time.
    pub system_share: f64,
    /// CPU time of the balancer per second of time.
    pub proxy_busy: f64,
    /// CPU time of the load generator per second of time.
    pub load_busy: f64,
    /// Memory of the balancer at the end of the work.
    pub memory: Memory,
    /// Memory growth per connection, pages shared with other processes included, in bytes.
    pub resident_growth: f64,
    /// Connections that failed or brought wrong bytes.
    pub errors: u64,
}

/// A span of work, from its start on.
#[derive(Debug)]
pub struct Span {
    proxy: Tree,
    load: Tree,
    proxy_before: Cpu,
    load_before: Cpu,
    start: Instant,
}

impl Span {
    /// Starts now. The balancer must have carried something before: some open their listeners
    /// before they start the processes that do the work.
    pub fn start(balancer: &Running) -> anyhow::Result<Span> {
        Span::of(balancer.tree()?)
    }

    /// Starts now, for these processes of a balancer.
    pub fn of(proxy: Tree) -> anyhow::Result<Span> {
        let load = Tree::alone(std::process::id());
        Ok(Span {
            proxy_before: proxy.cpu()?,
            proxy,
            load_before: load.cpu()?,
            load,
            start: Instant::now(),
        })
    }

    /// The balancer's memory at this moment.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        self.proxy.memory()
    }

    /// Ends now; `units` of work were done.
    pub fn end(self, units: f64, errors: u64) -> anyhow::Result<Sample> {
        let time = self.start.elapsed();
        let proxy = self.proxy.cpu()?;
        let load = self.load.cpu()?;
        let busy = |from: Duration, to: Duration| (to - from).as_secs_f64() / time.as_secs_f64();
        let spent = (proxy.total - self.proxy_before.total).as_secs_f64();
        let ticked = (proxy.ticked - self.proxy_before.ticked).as_secs_f64();
        let system = (proxy.system - self.proxy_before.system).as_secs_f64();
        Ok(Sample {
            cost: spent * 1e9 / units,
            rate: units / time.as_secs_f64(),
            system_share: if ticked > 0.0 { system / ticked } else { 0.0 },
            proxy_busy: busy(self.proxy_before.total, proxy.total),
            load_busy: busy(self.load_before.total, load.total),
            memory: self.proxy.memory()?,
            resident_growth: 0.0,
            errors,
        })
    }
}

/// The median; of an even number of values, the mean of the middle two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_value_or_the_mean_of_two() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
