//! What is counted of connections, while they are open and after.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::ticket_tests::{Rig, wait_for};
use super::*;
use crate::config::GroupId;

#[test]
fn connections_and_bytes_are_counted_while_they_are_open() {
    let rig = Rig::new("");
    let (view, port) = (rig.proxy.view(), rig.address.port());
    let mut client = TcpStream::connect(rig.address).expect("connect");
    rig.let_through();
    let (mut served, _) = rig.server.accept().expect("accept");
    client.write_all(b"question").expect("send");
    served.read_exact(&mut [0; 8]).expect("read");
    served.write_all(b"an answer").expect("send");
    client.read_exact(&mut [0; 9]).expect("read");

    // What a client has got is counted a moment later.
    wait_for("the bytes", || view.group(GroupId(0)).bytes_out == 9);
    let group = view.group(GroupId(0));
    assert_eq!((group.bytes_in, group.connections), (8, 1));
    assert_eq!(
        (group.connections_total, group.connect_time.count()),
        (1, 1)
    );
    assert!(group.connect_time.sum_seconds() < 60.0);
    assert_eq!(
        (group.session_time.count(), group.ended.iter().sum()),
        (0, 0_u64)
    );
    let totals = view.totals();
    assert_eq!(
        (totals.accepted, totals.bytes_in, totals.bytes_out),
        (1, 8, 9)
    );
    let open = PortTraffic {
        connections: 1,
        accepted: 1,
    };
    assert_eq!(view.ports(), BTreeMap::from([(port, open)]));
    assert_eq!((view.connections(), view.is_accepting()), (1, true));
    rig.proxy.quit();
}

#[test]
fn an_end_is_counted_with_its_group_and_what_was_counted_outlives_the_proxy() {
    let rig = Rig::new("");
    let (view, port) = (rig.proxy.view(), rig.address.port());
    let client = TcpStream::connect(rig.address).expect("connect");
    rig.let_through();
    let (served, _) = rig.server.accept().expect("accept");
    drop(client);
    wait_for("the end of stream", || {
        matches!((&served).read(&mut [0]), Ok(0))
    });
    drop(served);
    wait_for("the end", || view.connections() == 0);
    rig.proxy.stop_accepting();
    assert!(!view.is_accepting());
    rig.proxy.quit();

    let group = view.group(GroupId(0));
    assert_eq!(group.ended(End::ClientFinished), 1);
    assert_eq!((group.session_time.count(), group.connections), (1, 0));
    assert_eq!(view.ended(End::ClientFinished), 1);
    let ends = view.ends();
    assert_eq!(
        (ends[End::ClientFinished as usize], ends.iter().sum()),
        (1, 1_u64)
    );
    assert_eq!(view.ended_without_group(End::ClientFinished), 0);
    assert_eq!(
        (
            view.ports()[&port].connections,
            view.ports()[&port].accepted
        ),
        (0, 1)
    );
}

#[test]
fn a_client_that_leaves_before_its_group_is_known_is_counted_without_one() {
    let rig = Rig::new("no_quorum_after = 0.1\nconnect_timeout = 0.1");
    let view = rig.proxy.view();
    let mut client = TcpStream::connect(rig.address).expect("connect");
    assert!(client.read(&mut [0]).is_err(), "reset");
    wait_for("its count", || view.ended(End::Unanswered) == 1);
    assert_eq!(view.ended_without_group(End::Unanswered), 1);
    assert_eq!(view.group(GroupId(0)).connections_total, 0);
    rig.proxy.quit();
}
