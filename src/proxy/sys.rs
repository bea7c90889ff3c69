//! The few system calls that no safe wrapper offers.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Bytes in the socket's send queue that the peer has not acknowledged yet (`SIOCOUTQ`, tcp(7)).
pub fn unsent_bytes(socket: impl AsFd) -> io::Result<u32> {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (the same number as SIOCOUTQ) writes one int to the pointer, which is
    // valid for the call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(count.unsigned_abs())
    }
}
