//! CPU time and memory of a process and its descendants, as the kernel counts them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// What a set of processes has used up to now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// User and system time of all threads, ended ones included, to the nanosecond.
    pub total: Duration,
    /// System time as `/proc/PID/stat` has it, in clock ticks: for the share, not for the sum.
    pub system: Duration,
    /// User and system time in clock ticks.
    pub ticked: Duration,
}

/// Memory of a set of processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Pages in memory, shared ones included, in bytes.
    pub resident_bytes: u64,
    /// Pages in memory that no other process shares, in bytes.
    pub private_bytes: u64,
}

/// A process and everything that descends from it.
#[derive(Clone, Debug)]
pub struct Tree {
    pids: Vec<u32>,
}

impl Tree {
    /// The process and its descendants of this moment.
    pub fn of(root: u32) -> anyhow::Result<Tree> {
        let parents = parents()?;
        let mut pids = vec![root];
        let mut next = 0;
        while let Some(&parent) = pids.get(next) {
            let children = parents.iter().filter(|(_, of)| *of == parent);
            pids.extend(children.map(|(pid, _)| *pid));
            next += 1;
        }
        Ok(Tree { pids })
    }

    /// One process without its descendants.
    pub fn alone(pid: u32) -> Tree {
        Tree { pids: vec![pid] }
    }

    /// The processes, the root first.
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// CPU time up to now.
    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        let mut sum = Cpu::default();
        for &pid in &self.pids {
            sum.total += cpu_clock(pid)?;
            let (user, system) = ticked(pid)?;
            sum.system += system;
            sum.ticked += user + system;
        }
        Ok(sum)
    }

    /// Memory at this moment.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        let mut sum = Memory::default();
        for &pid in &self.pids {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
            sum.resident_bytes += field_bytes(&text, "Rss:")?;
            sum.private_bytes +=
                field_bytes(&text, "Private_Clean:")? + field_bytes(&text, "Private_Dirty:")?;
        }
        Ok(sum)
    }
}

/// The most memory that a process had in memory up to now, in bytes.
pub fn peak_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    field_bytes(&text, "VmHWM:").with_context(|| format!("read {path}"))
}

/// Every process's id and its parent's.
fn parents() -> anyhow::Result<Vec<(u32, u32)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("list /proc")? {
        let name = entry.context("list /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end between the listing and the reading.
        if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
            let parent = stat_fields(&stat).and_then(|fields| fields.get(1)?.parse().ok());
            found.push((pid, parent.context("read a parent from /proc/PID/stat")?));
        }
    }
    Ok(found)
}

/// The fields of `/proc/PID/stat` after the command, which may hold spaces and parentheses.
fn stat_fields(stat: &str) -> Option<Vec<&str>> {
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_ascii_whitespace().collect())
}

/// User and system time, in steps of a clock tick.
fn ticked(pid: u32) -> anyhow::Result<(Duration, Duration)> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let fields = stat_fields(&stat).with_context(|| format!("read {path}"))?;
    let per_second = rustix::param::clock_ticks_per_second();
    let time = |at: usize| {
        let ticks: u64 = fields.get(at).and_then(|field| field.parse().ok())?;
        Some(Duration::from_nanos(ticks * 1_000_000_000 / per_second))
    };
    match (time(11), time(12)) {
        (Some(user), Some(system)) => Ok((user, system)),
        _ => bail!("{path} lacks utime and stime"),
    }
}

/// The process's CPU clock: all its threads, ended ones included.
fn cpu_clock(pid: u32) -> anyhow::Result<Duration> {
    let process = libc::pid_t::try_from(pid).context("process id")?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid place to write a clock id to.
    let error = unsafe { libc::clock_getcpuclockid(process, &raw mut clock) };
    ensure!(
        error == 0,
        "find the CPU clock of process {pid}: {}",
        std::io::Error::from_raw_os_error(error)
    );
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write a time to.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        return Err(error).with_context(|| format!("read the CPU clock of process {pid}"));
    }
    Ok(Duration::new(
        u64::try_from(time.tv_sec).context("CPU time")?,
        u32::try_from(time.tv_nsec).context("CPU time")?,
    ))
}

fn field_bytes(text: &str, name: &str) -> anyhow::Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("it lacks {name}"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn cpu_time_of_a_busy_process_grows_as_time_does() {
        let tree = Tree::alone(std::process::id());
        let before = tree.cpu().unwrap().total;
        let start = Instant::now();
        let mut sum = 0_u64;
        while tree.cpu().unwrap().total - before < Duration::from_millis(50) {
            sum = std::hint::black_box(sum.wrapping_add(1));
            assert!(start.elapsed() < Duration::from_secs(30));
        }
    }

    #[test]
    fn a_tree_holds_the_children() {
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let tree = Tree::of(std::process::id()).unwrap();
        assert!(tree.pids().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn memory_of_this_process_is_seen() {
        let memory = Tree::alone(std::process::id()).memory().unwrap();
        assert!(memory.private_bytes > 0);
        assert!(memory.resident_bytes >= memory.private_bytes);
    }

    #[test]
    fn stat_fields_survive_a_command_with_spaces_and_parentheses() {
        let fields = stat_fields("7 (a) b (c) S 1 7").unwrap();
        assert_eq!(fields, ["S", "1", "7"]);
    }
}
