//! What the service manager (systemd, or whoever sets `NOTIFY_SOCKET`) is told of the process.
//!
//! ```text
//! starting ──READY──▶ serving ──RELOADING──▶ reloading ──READY──▶ serving ──STOPPING──▶ stopping
//!    └ EXTEND_TIMEOUT_USEC                                     EXTEND_TIMEOUT_USEC ┘
//! ```
//!
//! The protocol is that of sd_notify(3). Where nobody wants to be told, every call here is one look
//! at an `Option`. A message that cannot be sent is told once in the log, and never more than that.

mod extension; // more time for long work
mod message; // the datagrams
mod socket; // where they go

use std::ffi::OsString;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use message::Message;
use socket::NotifySocket;

pub use extension::Extension;
pub use message::MAX_STATUS_BYTES;

/// How much longer than now each message has the service manager wait. Several are sent in that
/// time, so that none of them has to come in time.
pub const EXTENSION: Duration = Duration::from_secs(15);
/// Between two of them.
pub const EXTEND_EVERY: Duration = Duration::from_secs(1);
/// The longest that one step of the start or of the end gets: a table of many millions of sticks is
/// read or written in less. Whatever takes longer is stuck.
pub const STEP_LIMIT: Duration = Duration::from_secs(300);

/// The way to the service manager. Clones are the same one.
#[derive(Clone, Default)]
pub struct Service {
    told: Option<Arc<Told>>,
}

/// Somebody wants to be told.
struct Told {
    socket: NotifySocket,
    status: Mutex<Status>,
    /// The log has it that nobody hears.
    complained: Once,
    watchdog: Option<Duration>,
}

/// What people read: `systemctl status` shows it.
#[derive(Default)]
struct Status {
    text: String,
    /// What does not turn; nothing where everything does.
    late: String,
}

impl Status {
    fn line(&self) -> String {
        match (self.text.as_str(), self.late.as_str()) {
            (text, "") => text.to_owned(),
            ("", late) => late.to_owned(),
            // In front: a status is cut at its end.
            (text, late) => format!("{late}; {text}"),
        }
    }
}

impl Service {
    /// The service manager that the environment of this process names, if it names one.
    pub fn from_process() -> Service {
        Service::from_vars(|name| std::env::var_os(name), std::process::id())
    }

    /// As an environment says, for the process `pid`. A socket that cannot be one is told in the
    /// log.
    pub fn from_vars(vars: impl Fn(&str) -> Option<OsString>, pid: u32) -> Service {
        let vars = |name: &str| vars(name).filter(|value| !value.is_empty());
        let Some(address) = vars("NOTIFY_SOCKET") else {
            return Service::default();
        };
        match NotifySocket::open(&address) {
            Ok(socket) => Service {
                told: Some(Arc::new(Told {
                    socket,
                    status: Mutex::default(),
                    complained: Once::new(),
                    watchdog: watchdog(vars, pid),
                })),
            },
            Err(error) => {
                log::warn!(
                    "the service manager is told nothing: NOTIFY_SOCKET is {}: {error}",
                    address.display()
                );
                Service::default()
            }
        }
    }

    /// The longest time that may pass without a [`Service::alive`]; none where nobody watches.
    pub fn watchdog(&self) -> Option<Duration> {
        self.told.as_ref()?.watchdog
    }

    /// How things stand, in one line, beside which nothing changes.
    pub fn status(&self, text: &str) {
        self.send(Some(text), |message| message);
    }

    /// Clients are let in, and whatever else is to answer does; also at the end of a reload,
    /// whatever came of it.
    pub fn ready(&self, text: &str) {
        self.send(Some(text), Message::ready);
    }

    /// A reload begins; [`Service::ready`] ends it.
    pub fn reloading(&self) {
        self.send(Some("reloading the configuration"), Message::reloading);
    }

    /// The end begins.
    pub fn stopping(&self, text: &str) {
        self.send(Some(text), Message::stopping);
    }

    /// What is under way goes on: `text` says how it stands, and it may take [`EXTENSION`] from now.
    pub fn goes_on(&self, text: &str) {
        self.send(Some(text), |message| message.extend(EXTENSION));
    }

    /// The process did not start, for this reason.
    pub fn failed(&self, why: &dyn fmt::Display) {
        if self.told.is_some() {
            self.status(&format!("cannot start: {why}"));
        }
    }

    /// Every loop turns.
    pub fn alive(&self) {
        self.send(None, Message::watchdog);
    }

    /// Says beside the status what does not turn; an empty text: everything does again.
    pub fn late(&self, late: String) {
        if let Some(told) = &self.told {
            told.status().late = late;
            told.send(None, |message| message, true);
        }
    }

    /// Has the service manager wait while something takes long that cannot tell how it comes along:
    /// until the [`Extension`] is dropped, but for each of its steps no longer than `limit`.
    pub fn extend(&self, limit: Duration) -> Extension {
        Extension::begin(self.clone(), limit)
    }

    fn is_told(&self) -> bool {
        self.told.is_some()
    }

    fn send_extension(&self) {
        self.send(None, |message| message.extend(EXTENSION));
    }

    fn send(&self, text: Option<&str>, add: impl FnOnce(Message) -> Message) {
        if let Some(told) = &self.told {
            told.send(text, add, text.is_some());
        }
    }
}

impl Told {
    /// The status is written under its lock: the last to set it is the last to send it.
    fn send(&self, text: Option<&str>, add: impl FnOnce(Message) -> Message, with_status: bool) {
        let mut status = self.status();
        if let Some(text) = text {
            text.clone_into(&mut status.text);
        }
        let mut message = add(Message::default());
        if with_status {
            message = message.status(&status.line());
        }
        let sent = self.socket.send(message.as_bytes());
        drop(status);
        if let Err(error) = sent {
            self.complained.call_once(|| {
                log::warn!(
                    "the service manager cannot be told how things stand ({}): {error}; this is \
                     said once",
                    self.socket
                );
            });
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.told {
            Some(told) => write!(f, "Service({})", told.socket),
            None => f.write_str("Service(nobody)"),
        }
    }
}

/// `WATCHDOG_USEC`, where it is meant for this process.
fn watchdog(vars: impl Fn(&str) -> Option<OsString>, pid: u32) -> Option<Duration> {
    let number = |name: &str| vars(name)?.to_str()?.parse::<u64>().ok();
    if vars("WATCHDOG_PID").is_some() && number("WATCHDOG_PID") != Some(u64::from(pid)) {
        return None;
    }
    let limit = number("WATCHDOG_USEC").filter(|usec| *usec > 0);
    limit.map(Duration::from_micros)
}

#[cfg(test)]
mod tests;
