//! Checks from `bind_source`.

use std::net::IpAddr;
use std::path::Path;

use super::*;
use crate::config::{self, Environment};

/// An address that is set aside for documentation: no host has it.
const ELSEWHERE: &str = "192.0.2.7";

fn sources(list: &[&str]) -> Sources {
    let text = format!(
        "ports = [1000]\nexpiration = 10\nbind_source = {list:?}\n\
         [groups.0]\nportmap = \"192.0.2.1\"\n"
    );
    let environment = Environment::from_vars(|_| None).expect("an empty environment");
    let loaded = config::load(&text, Path::new("test.toml"), &environment);
    Sources::of(&loaded.expect("sound").config)
}

/// A server that answers, and whom its connections came from.
fn peers() -> (SocketAddr, Receiver<IpAddr>) {
    let (sender, peers) = channel();
    let address = server(move |mut stream| {
        sender.send(stream.peer_addr().unwrap().ip()).unwrap();
        let mut piece = [0; 4096];
        if stream.read(&mut piece).is_ok_and(|count| count > 0) {
            let _ = stream.write_all(FINE.as_bytes());
        }
    });
    (address, peers)
}

fn probe(check: &HealthCheck, address: SocketAddr) -> Probe {
    Probe::new(check, &TargetAddr::Socket(address), None)
}

#[test]
fn each_run_comes_from_the_next_address() {
    let (address, peers) = peers();
    let list = ["127.0.0.2", "127.0.0.3-127.0.0.4"];
    let in_order = [
        "127.0.0.2",
        "127.0.0.3",
        "127.0.0.4",
        "127.0.0.2",
        "127.0.0.3",
    ];
    for check in [tcp_check(PLENTY), http_check(PLENTY, |_| ())] {
        let probe = probe(&check, address);
        for expected in in_order {
            let outcome = probe.run(&[address.into()], &sources(&list));
            assert_eq!(outcome, Outcome::Passed);
            assert_eq!(peers.recv_timeout(PLENTY).unwrap().to_string(), expected);
        }
        // Another list holds from the next run on.
        probe.run(&[address.into()], &sources(&["127.0.0.9"]));
        assert_eq!(peers.recv_timeout(PLENTY).unwrap().to_string(), "127.0.0.9");
    }
}

#[test]
fn an_address_that_this_host_does_not_hold_is_this_hosts_fault_and_the_next_one_does() {
    let (address, peers) = peers();
    let elsewhere: IpAddr = ELSEWHERE.parse().unwrap();
    for check in [tcp_check(PLENTY), http_check(PLENTY, |_| ())] {
        let probe = probe(&check, address);
        let outcome = probe.run(&[address.into()], &sources(&[ELSEWHERE]));
        assert_eq!(outcome, Outcome::NotRun(NotRun::NotHere(elsewhere)));
        for _ in 0..3 {
            let outcome = probe.run(&[address.into()], &sources(&[ELSEWHERE, "127.0.0.2"]));
            assert_eq!(outcome, Outcome::Passed);
            assert_eq!(peers.recv_timeout(PLENTY).unwrap().to_string(), "127.0.0.2");
        }
    }
    let shown = NotRun::NotHere(elsewhere).to_string();
    assert!(
        shown.contains("bind_source") && shown.contains(ELSEWHERE),
        "{shown}"
    );
}

#[test]
fn the_targets_faults_stay_the_targets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for check in [tcp_check(PLENTY), http_check(PLENTY, |_| ())] {
        let outcome = probe(&check, address).run(&[address.into()], &sources(&["127.0.0.2"]));
        assert_eq!(outcome, Outcome::Failed(Failure::Refused));
    }
}

#[test]
fn targets_of_another_family_are_checked_from_wherever_the_kernel_chooses() {
    let (address, peers) = peers();
    let probe = probe(&tcp_check(PLENTY), address);
    let outcome = probe.run(&[address.into()], &sources(&["2001:db8::7"]));
    assert_eq!(outcome, Outcome::Passed);
    assert_eq!(peers.recv_timeout(PLENTY).unwrap().to_string(), "127.0.0.1");
}

#[test]
fn an_address_out_of_this_hosts_reach_hides_neither_anothers_refusal_nor_its_answer() {
    let list = sources(&[ELSEWHERE, "::1"]);
    let out_of_reach: SocketAddr = "192.0.2.1:9".parse().unwrap();
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let there = listener.local_addr().unwrap();
    let probe = probe(&tcp_check(PLENTY), there);
    let run = |addresses: [SocketAddr; 2]| probe.run(&addresses.map(Endpoint::Ip), &list);
    assert_eq!(run([out_of_reach, there]), Outcome::Passed);
    drop(listener);
    for addresses in [[out_of_reach, there], [there, out_of_reach]] {
        assert_eq!(run(addresses), Outcome::Failed(Failure::Refused));
    }
}

#[test]
fn where_no_source_had_a_port_a_moment_ago_one_is_tried_and_not_all() {
    let not_here = Outcome::NotRun(NotRun::NotHere(ELSEWHERE.parse().unwrap()));
    // The machine may be elsewhere for as long as it is remembered.
    let list = loop {
        let (address, peers) = peers();
        let list = sources(&[ELSEWHERE, "127.0.0.2"]);
        let begun = Instant::now();
        let found = list.connect(address, 0, |source| Err::<(), _>(Fault::NoPort(source)));
        found.unwrap_err();
        let probe = probe(&tcp_check(PLENTY), address);
        let first = probe.run(&[address.into()], &list);
        if begun.elapsed() < Duration::from_millis(400) {
            assert_eq!(first, not_here, "the second was tried too");
            assert_eq!(probe.run(&[address.into()], &list), Outcome::Passed);
            assert_eq!(peers.recv_timeout(PLENTY).unwrap().to_string(), "127.0.0.2");
            break list;
        }
    };
    // Another target has ports of its own.
    let (other, peers) = peers();
    let outcome = probe(&tcp_check(PLENTY), other).run(&[other.into()], &list);
    assert_eq!(outcome, Outcome::Passed);
    assert_eq!(peers.recv_timeout(PLENTY).unwrap().to_string(), "127.0.0.2");
}
