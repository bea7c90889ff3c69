//! Moving bytes from one socket to the other: by copy through the worker's buffer, or by
//! `splice(2)` through a pipe while the flow is heavy.
//!
//! Sockets are watched edge-triggered, so a side that is `readable` stays so until a read has met
//! `EAGAIN`, or has come back short with no end of stream and no urgent byte in sight (a short
//! read of a TCP socket otherwise means an empty queue, epoll(7)). That of a Unix socket proves
//! nothing.
//!
//! What the receiver does not take is kept with the direction, and reading stops there. Beyond
//! the process's bound on held bytes nothing is taken from a sender that its receiver has not
//! taken already: the bytes are peeked at, sent, and only then consumed.

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::pipe::{SpliceFlags, splice};

use super::held_total::HeldTotal;
use super::pipe::{PIPE_BYTES, Pipe, PipePool};
use super::side::Side;

/// The worker's buffer.
pub const BUFFER_BYTES: usize = 64 * 1024;
/// A read of this much, [`HEAVY_READS`] times in a row, moves a direction to splice.
const HEAVY_BYTES: usize = 16 * 1024;
const HEAVY_READS: u8 = 3;
/// A splice of less than this, [`THIN_SPLICES`] times in a row, moves it back.
const THIN_BYTES: usize = 4 * 1024;
const THIN_SPLICES: u8 = 8;

/// How a direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Bytes may come.
    Open,
    /// The sender's stream has ended; held bytes are to be delivered before the receiver is told.
    Finishing,
    /// The sender has reset the connection; held bytes are to be delivered before the receiver is
    /// reset too.
    Resetting,
    /// Nothing more will move.
    Ended,
}

/// What a direction has come to in one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It waits for readiness of its sockets.
    Blocked,
    /// Its budget is used up; it could go on.
    Exhausted,
    /// All is delivered, and the receiver is to be told of the end of stream.
    Finished,
    /// All is delivered, and the receiver is to be reset.
    Reset,
    /// The receiver has reset the connection; nothing can be delivered any more.
    ReceiverReset,
    /// It ended before.
    Ended,
}

/// One direction of a session.
#[derive(Debug)]
pub struct Direction {
    /// Whether it goes on.
    pub flow: Flow,
    /// Bytes delivered to the receiver's kernel.
    pub bytes: u64,
    held: Held,
    /// Bytes of it counted in the process's total.
    counted: u32,
    gear: Gear,
}

/// Bytes taken from the sender that the receiver has not taken.
#[derive(Debug)]
enum Held {
    Nothing,
    Bytes(Box<HeldBytes>),
    Piped(Pipe),
}

#[derive(Debug)]
struct HeldBytes {
    bytes: Vec<u8>,
    at: usize,
    /// So many of the next ones are the proxy's own: they do not count as the sender's.
    own: usize,
}

/// How bytes move, and the evidence for changing that.
#[derive(Clone, Copy, Debug)]
enum Gear {
    Copy { heavy_reads: u8 },
    Splice { thin_splices: u8 },
}

/// What all sessions of a worker share for relaying.
#[derive(Debug)]
pub struct Io<'a> {
    /// [`BUFFER_BYTES`] of scratch space.
    pub buffer: &'a mut [u8],
    /// Pipes.
    pub pipes: &'a mut PipePool,
    /// Bytes held by all sessions of the process.
    pub buffered: &'a HeldTotal,
    /// Whether this turn met the bound on held bytes.
    pub met_bound: bool,
}

impl Default for Direction {
    fn default() -> Direction {
        Direction {
            flow: Flow::Open,
            bytes: 0,
            held: Held::Nothing,
            counted: 0,
            gear: Gear::Copy { heavy_reads: 0 },
        }
    }
}

enum Delivered {
    All,
    Part,
    Failed,
}

impl Direction {
    /// Moves what can be moved, at most about `budget` bytes, and takes those off it.
    pub fn pump(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        io: &mut Io<'_>,
        budget: &mut usize,
    ) -> Step {
        let step = self.pump_uncounted(from, to, io, budget);
        self.count(io.buffered);
        step
    }

    fn pump_uncounted(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        io: &mut Io<'_>,
        budget: &mut usize,
    ) -> Step {
        let mut end_follows = false;
        loop {
            match self.deliver_held(to, io) {
                Delivered::All => {}
                Delivered::Part => return Step::Blocked,
                Delivered::Failed => return self.receiver_reset(to, io),
            }
            match self.flow {
                Flow::Open => {}
                Flow::Finishing => return Step::Finished,
                Flow::Resetting => return Step::Reset,
                Flow::Ended => return Step::Ended,
            }
            if !from.readable || !to.writable {
                return Step::Blocked;
            }
            if *budget == 0 && !end_follows {
                return Step::Exhausted;
            }
            if io.buffered.is_full() {
                io.met_bound = true;
                self.peek_and_send(from, to, io, budget);
            } else if !self.splice_in(from, io, budget) {
                end_follows = self.copy(from, to, io, budget);
            }
            if to.is_reset {
                return self.receiver_reset(to, io);
            }
        }
    }

    /// Holds bytes that were read before there was a receiver.
    pub fn hold(&mut self, bytes: &[u8], buffered: &HeldTotal) {
        match &mut self.held {
            Held::Bytes(held) => held.bytes.extend_from_slice(bytes),
            Held::Nothing => {
                self.held = Held::Bytes(Box::new(HeldBytes {
                    bytes: bytes.to_vec(),
                    at: 0,
                    own: 0,
                }));
            }
            Held::Piped(_) => unreachable!("bytes are spliced only between two sockets"),
        }
        self.count(buffered);
    }

    /// Puts bytes of the proxy's own in front of those held by [`Direction::hold`], so that one
    /// call sends both.
    pub fn put_in_front(&mut self, own: Vec<u8>, buffered: &HeldTotal) {
        let own_bytes = own.len();
        let mut bytes = own;
        bytes.extend_from_slice(self.held_bytes());
        self.held = Held::Bytes(Box::new(HeldBytes {
            bytes,
            at: 0,
            own: own_bytes,
        }));
        self.count(buffered);
    }

    /// Drops the first of the bytes held by [`Direction::hold`]: they were for the proxy itself.
    pub fn take_front(&mut self, length: usize, buffered: &HeldTotal) {
        if let Held::Bytes(held) = &mut self.held {
            held.at += length;
            if held.at >= held.bytes.len() {
                self.held = Held::Nothing;
            }
        }
        self.count(buffered);
    }

    /// Bytes held by [`Direction::hold`] that nobody has got yet.
    pub fn held_bytes(&self) -> &[u8] {
        match &self.held {
            Held::Bytes(held) => &held.bytes[held.at..],
            Held::Nothing | Held::Piped(_) => &[],
        }
    }

    /// Drops what is held: its receiver is gone.
    pub fn discard(&mut self, pipes: &mut PipePool, buffered: &HeldTotal) {
        if let Held::Piped(pipe) = std::mem::replace(&mut self.held, Held::Nothing) {
            pipes.give_back(pipe);
        }
        self.flow = Flow::Ended;
        self.count(buffered);
    }

    fn receiver_reset(&mut self, to: &mut Side, io: &mut Io<'_>) -> Step {
        to.is_reset = true;
        to.readable = true; // what it sent before the reset is still to be read
        self.discard(io.pipes, io.buffered);
        Step::ReceiverReset
    }

    /// Brings the process's total up to date with what this direction holds.
    fn count(&mut self, buffered: &HeldTotal) {
        let holds = match &self.held {
            Held::Nothing => 0,
            Held::Bytes(held) => held.bytes.len() - held.at,
            Held::Piped(pipe) => pipe.len,
        } as u32;
        buffered.change(self.counted, holds);
        self.counted = holds;
    }

    fn deliver_held(&mut self, to: &mut Side, io: &mut Io<'_>) -> Delivered {
        loop {
            match &self.held {
                Held::Nothing => return Delivered::All,
                _ if !to.writable => return Delivered::Part,
                _ => to.send_without_delay(),
            }
            let sent = match &mut self.held {
                Held::Nothing => return Delivered::All,
                Held::Bytes(held) => {
                    let sent = send(&to.socket, &held.bytes[held.at..], SendFlags::NOSIGNAL);
                    held.at += *sent.as_ref().unwrap_or(&0);
                    sent.map(|sent| {
                        let own = sent.min(held.own);
                        held.own -= own;
                        sent - own
                    })
                }
                Held::Piped(pipe) => {
                    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
                    let sent = splice(&pipe.read, None, &to.socket, None, pipe.len, flags);
                    pipe.len -= *sent.as_ref().unwrap_or(&0);
                    sent
                }
            };
            match sent {
                Ok(sent) => self.bytes += sent as u64,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    to.writable = false;
                    return Delivered::Part;
                }
                Err(error) => {
                    to.fail(error);
                    return Delivered::Failed;
                }
            }
            self.release_if_empty(io.pipes);
        }
    }

    fn release_if_empty(&mut self, pipes: &mut PipePool) {
        let is_empty = match &self.held {
            Held::Nothing => false,
            Held::Bytes(held) => held.at == held.bytes.len(),
            Held::Piped(pipe) => pipe.len == 0,
        };
        if !is_empty {
            return;
        }
        if let Held::Piped(pipe) = std::mem::replace(&mut self.held, Held::Nothing) {
            pipes.give_back(pipe);
        }
    }

    /// Reads into a pipe. Returns false where a copying read is needed: the direction does not
    /// splice, no pipe is to be had, or the splice found nothing, which is to be confirmed:
    /// splice stops before an urgent byte, and then reports an end of stream that is not there.
    fn splice_in(&mut self, from: &mut Side, io: &mut Io<'_>, budget: &mut usize) -> bool {
        let Gear::Splice { thin_splices } = &mut self.gear else {
            return false;
        };
        let Some(mut pipe) = io.pipes.take() else {
            return false;
        };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let len = PIPE_BYTES.min((*budget).max(1));
        match splice(&from.socket, None, &pipe.write, None, len, flags) {
            Ok(moved) if moved > 0 => {
                *thin_splices = if moved < THIN_BYTES {
                    *thin_splices + 1
                } else {
                    0
                };
                if *thin_splices >= THIN_SPLICES {
                    self.gear = Gear::Copy { heavy_reads: 0 };
                }
                pipe.len = moved;
                self.held = Held::Piped(pipe);
                *budget = budget.saturating_sub(moved);
                true
            }
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {
                io.pipes.give_back(pipe);
                false
            }
            Err(error) => {
                io.pipes.give_back(pipe);
                self.flow = Flow::Resetting;
                from.fail(error);
                true
            }
        }
    }

    /// One read into the worker's buffer, sent on at once; what is not taken is held. Returns
    /// whether nothing but the end of the stream can follow: it is to be read in the same turn,
    /// since the last bytes are sent so that it travels in their segment (MSG_MORE, send(2)).
    fn copy(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        io: &mut Io<'_>,
        budget: &mut usize,
    ) -> bool {
        let Some(len) = self.receive(from, io.buffer, RecvFlags::empty()) else {
            return false;
        };
        *budget = budget.saturating_sub(len);
        self.note_read(len);
        let bytes = &io.buffer[..len];
        let end_follows = is_last_read(from, len, io.buffer.len());
        let sent = self.send(to, bytes, end_follows);
        if sent < len && !to.is_reset {
            self.hold(&bytes[sent..], io.buffered);
        }
        end_follows
    }

    /// One read that takes from the sender only what the receiver has taken.
    fn peek_and_send(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        io: &mut Io<'_>,
        budget: &mut usize,
    ) {
        let Some(len) = self.receive(from, io.buffer, RecvFlags::PEEK) else {
            return;
        };
        let sent = self.send(to, &io.buffer[..len], false);
        from.readable |= sent < len;
        *budget = budget.saturating_sub(sent);
        let mut left = sent;
        while left > 0 {
            // TRUNC: the bytes are dropped in the kernel, not copied again (tcp(7)).
            match recv(&from.socket, &mut io.buffer[..left], RecvFlags::TRUNC) {
                Ok((_, consumed)) if consumed > 0 => left = left.saturating_sub(consumed),
                Err(Errno::INTR) => {}
                // They were there a moment ago, and nobody else reads this socket.
                gone => {
                    debug_assert!(false, "{left} bytes that were peeked at: {gone:?}");
                    break;
                }
            }
        }
    }

    /// One `recv`. `None`: nothing came, and the side or the flow says why.
    fn receive(&mut self, from: &mut Side, buffer: &mut [u8], flags: RecvFlags) -> Option<usize> {
        match recv(&from.socket, &mut *buffer, flags) {
            Ok((0, _)) => {
                self.flow = if from.is_reset {
                    Flow::Resetting
                } else {
                    Flow::Finishing
                };
                from.readable = false;
                None
            }
            Ok((len, _)) => {
                let has_more = from.end_in_sight || from.urgent || from.is_reset || from.is_unix;
                from.readable = has_more || len == buffer.len();
                Some(len)
            }
            Err(Errno::INTR) => None,
            Err(Errno::AGAIN) => {
                from.readable = false;
                from.urgent = false;
                None
            }
            Err(error) => {
                from.fail(error);
                from.readable = false;
                self.flow = Flow::Resetting;
                None
            }
        }
    }

    /// One `send`; returns what was taken.
    fn send(&mut self, to: &mut Side, bytes: &[u8], more: bool) -> usize {
        to.send_without_delay();
        let flags = if more {
            SendFlags::NOSIGNAL | SendFlags::MORE
        } else {
            SendFlags::NOSIGNAL
        };
        loop {
            match send(&to.socket, bytes, flags) {
                Ok(sent) => {
                    to.writable = sent == bytes.len();
                    self.bytes += sent as u64;
                    return sent;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    to.writable = false;
                    return 0;
                }
                Err(error) => {
                    to.fail(error);
                    return 0;
                }
            }
        }
    }

    fn note_read(&mut self, len: usize) {
        if let Gear::Copy { heavy_reads } = &mut self.gear {
            *heavy_reads = if len >= HEAVY_BYTES {
                *heavy_reads + 1
            } else {
                0
            };
            if *heavy_reads >= HEAVY_READS {
                self.gear = Gear::Splice { thin_splices: 0 };
            }
        }
    }
}

/// Whether nothing but the end of the stream can follow these bytes.
fn is_last_read(from: &Side, len: usize, buffer_len: usize) -> bool {
    let may_be_short = from.urgent || from.is_unix;
    from.end_in_sight && !may_be_short && !from.is_reset && len < buffer_len
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
