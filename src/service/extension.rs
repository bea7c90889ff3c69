//! More time for work that takes long and cannot tell how it comes along.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{EXTEND_EVERY, Service};

/// While it is there, the service manager is asked every second to wait on. A step that takes
/// longer than it may gets no more time: work that is stuck ends as the service manager has it.
#[derive(Debug)]
pub struct Extension {
    service: Service,
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Extension {
    pub(super) fn begin(service: Service, limit: Duration) -> Extension {
        let thread = match service.is_told() {
            true => spawn(service.clone(), limit),
            false => None,
        };
        Extension { service, thread }
    }

    /// The next step begins, which `text` names.
    pub fn step(&self, text: &str) {
        self.service.goes_on(text);
        if let Some((steps, _)) = &self.thread {
            // One note is enough: the thread looks at the time when it takes it.
            let _ = steps.try_send(());
        }
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        if let Some((steps, thread)) = self.thread.take() {
            drop(steps);
            // A thread that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

fn spawn(service: Service, limit: Duration) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (steps, received) = bounded(1);
    let thread = std::thread::Builder::new().name("extension".to_owned());
    match thread.spawn(move || extend(&service, limit, &received)) {
        Ok(thread) => Some((steps, thread)),
        Err(error) => {
            log::warn!("the service manager is not asked for more time: no thread: {error}");
            None
        }
    }
}

fn extend(service: &Service, limit: Duration, steps: &Receiver<()>) {
    let mut begun = Instant::now();
    loop {
        match steps.recv_timeout(EXTEND_EVERY) {
            Ok(()) => begun = Instant::now(),
            Err(RecvTimeoutError::Timeout) if begun.elapsed() < limit => service.send_extension(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
