//! Two nodes that shake hands while something on the way changes a byte.

use std::sync::Arc;

use super::source::Source;
use super::{local, secrets};
use crate::ids::{ClusterId, NodeId};
use crate::wire::Purpose;
use crate::wire::hello::Local;
use crate::wire::secrets::Secrets;
use crate::wire::session::{Event, Session};

/// Bytes that a handshake takes at most, either way: two frames of the longest kind and what
/// stands before them.
const MAX_HANDSHAKE_BYTES: usize = 8 * 1024;

/// One end of a connection.
struct End {
    session: Session,
    sent: usize,
    open: bool,
    over: bool,
}

/// What changes a byte: of what the dialling side sends, or of what it hears.
struct Fault {
    of_dialler: bool,
    at: usize,
    flip: u8,
}

/// Makes two nodes from the bytes and lets them shake hands.
pub(super) fn shake(bytes: &[u8]) {
    let mut source = Source(bytes);
    let (a, b) = (node(1, &mut source), node(2, &mut source));
    let purpose = || match bytes.len() % 2 {
        0 => Purpose::Logs,
        _ => Purpose::Proposals,
    };
    let piece = usize::from(source.byte()) + 1;
    let fault = Fault {
        of_dialler: source.byte().is_multiple_of(2),
        at: source.short().into(),
        flip: source.byte(),
    };
    let secret = !a.secrets.is_none() || !b.secrets.is_none();
    let fit = a.secrets == b.secrets
        && a.group == b.group
        && a.agreement == b.agreement
        && (a.cluster == b.cluster || a.cluster.is_none() || b.cluster.is_none());
    let (a, b) = (Arc::new(a), Arc::new(b));
    let key = a.secrets.keys().first();
    let Ok(dialling) = Session::dial(a.clone(), NodeId(2), purpose(), key) else {
        return;
    };
    let mut dialling = End::new(dialling);
    let mut accepting = End::new(Session::accept(b, purpose()));
    let changed = talk(&mut dialling, &mut accepting, &fault, piece);
    let both = dialling.open && accepting.open;
    if changed {
        assert!(!(secret && both), "a change under a secret was overlooked");
    } else {
        assert_eq!(both, fit, "who fits is taken and nobody else");
    }
}

/// A node that may differ from the other in one way or another.
fn node(id: u64, source: &mut Source<'_>) -> Local {
    let [how, secret] = source.array();
    let secrets = match secret % 4 {
        0 => Secrets::none(),
        1 | 2 => secrets(&[b"0123456789abcdef"]),
        _ => secrets(&[b"fedcba9876543210"]),
    };
    let mut local = local(secrets);
    local.id = NodeId(id);
    local.incarnation.boot = id;
    local.peers = [NodeId(3 - id)].into();
    match how % 8 {
        0 => local.group = "health".into(),
        1 => local.cluster = Some(ClusterId(1)),
        2 => local.cluster = Some(ClusterId(2)),
        3 => local.agreement.hash = source.array(),
        _ => {}
    }
    local
}

/// Lets both talk until neither has anything to say. Answers whether a byte was changed.
fn talk(dialling: &mut End, accepting: &mut End, fault: &Fault, piece: usize) -> bool {
    let mut changed = false;
    loop {
        let (mut asked, mut answered) = (dialling.session.take_out(), accepting.session.take_out());
        if asked.is_empty() && answered.is_empty() {
            return changed;
        }
        let (end, said) = match fault.of_dialler {
            true => (&dialling, &mut asked),
            false => (&accepting, &mut answered),
        };
        if let Some(byte) = fault
            .at
            .checked_sub(end.sent)
            .and_then(|at| said.get_mut(at))
        {
            *byte ^= fault.flip;
            changed |= fault.flip != 0;
        }
        dialling.count(asked.len());
        accepting.count(answered.len());
        accepting.hear(&asked, piece);
        dialling.hear(&answered, piece);
    }
}

impl End {
    fn new(session: Session) -> End {
        End {
            session,
            sent: 0,
            open: false,
            over: false,
        }
    }

    fn count(&mut self, bytes: usize) {
        self.sent += bytes;
        assert!(self.sent <= MAX_HANDSHAKE_BYTES, "a handshake without end");
    }

    fn hear(&mut self, bytes: &[u8], piece: usize) {
        for piece in bytes.chunks(piece) {
            self.over |= self.session.feed(piece).is_err();
            while !self.over {
                match self.session.next_event() {
                    Ok(Some(Event::Presented(_))) => {
                        self.session.admit(Ok(())).expect("it may be taken");
                    }
                    Ok(Some(Event::Open)) => self.open = true,
                    Ok(Some(Event::Frame(_))) => {}
                    Ok(None) => break,
                    Err(_) => self.over = true,
                }
            }
            if self.over {
                return;
            }
        }
    }
}
