//! Which cluster a node belongs to, and whether that cluster takes it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::Ordering;

use tcpffee_raft::driver::{self, Conflict, Event, StartError, Trouble};
use tcpffee_raft::forming::{Ask, Operator, Report};
use tcpffee_raft::ids::{ClusterId, Index, NodeId};
use tcpffee_raft::membership::Statement;
use tcpffee_raft::settings::Settings;
use tcpffee_raft::store::files::SystemFiles;
use tcpffee_raft::wire::hello::Agreement;

use crate::cluster::{Cluster, eventually};
use crate::faults::copy_folder;
use crate::register::VERSION;

/// Short logs, so that a wiped node needs a snapshot.
fn short_logs() -> Cluster {
    let cluster = Cluster::start_adjusted(3, |config| {
        config.snapshot_after_bytes = 64 * 1024;
        config.settings.tail_bytes = 0;
        config.settings.snapshot_chunk_bytes = 4 * 1024;
    });
    let long = "x".repeat(2000);
    for number in 0..100 {
        let command = format!("put k{number} {long}");
        assert_eq!(cluster.propose(0, &command), Ok("ok".to_owned()));
    }
    let leader = cluster.leader();
    eventually("the log was cut", || {
        cluster.status(leader).first > Index(1)
    });
    cluster
}

#[test]
fn a_node_that_dies_with_a_whole_snapshot_and_no_log_knows_its_cluster() {
    let mut cluster = short_logs();
    let joined = cluster.status(0).cluster;
    let victim = cluster.follower();
    cluster.stop(victim);
    cluster.wipe(victim);
    cluster.nodes[victim]
        .switches
        .breaks_with_snapshot
        .store(true, Ordering::Relaxed);
    cluster.run(victim);
    eventually("its disk fails", || {
        matches!(cluster.status(victim).trouble, Some(Trouble::Disk(_)))
    });
    for number in 0..3 {
        cluster.stop(number);
    }
    cluster.nodes[victim].switches.mend();
    cluster.run(victim);
    // Nobody is there to tell it.
    let status = cluster.status(victim);
    assert!(status.first > Index(1), "it has no snapshot: {status:?}");
    assert_eq!(status.cluster, joined);
    for number in (0..3).filter(|number| *number != victim) {
        cluster.run(number);
    }
    assert_eq!(cluster.propose(victim, "put a 1"), Ok("ok".to_owned()));
    cluster.agree();
}

#[test]
fn a_store_that_was_retired_and_is_put_back_begins_anew() {
    let mut cluster = Cluster::start(3);
    let victim = cluster.follower();
    assert_eq!(cluster.propose(victim, "put a 1"), Ok("ok".to_owned()));
    cluster.stop(victim);
    let folder = cluster.folder_of(victim);
    let old = folder.with_extension("old");
    copy_folder(&folder, &old);
    cluster.wipe(victim);
    cluster.run(victim);
    eventually("its new store votes", || {
        let status = cluster.status(victim);
        status.voters.contains(&status.node)
    });
    cluster.stop(victim);
    cluster.wipe(victim);
    copy_folder(&old, &folder);
    cluster.run(victim);
    cluster.begins_anew(victim);
    assert_eq!(cluster.propose(victim, "get a"), Ok("ok 1".to_owned()));
}

#[test]
fn a_node_that_the_others_no_longer_name_learns_that_it_is_dismissed() {
    let cluster = Cluster::start(3);
    let removed = cluster.follower();
    let id = cluster.status(removed).node;
    let mut peers = cluster.addresses.clone();
    peers.retain(|peer| peer.id != id);
    let statement = Statement {
        peers: peers.iter().map(|peer| peer.id).collect(),
        version: VERSION,
    };
    let others = || (0..3).filter(|number| *number != removed);
    for number in others() {
        // No leader can speak with it from here on.
        cluster.handle(number).set_peers(peers.clone());
        cluster.handle(number).state(statement.clone());
    }
    eventually("it knows", || {
        cluster.status(removed).trouble == Some(Trouble::Dismissed)
    });
    let events = cluster.nodes[removed].events.lock().expect("no panic");
    assert!(events.contains(&Event::Dismissed));
    for number in others() {
        assert_eq!(cluster.propose(number, "put a 1"), Ok("ok".to_owned()));
    }
}

#[test]
fn nodes_whose_keys_would_differ_say_so_until_they_agree_again() {
    let cluster = Cluster::start(2);
    let agreement = |hash, text: &str| Agreement {
        hash: [hash; 32],
        text: text.to_owned(),
    };
    cluster.handle(1).set_agreement(agreement(8, "other"));
    let said = |number: usize, ours: &str, theirs: &str| {
        let about = NodeId(2 - number as u64);
        let why = Conflict::Agreement {
            ours: ours.to_owned(),
            theirs: theirs.to_owned(),
        };
        let told = Event::Conflict {
            about,
            why: why.clone(),
        };
        let events = cluster.nodes[number].events.lock().expect("no panic");
        events.contains(&told) && cluster.status(number).conflicts.get(&about) == Some(&why)
    };
    eventually("both say so", || {
        said(0, "test", "other") && said(1, "other", "test")
    });
    cluster.handle(1).set_agreement(agreement(7, "test"));
    eventually("it is over", || {
        (0..2).all(|number| cluster.status(number).conflicts.is_empty())
    });
    let events = cluster.nodes[0].events.lock().expect("no panic");
    assert!(events.contains(&Event::ConflictOver(NodeId(2))));
}

#[test]
fn nodes_that_differ_in_what_their_words_leave_out_tell_their_hashes() {
    let cluster = Cluster::start(2);
    cluster.handle(1).set_agreement(Agreement {
        hash: [8; 32],
        text: "test".to_owned(),
    });
    let words = |byte: u8| {
        let hash = format!("{byte:02x}").repeat(8);
        format!("test (in these words, but with hash {hash}...)")
    };
    let says = |number: usize, ours: u8, theirs: u8| {
        let why = Conflict::Agreement {
            ours: words(ours),
            theirs: words(theirs),
        };
        let about = NodeId(2 - number as u64);
        cluster.status(number).conflicts.get(&about) == Some(&why)
    };
    eventually("both say so", || says(0, 7, 8) && says(1, 8, 7));
}

#[test]
fn a_peer_that_speaks_other_versions_only_is_named_with_them() {
    let mut cluster = Cluster::prepare(2, |_| {});
    let listener = TcpListener::bind(cluster.addresses[1].logs).expect("a free address");
    // Whoever dials is answered as a much newer release would.
    let newer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody dials");
        stream.write_all(b"TCPFRF\x07\x05\x00\x01").expect("open");
        // Until it has been read: the other side hangs up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    cluster.run(0);
    let why = Conflict::Version {
        lowest: 5,
        newest: 7,
    };
    eventually("it says so", || {
        cluster.status(0).conflicts.get(&NodeId(2)) == Some(&why)
    });
    newer.join().expect("no panic");
    let said = why.to_string();
    assert!(said.contains("versions 5 to 7") && said.contains("upgrade"));
}

#[test]
fn a_store_of_another_cluster_is_named_with_the_way_out_which_works() {
    let mut cluster = Cluster::start(3);
    let mut strange = Cluster::start(3);
    let victim = cluster.follower();
    let about = |number: usize| NodeId(number as u64 + 1);
    assert_eq!(cluster.propose(victim, "put a 1"), Ok("ok".to_owned()));
    let ours = cluster.status(victim).cluster.expect("it has one");
    let theirs = strange.status(victim).cluster.expect("it has one");
    assert_ne!(ours, theirs);
    cluster.stop(victim);
    cluster.wipe(victim);
    strange.stop(victim);
    copy_folder(&strange.folder_of(victim), &cluster.folder_of(victim));
    drop(strange);
    cluster.run(victim);

    let says = |cluster: &Cluster, number: usize, peer: usize| {
        let (own, other) = match number == victim {
            true => (theirs, ours),
            false => (ours, theirs),
        };
        let why = Conflict::Cluster {
            ours: own,
            identity: cluster.folder_of(number).join("store/identity"),
            theirs: other,
        };
        cluster.status(number).conflicts.get(&about(peer)) == Some(&why)
    };
    let others: Vec<usize> = (0..3).filter(|number| *number != victim).collect();
    eventually("all of them say so", || {
        let mut pairs = others.iter();
        pairs.all(|other| says(&cluster, victim, *other) && says(&cluster, *other, victim))
    });
    let conflicts = cluster.status(victim).conflicts;
    let text = conflicts[&about(others[0])].to_string();
    let file = cluster.folder_of(victim).join("store/identity");
    let named = file.to_str().expect("a path in UTF-8");
    assert!(text.contains(named) && text.contains("move the folder of that file away"));
    assert_eq!(cluster.status(victim).lease_until, None);
    assert_eq!(cluster.propose(others[0], "put b 2"), Ok("ok".to_owned()));

    cluster.stop(victim);
    cluster.wipe(victim);
    cluster.run(victim);
    eventually("nothing is in the way any more", || {
        let mut nodes = cluster.running().into_iter();
        nodes.all(|number| cluster.status(number).conflicts.is_empty())
            && cluster.status(victim).voters.len() == 3
    });
    cluster.agree();
    assert_eq!(cluster.value(victim, "b"), Some("2".to_owned()));
}

#[test]
fn two_live_nodes_with_one_id_are_told_apart_loudly_by_all() {
    let mut cluster = Cluster::prepare(4, |config| {
        config.network.peers.retain(|peer| peer.id != NodeId(4));
        config.statement.peers.retain(|peer| *peer != NodeId(4));
        if config.node == NodeId(4) {
            config.node = NodeId(3);
        }
    });
    for number in 0..3 {
        cluster.run(number);
    }
    cluster.leader();
    cluster.run(3);
    let says = |number: usize, why: &Conflict| {
        cluster.status(number).conflicts.get(&NodeId(3)) == Some(why)
    };
    eventually("the second one knows", || says(3, &Conflict::Impostor));
    eventually("the others know", || {
        (0..2).all(|number| says(number, &Conflict::TwoOfIt))
    });
}

#[test]
fn bounds_beyond_a_frame_are_refused_at_the_start() {
    type Change = fn(&mut Settings);
    let cases: [(&str, Change); 3] = [
        ("max_command_bytes", |it| it.max_command_bytes = 4 << 20),
        ("max_append_bytes", |it| it.max_append_bytes = 4 << 20),
        ("snapshot_chunk_bytes", |it| {
            it.snapshot_chunk_bytes = 4 << 20;
        }),
    ];
    for (expected, change) in cases {
        let cluster = Cluster::prepare(1, |_| {});
        let mut config = cluster.config(0);
        change(&mut config.settings);
        let view = cluster.nodes[0].view.clone();
        let make = Box::new(move || view.begin());
        let started = driver::start(SystemFiles, config, make, None, Box::new(|_| {}));
        let refused = matches!(started, Err(StartError::TooLarge { name, .. }) if name == expected);
        assert!(refused, "{expected}");
    }
}

#[test]
fn an_order_that_did_not_finish_is_told_and_can_be_given_again() {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.propose(0, "put a 1"), Ok("ok".to_owned()));
    cluster.agree();
    cluster.stop(1);
    cluster.stop(2);
    let switches = &cluster.nodes[0].switches;
    switches.breaks_with_order.store(true, Ordering::Relaxed);
    order(&cluster, ClusterId(88));
    eventually("its disk fails", || {
        matches!(cluster.status(0).trouble, Some(Trouble::Disk(_)))
    });
    cluster.stop(0);
    cluster.nodes[0].switches.mend();
    cluster.run(0);
    let unfinished = Some(Trouble::Unfinished(ClusterId(88)));
    assert_eq!(cluster.status(0).trouble, unfinished);
    order(&cluster, ClusterId(89));
    eventually("it goes on alone", || {
        cluster.status(0).cluster == Some(ClusterId(89)) && cluster.status(0).trouble.is_none()
    });
    assert_eq!(cluster.propose(0, "get a"), Ok("ok 1".to_owned()));
    cluster.stop(0);
    cluster.run(0);
    assert_eq!(cluster.status(0).trouble, None);
}

/// Orders the first node to go on alone, once it has no leader any more.
fn order(cluster: &Cluster, name: ClusterId) {
    eventually("the order is taken", || {
        let report = cluster.handle(0).clone().operate(Ask::Form(name));
        matches!(report, Report::Ordered(_))
    });
}
