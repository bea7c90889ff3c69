//! One thread of another process, held still as a debugger would.

use std::io;
use std::marker::PhantomData;
use std::ptr::null_mut;

/// As long as it is there, the thread does not run; the others of its process do.
#[derive(Debug)]
pub struct Frozen {
    tid: i32,
    /// Only the thread that has seized another may let it go.
    _of_this_thread: PhantomData<*const ()>,
}

impl Frozen {
    /// Holds a thread of a child process.
    ///
    /// # Errors
    /// The system does not let processes be traced here.
    pub fn hold(tid: i32) -> io::Result<Frozen> {
        request(libc::PTRACE_SEIZE, tid)?;
        let frozen = Frozen {
            tid,
            _of_this_thread: PhantomData,
        };
        request(libc::PTRACE_INTERRUPT, tid)?;
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        let waited = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) };
        match waited == tid && libc::WIFSTOPPED(status) {
            true => Ok(frozen),
            false => Err(io::Error::other(format!(
                "thread {tid} did not stop: {status:#x}"
            ))),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // A thread that has ended meanwhile runs no more anyway.
        let _ = request(libc::PTRACE_DETACH, self.tid);
    }
}

fn request(request: libc::c_uint, tid: i32) -> io::Result<()> {
    let none = null_mut::<libc::c_void>();
    // SAFETY: these three requests take neither address nor data: no memory is touched.
    let result = unsafe { libc::ptrace(request, tid, none, none) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
