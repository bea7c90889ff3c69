//! The clock that a node goes by.

use rustix::time::{ClockId, clock_gettime};

use crate::ids::NodeTime;

/// Milliseconds since the machine was booted. Goes on while the process is stopped and while the
/// machine is suspended, so that neither makes a lease outlive its time; never set by anybody.
pub fn boot_time() -> NodeTime {
    let time = clock_gettime(ClockId::Boottime);
    NodeTime(time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000)
}
