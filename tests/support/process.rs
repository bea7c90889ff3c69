//! What `/proc` tells of a process.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Open descriptors.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The names of all threads.
pub fn thread_names(pid: u32) -> Vec<String> {
    threads(pid).into_iter().map(|(_, name)| name).collect()
}

/// The ids and names of all threads.
pub fn threads(pid: u32) -> Vec<(i32, String)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let threads = tasks.flatten().filter_map(|task| {
        let tid = task.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        Some((tid, name.trim_end().to_owned()))
    });
    threads.collect()
}

/// Whether every thread is stopped, as it is some time after SIGSTOP.
pub fn is_stopped(pid: u32) -> bool {
    threads(pid).iter().all(|(thread, _)| {
        let stat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat"));
        // The name before it may hold anything, a parenthesis too.
        stat.is_ok_and(|stat| {
            stat.rsplit(") ")
                .next()
                .is_some_and(|state| state.starts_with('T'))
        })
    })
}

/// Resident memory in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    kilobytes(pid, "VmRSS:") * 1024
}

/// The largest resident memory so far, in bytes.
pub fn peak_resident_bytes(pid: u32) -> u64 {
    kilobytes(pid, "VmHWM:") * 1024
}

fn kilobytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// CPU time used so far, in seconds.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; utime and stime are fields 14 and 15.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks as f64 / 100.0
}

/// Whether a socket listens at exactly this address in the network namespace of `pid`.
pub fn listens(pid: u32, address: SocketAddr) -> bool {
    listeners(pid, address) > 0
}

/// Bytes in the send queue (not acknowledged yet) and the receive queue (not read yet) of a
/// connected IPv4 socket in the calling thread's namespace.
pub fn queues(local: SocketAddr, peer: SocketAddr) -> Option<(u64, u64)> {
    let line = connected(local, peer)?;
    let (send, receive) = line.split_whitespace().nth(4)?.split_once(':')?;
    let bytes = |text| u64::from_str_radix(text, 16).ok();
    Some((bytes(send)?, bytes(receive)?))
}

/// Seconds until a connected IPv4 socket in the calling thread's namespace sends its next
/// keep-alive probe, `None` where it sends none.
pub fn keepalive_seconds(local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    const KEEPALIVE_TIMER: &str = "02";
    const TICKS_PER_SECOND: u64 = 100;
    let line = connected(local, peer)?;
    let (timer, when) = line.split_whitespace().nth(5)?.split_once(':')?;
    let ticks = u64::from_str_radix(when, 16).ok()?;
    (timer == KEEPALIVE_TIMER).then_some(ticks / TICKS_PER_SECOND)
}

fn connected(local: SocketAddr, peer: SocketAddr) -> Option<String> {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").ok()?;
    let found = table.lines().skip(1).find(|line| {
        let mut fields = line.split_whitespace().skip(1).map(parse_address);
        fields.next() == Some(Some(local)) && fields.next() == Some(Some(peer))
    });
    found.map(str::to_owned)
}

/// How many sockets listen at exactly this address in the network namespace of `pid`.
pub fn listeners(pid: u32, address: SocketAddr) -> usize {
    const LISTEN: &str = "0A";
    let file = if address.is_ipv4() { "tcp" } else { "tcp6" };
    let Ok(table) = File::open(format!("/proc/{pid}/net/{file}")) else {
        return 0;
    };
    let lines = BufReader::new(table).lines().map_while(Result::ok);
    // The kernel lists listeners first; a hundred thousand connections in TIME_WAIT may follow,
    // and reading them all would take longer than starting a proxy.
    lines
        .skip(1)
        .take_while(|line| line.split_whitespace().nth(3) == Some(LISTEN))
        .filter(|line| line.split_whitespace().nth(1).and_then(parse_address) == Some(address))
        .count()
}

/// `0100007F:14A0`: 32-bit words in the machine's order, the port in hexadecimal.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = Vec::new();
    for at in (0..ip.len()).step_by(8) {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        octets.extend_from_slice(&word.to_ne_bytes());
    }
    let ip = match octets.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)),
    };
    Some(SocketAddr::new(ip, port))
}
