//! Which core a thread, and whatever it starts, runs on.

use anyhow::{Context, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Pins the calling thread, and the processes and threads that it starts from now on.
pub fn pin(core: usize) -> anyhow::Result<()> {
    ensure!(core < CpuSet::MAX_CPU, "core {core} is out of range");
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("pin to core {core}"))
}

/// Whether this process may run on the core.
pub fn ensure_available(core: usize) -> anyhow::Result<()> {
    let allowed = sched_getaffinity(None).context("read this process's cores")?;
    ensure!(
        core < CpuSet::MAX_CPU && allowed.is_set(core),
        "core {core} is not among the {} cores that this process may use; \
         choose others with --proxy-core and --load-core",
        allowed.count()
    );
    Ok(())
}
