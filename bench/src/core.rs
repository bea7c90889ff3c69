//! Which core a thread, and whatever it starts, runs on.

use anyhow::{Context, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of one comparison.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// The balancer's.
    pub proxy: usize,
    /// That of clients and servers.
    pub load: usize,
}

impl Cores {
    /// The cores asked for; where none was, the first two that this process may use.
    pub fn choose(proxy: Option<usize>, load: Option<usize>) -> anyhow::Result<Cores> {
        let allowed = sched_getaffinity(None).context("read this process's cores")?;
        let allowed: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|&core| allowed.is_set(core))
            .collect();
        for asked in proxy.iter().chain(&load) {
            ensure!(
                allowed.contains(asked),
                "core {asked} is not among those that this process may use: {allowed:?}"
            );
        }
        let first_but =
            |taken: Option<usize>| allowed.iter().copied().find(|&core| Some(core) != taken);
        let proxy = proxy.or_else(|| first_but(load)).or(load);
        let load = load.or_else(|| first_but(proxy)).or(proxy);
        let cores = Cores {
            proxy: proxy.context("this process may use no core")?,
            load: load.context("this process may use no core")?,
        };
        if cores.proxy == cores.load {
            eprintln!(
                "note: balancer and load share core {}; the figures mean little",
                cores.proxy
            );
        }
        Ok(cores)
    }
}

/// Pins the calling thread, and the processes and threads that it starts from now on.
pub fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("pin to core {core}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_asked_for_is_kept_and_the_other_differs_where_it_can() {
        let cores = Cores::choose(None, None).unwrap();
        let swapped = Cores::choose(Some(cores.load), None).unwrap();
        assert_eq!(swapped.proxy, cores.load);
        assert_eq!(swapped.load == swapped.proxy, cores.load == cores.proxy);
    }

    #[test]
    fn a_core_that_is_not_there_is_refused() {
        let refused = Cores::choose(Some(CpuSet::MAX_CPU), None).unwrap_err();
        assert!(refused.to_string().contains("is not among"));
    }
}
