//! What a healthy cluster does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tcpffee_raft::core::Role;
use tcpffee_raft::driver::{Seed, boot_time};
use tcpffee_raft::ids::{ClusterId, LogTime, NodeId, StoreId};
use tcpffee_raft::machine::SnapshotSource;
use tcpffee_raft::membership::Statement;
use tcpffee_raft::proposals::ProposalError;
use tcpffee_raft::store::files::SystemFiles;
use tcpffee_raft::store::{Limits, Store};

use crate::cluster::{Cluster, eventually};
use crate::register::VERSION;

#[test]
fn three_nodes_form_a_cluster_elect_and_answer_through_each_of_them() {
    let cluster = Cluster::start(3);
    for number in 0..3 {
        let answer = cluster.propose(number, "add n 1");
        assert_eq!(answer, Ok(format!("ok {}", number + 1)));
    }
    cluster.agree();
    let leader = cluster.leader();
    eventually("the state machine knows that it leads", || {
        cluster.nodes[leader].view.look().leads
    });
    let clusters: Vec<_> = (0..3)
        .map(|number| cluster.status(number).cluster)
        .collect();
    assert!(clusters[0].is_some() && clusters.iter().all(|id| *id == clusters[0]));
}

#[test]
fn a_lone_node_is_a_cluster() {
    let cluster = Cluster::start(1);
    assert_eq!(cluster.propose(0, "put a 1"), Ok("ok".to_owned()));
    assert_eq!(cluster.propose(0, "get a"), Ok("ok 1".to_owned()));
}

#[test]
fn everything_is_there_after_a_restart_of_all() {
    let mut cluster = Cluster::start(3);
    for number in 0..30 {
        let command = format!("put k{number} {number}");
        assert_eq!(cluster.propose(number % 3, &command), Ok("ok".to_owned()));
    }
    for number in 0..3 {
        cluster.stop(number);
    }
    for number in 0..3 {
        cluster.run(number);
    }
    assert_eq!(cluster.propose(0, "get k29"), Ok("ok 29".to_owned()));
    cluster.agree();
    assert_eq!(cluster.nodes[1].view.look().values.len(), 30);
}

#[test]
fn each_of_many_concurrent_proposals_is_applied_once() {
    const EACH: u64 = 5_000;
    let cluster = Cluster::start(3);
    let answered = Arc::new(AtomicU64::new(0));
    let refused = Arc::new(AtomicU64::new(0));
    for number in 0..3 {
        for _ in 0..EACH {
            let (answered, refused) = (Arc::clone(&answered), Arc::clone(&refused));
            let done = Box::new(move |result: Result<Bytes, ProposalError>| {
                let count = match result {
                    Ok(_) => &answered,
                    Err(error) if error.is_certain() => &refused,
                    Err(error) => panic!("{error}"),
                };
                count.fetch_add(1, Ordering::Relaxed);
            });
            let body = Bytes::from_static(b"add n 1");
            let deadline = boot_time().plus(30_000);
            cluster
                .handle(number)
                .propose(body, VERSION, deadline, done);
        }
    }
    let sum = || answered.load(Ordering::Relaxed) + refused.load(Ordering::Relaxed);
    eventually("all are answered or refused", || sum() == 3 * EACH);
    let answered = answered.load(Ordering::Relaxed);
    let expected = format!("ok {answered}");
    assert_eq!(cluster.propose(0, "get n"), Ok(expected));
    assert!(answered >= EACH, "only {answered} had room");
    cluster.agree();
}

#[test]
fn leadership_is_handed_over_and_proposals_follow() {
    let cluster = Cluster::start(3);
    let (old, new) = (cluster.leader(), cluster.follower());
    let target = cluster.status(new).node;
    cluster
        .handle(old)
        .transfer_leadership(target)
        .expect("it is a voter");
    eventually("the other leads", || {
        cluster.status(new).role == Role::Leader
    });
    assert_eq!(cluster.propose(old, "put a 1"), Ok("ok".to_owned()));
    eventually("the old state machine knows", || {
        !cluster.nodes[old].view.look().leads
    });
}

#[test]
fn a_state_machine_is_told_in_which_term_it_leads_and_then_that_it_does_no_longer() {
    let cluster = Cluster::start(3);
    let told = |number: usize| cluster.nodes[number].view.look().told.clone();
    let (old, new) = (cluster.leader(), cluster.follower());
    let first = cluster.status(old).term;
    eventually("the first leader is told", || told(old) == [Some(first)]);
    assert_eq!(told(new), []);
    let target = cluster.status(new).node;
    let transferred = cluster.handle(old).transfer_leadership(target);
    transferred.expect("it is a voter");
    eventually("the other leads", || {
        cluster.status(new).role == Role::Leader
    });
    let second = cluster.status(new).term;
    assert!(second > first);
    eventually("both are told", || {
        told(old) == [Some(first), None] && told(new) == [Some(second)]
    });
}

#[test]
fn a_command_of_a_version_that_nobody_knows_is_refused() {
    let cluster = Cluster::start(3);
    for number in 0..3 {
        let deadline = boot_time().plus(10_000);
        let answer = cluster
            .handle(number)
            .propose_and_wait(Bytes::new(), VERSION + 1, deadline);
        assert_eq!(
            answer,
            Err(ProposalError::Version {
                version: VERSION + 1
            })
        );
    }
}

#[test]
fn every_node_gets_a_lease() {
    let cluster = Cluster::start(3);
    let far = LogTime(1 << 40);
    for number in 0..3 {
        let lease = cluster.handle(number).lease();
        eventually("a lease", || lease.may_hit_now(far, 1000));
    }
}

#[test]
fn a_cluster_begins_with_the_table_of_a_lone_node() {
    struct Table(bool);
    impl SnapshotSource for Table {
        fn next_piece(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
            if !std::mem::replace(&mut self.0, true) {
                out.extend_from_slice(b"old treasure\n");
            }
            Ok(())
        }
    }
    let mut cluster = Cluster::prepare(3, |_| {});
    for number in 0..3 {
        let seed = (number == 1).then(|| Seed {
            entries: 1,
            state: Box::new(Table(false)),
        });
        cluster.run_with_seed(number, seed);
    }
    eventually("three voters", || cluster.status(1).voters.len() == 3);
    for number in 0..3 {
        let answer = cluster.propose(number, "get old");
        assert_eq!(answer, Ok("ok treasure".to_owned()));
    }
    cluster.agree();
}

#[test]
fn members_come_and_go_as_peer_lists_say() {
    let mut cluster = Cluster::prepare(4, |config| {
        if config.node != NodeId(4) {
            config.statement.peers.truncate(3);
        }
    });
    for number in 0..3 {
        cluster.run(number);
    }
    cluster.leader();
    assert_eq!(cluster.propose(0, "put a 1"), Ok("ok".to_owned()));
    cluster.run(3);
    let mut statement = Statement {
        peers: (1..=4).map(NodeId).collect(),
        version: VERSION,
    };
    for number in 0..3 {
        cluster.handle(number).state(statement.clone());
    }
    eventually("four voters", || {
        (0..4).all(|number| cluster.status(number).voters.len() == 4)
    });
    assert_eq!(cluster.propose(3, "get a"), Ok("ok 1".to_owned()));
    statement.peers.retain(|peer| *peer != NodeId(1));
    for number in 1..4 {
        cluster.handle(number).state(statement.clone());
    }
    eventually("three others", || {
        let left: Vec<NodeId> = (2..=4).map(NodeId).collect();
        (1..4).all(|number| cluster.status(number).voters == left)
    });
    assert_eq!(cluster.propose(3, "put b 2"), Ok("ok".to_owned()));
}

#[test]
fn a_leader_that_stops_hands_over_so_that_nobody_waits_for_an_election() {
    let mut cluster = Cluster::start_adjusted(3, |config| {
        config.settings.election_min_ms = 3_000;
        config.settings.election_max_ms = 4_000;
    });
    assert_eq!(cluster.propose(0, "put a 1"), Ok("ok".to_owned()));
    let (leader, follower) = (cluster.leader(), cluster.follower());
    cluster.stop(leader);
    // Long before anybody would have stood for election by itself.
    let answer = cluster.propose_within(follower, "get a", 2_500);
    assert_eq!(answer, Ok("ok 1".to_owned()));
}

#[test]
fn a_node_that_died_while_it_founded_a_cluster_is_taken_into_another() {
    let mut cluster = Cluster::prepare(3, |config| {
        if config.node != NodeId(3) {
            config.statement.peers.truncate(2);
        }
    });
    let (mut store, ..) = Store::open(
        SystemFiles,
        &cluster.folder_of(2),
        NodeId(3),
        Limits::default(),
        StoreId(77),
    )
    .expect("a blank store");
    store.identity.belong_to(ClusterId(88)).expect("a store");
    drop(store);
    for number in 0..3 {
        cluster.run(number);
    }
    let statement = Statement {
        peers: (1..=3).map(NodeId).collect(),
        version: VERSION,
    };
    eventually("two form a cluster", || {
        cluster.status(0).leader.is_some() && cluster.status(1).leader.is_some()
    });
    for number in 0..2 {
        cluster.handle(number).state(statement.clone());
    }
    eventually("the third votes", || cluster.status(2).voters.len() == 3);
    assert_eq!(cluster.propose(2, "put a 1"), Ok("ok".to_owned()));
    assert_eq!(cluster.status(2).cluster, cluster.status(0).cluster);
}

#[test]
fn proposals_that_come_while_a_node_stops_are_all_answered() {
    let mut cluster = Cluster::start(1);
    let handle = cluster.handle(0).clone();
    // So that there is something to be waited for while it stops.
    let sync_ms = &cluster.nodes[0].switches.sync_ms;
    sync_ms.store(300, Ordering::Relaxed);
    let (sender, answers) = std::sync::mpsc::channel();
    let proposing = std::thread::spawn(move || {
        let mut asked = 0;
        let stopped = Arc::new(AtomicBool::new(false));
        while !stopped.load(Ordering::Relaxed) {
            let (sender, stopped) = (sender.clone(), Arc::clone(&stopped));
            let done = Box::new(move |result| {
                stopped.fetch_or(result == Err(ProposalError::Stopped), Ordering::Relaxed);
                let _ = sender.send(());
            });
            let body = Bytes::from_static(b"add n 1");
            handle.propose(body, VERSION, boot_time().plus(60_000), done);
            asked += 1;
            std::thread::sleep(Duration::from_micros(200));
        }
        // Well into what the node still waits for.
        for _ in 0..100 {
            let sender = sender.clone();
            let done = Box::new(move |_| {
                let _ = sender.send(());
            });
            handle.propose(Bytes::new(), VERSION, boot_time().plus(60_000), done);
            asked += 1;
        }
        asked
    });
    std::thread::sleep(Duration::from_millis(20));
    cluster.stop(0);
    let asked: usize = proposing.join().expect("it ends with the node");
    assert_eq!(answers.iter().count(), asked);
}

#[test]
fn stopping_ends_every_thread() {
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
        tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .filter(|name| name.contains("lone"))
            .count()
    };
    let mut cluster = Cluster::start_adjusted(1, |config| "lone".clone_into(&mut config.group));
    assert_eq!(threads(), 4);
    let (sender, answer) = std::sync::mpsc::channel();
    cluster.stop(0);
    assert_eq!(threads(), 0);
    cluster.run(0);
    let handle = cluster.handle(0).clone();
    cluster.stop(0);
    let done = Box::new(move |result| sender.send(result).expect("somebody listens"));
    handle.propose(Bytes::new(), VERSION, boot_time().plus(1000), done);
    assert_eq!(answer.recv(), Ok(Err(ProposalError::Stopped)));
}
