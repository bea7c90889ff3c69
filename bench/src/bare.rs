//! The reference: the least that a TCP proxy does, and nothing that a balancer adds.
//!
//! One edge-triggered epoll loop copies bytes between two sockets through one buffer. Clients
//! are spread over the targets in turn; there are no sticks, no time-outs, no log.

use std::mem::MaybeUninit;
use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;

use anyhow::{Context, bail};
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, connect,
    recv, send, shutdown, socket_with, sockopt,
};
use slab::Slab;

use crate::cli::BareOptions;
use crate::places;

const BUFFER_BYTES: usize = 64 * 1024;
const ACCEPTS_PER_TURN: usize = 64;
/// Set in the token of a listener.
const LISTENER: u64 = 1 << 63;

/// Relays until it is killed.
pub fn run(options: &BareOptions) -> anyhow::Result<()> {
    let mut relay = Relay {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("create an epoll")?,
        pairs: Slab::new(),
        buffer: vec![0; BUFFER_BYTES],
        accepted: 0,
    };
    let mut listeners = Vec::new();
    for &address in &options.listen {
        let SocketAddr::V4(address) = address else {
            bail!("{address}: the bare relay knows IPv4 only");
        };
        let listener = places::listener(address)?;
        let token = EventData::new_u64(LISTENER | listeners.len() as u64);
        epoll::add(&relay.epoll, &listener, token, EventFlags::IN).context("watch a listener")?;
        let targets = options
            .to
            .iter()
            .map(|&host| SocketAddrV4::new(host, address.port()));
        listeners.push((listener, targets.collect::<Vec<_>>()));
    }
    let mut events = [MaybeUninit::<Event>::uninit(); 256];
    loop {
        let events = match epoll::wait(&relay.epoll, &mut events, None) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error).context("wait for events"),
        };
        for event in events.iter() {
            let token = event.data.u64();
            if token & LISTENER != 0 {
                let (listener, targets) = &listeners[(token & !LISTENER) as usize];
                relay.accept(listener, targets);
            } else {
                relay.turn((token / 2) as usize, (token % 2) as usize, event.flags);
            }
        }
    }
}

struct Relay {
    epoll: OwnedFd,
    pairs: Slab<[Side; 2]>,
    buffer: Vec<u8>,
    accepted: usize,
}

/// One socket of a pair, and what it has sent that the other has not taken.
struct Side {
    socket: OwnedFd,
    held: Vec<u8>,
    /// Its end has been announced: a short read no longer means that nothing is left.
    ending: bool,
    ended: bool,
}

impl Side {
    fn new(socket: OwnedFd) -> Side {
        Side {
            socket,
            held: Vec::new(),
            ending: false,
            ended: false,
        }
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener, targets: &[SocketAddrV4]) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        for _ in 0..ACCEPTS_PER_TURN {
            let Ok(client) = accept_with(listener, flags) else {
                return;
            };
            self.accepted += 1;
            let to = targets[self.accepted % targets.len()];
            // Whatever fails here costs this client alone: both sockets close.
            let _ = self.pair(client, to);
        }
    }

    fn pair(&mut self, client: OwnedFd, to: SocketAddrV4) -> Result<(), Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let target = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&target, true)?;
        match connect(&target, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let entry = self.pairs.vacant_entry();
        let index = entry.key() as u64;
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        for (side, socket) in [&client, &target].into_iter().enumerate() {
            let token = EventData::new_u64(index * 2 + side as u64);
            epoll::add(&self.epoll, socket, token, interest)?;
        }
        entry.insert([Side::new(client), Side::new(target)]);
        Ok(())
    }

    fn turn(&mut self, index: usize, side: usize, flags: EventFlags) {
        let Some(pair) = self.pairs.get_mut(index) else {
            return;
        };
        let ending = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        pair[side].ending |= flags.intersects(ending);
        let mut done = Ok(());
        if flags.intersects(ending | EventFlags::IN) {
            done = pump(pair, side, &mut self.buffer);
        }
        if done.is_ok() && flags.contains(EventFlags::OUT) && !pair[1 - side].held.is_empty() {
            done = pump(pair, 1 - side, &mut self.buffer);
        }
        if done.is_err() || pair.iter().all(|side| side.ended) {
            self.pairs.remove(index);
        }
    }
}

/// Moves what `from` has sent to the other side, until either can do no more.
fn pump(pair: &mut [Side; 2], from: usize, buffer: &mut [u8]) -> Result<(), Errno> {
    let [first, second] = pair;
    let (source, sink) = if from == 0 {
        (first, second)
    } else {
        (second, first)
    };
    if !source.held.is_empty() {
        let sent = taken(send(&sink.socket, &source.held, SendFlags::NOSIGNAL))?;
        source.held.drain(..sent);
    }
    while source.held.is_empty() && !source.ended {
        match recv(&source.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => {
                source.ended = true;
                shutdown(&sink.socket, Shutdown::Write)?;
            }
            Ok((length, _)) => {
                let sent = taken(send(&sink.socket, &buffer[..length], SendFlags::NOSIGNAL))?;
                source.held.extend_from_slice(&buffer[sent..length]);
                // A short read has emptied the socket; what comes later is another event.
                if length < buffer.len() && !source.ending {
                    return Ok(());
                }
            }
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn taken(sent: Result<usize, Errno>) -> Result<usize, Errno> {
    match sent {
        Err(Errno::AGAIN) => Ok(0),
        other => other,
    }
}
