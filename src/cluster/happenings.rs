//! What Raft tells, noted for people.

use std::path::PathBuf;
use std::sync::Arc;

use tcpffee_raft::driver::{Event, Notify};

use super::{seed, start::Group};
use crate::history::{History, Kind};

/// Notes what one Raft group tells; its log lines are its own. Once the node belongs to a
/// cluster, the table of the time when it ran alone is set aside.
pub(super) fn notify(group: Group, history: Arc<History>, lone_path: PathBuf) -> Notify {
    Box::new(move |event| {
        if let (Event::Joined(_), Group::StickTable) = (&event, group) {
            seed::set_aside(&lone_path);
        }
        if let Some((is_warning, text)) = words(&event) {
            history.note(
                Kind::Cluster,
                is_warning,
                format!("{}: {text}", group.name()),
            );
        }
    })
}

/// An event in words, and whether it needs attention; roles are told by who leads.
fn words(event: &Event) -> Option<(bool, String)> {
    Some(match event {
        Event::Role { .. } => return None,
        Event::Leader(Some(leader)) => (false, format!("{leader} leads")),
        Event::Leader(None) => (true, "no leader".to_owned()),
        Event::Membership(index) => (false, format!("the membership changed at index {index}")),
        Event::Joined(cluster) => (false, format!("this node belongs to cluster {cluster}")),
        Event::Dismissed => (true, "the cluster has dismissed this node".to_owned()),
        Event::BegunAnew { .. } => (
            true,
            "the cluster did not take this node's store: it begins anew, empty".to_owned(),
        ),
        Event::Conflict { about, why } => (true, format!("{about}: {why}")),
        Event::ConflictOver(about) => (
            false,
            format!("{about} and this node take each other again"),
        ),
        Event::DiskFailed(error) => (true, format!("the log cannot be written: {error}")),
        Event::Halted { at, what } => (true, format!("halted at {at}: {what}")),
    })
}
