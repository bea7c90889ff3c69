//! What the log drives.

use std::io::{self, Read};

use bytes::Bytes;
use tcpffee_raft::ids::Term;
use tcpffee_raft::machine::{Applied, Event, SnapshotSource, StateMachine};

use super::agreed::Agreed;
use super::codec;
use super::command::{Answer, Outcome, VERSION};
use super::minutes::Minutes;

/// Bytes of one piece of a snapshot.
const PIECE_BYTES: usize = 64 * 1024;

/// The state machine of the health checks in the state before the log's first entry, which is what
/// the minutes say from now on.
pub fn machine(minutes: &Minutes) -> Box<dyn StateMachine> {
    minutes.publish(Agreed::default());
    minutes.set_leads(None);
    Box::new(Machine {
        agreed: Agreed::default(),
        minutes: minutes.clone(),
    })
}

struct Machine {
    agreed: Agreed,
    minutes: Minutes,
}

impl Machine {
    fn command(&mut self, version: u16, body: &[u8]) -> Outcome {
        if version != VERSION {
            return Outcome::Malformed;
        }
        match codec::decode_command(body) {
            Ok(command) => self.agreed.apply(command),
            Err(why) => {
                log::error!("a command in the health checks' log is malformed: {why}");
                Outcome::Malformed
            }
        }
    }
}

impl StateMachine for Machine {
    fn apply(&mut self, entries: &[Applied<'_>], answers: &mut Vec<Bytes>) {
        let mut is_news = false;
        for entry in entries {
            match entry.event {
                Event::Command { version, body } => {
                    let outcome = self.command(version, body);
                    let index = entry.index;
                    answers.push(codec::encode_answer(Answer { index, outcome }));
                }
                Event::Membership(membership) => self.agreed.follow(membership),
                Event::Time => continue,
            }
            self.agreed.index = entry.index;
            is_news = true;
        }
        if is_news {
            self.minutes.publish(self.agreed.clone());
        }
    }

    fn snapshot(&mut self) -> Box<dyn SnapshotSource> {
        Box::new(Snapshot::Marked(self.agreed.clone()))
    }

    fn restore(&mut self, state: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        let most = codec::MAX_STATE_BYTES as u64;
        state.take(most + 1).read_to_end(&mut bytes)?;
        let agreed = codec::decode_state(&bytes);
        self.agreed = agreed.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        self.minutes.publish(self.agreed.clone());
        Ok(())
    }

    fn became_leader(&mut self, term: Term) {
        self.minutes.set_leads(Some(term));
    }

    fn ceased_to_lead(&mut self) {
        self.minutes.set_leads(None);
    }
}

/// A state on its way into a snapshot: turned into bytes by who reads it.
enum Snapshot {
    Marked(Agreed),
    Bytes { bytes: Vec<u8>, read: usize },
}

impl SnapshotSource for Snapshot {
    fn next_piece(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if let Snapshot::Marked(agreed) = self {
            let bytes = codec::encode_state(agreed);
            *self = Snapshot::Bytes { bytes, read: 0 };
        }
        if let Snapshot::Bytes { bytes, read } = self {
            let end = bytes.len().min(*read + PIECE_BYTES);
            out.extend_from_slice(&bytes[*read..end]);
            *read = end;
        }
        Ok(())
    }
}
