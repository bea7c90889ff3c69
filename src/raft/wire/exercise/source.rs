//! What is said, made from bytes of any kind: whatever they are, it is something that this code
//! could say. Where they come to their end, the rest is zeros.

use std::sync::Arc;

use bytes::Bytes;

use super::damage::Damage;
use crate::codec::MAX_NUMBER;
use crate::entry::{ClientId, Command, Entry, Payload};
use crate::forming::{self, Beginning, Facts, Form, Holding, LogFacts};
use crate::ids::{
    ClusterId, Incarnation, Index, LogTime, NodeId, NodeTime, Position, StoreId, Term,
};
use crate::membership::{Member, Membership, RecordedLife, Role, Statement};
use crate::message::{LeaseGrant, Message, Refusal, SnapshotMeta};
use crate::wire::Purpose;
use crate::wire::hello::{Agreement, Hello};
use crate::wire::proposal::{Answer, Outcome, Propose, cut};
use crate::wire::reason::Reason;

/// Items in any list.
const MOST_ITEMS: u8 = 8;

/// Bytes that values are made from. Where they have come to their end, zeros follow.
#[derive(Clone, Debug)]
pub struct Source<'a>(pub(super) &'a [u8]);

impl<'a> Source<'a> {
    /// Makes values from these bytes.
    pub fn new(bytes: &'a [u8]) -> Source<'a> {
        Source(bytes)
    }

    /// Whether zeros follow.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let (now, later) = self.0.split_at(N.min(self.0.len()));
        taken[..now.len()].copy_from_slice(now);
        self.0 = later;
        taken
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// A number of two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Yes or no.
    pub fn bool(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// A number of eight bytes.
    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn longest(&mut self) -> u128 {
        u128::from_le_bytes(self.array())
    }

    /// A term, index or time.
    fn number(&mut self) -> u64 {
        self.long() & MAX_NUMBER
    }

    /// As many bytes as the next one says, at most so many.
    pub fn slice(&mut self, most: usize) -> &'a [u8] {
        let length = usize::from(self.byte()).min(most).min(self.0.len());
        let (now, later) = self.0.split_at(length);
        self.0 = later;
        now
    }

    fn bytes(&mut self) -> Bytes {
        Bytes::copy_from_slice(self.slice(usize::MAX))
    }

    /// A text as it may be shown, within its bound.
    pub fn text(&mut self, most: usize) -> String {
        let text = String::from_utf8_lossy(self.slice(most));
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        cut(&text, most).to_owned()
    }

    /// A change of some bytes.
    pub fn damage(&mut self) -> Damage<'a> {
        Damage {
            at: self.short(),
            kind: self.byte(),
            bytes: self.slice(16),
        }
    }

    /// Up to eight of something.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.byte() % (MOST_ITEMS + 1);
        (0..count).map(|_| item(self)).collect()
    }

    /// Something or nothing.
    pub fn option<T>(&mut self, item: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.bool().then(|| item(self))
    }

    fn node(&mut self) -> NodeId {
        NodeId(self.long())
    }

    fn cluster(&mut self) -> ClusterId {
        ClusterId(self.longest())
    }

    fn index(&mut self) -> Index {
        Index(self.number())
    }

    fn position(&mut self) -> Position {
        Position {
            term: Term(self.number()),
            index: self.index(),
        }
    }

    fn incarnation(&mut self) -> Incarnation {
        Incarnation {
            store: StoreId(self.longest()),
            start: self.long(),
            boot: self.long(),
        }
    }

    fn statement(&mut self) -> Statement {
        Statement {
            peers: self.list(Self::node),
            version: self.short(),
        }
    }

    fn membership(&mut self) -> Arc<Membership> {
        let members = self.list(|it| {
            let role = match it.byte() % 3 {
                0 => Role::Voter,
                1 => Role::Learner { promote: false },
                _ => Role::Learner { promote: true },
            };
            let life = it.option(|it| RecordedLife {
                incarnation: it.incarnation(),
                recorded_at: it.index(),
            });
            let statement = it.option(Self::statement);
            let member = Member {
                role,
                life,
                statement,
            };
            (it.node(), member)
        });
        Arc::new(Membership {
            members: members.into_iter().collect(),
            retired: self.list(|it| StoreId(it.longest())),
        })
    }

    fn command(&mut self) -> Command {
        Command {
            client: ClientId {
                node: self.node(),
                boot: self.long(),
            },
            sequence: self.long(),
            answered_below: self.long(),
            issued: LogTime(self.long()),
            version: self.short(),
            body: self.bytes(),
        }
    }

    fn payload(&mut self) -> Payload {
        match self.byte() % 4 {
            0 => Payload::Empty,
            1 => Payload::Time,
            2 => Payload::Membership(self.membership()),
            _ => Payload::Command(self.command()),
        }
    }

    /// Entries that follow one another and some place, and the term of whoever sends them.
    fn append(&mut self) -> (Term, Message) {
        let previous = Position {
            term: Term(self.number() / 2),
            index: Index(self.number() / 2),
        };
        let (mut at, mut time) = (previous, LogTime(self.number() / 2));
        let entries = self.list(|it| {
            at.index = at.index.next();
            at.term.0 += u64::from(it.byte() / 64);
            time.0 += u64::from(it.byte());
            Entry {
                index: at.index,
                term: at.term,
                time,
                payload: it.payload(),
            }
        });
        let append = Message::Append {
            previous,
            commit: self.index(),
            entries,
        };
        (Term(at.term.0 + u64::from(self.byte())), append)
    }

    fn chunk(&mut self) -> (Term, Message) {
        let last = self.position();
        let snapshot = Arc::new(SnapshotMeta {
            last,
            time: LogTime(self.number()),
            membership: self.membership(),
            membership_index: self.index().min(last.index),
            size_bytes: self.long(),
            checksum: self.short().into(),
        });
        let chunk = Message::SnapshotChunk {
            snapshot,
            offset: self.long(),
            data: self.bytes(),
        };
        (last.term, chunk)
    }

    /// A message of Raft and the term in which it is said.
    pub(super) fn message(&mut self) -> (Term, Message) {
        let message = match self.byte() % 16 {
            0 => Message::PreVote {
                last: self.position(),
            },
            1 => Message::PreVoteReply {
                granted: self.bool(),
            },
            2 => Message::Vote {
                last: self.position(),
                transfer: self.bool(),
            },
            3 => Message::VoteReply {
                granted: self.bool(),
            },
            4 => Message::Appended {
                matched: self.index(),
            },
            5 => Message::AppendRejected {
                previous: self.index(),
                hint: self.position(),
            },
            6 => Message::Heartbeat {
                round: self.long(),
                commit: self.index(),
                time: LogTime(self.number()),
                lease: self.option(|it| LeaseGrant {
                    stamp: NodeTime(it.long()),
                    time: LogTime(it.number()),
                    commit: it.index(),
                }),
            },
            7 => Message::HeartbeatReply {
                round: self.long(),
                stamp: NodeTime(self.long()),
                applied: self.index(),
                statement: self.option(Self::statement),
            },
            8 => Message::TimeoutNow,
            9 => Message::SnapshotProgress {
                snapshot: self.position(),
                offset: self.long(),
            },
            10 => Message::Refused(Refusal::NotAMember),
            11 => Message::Refused(Refusal::StoreRetired(self.incarnation())),
            12 | 13 => return self.chunk(),
            _ => return self.append(),
        };
        (Term(self.number()), message)
    }

    fn propose(&mut self) -> Propose {
        Propose {
            id: self.long(),
            command: self.command(),
        }
    }

    pub(super) fn proposals(&mut self) -> Vec<Propose> {
        self.list(Self::propose)
    }

    pub(super) fn answers(&mut self) -> Vec<Answer> {
        self.list(|it| Answer {
            id: it.long(),
            outcome: match it.byte() % 3 {
                0 => Outcome::Applied(it.bytes()),
                1 => Outcome::NotLeader {
                    leader: it.option(Self::node),
                },
                _ => Outcome::Refused {
                    code: it.short(),
                    text: it.text(crate::wire::proposal::MAX_REFUSAL_TEXT_BYTES),
                },
            },
        })
    }

    pub(super) fn forming(&mut self) -> forming::Message {
        if self.bool() {
            return forming::Message::Form(Form {
                cluster: self.cluster(),
                membership: self.membership(),
                beginning: Beginning::Empty,
            });
        }
        forming::Message::Facts {
            to: self.incarnation(),
            facts: Facts {
                statement: self.statement(),
                holding: match self.byte() % 4 {
                    0 => Holding::Blank,
                    1 => Holding::Seed {
                        entries: self.long(),
                    },
                    2 => Holding::Taking(self.cluster()),
                    _ => Holding::Log(LogFacts {
                        cluster: self.cluster(),
                        last: self.position(),
                        leader: self.option(Self::node),
                    }),
                },
            },
        }
    }

    fn purpose(&mut self) -> Purpose {
        match self.bool() {
            true => Purpose::Proposals,
            false => Purpose::Logs,
        }
    }

    pub(super) fn hello(&mut self) -> Hello {
        Hello {
            version: self.byte(),
            lowest: self.byte(),
            purpose: self.purpose(),
            group: self.text(crate::wire::hello::MAX_GROUP_BYTES),
            cluster: self.option(Self::cluster),
            id: self.node(),
            incarnation: self.incarnation(),
            agreement: Agreement {
                hash: self.array(),
                text: self.text(crate::wire::hello::MAX_AGREEMENT_TEXT_BYTES),
            },
            expected: self.node(),
        }
    }

    pub(super) fn reason(&mut self) -> Reason {
        use crate::wire::hello::{MAX_AGREEMENT_TEXT_BYTES, MAX_GROUP_BYTES};
        match self.byte() % 9 {
            0 => Reason::Purpose {
                refused: self.purpose(),
                refusing: self.purpose(),
            },
            1 => Reason::Group {
                refused: self.text(MAX_GROUP_BYTES),
                refusing: self.text(MAX_GROUP_BYTES),
            },
            2 => Reason::Cluster {
                refused: self.cluster(),
                refusing: self.cluster(),
            },
            3 => Reason::Agreement {
                refused: self.text(MAX_AGREEMENT_TEXT_BYTES),
                refusing: self.text(MAX_AGREEMENT_TEXT_BYTES),
            },
            4 => Reason::WrongNode {
                expected: self.node(),
                found: self.node(),
            },
            5 => Reason::Yourself,
            6 => Reason::SameId(self.node()),
            7 => Reason::Duplicate {
                id: self.node(),
                connected: self.incarnation(),
                refused: self.incarnation(),
            },
            _ => Reason::NotAPeer(self.node()),
        }
    }
}
