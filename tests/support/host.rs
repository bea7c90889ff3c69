//! A host: a network and mounts of its own, held by a thread that does what is asked in there.
//!
//! Nothing of it has a name. It ends with its thread and the processes started from it, and those
//! are killed with the thread ([`WITH_ITS_PARENT`]): however a test ends, nothing is left behind.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};

use super::netns;

/// Put before a command: the process is killed when the thread that started it is gone.
pub const WITH_ITS_PARENT: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

type Job = Box<dyn FnOnce() + Send>;

/// One host.
#[derive(Debug)]
pub struct Host {
    namespace: String,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// A host with a loopback interface and nothing else; why not where this process may not make
    /// one.
    pub fn new() -> Result<Host, String> {
        let (jobs, todo) = channel::<Job>();
        let (entered, outcome) = channel();
        let thread = std::thread::spawn(move || {
            let place = enter();
            let is_in = place.is_ok();
            let _ = entered.send(place);
            if is_in {
                todo.into_iter().for_each(|job| job());
            }
        });
        let namespace = outcome
            .recv()
            .map_err(|_| "the thread of a host panicked")??;
        Ok(Host {
            namespace,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// A path to its network namespace, for `ip link … netns`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs `job` there and gives its result. Sockets, threads and processes that it makes are
    /// there too. Jobs of one host run one after the other.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job = move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(job)));
        };
        let jobs = self.jobs.as_ref().expect("it is taken at drop only");
        jobs.send(Box::new(job))
            .expect("the thread of a host ends with it");
        match result.recv().expect("every job sends its result") {
            Ok(value) => value,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Runs `ip` with these words there; it has to succeed.
    pub fn ip(&self, words: impl Into<String>) {
        let words = words.into();
        self.run(move || netns::ip(&words))
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// Mounts a file system in memory of so many bytes at a directory, which is made. Only this
    /// host sees it.
    pub fn mount_small_disk(&self, at: &Path, bytes: u64) {
        let at = at.to_owned();
        self.run(move || {
            std::fs::create_dir_all(&at).expect("a mount point can be made");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]);
            let status = mount.arg(&at).status().expect("mount can be started");
            assert!(status.success(), "mount at {}: {status}", at.display());
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn enter() -> Result<String, String> {
    let own = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    // SAFETY: the network and the mounts are left; the descriptor table stays shared.
    unsafe { unshare_unsafe(own) }.map_err(|error| format!("unshare: {error}"))?;
    let mut private = Command::new("mount");
    private.args(["--make-rprivate", "/"]);
    match private.status() {
        Ok(status) if status.success() => {}
        outcome => return Err(format!("mount --make-rprivate /: {outcome:?}")),
    }
    netns::ip("link set lo up")?;
    let (process, thread) = (std::process::id(), gettid().as_raw_nonzero());
    Ok(format!("/proc/{process}/task/{thread}/ns/net"))
}
