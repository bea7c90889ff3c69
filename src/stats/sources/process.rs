//! What the kernel knows of the process.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use super::api;

/// Clock ticks in a second, in `/proc`: the same on every Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a count that took a listing holds.
const LISTED_FOR: Duration = Duration::from_secs(1);

/// The last listing: when, and how many.
static LISTED: Mutex<Option<(Instant, u64)>> = Mutex::new(None);

/// The process now; what cannot be read is 0.
pub fn figures() -> api::Process {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    api::Process {
        pid: std::process::id(),
        resident_bytes: field(&status, "VmRSS:") * 1_024,
        open_descriptors: open_descriptors(),
        max_descriptors: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        threads: field(&status, "Threads:"),
        cpu_seconds: cpu_ticks(&stat) as f64 / TICKS_PER_SECOND,
        log_lines_lost: crate::logging::lines_lost(),
    }
}

/// Descriptors that are open: told at once since Linux 6.2. Before, they have to be listed, which
/// takes as long as there are many.
fn open_descriptors() -> u64 {
    match fs::metadata("/proc/self/fd").map_or(0, |fd| fd.len()) {
        0 => recently_listed(),
        told => told,
    }
}

fn recently_listed() -> u64 {
    let mut last = LISTED.lock().unwrap_or_else(PoisonError::into_inner);
    match *last {
        Some((at, count)) if at.elapsed() < LISTED_FOR => count,
        _ => {
            let count = listed();
            *last = Some((Instant::now(), count));
            count
        }
    }
}

fn listed() -> u64 {
    // One of them is the listing's own.
    let list = fs::read_dir("/proc/self/fd");
    list.map_or(0, |list| list.count().saturating_sub(1)) as u64
}

/// The number of a line of `/proc/self/status`.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// User and system time of `/proc/self/stat`: its fields 14 and 15, counted behind the name, which
/// may hold anything.
fn cpu_ticks(stat: &str) -> u64 {
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let times = behind_name.split_whitespace().skip(11).take(2);
    times.filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_itself() {
        let figures = figures();
        assert_eq!(figures.pid, std::process::id());
        assert!(figures.resident_bytes > 100_000, "{figures:?}");
        assert!(figures.open_descriptors >= 3, "{figures:?}");
        assert!(
            figures.max_descriptors >= figures.open_descriptors,
            "{figures:?}"
        );
        assert!(figures.threads >= 1, "{figures:?}");
        // Other tests open and close some meanwhile.
        let few = 200;
        for counted in [figures.open_descriptors, recently_listed()] {
            assert!(counted.abs_diff(listed()) < few, "{counted}");
        }
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0";
        assert_eq!(cpu_ticks(line), 300);
    }
}
