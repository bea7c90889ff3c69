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
use crate::groups::Groups;
use crate::stick::{AfterFailure, Answer, Ask, Refusal, Stale, StickRef};

/// Answers every ask with `Wait` and keeps what it is told.
#[derive(Default)]
struct LateTable {
    tickets: Mutex<VecDeque<Ticket>>,
    calls: Mutex<Vec<&'static str>>,
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
        self.tickets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(ask.ticket);
        Route::Wait(ask.ticket)
    }
    fn still_holds(&self, _: StickRef, _: &Groups, _: Millis) -> bool {
        true
    }
    fn is_served(&self, _: GroupId, _: &Groups) -> bool {
        true
    }
    fn established(&self, _: StickRef, _: &Groups, _: Millis) -> Result<(), Stale> {
        self.note("established");
        Ok(())
    }
    fn connect_failed(&self, _: &Ask<'_>, _: Answer, _: &[GroupId]) -> AfterFailure {
        self.note("connect_failed");
        AfterFailure::Reset
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
    pub(super) address: SocketAddr,
    pub(super) server: TcpListener,
}

impl Rig {
    pub(super) fn new(extra: &str) -> Rig {
        let server = TcpListener::bind("127.0.0.1:0").expect("bind");
        let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = taken.local_addr().expect("address");
        drop(taken);
        let target = server.local_addr().expect("address");
        let port = address.port();
        let text = format!(
            "bind_addr = \"127.0.0.1\"\nports = [{port}]\nexpiration = 10\n{extra}\n\
             [groups.0.portmap]\n{port} = \"{target}\"\n"
        );
        let environment = Environment::from_vars(|_| None).expect("an empty environment");
        let loaded = config::load(&text, Path::new("test.toml"), &environment).expect("sound");
        let table = Arc::new(LateTable::default());
        let parts = Parts {
            workers: 2,
            key_type: KeyType::Ip,
            sticks: Arc::clone(&table) as Arc<dyn Sticks>,
            registry: Arc::new(GroupRegistry::new(2)),
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
        let proxy = Proxy::start(loaded.config, parts, health, &|_| Vec::new()).expect("starts");
        Rig {
            proxy,
            table,
            address,
            server,
        }
    }

    /// Waits for a client to ask, and sends it to the group.
    pub(super) fn let_through(&self) {
        self.proxy
            .completer()
            .complete(self.table.ticket(), Rig::answer());
    }

    fn answer() -> Route {
        let stick = StickRef {
            shard: 0,
            slot: 0,
            version: 1,
        };
        Route::Group(Answer {
            group: GroupId(0),
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
