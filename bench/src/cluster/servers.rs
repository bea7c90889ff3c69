//! Servers that name themselves: one byte, the number of their group, to whoever connects.

use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use rustix::time::Timespec;
use slab::Slab;

use crate::places::{self, PORTS, Places};

/// Accepts in one turn of a listener.
const ACCEPTS_PER_TURN: usize = 64;
/// How often it is looked whether they are to end.
const TICK: Duration = Duration::from_millis(50);
/// Tokens from here on are connections.
const FIRST_SERVED: u64 = 1 << 32;

/// Servers that run, in a thread of their own. Dropping them ends them and their connections.
#[derive(Debug)]
pub struct Servers {
    is_ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Servers {
    /// Listens at all targets of these places.
    pub fn start(places: &Places) -> anyhow::Result<Servers> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("create an epoll")?;
        let listeners: Vec<TcpListener> = places
            .backends()
            .map(places::listener)
            .collect::<Result<_, _>>()?;
        for (index, listener) in listeners.iter().enumerate() {
            let token = EventData::new_u64(index as u64);
            epoll::add(&epoll, listener, token, EventFlags::IN).context("watch a listener")?;
        }
        let is_ending = Arc::new(AtomicBool::new(false));
        let turns = Turns {
            epoll,
            listeners,
            served: Slab::new(),
            is_ending: Arc::clone(&is_ending),
        };
        let run = move || {
            if let Err(error) = turns.run() {
                eprintln!("error: the servers ended: {error:#}");
            }
        };
        let thread = thread::Builder::new().name("servers".to_owned()).spawn(run);
        Ok(Servers {
            is_ending,
            thread: Some(thread.context("start the servers' thread")?),
        })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // One that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

struct Turns {
    epoll: OwnedFd,
    listeners: Vec<TcpListener>,
    served: Slab<OwnedFd>,
    is_ending: Arc<AtomicBool>,
}

impl Turns {
    fn run(mut self) -> anyhow::Result<()> {
        let mut events = [MaybeUninit::<Event>::uninit(); 256];
        let tick = Timespec::try_from(TICK).context("a time-out")?;
        while !self.is_ending.load(Ordering::Acquire) {
            let events = match epoll::wait(&self.epoll, &mut events, Some(&tick)) {
                Ok((events, _)) => events,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error).context("wait for events"),
            };
            for event in events.iter() {
                match event.data.u64().checked_sub(FIRST_SERVED) {
                    None => self.accept(event.data.u64() as usize)?,
                    Some(index) => self.hear(index as usize),
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize) -> anyhow::Result<()> {
        // The targets of a group come one after the other.
        let group = (listener / usize::from(PORTS)) as u8;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        for _ in 0..ACCEPTS_PER_TURN {
            let socket = match accept_with(&self.listeners[listener], flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error).context("accept for a server"),
            };
            // Who has gone already hears nothing.
            let _ = send(&socket, &[group], SendFlags::NOSIGNAL);
            let entry = self.served.vacant_entry();
            let token = EventData::new_u64(FIRST_SERVED + entry.key() as u64);
            epoll::add(&self.epoll, &socket, token, EventFlags::IN).context("watch a server")?;
            entry.insert(socket);
        }
        Ok(())
    }

    /// Nobody says anything: what comes is an end. While a process is being started, it holds what
    /// is closed here for a moment, and epoll still tells of it.
    fn hear(&mut self, index: usize) {
        let Some(socket) = self.served.get(index) else {
            return;
        };
        let heard = recv(socket, &mut [0_u8; 16][..], RecvFlags::empty());
        if !matches!(heard, Err(Errno::AGAIN | Errno::INTR)) {
            self.served.remove(index);
        }
    }
}
