//! The leader's side: who is to be told when an entry has been applied.

use std::collections::{HashMap, VecDeque};

use crate::entry::{ClientId, Command};
use crate::ids::{Index, Position};

/// Who waits for entries that this node has appended as leader, in the log's order. Bounded by
/// what the core lets be uncommitted or unapplied at once.
#[derive(Debug)]
pub struct Desk<A> {
    waiting: VecDeque<Waiting<A>>,
    /// Where a command stands that is on its way: a copy that comes meanwhile is not appended.
    places: HashMap<(ClientId, u64), Index>,
}

#[derive(Debug)]
struct Waiting<A> {
    position: Position,
    command: (ClientId, u64),
    asker: A,
}

impl<A> Default for Desk<A> {
    fn default() -> Self {
        Desk {
            waiting: VecDeque::new(),
            places: HashMap::new(),
        }
    }
}

impl<A> Desk<A> {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Notes that `asker` waits for the command that will stand at `position`.
    pub fn wait(&mut self, position: Position, command: &Command, asker: A) {
        debug_assert!(
            self.waiting
                .back()
                .is_none_or(|last| last.position.index < position.index)
        );
        let command = (command.client, command.sequence);
        self.places.insert(command, position.index);
        self.waiting.push_back(Waiting {
            position,
            command,
            asker,
        });
    }

    /// Where the command is on its way already, lets `asker` wait for it in the place of whoever
    /// asked before, its own earlier self; else gives `asker` back.
    pub fn join(&mut self, command: &Command, asker: A) -> Result<(), A> {
        let place = self.places.get(&(command.client, command.sequence));
        match place.and_then(|index| self.at(*index)) {
            Some(at) => {
                self.waiting[at].asker = asker;
                Ok(())
            }
            None => Err(asker),
        }
    }

    /// Who waits for the entry that has been applied; `Err` for those whose entry has been
    /// replaced by it.
    pub fn applied(&mut self, position: Position) -> Option<Result<A, A>> {
        let at = self.at(position.index)?;
        debug_assert_eq!(at, 0, "entries are applied in order");
        let waiting = self.remove(at)?;
        Some(if waiting.position == position {
            Ok(waiting.asker)
        } else {
            Err(waiting.asker)
        })
    }

    /// Those whose entries from `from` on are gone, uncommitted.
    pub fn truncated(&mut self, from: Index) -> Vec<A> {
        let keep = self
            .waiting
            .partition_point(|waiting| waiting.position.index < from);
        let gone = self.waiting.split_off(keep);
        for waiting in &gone {
            self.places.remove(&waiting.command);
        }
        gone.into_iter().map(|waiting| waiting.asker).collect()
    }

    /// All who wait: this node leads no longer, and they had better ask whoever does.
    pub fn clear(&mut self) -> Vec<A> {
        self.truncated(Index(0))
    }

    fn at(&self, index: Index) -> Option<usize> {
        let at = self
            .waiting
            .partition_point(|waiting| waiting.position.index < index);
        let found = self.waiting.get(at)?;
        (found.position.index == index).then_some(at)
    }

    fn remove(&mut self, at: usize) -> Option<Waiting<A>> {
        let waiting = self.waiting.remove(at)?;
        self.places.remove(&waiting.command);
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LogTime, NodeId, Term};
    use bytes::Bytes;

    fn at(index: u64, term: u64) -> Position {
        Position {
            term: Term(term),
            index: Index(index),
        }
    }

    fn command(sequence: u64) -> Command {
        Command {
            client: ClientId {
                node: NodeId(1),
                boot: 1,
            },
            sequence,
            answered_below: 0,
            issued: LogTime(0),
            version: 1,
            body: Bytes::new(),
        }
    }

    #[test]
    fn an_entry_of_another_term_at_the_place_means_that_it_is_lost() {
        let mut desk = Desk::default();
        desk.wait(at(5, 2), &command(1), 'a');
        desk.wait(at(7, 2), &command(2), 'b');
        assert_eq!(desk.applied(at(4, 2)), None);
        assert_eq!(desk.applied(at(5, 2)), Some(Ok('a')));
        assert_eq!(desk.applied(at(5, 2)), None);
        assert_eq!(desk.applied(at(7, 3)), Some(Err('b')));
        assert!(desk.is_empty() && desk.places.is_empty());
    }

    #[test]
    fn a_copy_of_what_is_on_its_way_waits_for_the_same_entry() {
        let mut desk = Desk::default();
        desk.wait(at(5, 2), &command(1), 'a');
        assert_eq!(desk.join(&command(1), 'b'), Ok(()));
        assert_eq!(desk.join(&command(2), 'c'), Err('c'));
        assert_eq!(desk.applied(at(5, 2)), Some(Ok('b')));
        assert_eq!(desk.join(&command(1), 'd'), Err('d'));
    }

    #[test]
    fn truncation_tells_those_from_there_on() {
        let mut desk = Desk::default();
        for index in 1..=4 {
            desk.wait(at(index, 1), &command(index), index);
        }
        assert_eq!(desk.truncated(Index(3)), [3, 4]);
        assert_eq!(desk.clear(), [1, 2]);
        assert!(desk.places.is_empty());
    }
}
