//! Threads that take the process down with them where they die.

use std::io;
use std::thread::{self, Builder, JoinHandle};

/// Starts a named thread. Where it panics, the process ends: a node that lacks one of its parts
/// must not go on.
pub(super) fn spawn(
    name: String,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name).spawn(move || {
        let _vital = Vital;
        body();
    })
}

struct Vital;

impl Drop for Vital {
    fn drop(&mut self) {
        if thread::panicking() {
            // The panic hook has said what happened, and ends the process where it is the
            // program's own; the default one does not.
            std::process::abort();
        }
    }
}
