//! Small exchanges: clients that send 64 bytes, servers that echo them, on one event loop.
//!
//! One thread serves both ends, because a wake-up from one thread of the generator to another
//! would cost more than the exchange and hide the balancer behind it.

use std::mem::MaybeUninit;
use std::net::{SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, connect, recv,
    send, socket_with, sockopt,
};
use rustix::time::Timespec;
use slab::Slab;

use crate::places::{self, Places};

/// Bytes each way.
const MESSAGE_BYTES: usize = 64;
/// Silence after which a run has hung.
const HANG_TIMEOUT: Duration = Duration::from_secs(15);
/// How long idle connections rest before their memory is read.
const REST: Duration = Duration::from_millis(1500);
/// Accepts in one turn of a listener.
const ACCEPTS_PER_TURN: usize = 64;
/// Errors told in full; the others are counted.
const ERRORS_TOLD: u64 = 3;

/// Clients and servers of small exchanges.
#[derive(Debug)]
pub struct Exchange<'a> {
    places: &'a Places,
    epoll: OwnedFd,
    listeners: Vec<TcpListener>,
    served: Slab<OwnedFd>,
    clients: Slab<Client>,
    after_reply: AfterReply,
    /// Connections still to open.
    to_open: u64,
    /// Messages still to send on connections that are up.
    to_send: u64,
    opened: u64,
    replies: u64,
    errors: u64,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    nth: u64,
    sent: bool,
    awaited_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterReply {
    Close,
    Hold,
    SendAgain,
}

/// What an epoll token names.
#[derive(Clone, Copy, Debug)]
enum Token {
    Listener(usize),
    Served(usize),
    Client(usize),
}

impl Token {
    fn pack(self) -> EventData {
        let (kind, index) = match self {
            Token::Listener(index) => (0, index),
            Token::Served(index) => (1, index),
            Token::Client(index) => (2, index),
        };
        EventData::new_u64(kind << 32 | index as u64)
    }

    fn unpack(data: EventData) -> Token {
        let index = (data.u64() & u64::from(u32::MAX)) as usize;
        match data.u64() >> 32 {
            0 => Token::Listener(index),
            1 => Token::Served(index),
            _ => Token::Client(index),
        }
    }
}

impl<'a> Exchange<'a> {
    /// Servers that listen, and no clients yet.
    pub fn listen(places: &'a Places) -> anyhow::Result<Exchange<'a>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("create an epoll")?;
        let listeners: Vec<_> = places
            .backends()
            .map(places::listener)
            .collect::<Result<_, _>>()?;
        for (index, listener) in listeners.iter().enumerate() {
            let token = Token::Listener(index).pack();
            epoll::add(&epoll, listener, token, EventFlags::IN).context("watch a listener")?;
        }
        Ok(Exchange {
            places,
            epoll,
            listeners,
            served: Slab::new(),
            clients: Slab::new(),
            after_reply: AfterReply::Close,
            to_open: 0,
            to_send: 0,
            opened: 0,
            replies: 0,
            errors: 0,
        })
    }

    /// Connections that failed or brought wrong bytes, since the start.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Client connections that are up.
    pub fn held(&self) -> usize {
        self.clients.len()
    }

    /// Opens `total` connections, `at_once` at a time, each for one exchange; returns when the
    /// servers have seen the end of the last one.
    pub fn connect_and_close(&mut self, total: u64, at_once: usize) -> anyhow::Result<()> {
        self.after_reply = AfterReply::Close;
        self.open_all(total, at_once);
        self.run(|exchange| exchange.clients.is_empty() && exchange.served.is_empty())
    }

    /// Opens `connections`, `at_once` at a time, has one exchange on each, and leaves them open.
    pub fn hold(&mut self, connections: usize, at_once: usize) -> anyhow::Result<()> {
        self.after_reply = AfterReply::Hold;
        let settled = self.replies + self.errors + connections as u64;
        self.open_all(connections as u64, at_once);
        self.run(|exchange| exchange.replies + exchange.errors >= settled)
    }

    /// `total` round trips over the connections that are held.
    pub fn ping_pong(&mut self, total: u64) -> anyhow::Result<()> {
        ensure!(!self.clients.is_empty(), "no connection is up to ping on");
        self.after_reply = AfterReply::SendAgain;
        self.to_send = total;
        let settled = self.replies + total;
        let held: Vec<usize> = self.clients.iter().map(|(index, _)| index).collect();
        for index in held {
            self.send_next(index);
        }
        self.run(|exchange| exchange.replies >= settled || exchange.clients.is_empty())
    }

    /// Lets the connections be silent for a while.
    pub fn rest(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + REST;
        self.run(|_| Instant::now() >= end)
    }

    /// Closes every connection; returns when the servers have seen the end of the last one.
    pub fn release(&mut self) -> anyhow::Result<()> {
        self.clients.clear();
        self.run(|exchange| exchange.served.is_empty())
    }

    fn open_all(&mut self, total: u64, at_once: usize) {
        self.to_open = total;
        for _ in 0..at_once {
            self.open_next();
        }
    }

    /// Opens one more connection, if one is still to be opened and can be.
    fn open_next(&mut self) {
        while self.to_open > 0 {
            self.to_open -= 1;
            match self.open() {
                Ok(()) => return,
                Err(error) => self.failed(&format!("{error:#}")),
            }
        }
    }

    fn open(&mut self) -> anyhow::Result<()> {
        let nth = self.opened;
        self.opened += 1;
        let from = SocketAddrV4::new(self.places.client(nth), 0);
        // The next port only after all client addresses: every address meets every port.
        let to = self.places.listen(nth / u64::from(places::CLIENTS) + nth);
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .context("make a socket")?;
        bind(&socket, &from).with_context(|| format!("bind {from}"))?;
        if self.after_reply != AfterReply::Close {
            sockopt::set_tcp_nodelay(&socket, true).context("set TCP_NODELAY")?;
        }
        match connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).with_context(|| format!("connect {from} to {to}")),
        }
        let entry = self.clients.vacant_entry();
        let token = Token::Client(entry.key()).pack();
        // Over loopback the handshake is over by now, so that the message goes out at once.
        let sent = send(&socket, &message(nth), SendFlags::NOSIGNAL) == Ok(MESSAGE_BYTES);
        let interest = if sent {
            EventFlags::IN
        } else {
            EventFlags::OUT
        };
        epoll::add(&self.epoll, &socket, token, interest).context("watch a client")?;
        entry.insert(Client {
            socket,
            nth,
            sent,
            awaited_bytes: MESSAGE_BYTES,
        });
        Ok(())
    }

    fn run(&mut self, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let mut events = [MaybeUninit::<Event>::uninit(); 256];
        let tick = Timespec::try_from(Duration::from_millis(100)).context("a time-out")?;
        let mut last_event = Instant::now();
        while !done(self) {
            let events = match epoll::wait(&self.epoll, &mut events, Some(&tick)) {
                Ok((events, _)) => events,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error).context("wait for events"),
            };
            if !events.is_empty() {
                last_event = Instant::now();
            } else if last_event.elapsed() > HANG_TIMEOUT {
                bail!(
                    "nothing happened for {HANG_TIMEOUT:?}: {} connections of clients and {} of \
                     servers are open, {} replies came, {} errors",
                    self.clients.len(),
                    self.served.len(),
                    self.replies,
                    self.errors
                );
            }
            for event in events.iter() {
                match Token::unpack(event.data) {
                    Token::Listener(index) => self.accept(index)?,
                    Token::Served(index) => self.echo(index),
                    Token::Client(index) => self.on_client(index),
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize) -> anyhow::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        for _ in 0..ACCEPTS_PER_TURN {
            let socket = match accept_with(&self.listeners[listener], flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error).context("accept for a server"),
            };
            let entry = self.served.vacant_entry();
            let token = Token::Served(entry.key()).pack();
            epoll::add(&self.epoll, &socket, token, EventFlags::IN).context("watch a server")?;
            entry.insert(socket);
        }
        Ok(())
    }

    /// A server's turn: send back what came, close where the client has.
    fn echo(&mut self, index: usize) {
        let socket = self.served[index].as_fd();
        let mut buffer = [0_u8; 4 * MESSAGE_BYTES];
        match recv(socket, &mut buffer, RecvFlags::empty()) {
            Ok((0, _)) => {
                self.served.remove(index);
            }
            Ok((length, _)) => {
                let sent = send(socket, &buffer[..length], SendFlags::NOSIGNAL);
                if sent != Ok(length) {
                    self.served.remove(index);
                    self.failed(&format!("a server could not send {length} bytes: {sent:?}"));
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => {
                self.served.remove(index);
                self.failed(&format!("a server could not read: {error}"));
            }
        }
    }

    fn on_client(&mut self, index: usize) {
        if !self.clients[index].sent {
            return self.send_first(index);
        }
        let client = &mut self.clients[index];
        let mut buffer = [0_u8; MESSAGE_BYTES];
        match recv(&client.socket, &mut buffer, RecvFlags::empty()) {
            Ok((length, _)) if length > 0 && length <= client.awaited_bytes => {
                let from = MESSAGE_BYTES - client.awaited_bytes;
                if buffer[..length] != message(client.nth)[from..from + length] {
                    return self.drop_client(index, "a client got bytes that it had not sent");
                }
                client.awaited_bytes -= length;
                if client.awaited_bytes == 0 {
                    self.on_reply(index);
                }
            }
            Ok((0, _)) => self.drop_client(index, "a client's connection ended early"),
            Ok(_) => self.drop_client(index, "a client got more bytes than it had sent"),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => self.drop_client(index, &format!("a client could not read: {error}")),
        }
    }

    /// The connect took its time; now the message goes out.
    fn send_first(&mut self, index: usize) {
        let client = &mut self.clients[index];
        match send(&client.socket, &message(client.nth), SendFlags::NOSIGNAL) {
            Ok(MESSAGE_BYTES) => client.sent = true,
            result => {
                let told = format!("a client could not connect or send: {result:?}");
                return self.drop_client(index, &told);
            }
        }
        let token = Token::Client(index).pack();
        let watched = epoll::modify(&self.epoll, &client.socket, token, EventFlags::IN);
        if let Err(error) = watched {
            self.drop_client(index, &format!("a client could not be watched: {error}"));
        }
    }

    fn on_reply(&mut self, index: usize) {
        self.replies += 1;
        match self.after_reply {
            AfterReply::Close => {
                self.clients.remove(index);
                self.open_next();
            }
            AfterReply::Hold => self.open_next(),
            AfterReply::SendAgain => self.send_next(index),
        }
    }

    /// Sends one more message, if one is still to be sent.
    fn send_next(&mut self, index: usize) {
        if self.to_send == 0 {
            return;
        }
        self.to_send -= 1;
        let client = &mut self.clients[index];
        client.awaited_bytes = MESSAGE_BYTES;
        let sent = send(&client.socket, &message(client.nth), SendFlags::NOSIGNAL);
        if sent != Ok(MESSAGE_BYTES) {
            self.drop_client(index, &format!("a client could not send: {sent:?}"));
        }
    }

    fn drop_client(&mut self, index: usize, error: &str) {
        self.clients.remove(index);
        self.failed(error);
        self.open_next();
    }

    fn failed(&mut self, error: &str) {
        self.errors += 1;
        if self.errors <= ERRORS_TOLD {
            eprintln!("error: {error}");
        }
    }
}

/// The message of the nth client: its number, over and over.
fn message(nth: u64) -> [u8; MESSAGE_BYTES] {
    let mut message = [0; MESSAGE_BYTES];
    for word in message.chunks_exact_mut(8) {
        word.copy_from_slice(&nth.to_le_bytes());
    }
    message
}
