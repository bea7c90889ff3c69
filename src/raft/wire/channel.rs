//! Frames in the clear or within Noise.
//!
//! `NNpsk0`: no keys of its own for a node, one secret for all; a new pair of ephemeral keys for
//! each connection. So what was recorded opens nothing later, and replaying it gets nowhere: the
//! other side's ephemeral key is another (Noise specification, revision 34, sections 7.4, 9).

use bytes::{Buf, BytesMut};
use snow::{Builder, HandshakeState, TransportState};

use super::frame::FrameReader;
use super::secrets::{Key, Secrets};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";

/// The longest Noise message, in bytes (specification, section 3).
const MAX_NOISE_BYTES: usize = 65_535;

/// Bytes by which a message is longer than what it holds.
const TAG_BYTES: usize = 16;

/// A message of the handshake: an ephemeral key and the tag of an empty payload.
pub(super) const HANDSHAKE_BYTES: usize = 32 + TAG_BYTES;

/// Something that was not made with the same secret, or was changed on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what arrived was changed on its way, or not encrypted with the keys of this connection")]
pub struct Tampered;

impl From<snow::Error> for Tampered {
    fn from(_: snow::Error) -> Tampered {
        Tampered
    }
}

fn builder<'a>(key: &'a Key, preamble: &'a [u8]) -> Result<Builder<'a>, snow::Error> {
    Builder::new(PATTERN.parse()?)
        .psk(0, &key.0)?
        .prologue(preamble)
}

/// Begins as the dialling side; appends what it has to say to `out`. The preamble becomes part of
/// what is proven to be the same on both sides.
pub(super) fn ask(
    key: &Key,
    preamble: &[u8],
    out: &mut Vec<u8>,
) -> Result<HandshakeState, Tampered> {
    let mut state = builder(key, preamble)?.build_initiator()?;
    put_handshake(&mut state, out)?;
    Ok(state)
}

/// Answers the dialling side's first message, where it was made with the key; appends the answer
/// to `out`.
pub(super) fn answer(
    key: &Key,
    preamble: &[u8],
    asked: &[u8],
    out: &mut Vec<u8>,
) -> Result<Channel, Tampered> {
    let mut state = builder(key, preamble)?.build_responder()?;
    state.read_message(asked, &mut [0; HANDSHAKE_BYTES])?;
    put_handshake(&mut state, out)?;
    Channel::noise(state)
}

/// Ends the handshake on the dialling side.
pub(super) fn conclude(mut state: HandshakeState, answered: &[u8]) -> Result<Channel, Tampered> {
    state.read_message(answered, &mut [0; HANDSHAKE_BYTES])?;
    Channel::noise(state)
}

fn put_handshake(state: &mut HandshakeState, out: &mut Vec<u8>) -> Result<(), Tampered> {
    let mut message = [0; HANDSHAKE_BYTES];
    let length = state.write_message(&[], &mut message)?;
    out.extend(&message[..length]);
    Ok(())
}

/// Both ends of a connection under the first secret; none without one. For tests.
pub(super) fn both_ends(secrets: &Secrets) -> Option<(Channel, Channel)> {
    let key = secrets.keys().first()?;
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let state = ask(key, b"", &mut asked).ok()?;
    let theirs = answer(key, b"", &asked, &mut answered).ok()?;
    Some((conclude(state, &answered).ok()?, theirs))
}

/// How frames travel over a connection.
#[derive(Debug)]
pub enum Channel {
    /// As they are.
    Clear,
    /// Within Noise.
    Noise(Box<Noise>),
}

/// The keys and what is needed to use them.
#[derive(Debug)]
pub struct Noise {
    state: TransportState,
    /// Bytes of a message that has not arrived whole: at most one and what was fed last.
    sealed: BytesMut,
    /// One message's contents.
    opened: Box<[u8]>,
}

impl Channel {
    fn noise(state: HandshakeState) -> Result<Channel, Tampered> {
        Ok(Channel::Noise(Box::new(Noise {
            state: state.into_transport_mode()?,
            sealed: BytesMut::new(),
            opened: vec![0; MAX_NOISE_BYTES].into(),
        })))
    }

    /// Appends frames to `out` as they are to travel.
    pub fn seal(&mut self, frames: &[u8], out: &mut Vec<u8>) -> Result<(), Tampered> {
        let Channel::Noise(noise) = self else {
            out.extend_from_slice(frames);
            return Ok(());
        };
        for piece in frames.chunks(MAX_NOISE_BYTES - TAG_BYTES) {
            let length = piece.len() + TAG_BYTES;
            out.extend((length as u16).to_le_bytes());
            let start = out.len();
            out.resize(start + length, 0);
            noise.state.write_message(piece, &mut out[start..])?;
        }
        Ok(())
    }

    /// Hands what has arrived to the reader of frames.
    pub fn open(&mut self, bytes: &[u8], reader: &mut FrameReader) -> Result<(), Tampered> {
        let Channel::Noise(noise) = self else {
            reader.feed(bytes);
            return Ok(());
        };
        noise.sealed.extend_from_slice(bytes);
        while let Some(&[low, high]) = noise.sealed.first_chunk() {
            let length = usize::from(u16::from_le_bytes([low, high]));
            let Some(message) = noise.sealed.get(2..2 + length) else {
                break;
            };
            let opened = noise.state.read_message(message, &mut noise.opened)?;
            reader.feed(&noise.opened[..opened]);
            noise.sealed.advance(2 + length);
        }
        Ok(())
    }
}
