//! What a seed's world is like and what goes wrong in it.
//!
//! Swarm testing: each seed switches a random subset of the faults on, each at a random rate. A
//! world with every fault at once seldom gets anywhere; a world with few of them gets deep.

use tcpffee_raft::settings::Settings;

use super::rng::Rng;

/// What can go wrong, or is asked of the cluster, at a random moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// One process is killed or one machine loses power.
    Crash,
    /// All at once.
    CrashAll,
    /// Nodes fall into two halves.
    Cut,
    /// One node no longer reaches some others, while they reach it.
    CutOneWay,
    /// One node is alone.
    Isolate,
    /// A process is stopped and goes on later.
    Pause,
    /// A disk becomes slow for a while.
    SlowDisk,
    /// A disk fails to write; its node is started again later.
    DiskFailure,
    /// A disk is lost.
    Wipe,
    /// A copy of a disk is made.
    Image,
    /// An old copy of a disk is put back.
    Restore,
    /// A node takes a snapshot of its state.
    Snapshot,
    /// An operator adds, removes, promotes or demotes a node.
    Change,
    /// The configured peers change on all nodes, one after the other.
    Steer,
    /// An operator moves the leadership.
    Transfer,
    /// A connection breaks for no reason.
    Break,
}

/// A world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes that form the cluster: the lowest ids.
    pub founders: usize,
    /// Nodes that start blank.
    pub spares: usize,
    /// How long things go wrong, in simulated milliseconds.
    pub chaos_ms: u64,
    /// What the cores run with.
    pub settings: Settings,
    /// The faults with the mean time between two of a kind.
    pub faults: Vec<(Fault, u64)>,
    /// Messages lost, of a million.
    pub loss_ppm: u32,
    /// Messages doubled, of a million.
    pub double_ppm: u32,
    /// Messages much delayed, of a million.
    pub delay_ppm: u32,
    /// Whether messages of one connection may overtake each other.
    pub reorder: bool,
    /// The mean way of a message.
    pub way_us: u64,
    /// How far clocks go wrong, of a million, at most.
    pub drift_ppm: u64,
    /// The chance, of a million, of a crash between any two steps of a node.
    pub step_crash_ppm: u32,
    /// The chance, in percent, that outputs are carried out a little later than they came.
    pub late_drain_percent: u64,
    /// The mean time of an fdatasync.
    pub sync_us: u64,
    /// The mean time until committed entries are applied.
    pub apply_us: u64,
    /// Whether nodes state their peers from the start.
    pub stated: bool,
    /// Bytes of a segment of the log.
    pub segment_bytes: u64,
    /// Whether fdatasync lies.
    pub skip_sync: bool,
    /// Clients.
    pub clients: usize,
    /// The mean pause of a client between two commands.
    pub think_ms: u64,
    /// A command's body at most.
    pub body_bytes: u64,
}

impl Plan {
    /// The seed's plan.
    pub fn of(rng: &mut Rng) -> Plan {
        let founders = *rng.pick(&[3, 3, 3, 3, 5, 5, 7]);
        let mut faults = Vec::new();
        let mut may = |rng: &mut Rng, percent, fault, low_ms, high_ms| {
            if rng.percent(percent) {
                faults.push((fault, rng.between(low_ms, high_ms)));
            }
        };
        may(rng, 60, Fault::Crash, 400, 4000);
        may(rng, 15, Fault::CrashAll, 2000, 8000);
        may(rng, 35, Fault::Cut, 600, 5000);
        may(rng, 35, Fault::CutOneWay, 400, 4000);
        may(rng, 35, Fault::Isolate, 400, 4000);
        may(rng, 35, Fault::Pause, 500, 5000);
        may(rng, 35, Fault::SlowDisk, 500, 5000);
        may(rng, 15, Fault::DiskFailure, 2000, 8000);
        may(rng, 35, Fault::Wipe, 1000, 6000);
        if rng.percent(30) {
            faults.push((Fault::Image, rng.between(200, 2000)));
            faults.push((Fault::Restore, rng.between(500, 3000)));
        }
        let mut may = |rng: &mut Rng, percent, fault, low_ms, high_ms| {
            if rng.percent(percent) {
                faults.push((fault, rng.between(low_ms, high_ms)));
            }
        };
        may(rng, 65, Fault::Snapshot, 100, 1500);
        may(rng, 50, Fault::Change, 200, 2500);
        may(rng, 25, Fault::Steer, 1000, 6000);
        may(rng, 40, Fault::Transfer, 300, 3000);
        may(rng, 30, Fault::Break, 100, 2000);
        let spares = match founders {
            7 => rng.below(2),
            _ => rng.below(3),
        } as usize;
        let way_us = *rng.pick(&[50, 300, 1_000, 5_000, 20_000]);
        let mut settings = Plan::settings(rng);
        if way_us > 1_000 {
            // One entry for each way to and fro is too slow to get anywhere.
            settings.max_inflight_messages = settings.max_inflight_messages.max(8);
        }
        Plan {
            founders,
            spares,
            chaos_ms: rng.between(5_000, 16_000),
            settings,
            faults,
            loss_ppm: Plan::rate(rng, 50, 150_000),
            double_ppm: Plan::rate(rng, 40, 100_000),
            delay_ppm: Plan::rate(rng, 40, 50_000),
            reorder: rng.percent(60),
            way_us,
            drift_ppm: *rng.pick(&[0, 100, 2_000, 10_000]),
            step_crash_ppm: Plan::rate(rng, 40, 1_500),
            late_drain_percent: *rng.pick(&[0, 0, 10, 60]),
            sync_us: *rng.pick(&[100, 1_000, 4_000, 15_000]),
            apply_us: *rng.pick(&[50, 500, 5_000, 30_000]),
            stated: rng.percent(50),
            segment_bytes: *rng.pick(&[4_096, 4_096, 16_384]),
            skip_sync: false,
            clients: rng.between(1, 5) as usize,
            think_ms: *rng.pick(&[2, 10, 40, 200]),
            body_bytes: *rng.pick(&[16, 64, 400]),
        }
    }

    fn rate(rng: &mut Rng, percent: u64, most_ppm: u64) -> u32 {
        match rng.percent(percent) {
            true => rng.below(most_ppm) as u32,
            false => 0,
        }
    }

    /// Bounds small enough to be reached in seconds.
    fn settings(rng: &mut Rng) -> Settings {
        Settings {
            time_entry_ms: *rng.pick(&[200, 1000]),
            max_append_bytes: *rng.pick(&[100, 600, 4_000, 256 * 1024]),
            max_inflight_messages: *rng.pick(&[1, 2, 8, 64]),
            max_inflight_bytes: *rng.pick(&[500, 4_000, 64 * 1024]),
            max_uncommitted_bytes: *rng.pick(&[1_000, 8_000, 64 * 1024]),
            max_command_bytes: 4_096,
            max_log_bytes: *rng.pick(&[32 * 1024, 256 * 1024, 8 * 1024 * 1024]),
            tail_bytes: *rng.pick(&[0, 500, 4_000]),
            snapshot_chunk_bytes: *rng.pick(&[64, 300, 2_000]),
            max_applying_entries: *rng.pick(&[2, 16, 256]),
            commit_news_ms: *rng.pick(&[0, 2, 20]),
            ..Settings::default()
        }
    }

    /// All nodes.
    pub fn nodes(&self) -> usize {
        self.founders + self.spares
    }
}
