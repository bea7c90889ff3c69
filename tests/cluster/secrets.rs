//! Clusters with a secret, and its change.

use std::fs;

use crate::cluster::{Habits, Plan, Stage};

const ALL: [usize; 3] = [1, 2, 3];

const OLD: &str = "an old secret of the cluster, long enough to be one\n";
const NEW: &str = "a new secret of the cluster, long enough to be one\n";

/// Each node's file is a path of its own, so the plan is one for each.
fn plan(stage: &Stage, node: usize) -> Plan {
    let path = stage.node(node).path("secret");
    let path = path.to_str().unwrap().to_owned();
    stage.plan.clone().set("peer_secret_file", path)
}

fn write(stage: &Stage, node: usize, secrets: &[&str]) {
    use std::os::unix::fs::PermissionsExt;

    let path = stage.node(node).path("secret");
    fs::write(&path, secrets.concat()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_secret_is_changed_without_a_stop() {
    let Some(mut stage) = Stage::new(3, 4, Plan::cluster(&ALL, 4)) else {
        return;
    };
    for node in ALL {
        write(&stage, node, &[OLD]);
        let plan = plan(&stage, node);
        stage.node_mut(node).launch(&plan);
    }
    stage.wait_healthy(&ALL);
    stage.work(Habits::new(300, &ALL));
    stage.rounds(0);
    // Both are taken, then the new one is used, then the old one goes.
    for secrets in [&[OLD, NEW][..], &[NEW, OLD], &[NEW]] {
        for node in ALL {
            write(&stage, node, secrets);
            let plan = plan(&stage, node);
            let answer = stage.node_mut(node).reload(&plan);
            assert_eq!(answer.code, 0, "{}", answer.text);
        }
        stage.rounds(0);
    }
    stage.wait_healthy(&ALL);
    stage.assert_kept();
}
