//! Commands: this node's own on their way to the leader, and those that come to this node as the
//! leader.

use super::node::{Asker, Node};
use crate::entry::Command;
use crate::proposals::client::{Reply, Route};
use crate::proposals::refusal::Code;
use crate::store::files::Files;
use crate::transport::ConnectionId;
use crate::wire::proposal::{Answer, Outcome, Propose};

impl<F: Files> Node<F> {
    /// Sends this node's own commands to whoever leads.
    pub(super) fn send_proposals(&mut self) {
        let mut commands = Vec::new();
        let time = self.life.core.log_time();
        self.client.outgoing(self.now, time, &mut commands);
        if commands.is_empty() {
            return;
        }
        let route = self.client.route();
        match route {
            Route::Here => {
                for command in commands {
                    let asker = Asker::Here(command.sequence);
                    self.offer(command, asker);
                }
            }
            Route::Peer(peer) => {
                let sequences: Vec<u64> = commands.iter().map(|command| command.sequence).collect();
                let proposals = commands.into_iter().map(|command| Propose {
                    id: command.sequence,
                    command,
                });
                if self.transport.propose(peer, proposals.collect()).is_err() {
                    // No connection, or no room: after a pause, or when the connection is there.
                    for sequence in sequences {
                        let later = Reply::Refused(Code::Later);
                        self.client.replied(route, sequence, later, self.now);
                    }
                }
            }
            Route::Nowhere => {}
        }
    }

    /// Commands of another node have come.
    pub(super) fn take_commands(&mut self, connection: ConnectionId, proposals: Vec<Propose>) {
        self.counters.commands_received += proposals.len() as u64;
        for Propose { id, command } in proposals {
            self.offer(command, Asker::Peer { connection, id });
        }
    }

    /// Offers a command to the core.
    fn offer(&mut self, command: Command, asker: Asker) {
        let Err(asker) = self.desk.join(&command, asker) else {
            return;
        };
        match self.life.core.propose(command.clone()) {
            Ok(position) => self.desk.wait(position, &command, asker),
            Err(error) => match Code::of(error) {
                Some(code) => self.reply(asker, Reply::Refused(code)),
                None => self.reply_not_leader(asker),
            },
        }
    }

    pub(super) fn reply_not_leader(&mut self, asker: Asker) {
        let leader = self.life.core.leader();
        let leader = leader.filter(|leader| *leader != self.config.node);
        self.reply(asker, Reply::NotLeader { leader });
    }

    pub(super) fn reply(&mut self, asker: Asker, reply: Reply) {
        match asker {
            Asker::Here(sequence) => self.client.replied(Route::Here, sequence, reply, self.now),
            Asker::Peer { connection, id } => {
                self.answers.entry(connection).or_default().push(Answer {
                    id,
                    outcome: outcome(reply),
                })
            }
        }
    }

    /// Answers of the leader have come.
    pub(super) fn take_answers(&mut self, from: crate::ids::NodeId, answers: Vec<Answer>) {
        for Answer { id, outcome } in answers {
            let reply = match outcome {
                Outcome::Applied(answer) => Reply::Applied(answer),
                Outcome::NotLeader { leader } => Reply::NotLeader { leader },
                Outcome::Refused { code, .. } => Reply::Refused(Code::from_number(code)),
            };
            self.client.replied(Route::Peer(from), id, reply, self.now);
        }
    }

    /// Sends what other nodes are to be answered.
    pub(super) fn send_answers(&mut self) {
        for (connection, answers) in std::mem::take(&mut self.answers) {
            // Whoever asked over a connection that is gone asks again.
            let _ = self.transport.answer(connection, answers);
        }
    }
}

fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Applied(answer) => Outcome::Applied(answer),
        Reply::NotLeader { leader } => Outcome::NotLeader { leader },
        Reply::Refused(code) => Outcome::Refused {
            code: code.number(),
            text: match code {
                Code::Later => "the leader has too much to do".to_owned(),
                Code::TooLarge => "the command is too large".to_owned(),
                Code::Version => "a member does not understand the command's version".to_owned(),
                Code::Session(refusal) => refusal.to_string(),
            },
        },
    }
}
