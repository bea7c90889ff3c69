//! What fuzz targets and property tests drive with bytes of any kind: nothing here may panic,
//! hold more than it was given, or take what was not written by this code.

mod built; // frames of what can be said, whole and damaged
mod damage; // what happens to bytes
mod pair; // two nodes that shake hands, with a byte changed
mod source; // what can be said, from bytes of any kind

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::forming;
use crate::ids::{Incarnation, NodeId, StoreId};

use super::channel;
use super::frame::{Allowed, FrameReader, HEAD_BYTES, Kind};
use super::hello::{Agreement, Hello, Local};
use super::reason::Reason;
use super::secrets::Secrets;
use super::session::{Event, Session};
use super::{Purpose, message, proposal};

pub use damage::Damage;
pub use source::Source;

/// A first byte from which on the rest is not what arrives but what it is made from.
pub const BUILT: u8 = 128;

/// Reads the bytes as frames and what they hold. The first byte says which kinds may come, the
/// second in what pieces the rest arrives. What can be read is written again and must be the same.
///
/// Where the first byte is [`BUILT`] or more, the rest says what is written, read again, and read
/// with damage at one place.
pub fn frames(bytes: &[u8]) {
    let [allowed, piece, bytes @ ..] = bytes else {
        return;
    };
    if *allowed >= BUILT {
        return built::built(bytes);
    }
    let allowed = match allowed % 5 {
        0 => Allowed::Handshake,
        1 => Allowed::Messages,
        2 => Allowed::Proposals,
        3 => Allowed::Answers,
        _ => Allowed::Nothing,
    };
    read_frames(allowed, bytes, usize::from(*piece) + 1);
}

fn read_frames(allowed: Allowed, bytes: &[u8], piece: usize) {
    let mut reader = FrameReader::new(allowed);
    for piece in bytes.chunks(piece) {
        reader.feed(piece);
        assert!(reader.held_bytes() <= bytes.len(), "holds what never came");
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => body(frame.kind, frame.body),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fn body(kind: Kind, bytes: Bytes) {
    let mut again = Vec::new();
    match kind {
        Kind::Propose => match proposal::get_proposals(bytes) {
            Ok(read) if !read.is_empty() => {
                proposal::put_proposals(&mut again, &read).expect("it came in one frame");
            }
            _ => return,
        },
        Kind::Answer => match proposal::get_answers(bytes) {
            Ok(read) if !read.is_empty() => {
                proposal::put_answers(&mut again, &read).expect("it came in one frame");
            }
            _ => return,
        },
        Kind::Hello => match Hello::get(bytes) {
            Ok(read) => {
                read.put(&mut again);
                let read_again = Hello::get(Bytes::from(again));
                assert_eq!(read_again, Ok(read), "written and read again");
                return;
            }
            Err(_) => return,
        },
        Kind::Refused => match Reason::get(&mut bytes.clone()) {
            Ok(read) => {
                read.put(&mut again);
                let read_again = Reason::get(&mut Bytes::from(again));
                assert_eq!(read_again, Ok(read), "written and read again");
                return;
            }
            Err(_) => return,
        },
        Kind::Forming => match forming::Message::decode(bytes) {
            Ok(read) => {
                let read_again = forming::Message::decode(read.encode());
                assert_eq!(read_again, Ok(read), "written and read again");
                return;
            }
            Err(_) => return,
        },
        Kind::Welcome => return,
        _ => match message::get(kind, bytes.clone()) {
            Ok((term, read)) => {
                message::put(&mut again, term, &read).expect("it came in one frame");
                let read_again = message::get(kind, Bytes::copy_from_slice(&again[HEAD_BYTES..]));
                assert_eq!(read_again, Ok((term, read)), "written and read again");
            }
            Err(_) => return,
        },
    }
    assert!(again.len() >= HEAD_BYTES);
}

/// Feeds the bytes to the accepting and the dialling side of a connection that waits for its
/// first byte. The first byte of them says with what secrets and for what.
///
/// Where the first byte is [`BUILT`] or more, the rest says who the two are that shake hands, and
/// which byte is changed on its way.
pub fn handshake(bytes: &[u8]) {
    let [setting, piece, bytes @ ..] = bytes else {
        return;
    };
    if *setting >= BUILT {
        return pair::shake(bytes);
    }
    let secrets = match setting % 3 {
        0 => Secrets::none(),
        1 => secrets(&[b"0123456789abcdef"]),
        _ => secrets(&[b"0123456789abcdef", b"fedcba9876543210"]),
    };
    let purpose = if setting / 3 % 2 == 0 {
        Purpose::Logs
    } else {
        Purpose::Proposals
    };
    let local = Arc::new(local(secrets));
    let piece = usize::from(*piece) + 1;
    drive(Session::accept(local.clone(), purpose), bytes, piece);
    let key = local.secrets.keys().first();
    if let Ok(session) = Session::dial(local.clone(), NodeId(2), purpose, key) {
        drive(session, bytes, piece);
    }
}

/// Feeds the bytes to what opens Noise messages, behind a handshake that has gone well. Where the
/// first byte is odd they are a message of the other side's with changes.
pub fn sealed(bytes: &[u8]) {
    let [setting, piece, bytes @ ..] = bytes else {
        return;
    };
    let secrets = secrets(&[b"0123456789abcdef"]);
    let Some((mut ours, mut theirs)) = channel::both_ends(&secrets) else {
        return;
    };
    let mut wire = bytes.to_vec();
    if setting % 2 == 1 {
        wire.clear();
        theirs.seal(bytes, &mut wire).expect("it is the first");
        let at = usize::from(*piece) % wire.len().max(1);
        if let Some(byte) = wire.get_mut(at) {
            *byte ^= setting / 2;
        }
    }
    let mut reader = FrameReader::new(Allowed::Messages);
    for piece in wire.chunks(usize::from(*piece) + 1) {
        if ours.open(piece, &mut reader).is_err() {
            return;
        }
        assert!(reader.held_bytes() <= bytes.len(), "holds what never came");
    }
    let unchanged = setting % 2 == 1 && setting / 2 == 0;
    assert!(unchanged || reader.held_bytes() < bytes.len().max(1));
}

fn drive(mut session: Session, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        if session.feed(piece).is_err() {
            return;
        }
        loop {
            match session.next_event() {
                Ok(Some(Event::Presented(_))) => session.admit(Ok(())).expect("it may be taken"),
                Ok(Some(Event::Open | Event::Frame(_))) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        session.take_out();
    }
}

fn secrets(contents: &[&[u8]]) -> Secrets {
    Secrets::new(contents).expect("they are long enough")
}

fn local(secrets: Secrets) -> Local {
    Local {
        id: NodeId(1),
        incarnation: Incarnation {
            store: StoreId(1),
            start: 1,
            boot: 1,
        },
        group: "stick".into(),
        cluster: None,
        agreement: Agreement {
            hash: [0; 32],
            text: String::new(),
        },
        secrets,
        peers: BTreeSet::from([NodeId(2), NodeId(3)]),
    }
}
