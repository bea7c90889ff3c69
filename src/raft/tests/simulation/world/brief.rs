//! Messages and memberships in few words.

use tcpffee_raft::entry::Payload;
use tcpffee_raft::membership::{Membership, Role};
use tcpffee_raft::message::Message;

/// A message on one line.
pub fn message(message: &Message) -> String {
    match message {
        Message::Append {
            previous,
            commit,
            entries,
        } => {
            let words: Vec<String> = entries
                .iter()
                .map(|entry| {
                    let kind = match &entry.payload {
                        Payload::Empty => "e",
                        Payload::Time => "t",
                        Payload::Membership(_) => "m",
                        Payload::Command(_) => "",
                    };
                    format!("{}{kind}", entry.position())
                })
                .collect();
            format!(
                "Append after {previous} [{}], committed {commit}",
                words.join(" ")
            )
        }
        Message::SnapshotChunk {
            snapshot,
            offset,
            data,
        } => format!(
            "SnapshotChunk {} {offset}+{} of {}",
            snapshot.last,
            data.len(),
            snapshot.size_bytes
        ),
        other => format!("{other:?}"),
    }
}

/// A membership on one line: each member with its role, store and start.
pub fn membership(membership: &Membership) -> String {
    let mut words = String::new();
    for (id, member) in &membership.members {
        let role = match member.role {
            Role::Voter => "V",
            Role::Learner { promote: true } => "L+",
            Role::Learner { promote: false } => "L",
        };
        let life = match member.life {
            Some(life) => format!(
                "{:04x}/{}@{}",
                life.incarnation.store.0 as u16, life.incarnation.start, life.recorded_at
            ),
            None => "-".into(),
        };
        let peers = match &member.statement {
            Some(said) => format!("{:?}", said.peers),
            None => String::new(),
        };
        words += &format!("n{}:{role} {life} {peers}  ", id.0);
    }
    for store in &membership.retired {
        words += &format!("x{:04x} ", store.0 as u16);
    }
    words
}
