//! Two sessions that talk to each other without a network.

use std::sync::Arc;

use crate::ids::{ClusterId, Incarnation, NodeId, StoreId};
use crate::wire::Purpose;
use crate::wire::ended::Ended;
use crate::wire::frame::Frame;
use crate::wire::hello::{Agreement, Local};
use crate::wire::reason::Reason;
use crate::wire::secrets::Secrets;
use crate::wire::session::{Event, Session};

pub const SECRET: &[u8] = b"a secret of many bytes";
pub const OTHER: &[u8] = b"another one of many bytes";

pub fn secrets(contents: &[&[u8]]) -> Secrets {
    Secrets::new(contents).expect("long enough")
}

pub fn incarnation(id: u64) -> Incarnation {
    Incarnation {
        store: StoreId(u128::from(id) * 100),
        start: 1,
        boot: id * 1000,
    }
}

/// A node of a cluster of three.
pub fn local(id: u64) -> Local {
    Local {
        id: NodeId(id),
        incarnation: incarnation(id),
        group: "stick".into(),
        cluster: Some(ClusterId(77)),
        agreement: Agreement {
            hash: [9; 32],
            text: "key_type IP".into(),
        },
        secrets: Secrets::none(),
        peers: (1..=3).filter(|peer| *peer != id).map(NodeId).collect(),
    }
}

/// One side of a talk and what came of it.
pub struct Side {
    pub session: Session,
    pub open: bool,
    pub ended: Option<Ended>,
    pub frames: Vec<Frame>,
    /// What it says once it has been presented to.
    pub admit: Result<(), Reason>,
    /// Everything that it sent.
    pub sent: Vec<u8>,
}

impl Side {
    pub fn new(session: Session) -> Side {
        Side {
            session,
            open: false,
            ended: None,
            frames: Vec::new(),
            admit: Ok(()),
            sent: Vec::new(),
        }
    }

    /// Takes bytes in, `piece` at a time.
    pub fn hear(&mut self, bytes: &[u8], piece: usize) {
        for piece in bytes.chunks(piece) {
            if self.ended.is_some() {
                return;
            }
            if let Err(ended) = self.session.feed(piece).and_then(|()| self.drain()) {
                self.ended = Some(ended);
            }
        }
    }

    fn drain(&mut self) -> Result<(), Ended> {
        while let Some(event) = self.session.next_event()? {
            match event {
                Event::Presented(_) => self.session.admit(self.admit.clone())?,
                Event::Open => self.open = true,
                Event::Frame(frame) => self.frames.push(frame),
            }
        }
        Ok(())
    }

    pub fn say(&mut self) -> Vec<u8> {
        let said = self.session.take_out();
        self.sent.extend(&said);
        said
    }
}

/// Dials with the first secret, if any.
pub fn dialling(local: Local, to: u64, purpose: Purpose) -> Side {
    let local = Arc::new(local);
    let key = local.secrets.keys().first().cloned();
    let session = Session::dial(local, NodeId(to), purpose, key.as_ref());
    Side::new(session.expect("random numbers"))
}

pub fn accepting(local: Local, purpose: Purpose) -> Side {
    Side::new(Session::accept(Arc::new(local), purpose))
}

/// Lets both talk until neither has anything to say.
pub fn talk(a: &mut Side, b: &mut Side, piece: usize) {
    loop {
        let (from_a, from_b) = (a.say(), b.say());
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        b.hear(&from_a, piece);
        a.hear(&from_b, piece);
    }
}

/// The whole handshake between two such nodes, over a connection for logs.
pub fn handshake(dialler: Local, to: u64, acceptor: Local) -> (Side, Side) {
    let mut a = dialling(dialler, to, Purpose::Logs);
    let mut b = accepting(acceptor, Purpose::Logs);
    talk(&mut a, &mut b, usize::MAX);
    (a, b)
}
