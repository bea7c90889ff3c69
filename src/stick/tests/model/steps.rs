//! One step of a history: the table does it, the model does it, the answers are compared.

use super::super::fixtures::*;
use super::Asking;
use super::world::{Connection, Expected, Plain, PlainKey, World, owned};
use crate::clock::Millis;
use crate::config::GroupId;
use crate::stick::{AfterFailure, Answer, Ask, Client, KeyRef, Route, Stale, Sticks};

impl World {
    pub fn route(&mut self, asking: Asking, port: u16) {
        let expected = self.expect_route(asking, port);
        let slice;
        let client = match asking {
            Asking::LatestOf(number) => Client::LatestOf(ip(number)),
            Asking::Key(number, byte) => {
                slice = byte.map(|byte| [byte]);
                Client::Key(KeyRef {
                    ip: ip(number),
                    slice: slice.as_ref().map(|slice| &slice[..]),
                })
            }
        };
        let groups = self.groups();
        let ask = Ask {
            client,
            port,
            ..ask(key(0), &groups, Millis(self.now))
        };
        let before = self.lightest(port, &[]);
        let route = self.table.route(&ask);
        self.routes += 1;
        match (expected, route) {
            (Expected::Refused(reason), Route::Refuse(found)) => assert_eq!(reason, found),
            (Expected::Known(key), Route::Group(answer)) => {
                assert!(!answer.created);
                let entry = self.entries.get_mut(&key).unwrap();
                assert_eq!(answer.group, GroupId(entry.group));
                entry.pending += 1;
                entry.shared = true;
                entry.routed = self.routes;
                let assignment = entry.assignment;
                self.connect(key, port, answer, assignment);
            }
            (Expected::Anew(key), Route::Group(answer)) => {
                assert!(answer.created);
                assert_eq!(Some(answer.group.0), before, "fewest sticks");
                let is_new = !self.entries.contains_key(&key);
                if is_new && self.entries.len() >= self.settings.max_entries {
                    self.find_who_gave_way();
                }
                self.assign(key, answer, self.routes);
                self.connect(key, port, answer, self.assignments);
            }
            (expected, route) => panic!("expected {expected:?}, got {route:?}"),
        }
    }

    /// Entries equally old may give way in any order: whichever the table took has to be one.
    pub fn find_who_gave_way(&mut self) {
        let oldest = self
            .gives_way()
            .expect("the route was expected to find one");
        let age = self.entries[&oldest].last_activity;
        let gone: Vec<PlainKey> = self
            .entries
            .keys()
            .filter(|key| self.view(key).is_none())
            .copied()
            .collect();
        assert_eq!(gone.len(), 1, "one entry gives way");
        let entry = self.entries.remove(&gone[0]).unwrap();
        assert_eq!(entry.last_activity, age, "the closest to expiry");
        assert!(
            entry.open == 0 && entry.pending == 0,
            "held by no connection"
        );
    }

    pub fn assign(&mut self, key: PlainKey, answer: Answer, routed: u64) {
        self.assignments += 1;
        let assigned = Plain {
            group: answer.group.0,
            assignment: self.assignments,
            connected_once: false,
            shared: false,
            lapsed: false,
            open: 0,
            pending: 1,
            last_activity: self.now,
            routed,
        };
        self.entries.insert(key, assigned);
        let is_fresh = self.versions.insert(answer.stick.version);
        assert!(is_fresh, "versions are never used twice");
    }

    pub fn connect(&mut self, key: PlainKey, port: u16, answer: Answer, assignment: u64) {
        self.connecting.push(Connection {
            key: owned(key),
            port,
            answer,
            assignment,
            tried: Vec::new(),
        });
    }

    /// The model's entry behind a connection, where it is still the same assignment.
    pub fn entry_of(&mut self, connection: &Connection) -> Option<PlainKey> {
        let found = self
            .entries
            .iter()
            .find(|(_, entry)| entry.assignment == connection.assignment);
        found.map(|(key, _)| *key)
    }

    pub fn establish(&mut self, connection: Connection) {
        let groups = self.groups();
        let result = self
            .table
            .established(connection.answer.stick, &groups, Millis(self.now));
        let Some(key) = self.entry_of(&connection) else {
            assert_eq!(result, Err(Stale));
            return;
        };
        if !self.is_usable(self.entries[&key].group) {
            assert_eq!(result, Err(Stale));
            self.give_up(key);
            return;
        }
        assert_eq!(result, Ok(()));
        let now = self.now;
        let entry = self.entries.get_mut(&key).unwrap();
        entry.pending -= 1;
        entry.open += 1;
        entry.connected_once = true;
        entry.lapsed = false;
        entry.last_activity = now;
        self.established.push(connection);
    }

    pub fn give_up(&mut self, key: PlainKey) {
        let entry = self.entries.get_mut(&key).unwrap();
        entry.pending -= 1;
        if entry.pending == 0 && (!entry.connected_once || entry.lapsed) {
            self.entries.remove(&key);
        }
    }

    pub fn fail(&mut self, mut connection: Connection) {
        connection.tried.push(connection.answer.group);
        let key = self.entry_of(&connection);
        let movable = key.filter(|key| {
            let entry = &self.entries[key];
            connection.answer.created && !entry.connected_once && !entry.shared
        });
        let target = movable.and_then(|_| self.lightest(connection.port, &connection.tried));
        let groups = self.groups();
        let ask = Ask {
            port: connection.port,
            ..ask(connection.key.as_ref(), &groups, Millis(self.now))
        };
        let after = self
            .table
            .connect_failed(&ask, connection.answer, &connection.tried);
        match (target, after) {
            (Some(group), AfterFailure::Moved(answer)) => {
                assert_eq!((answer.group, answer.created), (GroupId(group), true));
                let key = key.unwrap();
                let routed = self.entries[&key].routed;
                self.assign(key, answer, routed);
                connection.answer = answer;
                connection.assignment = self.assignments;
                self.connecting.push(connection);
            }
            (None, AfterFailure::Reset) => {
                if let Some(key) = key {
                    self.give_up(key);
                }
            }
            (target, after) => panic!("expected a move to {target:?}, got {after:?}"),
        }
    }

    pub fn abandon(&mut self, connection: &Connection) {
        let stick = connection.answer.stick;
        self.table.abandoned(stick, Millis(self.now));
        if let Some(key) = self.entry_of(connection) {
            self.give_up(key);
        }
    }

    pub fn close(&mut self, connection: &Connection) {
        let stick = connection.answer.stick;
        self.table.closed(stick, Millis(self.now));
        let now = self.now;
        if let Some(key) = self.entry_of(connection) {
            let entry = self.entries.get_mut(&key).unwrap();
            entry.open -= 1;
            entry.last_activity = now;
        }
    }

    pub fn sweep(&mut self) {
        self.table.sweep(Millis(self.now));
        let expired: Vec<PlainKey> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.connected_once && !self.is_valid(entry))
            .map(|(key, _)| *key)
            .collect();
        for key in expired {
            if self.entries[&key].pending == 0 {
                self.entries.remove(&key);
            } else {
                self.entries.get_mut(&key).unwrap().lapsed = true;
            }
        }
    }
    pub fn remove(&mut self, key: PlainKey) {
        let seen = self.view(&key);
        let removed = self.table.remove(owned(key).as_ref(), Millis(self.now));
        assert_eq!(removed, seen);
        assert_eq!(self.entries.remove(&key).is_some(), removed.is_some());
    }
}
