//! Commands: this node's own on their way to the leader, and those that come to this node as the
//! leader.

use super::node::{Asker, Node};
use crate::entry::Command;
use crate::ids::NodeId;
use crate::proposals::client::{Reply, Route};
use crate::proposals::refusal::Code;
use crate::store::files::Files;
use crate::transport::ConnectionId;
use crate::wire::proposal::{Answer, Outcome, Propose};

/// Bytes of commands that are handed to the transport at once.
const BATCH_BYTES: usize = 1024 * 1024;

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
            Route::Peer(peer) => self.send_to(peer, commands),
            Route::Nowhere => {}
        }
    }

    /// Lets this node's own commands go to whoever leads as far as the core knows, whatever a
    /// node that was asked has said: its hint may be older.
    pub(super) fn route_to_leader(&mut self) {
        self.client.take_route(match self.life.core.leader() {
            Some(id) if id == self.config.node => Route::Here,
            Some(id) => Route::Peer(id),
            None => Route::Nowhere,
        });
    }

    /// Sends commands in batches, each of which finds room or does not.
    fn send_to(&mut self, peer: NodeId, commands: Vec<Command>) {
        let mut commands = commands.into_iter().peekable();
        let mut room = true;
        while commands.peek().is_some() {
            let mut bytes = 0;
            let batch: Vec<Propose> = std::iter::from_fn(|| {
                let command = commands.next_if(|_| bytes < BATCH_BYTES)?;
                bytes += Command::HEADER_BYTES + command.body.len();
                Some(Propose {
                    id: command.sequence,
                    command,
                })
            })
            .collect();
            let sequences: Vec<u64> = batch.iter().map(|one| one.id).collect();
            room = room && self.transport.propose(peer, batch).is_ok();
            if !room {
                // No connection, or it is full: after a pause, or when the connection is there.
                for sequence in sequences {
                    let (route, later) = (Route::Peer(peer), Reply::Refused(Code::Later));
                    self.client.replied(route, sequence, later, self.now);
                }
            }
        }
        if !room {
            self.route_to_leader();
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
    pub(super) fn take_answers(&mut self, from: NodeId, answers: Vec<Answer>) {
        // What this node knows helps where it was sent astray.
        let known = self.life.core.leader().filter(|leader| *leader != from);
        for Answer { id, outcome } in answers {
            let reply = match outcome {
                Outcome::Applied(answer) => Reply::Applied(answer),
                Outcome::NotLeader { leader } => Reply::NotLeader {
                    leader: leader.or(known),
                },
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
