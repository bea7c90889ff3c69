//! Clients: each has one command under way, asks any node for it, follows hints, and asks again
//! with the same command until it has an answer.

use tcpffee_raft::core::ProposeError;
use tcpffee_raft::entry::{ClientId, Command, Entry};
use tcpffee_raft::ids::{Index, LogTime, NodeId};

use super::coverage::Seen;
use super::history::Checked;
use super::machine::{Effect, REGISTERS, body};
use super::queue::{Answer, Event};
use super::rng::Rng;
use super::{VERSION, World};

/// After how long a client asks again.
const PATIENCE_US: u64 = 700_000;

/// A client.
pub struct Client {
    id: ClientId,
    sequence: u64,
    attempt: u64,
    asks: Option<Command>,
    target: usize,
    hops: u32,
    invoked_after: Index,
    left: u64,
}

impl Client {
    /// A client that has asked for nothing.
    pub fn new(at: usize, rng: &mut Rng) -> Client {
        Client {
            id: ClientId {
                node: NodeId(1000 + at as u64),
                boot: rng.bits(),
            },
            sequence: 0,
            attempt: 0,
            asks: None,
            target: 0,
            hops: 0,
            invoked_after: Index(0),
            left: u64::MAX,
        }
    }

    /// How many commands it begins from now on.
    pub fn begins(&mut self, left: u64) {
        self.left = left;
    }

    /// Whether it waits for an answer, or is to ask for one.
    pub fn waits(&self) -> bool {
        self.asks.is_some() || self.left > 0
    }
}

impl World {
    /// A client begins its next command.
    pub(super) fn client_next(&mut self, at: usize) -> Checked {
        if self.clients[at].asks.is_some() || self.clients[at].left == 0 {
            return Ok(());
        }
        let register = self.rng.below(REGISTERS) as u8;
        let value = self.rng.bits();
        let size_bytes = self.rng.below(self.plan.body_bytes) as usize;
        let target = self.rng.below(self.nodes.len() as u64) as usize;
        let client = &mut self.clients[at];
        client.sequence += 1;
        client.left -= 1;
        client.hops = 0;
        client.invoked_after = self.history.newest_acknowledged;
        if self.rng.percent(30) {
            client.target = target;
        }
        client.asks = Some(Command {
            client: client.id,
            sequence: client.sequence,
            answered_below: client.sequence,
            issued: LogTime(0),
            version: VERSION,
            body: body(register, value, size_bytes),
        });
        self.client_asks(at);
        Ok(())
    }

    fn client_asks(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(command) = client.asks.clone() else {
            return;
        };
        client.attempt += 1;
        let again = Event::ClientTimeout {
            client: at,
            sequence: client.sequence,
            attempt: client.attempt,
        };
        let request = Event::Request {
            client: at,
            node: client.target,
            command: Box::new(command),
        };
        self.later(PATIENCE_US, again);
        let lost = self.calm_since_us.is_none() && self.rng.chance_ppm(self.plan.loss_ppm);
        if !lost {
            let way_us = self.rng.gap(self.plan.way_us);
            self.later(way_us, request);
        }
    }

    /// The answer did not come in time: somebody else is asked.
    pub(super) fn client_timeout(&mut self, at: usize, sequence: u64, attempt: u64) -> Checked {
        let nodes = self.nodes.len() as u64;
        let client = &mut self.clients[at];
        if client.asks.is_some() && client.sequence == sequence && client.attempt == attempt {
            client.target = self.rng.below(nodes) as usize;
            client.hops = 0;
            self.client_asks(at);
        }
        Ok(())
    }

    /// A command arrives at a node.
    pub(super) fn request(&mut self, client: usize, at: usize, command: Command) -> Checked {
        let sequence = command.sequence;
        let id = command.client;
        let proposed = self.gives(at, |core| {
            let term = core.term();
            core.propose(command).map(|position| (term, position))
        })?;
        let answer = match proposed {
            None => return Ok(()),
            Some(Ok((_, position))) => {
                if let Some(live) = &mut self.nodes[at].live {
                    let waiting = (position.term, client, id, sequence);
                    live.proposals.insert(position.index, waiting);
                }
                return Ok(());
            }
            Some(Err(ProposeError::NotLeader { leader })) => Answer::Elsewhere(leader),
            Some(Err(ProposeError::Busy { .. } | ProposeError::LogFull { .. })) => {
                self.see(Seen::BackPressure);
                Answer::Later
            }
            Some(Err(_)) => Answer::Later,
        };
        self.tells(client, sequence, answer);
        Ok(())
    }

    fn tells(&mut self, client: usize, sequence: u64, answer: Answer) {
        let lost = self.calm_since_us.is_none() && self.rng.chance_ppm(self.plan.loss_ppm);
        if !lost {
            let way_us = self.rng.gap(self.plan.way_us);
            let answer = Event::Answer {
                client,
                sequence,
                answer,
            };
            self.later(way_us, answer);
        }
    }

    /// A node has applied an entry: whoever proposed here learns the outcome.
    pub(super) fn answers(&mut self, at: usize, entry: &Entry, effect: Option<Effect>) {
        let Some(live) = &mut self.nodes[at].live else {
            return;
        };
        let Some((term, client, _, sequence)) = live.proposals.remove(&entry.index) else {
            return;
        };
        let answer = match (term == entry.term, effect) {
            (true, Some(effect)) => Answer::Applied(effect.to_bytes()),
            _ => {
                self.coverage.see(Seen::ProposalLost);
                Answer::Lost
            }
        };
        self.tells(client, sequence, answer);
    }

    /// An answer arrives at the client.
    pub(super) fn answered(&mut self, at: usize, sequence: u64, answer: Answer) -> Checked {
        let nodes = self.nodes.len() as u64;
        let client = &mut self.clients[at];
        if client.asks.is_none() || client.sequence != sequence {
            return Ok(());
        }
        match answer {
            Answer::Applied(bytes) => {
                client.asks = None;
                let effect = Effect::from_bytes(bytes);
                let (id, after) = (client.id, client.invoked_after);
                self.history.acknowledges(id, sequence, effect, after)?;
                let think_us = self.rng.gap(self.plan.think_ms * 1000);
                self.later(think_us, Event::ClientNext { client: at });
            }
            Answer::Lost if client.hops < 3 => {
                client.hops += 1;
                self.client_asks(at);
            }
            Answer::Elsewhere(Some(leader)) if client.hops < 3 => {
                client.hops += 1;
                let known = self.node_at(leader);
                self.clients[at].target = known.unwrap_or(0);
                self.client_asks(at);
            }
            // The time-out sends it on.
            Answer::Elsewhere(_) | Answer::Lost | Answer::Later => {
                client.target = self.rng.below(nodes) as usize;
            }
        }
        Ok(())
    }
}
