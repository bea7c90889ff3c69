//! What Raft tells, noted for people.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tcpffee_raft::driver::{Event, Notify};

use super::hosts::Hosts;
use super::{seed, start::Group};
use crate::history::{History, Kind};

/// Who hears of what one Raft group tells.
pub(super) struct Hearers {
    pub history: Arc<History>,
    pub hosts: Arc<Hosts>,
    /// Counts the leaders that this node has come to know.
    pub leaders: Arc<AtomicU64>,
    /// Where a lone node's table is saved.
    pub lone_path: PathBuf,
}

/// Notes what one Raft group tells; its log lines are its own. Once the node belongs to a
/// cluster, the table of the time when it ran alone is set aside.
pub(super) fn notify(group: Group, hearers: Hearers) -> Notify {
    Box::new(move |event| {
        if let (Event::Joined(_), Group::StickTable) = (&event, group) {
            seed::set_aside(&hearers.lone_path);
        }
        if let Event::Leader(Some(_)) = event {
            hearers.leaders.fetch_add(1, Ordering::Relaxed);
        }
        if let Some((is_warning, text)) = words(group, &event, &hearers.hosts) {
            let text = format!("{}: {text}", group.name());
            hearers.history.note(Kind::Cluster, is_warning, text);
        }
    })
}

/// An event in words, and whether it needs attention; roles are told by who leads, and the stick
/// table's members by [`super::members`], node by node.
fn words(group: Group, event: &Event, hosts: &Hosts) -> Option<(bool, String)> {
    Some(match event {
        Event::Role { .. } => return None,
        Event::Leader(Some(leader)) => (false, format!("{} leads", hosts.title(*leader))),
        Event::Leader(None) => (true, "no leader".to_owned()),
        Event::Membership(_) if group == Group::StickTable => return None,
        Event::Membership(index) => (false, format!("the membership changed at index {index}")),
        Event::Joined(cluster) => (false, format!("this node belongs to cluster {cluster}")),
        Event::Dismissed => (true, "the cluster has dismissed this node".to_owned()),
        Event::BegunAnew { .. } => (
            true,
            "the cluster did not take this node's store: it begins anew, empty".to_owned(),
        ),
        Event::Conflict { about, why } => (true, format!("{}: {why}", hosts.title(*about))),
        Event::ConflictOver(about) => (
            false,
            format!("no conflict about {} any more", hosts.title(*about)),
        ),
        Event::DiskFailed(error) => (true, format!("the log cannot be written: {error}")),
        Event::Halted { at, what } => (true, format!("halted at {at}: {what}")),
    })
}

#[cfg(test)]
mod tests {
    use tcpffee_raft::driver::Conflict;
    use tcpffee_raft::ids::{Index, NodeId};

    use super::*;
    use crate::cluster::hosts::sample;

    #[test]
    fn nodes_are_told_with_their_hosts_and_leaders_are_counted() {
        let (history, leaders) = (Arc::new(History::default()), Arc::new(AtomicU64::new(0)));
        let mut notify = notify(
            Group::StickTable,
            Hearers {
                history: Arc::clone(&history),
                hosts: Arc::new(sample()),
                leaders: Arc::clone(&leaders),
                lone_path: PathBuf::from("/nowhere"),
            },
        );
        notify(Event::Leader(Some(NodeId(2))));
        notify(Event::Membership(Index(7)));
        notify(Event::Conflict {
            about: NodeId(2),
            why: Conflict::NotAPeer,
        });
        notify(Event::Leader(None));
        notify(Event::Leader(Some(NodeId(1))));
        let mut told: Vec<(String, bool)> = history
            .newest(10, None)
            .into_iter()
            .map(|happening| (happening.text, happening.is_warning))
            .collect();
        told.reverse();
        let expected = [
            ("stick table: 00:00:00:00:00:02 (b.example) leads", false),
            (
                "stick table: 00:00:00:00:00:02 (b.example): the peer does not name this node \
                 among its peers",
                true,
            ),
            ("stick table: no leader", true),
            ("stick table: this node (00:00:00:00:00:01) leads", false),
        ];
        assert_eq!(told, expected.map(|(text, warns)| (text.to_owned(), warns)));
        assert_eq!(leaders.load(Ordering::Relaxed), 2);
    }
}
