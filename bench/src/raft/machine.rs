//! What the machine itself takes, whatever runs on it.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustix::fs::{FallocateFlags, fallocate, fdatasync};

use crate::figure::median;

/// Files that are synced at the same time: as many as nodes share the disk.
const WRITERS: usize = 3;
/// What is written before each sync.
const BLOCK_BYTES: usize = 4096;
/// Syncs of each file before those that count: the first ones of a new file take several times as
/// long, and a log is an old file.
const WARM_UP: usize = 20;
/// Bytes of a round trip each way.
const ECHO_BYTES: usize = 64;
const ROUND_TRIPS: usize = 20_000;

/// What a sync and a round trip take.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// The median of the fdatasyncs of three files that are synced at the same time.
    pub sync: Duration,
    /// The 99th percentile of the same.
    pub sync_p99: Duration,
    /// The median round trip of 64 bytes between two threads over loopback TCP.
    pub round_trip: Duration,
}

impl Machine {
    /// Measures both, the disk in this directory with as many syncs per file.
    pub fn measure(directory: &Path, syncs: usize) -> anyhow::Result<Machine> {
        let syncs = concurrent_syncs(directory, syncs)?;
        Ok(Machine {
            sync: percentile(&syncs, 0.5),
            sync_p99: percentile(&syncs, 0.99),
            round_trip: round_trip().context("measure a loopback round trip")?,
        })
    }

    /// What a lone proposal through a follower cannot do without: one sync and two round trips.
    pub fn lone_proposal(&self) -> Duration {
        self.sync + 2 * self.round_trip
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sync of one of three at once: median {:.3} ms, p99 {:.3} ms; loopback round trip: {:.1} µs",
            self.sync.as_secs_f64() * 1e3,
            self.sync_p99.as_secs_f64() * 1e3,
            self.round_trip.as_secs_f64() * 1e6
        )
    }
}

/// The value below which this part of the values lies.
pub fn percentile(values: &[Duration], part: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * part).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}

fn concurrent_syncs(directory: &Path, syncs: usize) -> anyhow::Result<Vec<Duration>> {
    let start = Barrier::new(WRITERS);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let path = directory.join(format!("sync-{number}"));
                let start = &start;
                scope.spawn(move || {
                    let taken = syncs_of_one(&path, syncs, start);
                    taken.with_context(|| format!("measure syncs of {}", path.display()))
                })
            })
            .collect();
        let mut all = Vec::new();
        for writer in writers {
            all.extend(writer.join().map_err(|_| anyhow!("a writer panicked"))??);
        }
        Ok(all)
    })
}

/// Writes block after block into space that is allocated already, as a log does.
fn syncs_of_one(path: &Path, syncs: usize, start: &Barrier) -> anyhow::Result<Vec<Duration>> {
    let prepared = prepare(path, syncs);
    // All wait, or none does: one that fails must not leave the others waiting.
    start.wait();
    let file = prepared?;
    let block = [0x5a; BLOCK_BYTES];
    let mut taken = Vec::with_capacity(syncs);
    for at in 0..WARM_UP + syncs {
        file.write_all_at(&block, (at * BLOCK_BYTES) as u64)?;
        let before = Instant::now();
        fdatasync(&file)?;
        if at >= WARM_UP {
            taken.push(before.elapsed());
        }
    }
    std::fs::remove_file(path)?;
    Ok(taken)
}

fn prepare(path: &Path, syncs: usize) -> anyhow::Result<File> {
    let file = File::create(path)?;
    fallocate(
        &file,
        FallocateFlags::empty(),
        0,
        ((WARM_UP + syncs) * BLOCK_BYTES) as u64,
    )?;
    file.sync_all()?;
    Ok(file)
}

fn round_trip() -> anyhow::Result<Duration> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let mut buffer = [0; ECHO_BYTES];
        while far.read_exact(&mut buffer).is_ok() {
            far.write_all(&buffer)?;
        }
        Ok(())
    });
    let mut buffer = [0; ECHO_BYTES];
    let mut taken = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let before = Instant::now();
        near.write_all(&buffer)?;
        near.read_exact(&mut buffer)?;
        taken.push(before.elapsed().as_secs_f64());
    }
    drop(near);
    echo.join().map_err(|_| anyhow!("the echo panicked"))??;
    Ok(Duration::from_secs_f64(median(taken)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<Duration> = (1..=101).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 0.5), Duration::from_millis(51));
        assert_eq!(percentile(&values, 0.99), Duration::from_millis(100));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn the_machine_takes_some_time_for_both() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::measure(directory.path(), 3).unwrap();
        assert!(machine.sync > Duration::ZERO && machine.round_trip > Duration::ZERO);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
