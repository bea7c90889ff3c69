//! Clusters whose nodes share a secret.

use tcpffee_raft::driver::{Config, Conflict, Event};
use tcpffee_raft::ids::NodeId;
use tcpffee_raft::wire::secrets::Secrets;

use crate::cluster::{Cluster, eventually};

const SECRET: &[u8] = b"a secret of many bytes";
const OTHER: &[u8] = b"another one of many bytes";

fn with_secret(config: &mut Config) {
    config.network.secrets = Secrets::new(&[SECRET]).expect("long enough");
}

/// The third node has another secret than the others.
fn with_another_third(config: &mut Config) {
    let third = config.node == NodeId(3);
    let secret = if third { OTHER } else { SECRET };
    config.network.secrets = Secrets::new(&[secret]).expect("long enough");
}

/// Whether the node says so of the peer, in its status and to its owner.
fn says(cluster: &Cluster, number: usize, about: NodeId) -> bool {
    let told = Event::Conflict {
        about,
        why: Conflict::Secret,
    };
    let events = cluster.nodes[number].events.lock().expect("no panic");
    let conflicts = cluster.status(number).conflicts;
    events.contains(&told) && conflicts.get(&about) == Some(&Conflict::Secret)
}

#[test]
fn three_nodes_that_share_a_secret_form_a_cluster_and_answer_through_each_of_them() {
    let cluster = Cluster::start_adjusted(3, with_secret);
    for number in 0..3 {
        let answer = cluster.propose(number, "add n 1");
        assert_eq!(answer, Ok(format!("ok {}", number + 1)));
    }
    cluster.agree();
    assert!((0..3).all(|number| cluster.status(number).conflicts.is_empty()));
}

#[test]
fn a_node_with_the_wrong_secret_is_refused_and_all_know_it_until_it_has_the_right_one() {
    let mut cluster = Cluster::prepare(3, with_another_third);
    for number in 0..3 {
        cluster.run(number);
    }
    // A cluster begins with all that are named: without the third there is none.
    eventually("all know it", || {
        let others = [0, 1].iter();
        let mut others = others.map(|number| (*number, NodeId(*number as u64 + 1)));
        others.all(|(number, id)| says(&cluster, number, NodeId(3)) && says(&cluster, 2, id))
    });
    let status = cluster.status(2);
    assert_eq!((status.leader, status.cluster), (None, None));
    assert!(Conflict::Secret.to_string().contains("peer_secret_file"));

    cluster.stop(2);
    cluster.adjust = with_secret;
    cluster.run(2);
    assert_eq!(cluster.propose(2, "put a 1"), Ok("ok".to_owned()));
    cluster.agree();
    eventually("it is over", || {
        (0..3).all(|number| cluster.status(number).conflicts.is_empty())
    });
}
