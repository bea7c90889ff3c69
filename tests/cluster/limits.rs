//! `groups.N.max_connections` in a cluster: who waits for a place longer than its stick lives is
//! served in its turn and at its group, and no server meets a connection that comes to nothing.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::cluster::plan::PORTS;
use crate::cluster::{Plan, Stage, network, probe};
use crate::support::wait::eventually_some;
use crate::support::{client, eventually, scaled};

const ALL: [usize; 3] = [1, 2, 3];
/// Short, so that tests wait longer than that.
const EXPIRATION: Duration = Duration::from_secs(3);

/// Some groups that may have one connection each.
fn plan(groups: u32) -> Plan {
    let plan = Plan::cluster(&ALL, groups)
        .set("expiration", 3)
        .set("queue_timeout", 30);
    (0..groups).fold(plan, |plan, group| {
        plan.group_set(group, "max_connections", 1)
    })
}

fn running(groups: u32) -> Option<Stage> {
    let mut stage = Stage::new(3, groups, plan(groups))?;
    stage.start(&ALL);
    stage.wait_all_vote();
    Some(stage)
}

/// A figure of a group at a node.
fn figure(stage: &Stage, node: usize, group: u32, name: &str) -> u64 {
    let path = format!("/api/v1/groups/{group}");
    let (_, shown) = probe::get(stage.node(node).host(), node, &path).expect("it answers");
    shown[name].as_u64().expect("a number")
}

fn queued(stage: &Stage, node: usize, group: u32) -> u64 {
    figure(stage, node, group, "queued")
}

/// A client's connection to a node, which is not read from yet.
fn connect(stage: &Stage, key: u32, node: usize) -> TcpStream {
    let to: SocketAddr = (network::address(node), PORTS[0]).into();
    let from = network::client(key).into();
    let connected = stage.network.clients.run(move || client::connect(from, to));
    connected.expect("the node takes connections")
}

/// Connections that a group's server has got through this node and that are over or go on.
fn given(stage: &Stage, group: u32) -> usize {
    stage.server(group).accepted()
}

/// Clients 10, 11, … that wait at a node, one behind the other, for group 0.
fn line_up(stage: &Stage, node: usize, count: u32) -> Vec<TcpStream> {
    let before = queued(stage, node, 0);
    let join = |at: u32| {
        let stream = connect(stage, 10 + at, node);
        eventually("it waits", || {
            queued(stage, node, 0) == before + u64::from(at) + 1
        });
        stream
    };
    (0..count).map(join).collect()
}

/// Lets those who wait in one after the other, each after the time for which it has a place.
fn serve_in_order(stage: &Stage, first: TcpStream, queue: Vec<TcpStream>, stays: Duration) {
    let mut before = first;
    let already = given(stage, 0);
    for (at, stream) in queue.into_iter().enumerate() {
        stage.pass(stays);
        drop(before);
        // Had another one been served, this would wait in vain.
        assert_eq!(client::read_line(&stream).unwrap(), "0", "the {at}th");
        assert_eq!(
            given(stage, 0),
            already + at + 1,
            "and nobody else was connected"
        );
        before = stream;
    }
}

#[test]
fn who_waits_longer_than_half_a_sticks_life_is_served_in_turn() {
    let Some(mut stage) = running(1) else {
        return;
    };
    for node in [stage.leader(), stage.follower()] {
        let first = connect(&stage, 1, node);
        assert_eq!(client::read_line(&first).unwrap(), "0");
        let queue = line_up(&stage, node, scaled(3, 5));
        serve_in_order(&stage, first, queue, EXPIRATION * 2 / 3);
        eventually("every place is back", || {
            figure(&stage, node, 0, "places_taken") == 0
        });
    }
    stage.group_of(1, 1);
    stage.assert_kept();
}

#[test]
fn who_waits_longer_than_a_stick_lives_is_served_where_it_waited() {
    let Some(mut stage) = running(2) else {
        return;
    };
    let node = stage.follower();
    let mut open: [Option<TcpStream>; 2] = [None, None];
    for key in 1..=2 {
        let stream = connect(&stage, key, node);
        let group: usize = client::read_line(&stream).unwrap().parse().unwrap();
        open[group] = Some(stream);
    }
    let waits = connect(&stage, 10, node);
    let group = eventually_some("it waits", || {
        (0..2).find(|&group| queued(&stage, node, group) == 1)
    });
    let accepted = [given(&stage, 0), given(&stage, 1)];
    stage.pass(EXPIRATION + Duration::from_secs(2));
    open[group as usize] = None;
    assert_eq!(client::read_line(&waits).unwrap(), group.to_string());
    assert_eq!(given(&stage, group), accepted[group as usize] + 1);
    assert_eq!(given(&stage, 1 - group), accepted[1 - group as usize]);
    drop((waits, open));
    stage.group_of(1, node);
    stage.assert_kept();
}

#[test]
fn who_waits_while_the_leader_is_killed_is_served_in_turn() {
    let Some(mut stage) = running(1) else {
        return;
    };
    let (leader, node) = (stage.leader(), stage.follower());
    let first = connect(&stage, 1, node);
    assert_eq!(client::read_line(&first).unwrap(), "0");
    let queue = line_up(&stage, node, 3);
    let already = given(&stage, 0);
    stage.kill(&[leader]);
    drop(first);
    for (at, stream) in queue.into_iter().enumerate() {
        assert_eq!(client::read_line(&stream).unwrap(), "0", "the {at}th");
        assert_eq!(given(&stage, 0), already + at + 1);
        stage.pass(EXPIRATION * 2 / 3);
    }
    stage.group_of(1, node);
    stage.assert_kept();
}

#[test]
fn all_waits_together_are_no_longer_than_queue_timeout() {
    let Some(mut stage) = Stage::new(3, 1, plan(1).set("queue_timeout", 5)) else {
        return;
    };
    stage.start(&ALL);
    let node = stage.follower();
    let first = connect(&stage, 1, node);
    assert_eq!(client::read_line(&first).unwrap(), "0");
    let begun = Instant::now();
    let waits = connect(&stage, 10, node);
    client::drain(&waits);
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(4_900), "{took:?}");
    assert!(took < Duration::from_secs(9), "{took:?}");
    client::exchange(&first, b"still here").unwrap();
    drop(first);
    stage.group_of(1, node);
    stage.assert_kept();
}

/// Both groups full at a node: the streams by group.
fn both_full(stage: &Stage, node: usize) -> [Option<TcpStream>; 2] {
    let mut open: [Option<TcpStream>; 2] = [None, None];
    for key in 1..=2 {
        let stream = connect(stage, key, node);
        let group: usize = client::read_line(&stream).unwrap().parse().unwrap();
        open[group] = Some(stream);
    }
    assert!(open.iter().all(Option::is_some), "one each");
    open
}

/// The group that a client waits for at a node.
fn waits_for(stage: &Stage, node: usize) -> u32 {
    eventually_some("it waits", || {
        (0..2).find(|&group| queued(stage, node, group) == 1)
    })
}

#[test]
fn a_new_client_that_waits_gets_whichever_group_has_room_and_has_it_everywhere() {
    let Some(mut stage) = running(2) else {
        return;
    };
    for (key, node) in [(10, stage.leader()), (11, stage.follower())] {
        let mut open = both_full(&stage, node);
        let waits = connect(&stage, key, node);
        let other = 1 - waits_for(&stage, node);
        open[other as usize] = None;
        assert_eq!(client::read_line(&waits).unwrap(), other.to_string());
        for elsewhere in ALL.into_iter().filter(|&at| at != node) {
            assert_eq!(stage.group_of(key, elsewhere), other);
        }
        drop((waits, open));
        eventually("every place is back", || {
            (0..2).all(|group| figure(&stage, node, group, "places_taken") == 0)
        });
        if key == 10 {
            // Who had the places before is new again, so that one comes to each group.
            stage.pass(EXPIRATION * 2);
        }
    }
    stage.assert_kept();
}

#[test]
fn a_client_that_is_served_through_another_node_waits_for_its_group_alone() {
    let Some(mut stage) = running(2) else {
        return;
    };
    let (node, elsewhere) = (stage.follower(), stage.leader());
    let mut open = both_full(&stage, node);
    let waits = connect(&stage, 10, node);
    let group = waits_for(&stage, node);
    let served = connect(&stage, 10, elsewhere);
    assert_eq!(client::read_line(&served).unwrap(), group.to_string());
    open[1 - group as usize] = None;
    // It looks ten times a second whether the other group has room.
    stage.pass(Duration::from_secs(1));
    open[group as usize] = None;
    assert_eq!(client::read_line(&waits).unwrap(), group.to_string());
    drop((waits, served, open));
    stage.group_of(10, node);
    stage.assert_kept();
}

/// Nodes that are cut off from every leader pick alike, whoever has room at which of them.
#[test]
fn without_a_leader_who_waits_stays_with_the_group_that_all_would_give_it() {
    let cut_off = plan(2).set("no_quorum", "assign").set("no_quorum_after", 1);
    let Some(mut stage) = Stage::new(3, 2, cut_off) else {
        return;
    };
    stage.start(&ALL);
    let node = stage.follower();
    let mut open = both_full(&stage, node);
    stage.cut_off(&[node]);
    eventually("it knows", || !stage.node(node).is_healthy());
    let waits = connect(&stage, 10, node);
    let group = waits_for(&stage, node);
    open[1 - group as usize] = None;
    stage.pass(Duration::from_secs(1));
    assert_eq!(queued(&stage, node, group), 1);
    open[group as usize] = None;
    assert_eq!(client::read_line(&waits).unwrap(), group.to_string());
    drop((waits, open));
    stage.heal();
    stage.group_of(1, node);
    stage.assert_kept();
}
