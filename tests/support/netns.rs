//! A network namespace for one test. It has no name and ends with the threads and processes in
//! it, so nothing is left behind however the test ends.

use std::panic::resume_unwind;
use std::process::Command;

use rustix::thread::UnshareFlags;

/// Runs `body` in a new network namespace that has a loopback interface and nothing else.
/// Threads and processes that it starts are in it too. Where this process may not make
/// namespaces, the test is skipped, see [`super::skip`].
pub fn in_new_namespace(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| match enter() {
            Ok(()) => body(),
            Err(reason) => super::skip(format_args!("no network namespace: {reason}")),
        });
        if let Err(panic) = thread.join() {
            resume_unwind(panic);
        }
    });
}

fn enter() -> Result<(), String> {
    // SAFETY: only the network namespace is left; the descriptor table stays shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(|error| format!("unshare: {error}"))?;
    ip("link set lo up")
}

/// Runs `ip` with these words in the calling thread's namespace.
pub fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .map_err(|error| format!("ip {words}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!(
            "ip {words}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}

/// Sets a parameter of the calling thread's namespace, as in `net.ipv4.ip_local_port_range`.
pub fn sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}
