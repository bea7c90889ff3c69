//! Connections that wait for the stick table: a table that answers late, through tickets.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::*;
use crate::clock::Millis;
use crate::config::{self, Environment, GroupId};
use crate::groups::{GroupCounters, Groups};
use crate::stick::{AfterFailure, Answer, Ask, Refusal, Stale, StickRef};

/// Answers every ask with `Wait` and keeps what it is told.
#[derive(Default)]
struct LateTable {
    tickets: Mutex<VecDeque<Ticket>>,
    calls: Mutex<Vec<&'static str>>,
    /// The places that those who asked had already, in order.
    places: Mutex<Vec<Option<GroupId>>>,
    /// Answers are older than their entries.
    is_stale: AtomicBool,
    /// The one group's keys are given to others.
    is_unserved: AtomicBool,
    /// Keys may be moved.
    are_new: AtomicBool,
}

impl LateTable {
    fn note(&self, call: &'static str) {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call);
    }

    fn has(&self, call: &'static str) -> bool {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&call)
    }

    fn places(&self) -> Vec<Option<GroupId>> {
        let places = self.places.lock();
        places.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn give(&self, ask: &Ask<'_>) -> Ticket {
        self.tickets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(ask.ticket);
        ask.ticket
    }

    fn ticket(&self) -> Ticket {
        let mut ticket = None;
        wait_for("a ticket", || {
            ticket = self
                .tickets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            ticket.is_some()
        });
        ticket.expect("waited for")
    }
}

impl Sticks for LateTable {
    fn route(&self, ask: &Ask<'_>) -> Route {
        self.places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(ask.place);
        Route::Wait(self.give(ask))
    }
    fn still_holds(&self, _: StickRef, _: &Groups, _: Millis) -> bool {
        !self.is_stale.load(Ordering::SeqCst)
    }
    fn is_served(&self, _: GroupId, _: &Groups) -> bool {
        !self.is_unserved.load(Ordering::SeqCst)
    }
    fn is_movable(&self, _: Answer) -> bool {
        false
    }
    fn established(&self, _: StickRef, _: &Groups, _: Millis) -> Result<(), Stale> {
        self.note("established");
        Ok(())
    }
    fn connect_failed(&self, ask: &Ask<'_>, _: Answer, _: &[GroupId]) -> AfterFailure {
        self.note("connect_failed");
        match self.are_new.load(Ordering::SeqCst) {
            true => AfterFailure::Wait(self.give(ask)),
            false => AfterFailure::Reset,
        }
    }
    fn abandoned(&self, _: StickRef, _: Millis) {
        self.note("abandoned");
    }
    fn closed(&self, _: StickRef, _: Millis) {
        self.note("closed");
    }
}

pub(super) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A proxy with one port and one group, whose only target is `server`.
pub(super) struct Rig {
    pub(super) proxy: Proxy,
    table: Arc<LateTable>,
    registry: Arc<GroupRegistry>,
    pub(super) address: SocketAddr,
    pub(super) server: TcpListener,
}

impl Rig {
    pub(super) fn new(extra: &str) -> Rig {
        let server = TcpListener::bind("127.0.0.1:0").expect("bind");
        Rig::with_server(server, extra)
    }

    fn with_server(server: TcpListener, extra: &str) -> Rig {
        let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = taken.local_addr().expect("address");
        drop(taken);
        let target = server.local_addr().expect("address");
        let port = address.port();
        let config = Rig::config(port, target, extra);
        let table = Arc::new(LateTable::default());
        let registry = Arc::new(GroupRegistry::new(2));
        let parts = Parts {
            workers: 2,
            key_type: KeyType::Ip,
            sticks: Arc::clone(&table) as Arc<dyn Sticks>,
            registry: Arc::clone(&registry),
            clock: Clock::start(),
            failed_targets: crossbeam_channel::bounded(1).0,
            descriptor_limit: 1_000,
            statistics_descriptors: 0,
            history: Arc::default(),
            pulses: Pulses::default(),
        };
        let health = Health {
            of: &|_| Arc::new(HealthStatus::up()),
            descriptors: 0,
        };
        let proxy = Proxy::start(config, parts, health, &|_| Vec::new()).expect("starts");
        Rig {
            proxy,
            table,
            registry,
            address,
            server,
        }
    }

    fn config(port: u16, target: SocketAddr, extra: &str) -> Config {
        let text = format!(
            "bind_addr = \"127.0.0.1\"\nports = [{port}]\nexpiration = 10\n{extra}\n\
             [groups.0.portmap]\n{port} = \"{target}\"\n"
        );
        Rig::parse(&text)
    }

    fn parse(text: &str) -> Config {
        let environment = Environment::from_vars(|_| None).expect("an empty environment");
        let loaded = config::load(text, Path::new("test.toml"), &environment);
        loaded.expect("sound").config
    }

    fn reload(&mut self, config: Config) {
        let health = Health {
            of: &|_| Arc::new(HealthStatus::up()),
            descriptors: 0,
        };
        let reloaded = self.proxy.reload(config, health, &|_| Vec::new());
        reloaded.expect("it may be reloaded");
    }

    fn counters(&self) -> Arc<GroupCounters> {
        self.registry.counters(GroupId(0))
    }

    /// One client with the group, which may have no more, and one that waits for it.
    fn full(extra: &str) -> (Rig, [TcpStream; 2], TcpStream) {
        let rig = Rig::new(&format!("queue_timeout = 60\n[groups.0]\n{extra}"));
        let connect = || TcpStream::connect(rig.address).expect("connect");
        let open = connect();
        rig.let_through();
        let (served, _) = rig.server.accept().expect("accept");
        let waits = connect();
        rig.let_through();
        wait_for("the queue", || rig.counters().places.queued() == 1);
        (rig, [open, served], waits)
    }

    /// Waits for a client to ask, and sends it to the group.
    pub(super) fn let_through(&self) {
        self.proxy
            .completer()
            .complete(self.table.ticket(), Rig::answer());
    }

    fn answer() -> Route {
        Rig::answer_of(0)
    }

    fn answer_of(group: u32) -> Route {
        let stick = StickRef {
            shard: 0,
            slot: 0,
            version: 1,
        };
        Route::Group(Answer {
            group: GroupId(group),
            stick,
            created: true,
        })
    }
}

#[test]
fn a_late_answer_connects_the_waiting_client_and_loses_none_of_its_bytes() {
    let rig = Rig::new("");
    let mut client = TcpStream::connect(rig.address).expect("connect");
    client.write_all(b"early").expect("send");
    let ticket = rig.table.ticket();
    client.write_all(b" and late").expect("send");
    rig.proxy.completer().complete(ticket, Rig::answer());
    let (mut served, _) = rig.server.accept().expect("accept");
    client
        .shutdown(std::net::Shutdown::Write)
        .expect("end of stream");
    let mut got = String::new();
    served.read_to_string(&mut got).expect("read");
    assert_eq!(got, "early and late");
    drop((served, client));
    wait_for("the close", || rig.table.has("closed"));
    assert!(rig.table.has("established") && !rig.table.has("abandoned"));
    rig.proxy.quit();
}

#[test]
fn an_answer_for_a_client_that_has_left_is_given_back_to_the_table() {
    let rig = Rig::new("");
    let client = TcpStream::connect(rig.address).expect("connect");
    let ticket = rig.table.ticket();
    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .expect("linger");
    drop(client);
    wait_for("the reset", || rig.proxy.view().ended(End::ClientLeft) == 1);
    // The slot has another occupant by now; the old answer must not reach it.
    let _next = TcpStream::connect(rig.address).expect("connect");
    let _second = rig.table.ticket();
    rig.proxy.completer().complete(ticket, Rig::answer());
    wait_for("the answer given back", || rig.table.has("abandoned"));
    assert!(!rig.table.has("established"));
    rig.proxy.quit();
}

#[test]
fn a_refusal_and_a_missing_answer_each_reset_the_client_with_their_own_reason() {
    let rig = Rig::new("no_quorum_after = 0.1\nconnect_timeout = 0.1");
    let mut client = TcpStream::connect(rig.address).expect("connect");
    rig.proxy
        .completer()
        .complete(rig.table.ticket(), Route::Refuse(Refusal::NoGroup));
    assert!(client.read(&mut [0]).is_err(), "reset");
    wait_for("its count", || rig.proxy.view().ended(End::NoGroup) == 1);
    let mut client = TcpStream::connect(rig.address).expect("connect");
    assert!(client.read(&mut [0]).is_err(), "reset");
    wait_for("its count", || rig.proxy.view().ended(End::Unanswered) == 1);
    rig.proxy.quit();
}

#[test]
fn an_answer_that_is_too_old_when_a_place_is_free_is_asked_for_again_with_the_place_kept() {
    let (rig, open, waits) = Rig::full("max_connections = 1");
    rig.table.is_stale.store(true, Ordering::SeqCst);
    drop(open);
    let ticket = rig.table.ticket();
    assert_eq!(rig.table.places(), [None, None, Some(GroupId(0))]);
    // The old answer counts until there is another, and its place is nobody else's.
    assert!(!rig.table.has("abandoned"));
    let _next = TcpStream::connect(rig.address).expect("connect");
    rig.let_through();
    wait_for("the queue", || rig.counters().places.queued() == 1);
    rig.proxy.completer().complete(ticket, Rig::answer());
    let (served, _) = rig.server.accept().expect("accept");
    assert!(rig.table.has("abandoned"), "the old answer is given back");
    let places = &rig.counters().places;
    assert_eq!((places.taken(), places.queued()), (1, 1));
    drop((served, waits));
    rig.proxy.quit();
}

#[test]
fn a_place_is_given_back_by_who_is_sent_elsewhere_refused_or_leaves() {
    for leaves in [false, true] {
        let (rig, open, waits) = Rig::full("max_connections = 1");
        rig.table.is_stale.store(true, Ordering::SeqCst);
        drop(open);
        let ticket = rig.table.ticket();
        assert_eq!(rig.counters().places.taken(), 1);
        match leaves {
            true => {
                let linger = socket2::SockRef::from(&waits).set_linger(Some(Duration::ZERO));
                linger.expect("linger");
                drop(waits);
            }
            false => {
                let refused = Route::Refuse(Refusal::NoQuorum);
                rig.proxy.completer().complete(ticket, refused);
            }
        }
        wait_for("the place", || rig.counters().places.taken() == 0);
        assert!(rig.table.has("abandoned"), "the old answer is given back");
        rig.proxy.quit();
    }
}

#[test]
fn who_waits_is_sent_elsewhere_by_what_routes_go_by_alone() {
    let (mut rig, open, waits) = Rig::full("max_connections = 1");
    let target = rig.server.local_addr().expect("address");
    let extra = "queue_timeout = 60\n[groups.0]\nmax_connections = 1\ndisabled = true";
    let config = || Rig::config(rig.address.port(), target, extra);
    // This node's file disables the group; the table gives its keys there all the same.
    let (first, second) = (config(), config());
    rig.reload(first);
    // Its own hold, this one, and each worker's.
    let generation = rig.proxy.generation();
    wait_for("both workers", || Arc::strong_count(&generation) == 4);
    drop(open);
    let (served, _) = rig.server.accept().expect("accept");
    assert_eq!(rig.table.places().len(), 2, "nobody has asked again");
    let next = TcpStream::connect(rig.address).expect("connect");
    rig.let_through();
    wait_for("the queue", || rig.counters().places.queued() == 1);
    rig.table.is_unserved.store(true, Ordering::SeqCst);
    rig.reload(second);
    let _ticket = rig.table.ticket();
    assert_eq!(rig.counters().places.queued(), 0);
    drop((served, waits, next));
    rig.proxy.quit();
}

#[test]
fn an_answer_counts_as_a_move_where_one_was_asked_for() {
    let mut rig = Rig::new("");
    let there = rig.server.local_addr().expect("address");
    let ended = TcpListener::bind("127.0.0.1:0").expect("bind");
    let gone = ended.local_addr().expect("address");
    drop(ended);
    let port = rig.address.port();
    rig.reload(Rig::parse(&format!(
        "bind_addr = \"127.0.0.1\"\nports = [{port}]\nexpiration = 10\n\
         [groups.0.portmap]\n{port} = \"{gone}\"\n[groups.1.portmap]\n{port} = \"{there}\"\n"
    )));
    rig.table.are_new.store(true, Ordering::SeqCst);
    let answer = |group| {
        let completer = rig.proxy.completer();
        completer.complete(rig.table.ticket(), Rig::answer_of(group));
    };
    let connect = || TcpStream::connect(rig.address).expect("connect");
    let first = connect();
    answer(1);
    let (served, _) = rig.server.accept().expect("accept");
    assert_eq!(rig.proxy.view().totals().moves, 0, "its first group");
    let second = connect();
    answer(0); // it refuses
    answer(1);
    let (moved, _) = rig.server.accept().expect("accept");
    assert!(rig.table.has("connect_failed"));
    assert_eq!(rig.proxy.view().totals().moves, 1);
    drop((first, served, second, moved));
    rig.proxy.quit();
}

#[test]
fn a_connection_counts_though_its_group_is_gone_before_it_is_connected() {
    let server = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let server = server.expect("socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    server.bind(&any.into()).expect("bind");
    server.listen(0).expect("listen");
    let server = TcpListener::from(server);
    let target = server.local_addr().expect("address");
    let patience = Duration::from_millis(300);
    let connect = || TcpStream::connect_timeout(&target, patience).ok();
    let before: Vec<TcpStream> = std::iter::from_fn(connect).collect();
    let mut rig = Rig::with_server(server, "connect_timeout = 60");
    let client = TcpStream::connect(rig.address).expect("connect");
    rig.let_through(); // the connect hangs: the server's queue is full
    let port = rig.address.port();
    rig.reload(Rig::parse(&format!(
        "bind_addr = \"127.0.0.1\"\nports = [{port}]\nexpiration = 10\n\
         [groups.1.portmap]\n{port} = \"{target}\"\n"
    )));
    for _ in &before {
        rig.server.accept().expect("accept");
    }
    let (served, _) = rig.server.accept().expect("accept");
    wait_for("it counts", || rig.counters().connections() == 1);
    drop((served, client));
    wait_for("it counts no longer", || rig.counters().connections() == 0);
    rig.proxy.quit();
}
