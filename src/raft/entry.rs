//! Entries of the log.

use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{Index, LogTime, NodeId, Position, Term};
use crate::membership::Membership;

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// Its place.
    pub index: Index,
    /// The term whose leader made it.
    pub term: Term,
    /// The cluster's time when it was made. Never earlier than that of the entry before.
    pub time: LogTime,
    /// What it says.
    pub payload: Payload,
}

impl Entry {
    /// Its term and place.
    pub fn position(&self) -> Position {
        Position {
            term: self.term,
            index: self.index,
        }
    }

    /// What it counts in the bounds on bytes: its encoded size, roughly.
    pub fn size_bytes(&self) -> usize {
        const HEADER: usize = 32;
        HEADER
            + match &self.payload {
                Payload::Empty | Payload::Time => 0,
                Payload::Membership(membership) => membership.size_bytes(),
                Payload::Command(command) => Command::HEADER_BYTES + command.body.len(),
            }
    }
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Payload {
    /// Nothing: the first entry of a term, by which its leader commits what earlier terms left.
    Empty,
    /// Nothing but that time has passed.
    Time,
    /// Who belongs to the cluster from here on: in force as soon as it stands in a node's log.
    Membership(Arc<Membership>),
    /// Something for the state machine.
    Command(Command),
}

/// A command for the state machine, with what makes sure that it is applied once.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Command {
    /// Who proposes it.
    pub client: ClientId,
    /// Its number among this client's commands, from 1. The same number is the same command.
    pub sequence: u64,
    /// The client has the answers to all its commands below this number and never asks again.
    pub answered_below: u64,
    /// The cluster's time as the client knew it when it first proposed the command.
    pub issued: LogTime,
    /// The version of the commands' language that the body is written in.
    pub version: u16,
    /// For the state machine alone to read.
    pub body: Bytes,
}

impl Command {
    /// What a command takes beside its body.
    pub const HEADER_BYTES: usize = 48;
}

/// A proposer of commands: one life of one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId {
    /// The node.
    pub node: NodeId,
    /// Drawn at each of its starts ([`crate::ids::Incarnation::boot`]). A counter would do until
    /// a disk is wiped; then numbers of an earlier life would come again.
    pub boot: u64,
}
