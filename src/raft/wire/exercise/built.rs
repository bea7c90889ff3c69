//! Frames of what can be said, whole and damaged at one place.

use bytes::Bytes;

use super::source::Source;
use crate::forming;
use crate::ids::Term;
use crate::message::Message;
use crate::wire::frame::{Allowed, FrameReader, Kind, put_frame};
use crate::wire::hello::Hello;
use crate::wire::proposal::{Answer, Propose};
use crate::wire::reason::Reason;
use crate::wire::{message, proposal};

/// Something that travels in one frame.
enum Said {
    Message(Term, Message),
    Forming(forming::Message),
    Proposals(Vec<Propose>),
    Answers(Vec<Answer>),
    Hello(Hello),
    Refused(Reason),
}

/// Makes something from the bytes, writes it, reads it again as the same, damages it at
/// one place and reads that, whatever it is now.
pub(super) fn built(bytes: &[u8]) {
    let mut source = Source(bytes);
    let (which, piece, at, flip) = (source.byte(), source.byte(), source.short(), source.byte());
    let said = Said::make(which, &mut source);
    let mut frame = Vec::new();
    said.put(&mut frame);
    said.check(&frame);
    let at = usize::from(at) % frame.len();
    match flip {
        // Many at once: of text, none is UTF-8 any more.
        0 => {
            let end = frame.len().min(at + usize::from(piece));
            frame[at..end].fill(0xff);
        }
        _ => frame[at] ^= flip,
    }
    super::read_frames(said.allowed(), &frame, usize::from(piece) + 1);
}

impl Said {
    fn make(which: u8, source: &mut Source<'_>) -> Said {
        match which % 8 {
            0 => Said::Forming(source.forming()),
            1 => Said::Proposals(source.proposals()),
            2 => Said::Answers(source.answers()),
            3 => Said::Hello(source.hello()),
            4 => Said::Refused(source.reason()),
            _ => {
                let (term, message) = source.message();
                Said::Message(term, message)
            }
        }
    }

    fn allowed(&self) -> Allowed {
        match self {
            Said::Message(..) | Said::Forming(_) => Allowed::Messages,
            Said::Proposals(_) => Allowed::Proposals,
            Said::Answers(_) => Allowed::Answers,
            Said::Hello(_) | Said::Refused(_) => Allowed::Handshake,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let put = match self {
            Said::Message(term, it) => message::put(out, *term, it),
            Said::Forming(it) => put_frame(out, Kind::Forming, |out| out.extend(it.encode())),
            Said::Proposals(them) => proposal::put_proposals(out, them),
            Said::Answers(them) => proposal::put_answers(out, them),
            Said::Hello(it) => put_frame(out, Kind::Hello, |out| it.put(out)),
            Said::Refused(it) => put_frame(out, Kind::Refused, |out| it.put(out)),
        };
        put.expect("it is far from its bound");
    }

    /// The frame holds it.
    fn check(&self, frame: &[u8]) {
        const SAME: &str = "written and read again";
        let mut reader = FrameReader::new(self.allowed());
        reader.feed(frame);
        let read = reader.next_frame().expect("a frame").expect("all of it");
        assert_eq!(reader.held_bytes(), 0, "one frame and no more");
        let mut body: Bytes = read.body;
        match self {
            Said::Message(term, it) => {
                let again = message::get(read.kind, body);
                assert_eq!(again, Ok((*term, it.clone())), "{SAME}");
            }
            Said::Forming(it) => {
                let again = forming::Message::decode(body);
                assert_eq!(again.as_ref(), Ok(it), "{SAME}");
            }
            Said::Proposals(them) => {
                assert_eq!(proposal::get_proposals(body).as_ref(), Ok(them), "{SAME}");
            }
            Said::Answers(them) => {
                assert_eq!(proposal::get_answers(body).as_ref(), Ok(them), "{SAME}");
            }
            Said::Hello(it) => assert_eq!(Hello::get(body).as_ref(), Ok(it), "{SAME}"),
            Said::Refused(it) => {
                assert_eq!(Reason::get(&mut body).as_ref(), Ok(it), "{SAME}");
                assert!(body.is_empty(), "{SAME}");
            }
        }
    }
}
