//! Visits of clients: each connects from its own address to a node, and hears which server it got.
//!
//! One thread, one event loop. What is to be visited when, and what comes of it, is a [`Plan`]'s.

use std::collections::VecDeque;
use std::io::Read;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, connect, recv, socket_with,
};
use rustix::time::Timespec;
use slab::Slab;

/// After which a visit without an answer is over.
const LIMIT: Duration = Duration::from_secs(12);
/// How often plans are asked what is due.
const TICK: Duration = Duration::from_millis(1);

/// A client's connection to a node.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// From where.
    pub client: Ipv4Addr,
    /// To where.
    pub to: SocketAddrV4,
    /// What the plan knows it by.
    pub tag: u64,
    /// Whether the connection stays open after the answer.
    pub stays: bool,
}

/// What came of a visit.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Which.
    pub tag: u64,
    /// The server that answered; none: the connection failed.
    pub server: Option<u8>,
    /// From its begin to the answer, or to its failure.
    pub took: Duration,
}

/// What is to be visited.
pub trait Plan {
    /// A visit that is due, if there is one, while `open` are under way.
    fn due(&mut self, now: Instant, open: usize) -> Option<Visit>;

    /// What came of one.
    fn ended(&mut self, ended: &Ended);

    /// Whether nothing more is to come once none is under way.
    fn is_over(&self) -> bool;
}

/// Clients on their way.
#[derive(Debug)]
pub struct Visits {
    epoll: OwnedFd,
    guests: Slab<Guest>,
    /// The guests by age: place and tag, as long as they are the same ones.
    by_age: VecDeque<(usize, u64, Instant)>,
    staying: Vec<OwnedFd>,
}

#[derive(Debug)]
struct Guest {
    socket: OwnedFd,
    visit: Visit,
    begun: Instant,
}

impl Visits {
    /// None yet.
    pub fn new() -> anyhow::Result<Visits> {
        Ok(Visits {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("create an epoll")?,
            guests: Slab::new(),
            by_age: VecDeque::new(),
            staying: Vec::new(),
        })
    }

    /// Connections that stay open.
    pub fn staying(&self) -> usize {
        self.staying.len()
    }

    /// Makes the visits of a plan until it is over.
    pub fn run(&mut self, plan: &mut dyn Plan) -> anyhow::Result<()> {
        let mut events = [MaybeUninit::<Event>::uninit(); 256];
        let tick = Timespec::try_from(TICK).context("a time-out")?;
        loop {
            while let Some(visit) = plan.due(Instant::now(), self.guests.len()) {
                self.begin(visit, plan)?;
            }
            if self.guests.is_empty() && plan.is_over() {
                return Ok(());
            }
            let events = match epoll::wait(&self.epoll, &mut events, Some(&tick)) {
                Ok((events, _)) => events,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error).context("wait for events"),
            };
            for event in events.iter() {
                self.hear(event.data.u64() as usize, plan);
            }
            self.give_up_old_ones(plan);
        }
    }

    fn begin(&mut self, visit: Visit, plan: &mut dyn Plan) -> anyhow::Result<()> {
        let Visit { client, to, .. } = visit;
        let begun = Instant::now();
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .context("make a socket")?;
        let from = SocketAddrV4::new(client, 0);
        bind(&socket, &from).with_context(|| format!("bind {from}"))?;
        match connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(Errno::CONNREFUSED | Errno::CONNRESET) => {
                plan.ended(&ended(&visit, begun, None));
                return Ok(());
            }
            Err(error) => return Err(error).with_context(|| format!("connect {from} to {to}")),
        }
        let entry = self.guests.vacant_entry();
        let token = EventData::new_u64(entry.key() as u64);
        epoll::add(&self.epoll, &socket, token, EventFlags::IN).context("watch a client")?;
        self.by_age.push_back((entry.key(), visit.tag, begun));
        entry.insert(Guest {
            socket,
            visit,
            begun,
        });
        Ok(())
    }

    fn hear(&mut self, index: usize, plan: &mut dyn Plan) {
        let Some(guest) = self.guests.get(index) else {
            return;
        };
        let mut said = [0_u8];
        let server = match recv(&guest.socket, &mut said, RecvFlags::empty()) {
            Ok((1, _)) => Some(said[0]),
            Err(Errno::AGAIN | Errno::INTR) => return,
            Ok(_) | Err(_) => None,
        };
        let guest = self.guests.remove(index);
        plan.ended(&ended(&guest.visit, guest.begun, server));
        if guest.visit.stays && server.is_some() {
            // It is heard no more: nobody says anything.
            let _ = epoll::delete(&self.epoll, &guest.socket);
            self.staying.push(guest.socket);
        }
    }

    fn give_up_old_ones(&mut self, plan: &mut dyn Plan) {
        while let Some(&(index, tag, begun)) = self.by_age.front() {
            let is_it = |guest: &Guest| guest.visit.tag == tag && guest.begun == begun;
            if self.guests.get(index).is_some_and(is_it) {
                if begun.elapsed() < LIMIT {
                    return;
                }
                let guest = self.guests.remove(index);
                plan.ended(&ended(&guest.visit, begun, None));
            }
            self.by_age.pop_front();
        }
    }
}

fn ended(visit: &Visit, begun: Instant, server: Option<u8>) -> Ended {
    Ended {
        tag: visit.tag,
        server,
        took: begun.elapsed(),
    }
}

/// One visit from this host's usual address, made and waited for here. Answers the server.
pub fn probe(to: SocketAddrV4, limit: Duration) -> anyhow::Result<u8> {
    let mut stream = TcpStream::connect_timeout(&to.into(), limit)?;
    stream.set_read_timeout(Some(limit))?;
    let mut said = [0];
    let length = stream.read(&mut said)?;
    ensure!(length == 1, "{to} closed the connection");
    Ok(said[0])
}
