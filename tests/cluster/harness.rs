//! The stage itself: who reaches whom, and what lone nodes do on it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::cluster::{Network, Outcome, Plan, Stage, network, wall_clock};
use crate::support::eventually;

/// Sends datagrams from one node to another until one arrives, or long enough to know that none
/// does.
fn arrives(network: &Network, from: usize, to: usize) -> bool {
    let place = SocketAddr::from((network::address(to), 7000));
    let (listens, is_listening) = channel();
    let receiver = network.node(to).run(move || {
        let socket = UdpSocket::bind(place).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        std::thread::spawn(move || {
            listens.send(()).unwrap();
            socket.recv(&mut [0; 8]).is_ok()
        })
    });
    is_listening.recv().unwrap();
    network.node(from).run(move || {
        let own = SocketAddr::from((network::address(from), 0));
        let socket = UdpSocket::bind(own).unwrap();
        socket.send_to(b"hello", place).unwrap();
    });
    receiver.join().unwrap()
}

#[test]
fn a_cut_is_one_way_until_it_is_healed() {
    let Some(network) = Network::new(3) else {
        return;
    };
    assert!(arrives(&network, 1, 2) && arrives(&network, 2, 1));
    network.cut(1, 2);
    assert!(!arrives(&network, 1, 2), "from 1 to 2 is cut");
    assert!(arrives(&network, 2, 1), "from 2 to 1 is not");
    assert!(arrives(&network, 1, 3), "nor is any other");
    network.heal(1, 2);
    assert!(arrives(&network, 1, 2));
    network.cut_off(&[3]);
    assert!(!arrives(&network, 3, 1) && !arrives(&network, 2, 3));
    assert!(arrives(&network, 1, 2), "the majority is whole");
}

#[test]
fn a_lone_node_serves_clients_by_their_addresses() {
    let Some(mut stage) = Stage::new(1, 3, Plan::alone(3)) else {
        return;
    };
    stage.start(&[1]);
    let groups: Vec<u32> = (0..30).map(|key| stage.group_of(key, 1)).collect();
    for group in 0..3 {
        assert!(groups.contains(&group), "nobody at group {group}");
    }
    for key in 0..30 {
        assert_eq!(stage.group_of(key, 1), groups[key as usize]);
    }
    stage.assert_kept();
}

#[test]
fn a_killed_node_refuses_and_a_stopped_one_is_silent() {
    let Some(mut stage) = Stage::new(2, 1, Plan::alone(1)) else {
        return;
    };
    stage.start(&[1, 2]);
    stage.kill(&[1]);
    stage.node(2).pause();
    let answers = stage.ask(5, &[1, 2], Duration::from_secs(1));
    assert_eq!(answers[0].outcome, Outcome::Refused);
    assert_eq!(answers[1].outcome, Outcome::TimedOut);
    stage.node(2).resume();
    assert_eq!(stage.group_of(5, 2), 0);
}

#[test]
fn a_small_disk_is_filled_and_freed() {
    let Some(stage) = Stage::new(1, 1, Plan::alone(1)) else {
        return;
    };
    let node = stage.node(1);
    node.use_small_disk(1024 * 1024);
    let file = node.raft_path().join("file");
    let write = |size: usize| {
        let file = file.clone();
        node.host().run(move || std::fs::write(file, vec![1; size]))
    };
    write(100).unwrap();
    node.fill_disk();
    assert!(write(100_000).is_err(), "the disk is full");
    node.free_disk();
    write(100_000).unwrap();
    assert!(!file.exists(), "only the host sees its disk");
}

#[test]
fn nothing_runs_on_after_its_stage() {
    let Some(mut stage) = Stage::new(1, 1, Plan::alone(1)) else {
        return;
    };
    stage.start(&[1]);
    let pid = stage.node(1).running().pid();
    drop(stage);
    eventually("the process is gone", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
}

#[test]
fn a_wall_clock_is_shifted_for_one_node_alone() {
    if !wall_clock::can_be_shifted() {
        return;
    }
    let Some(mut stage) = Stage::new(2, 1, Plan::alone(1)) else {
        return;
    };
    wall_clock::shift(stage.node_mut(2), "+86400s");
    stage.start(&[1, 2]);
    let day = |node: usize| {
        let log = &stage.node(node).running().log;
        let line = log.wait("that it is ready", |line| line.contains("ready:"));
        line[..10].to_owned()
    };
    assert!(day(1) < day(2), "{} and {}", day(1), day(2));
    assert_eq!(stage.group_of(1, 2), 0);
}
