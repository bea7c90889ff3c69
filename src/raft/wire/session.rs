//! One connection from its first byte on.
//!
//! ```text
//! dialling                      accepting
//! preamble [Noise] ───────────→
//!                  ←─────────── preamble [Noise]
//! hello            ───────────→ judges
//!                  ←─────────── hello, welcome or refused
//! judges
//! welcome or refused ─────────→
//! messages or proposals ──────→
//!                  ←─────────── answers, on a connection for proposals
//! ```
//!
//! A node says nothing of itself before the other side has shown that it knows the secret.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use snow::HandshakeState;

use crate::codec::finished;
use crate::ids::NodeId;

use super::Purpose;
use super::channel::{self, Channel, HANDSHAKE_BYTES, Tampered};
use super::ended::Ended;
use super::frame::{Allowed, Frame, FrameError, FrameReader, Kind, put_frame};
use super::hello::{Hello, Local};
use super::preamble::{NotOurs, PREAMBLE_BYTES, Preamble, Verdict, Wrapping, may_become_preamble};
use super::reason::Reason;
use super::secrets::Key;

/// What has come up on a connection.
#[derive(PartialEq, Eq, Debug)]
pub enum Event {
    /// The other side has said who it is and may be taken, as far as the two alone go:
    /// [`Session::admit`] is to say the rest.
    Presented(Box<Hello>),
    /// Both sides take each other.
    Open,
    /// A frame of what the connection is for.
    Frame(Frame),
}

#[derive(Debug)]
enum Side {
    Dialling { to: NodeId },
    Accepting,
}

#[derive(Debug)]
enum Stage {
    /// Waits for the other side's preamble. The dialling side has asked for Noise with a secret.
    Preamble(Option<Box<HandshakeState>>),
    /// The dialling side waits for the answer to its part of the Noise handshake.
    Answer(Box<HandshakeState>),
    /// The accepting side waits for the other's part of the Noise handshake; its preamble.
    Asked([u8; PREAMBLE_BYTES]),
    /// Waits for the other side's hello.
    Hello,
    /// Waits for [`Session::admit`].
    Presented,
    /// Waits to be taken.
    Verdict,
    /// Both sides take each other.
    Open,
    /// Over.
    Over,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    local: Arc<Local>,
    side: Side,
    purpose: Purpose,
    stage: Stage,
    /// What has arrived before frames begin: at most what was fed last and 58 bytes.
    raw: BytesMut,
    channel: Channel,
    reader: FrameReader,
    peer: Option<Box<Hello>>,
    /// The other side's preamble: its hello, which nobody can have changed, must say the same.
    preamble: Option<Preamble>,
    /// Of the handshake; to be sent.
    out: Vec<u8>,
    /// Frames on their way into the channel.
    clear: Vec<u8>,
}

impl Session {
    /// Dials; with which of the secrets, where there are any.
    ///
    /// # Errors
    /// Where the operating system gives no random numbers.
    pub fn dial(
        local: Arc<Local>,
        to: NodeId,
        purpose: Purpose,
        key: Option<&Key>,
    ) -> Result<Session, Ended> {
        let mut session = Session::new(local, Side::Dialling { to }, purpose);
        let wrapping = key.map_or(Wrapping::Clear, |_| Wrapping::Noise);
        let preamble = Preamble::ours(wrapping, Verdict::GoOn).to_bytes();
        session.out.extend(preamble);
        let asked = key.map(|key| channel::ask(key, &preamble, &mut session.out));
        session.stage = Stage::Preamble(asked.transpose()?.map(Box::new));
        Ok(session)
    }

    /// Accepts.
    pub fn accept(local: Arc<Local>, purpose: Purpose) -> Session {
        Session::new(local, Side::Accepting, purpose)
    }

    fn new(local: Arc<Local>, side: Side, purpose: Purpose) -> Session {
        Session {
            local,
            side,
            purpose,
            stage: Stage::Preamble(None),
            raw: BytesMut::new(),
            channel: Channel::Clear,
            reader: FrameReader::new(Allowed::Handshake),
            peer: None,
            preamble: None,
            out: Vec::new(),
            clear: Vec::new(),
        }
    }

    /// What the connection is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Who is on the other side, once it has said so; it need not be taken yet, nor ever.
    pub fn peer(&self) -> Option<&Hello> {
        self.peer.as_deref()
    }

    /// Whether both sides take each other.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Bytes of frames that have arrived and were not taken yet.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.raw.len() + self.reader.held_bytes()
    }

    /// Whether the handshake has something to send.
    pub fn has_out(&self) -> bool {
        !self.out.is_empty()
    }

    /// What the handshake has to send. Also after an error: the other side is to learn of it.
    pub fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Takes bytes in; to be called once [`Session::next_event`] has nothing more.
    ///
    /// # Errors
    /// Where they end the connection.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        match self.stage {
            Stage::Preamble(_) | Stage::Answer(_) | Stage::Asked(_) => {
                self.raw.extend_from_slice(bytes);
                Ok(())
            }
            Stage::Over => Ok(()),
            _ => Ok(self.channel.open(bytes, &mut self.reader)?),
        }
    }

    /// What has come up; none before more arrives.
    ///
    /// # Errors
    /// Where the connection ends.
    pub fn next_event(&mut self) -> Result<Option<Event>, Ended> {
        let next = self.step();
        if next.is_err() {
            self.stage = Stage::Over;
        }
        next
    }

    fn step(&mut self) -> Result<Option<Event>, Ended> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Preamble(asked) => {
                    let Some(bytes) = self.take_raw::<PREAMBLE_BYTES>() else {
                        let fits = may_become_preamble(&self.raw);
                        self.stage = Stage::Preamble(asked);
                        return if fits { Ok(None) } else { Err(NotOurs.into()) };
                    };
                    self.stage = match self.side {
                        Side::Dialling { .. } => self.preamble_answered(&bytes, asked)?,
                        Side::Accepting => self.preamble_asked(bytes)?,
                    };
                }
                Stage::Answer(state) => {
                    let Some(bytes) = self.take_raw::<HANDSHAKE_BYTES>() else {
                        self.stage = Stage::Answer(state);
                        return Ok(None);
                    };
                    self.channel = channel::conclude(*state, &bytes)?;
                    self.stage = self.frames_begin()?;
                }
                Stage::Asked(preamble) => {
                    let Some(bytes) = self.take_raw::<HANDSHAKE_BYTES>() else {
                        self.stage = Stage::Asked(preamble);
                        return Ok(None);
                    };
                    self.answer_noise(&preamble, &bytes)?;
                    self.stage = self.frames_begin()?;
                }
                Stage::Open => {
                    self.stage = Stage::Open;
                    return Ok(self.reader.next_frame()?.map(Event::Frame));
                }
                Stage::Presented => {
                    self.stage = Stage::Presented;
                    return Ok(None);
                }
                stage @ (Stage::Hello | Stage::Verdict) => {
                    let Some(frame) = self.reader.next_frame()? else {
                        self.stage = stage;
                        return Ok(None);
                    };
                    return self.introduce(stage, frame).map(Some);
                }
                Stage::Over => return Ok(None),
            }
        }
    }

    fn take_raw<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.raw.first_chunk::<N>()?;
        self.raw.advance(N);
        Some(bytes)
    }

    /// The accepting side reads the dialling side's preamble.
    fn preamble_asked(&mut self, bytes: [u8; PREAMBLE_BYTES]) -> Result<Stage, Ended> {
        let theirs = Preamble::from_bytes(&bytes)?;
        self.preamble = Some(theirs);
        let ours = self.wrapping();
        let (verdict, ended) = match (ours, theirs.wrapping) {
            _ if !theirs.is_understood() => (Verdict::Version, Ended::version(&theirs)),
            (Wrapping::Noise, Wrapping::Clear) => (Verdict::SecretWanted, Ended::SecretOnlyHere),
            (Wrapping::Clear, Wrapping::Noise) => (Verdict::NoSecretHere, Ended::SecretOnlyThere),
            (Wrapping::Noise, Wrapping::Noise) => return Ok(Stage::Asked(bytes)),
            (Wrapping::Clear, Wrapping::Clear) => {
                self.say_preamble(Verdict::GoOn);
                return self.frames_begin();
            }
        };
        self.say_preamble(verdict);
        Err(ended)
    }

    /// The dialling side reads the accepting side's preamble.
    fn preamble_answered(
        &mut self,
        bytes: &[u8; PREAMBLE_BYTES],
        asked: Option<Box<HandshakeState>>,
    ) -> Result<Stage, Ended> {
        let theirs = Preamble::from_bytes(bytes)?;
        self.preamble = Some(theirs);
        match theirs.verdict {
            Verdict::Version => Err(Ended::version(&theirs)),
            _ if !theirs.is_understood() => Err(Ended::version(&theirs)),
            Verdict::SecretWanted => Err(Ended::SecretOnlyThere),
            Verdict::NoSecretHere => Err(Ended::SecretOnlyHere),
            Verdict::WrongSecret => Err(Ended::WrongSecret),
            Verdict::GoOn => match (asked, theirs.wrapping) {
                (Some(state), Wrapping::Noise) => Ok(Stage::Answer(state)),
                (None, Wrapping::Clear) => self.frames_begin(),
                // What was asked for is never given up, whatever the other side says.
                (Some(_), Wrapping::Clear) => Err(Ended::SecretOnlyHere),
                (None, Wrapping::Noise) => Err(Ended::SecretOnlyThere),
            },
        }
    }

    /// Answers the Noise handshake with whichever secret it was begun with.
    fn answer_noise(&mut self, preamble: &[u8; PREAMBLE_BYTES], asked: &[u8]) -> Result<(), Ended> {
        let local = self.local.clone();
        let mut answer = Vec::with_capacity(HANDSHAKE_BYTES);
        for key in local.secrets.keys() {
            answer.clear();
            if let Ok(channel) = channel::answer(key, preamble, asked, &mut answer) {
                self.say_preamble(Verdict::GoOn);
                self.out.extend(answer);
                self.channel = channel;
                return Ok(());
            }
        }
        self.say_preamble(Verdict::WrongSecret);
        Err(Ended::WrongSecret)
    }

    fn wrapping(&self) -> Wrapping {
        if self.local.secrets.is_none() {
            Wrapping::Clear
        } else {
            Wrapping::Noise
        }
    }

    fn say_preamble(&mut self, verdict: Verdict) {
        let preamble = Preamble::ours(self.wrapping(), verdict);
        self.out.extend(preamble.to_bytes());
    }

    /// From here on there are frames only. The dialling side says first who it is.
    fn frames_begin(&mut self) -> Result<Stage, Ended> {
        let early = self.raw.split();
        self.channel.open(&early, &mut self.reader)?;
        self.raw = BytesMut::new();
        if let Side::Dialling { to } = self.side {
            self.say_hello(to)?;
        }
        Ok(Stage::Hello)
    }

    fn introduce(&mut self, stage: Stage, frame: Frame) -> Result<Event, Ended> {
        let kind = frame.kind;
        let malformed = |malformed| Ended::Malformed { kind, malformed };
        match (stage, kind) {
            (Stage::Hello, Kind::Hello) => {
                let hello = Hello::get(frame.body).map_err(malformed)?;
                let versions = self.preamble.map(|said| (said.version, said.lowest));
                if versions != Some((hello.version, hello.lowest)) {
                    return Err(Tampered.into());
                }
                let dialled = match self.side {
                    Side::Dialling { to } => Some(to),
                    Side::Accepting => None,
                };
                self.peer = Some(Box::new(hello.clone()));
                if let Err(reason) = self.local.judge(&hello, self.purpose, dialled) {
                    return Err(self.refuse(&hello, reason));
                }
                self.stage = Stage::Presented;
                Ok(Event::Presented(Box::new(hello)))
            }
            (Stage::Verdict, Kind::Welcome) => {
                if matches!(self.side, Side::Dialling { .. }) {
                    self.say(Kind::Welcome, |_| {})?;
                }
                self.stage = Stage::Open;
                self.reader.allow(match (&self.side, self.purpose) {
                    (Side::Accepting, Purpose::Logs) => Allowed::Messages,
                    (Side::Accepting, Purpose::Proposals) => Allowed::Proposals,
                    (Side::Dialling { .. }, Purpose::Logs) => Allowed::Nothing,
                    (Side::Dialling { .. }, Purpose::Proposals) => Allowed::Answers,
                });
                Ok(Event::Open)
            }
            (Stage::Verdict, Kind::Refused) => {
                let mut body: Bytes = frame.body;
                let reason = Reason::get(&mut body).map_err(malformed)?;
                finished(&body).map_err(malformed)?;
                Err(Ended::RefusedThere(reason))
            }
            _ => Err(FrameError::NotNow(kind).into()),
        }
    }

    /// Says whether the other side, having presented itself, is taken.
    ///
    /// # Errors
    /// Where it is not: the connection has ended.
    pub fn admit(&mut self, admitted: Result<(), Reason>) -> Result<(), Ended> {
        let Some(hello) = self.peer.clone() else {
            return Ok(());
        };
        if !matches!(self.stage, Stage::Presented) {
            return Ok(());
        }
        if let Err(reason) = admitted {
            self.stage = Stage::Over;
            return Err(self.refuse(&hello, reason));
        }
        if matches!(self.side, Side::Accepting) {
            self.say_hello(hello.id)?;
            self.say(Kind::Welcome, |_| {})?;
        }
        self.stage = Stage::Verdict;
        Ok(())
    }

    fn refuse(&mut self, hello: &Hello, reason: Reason) -> Ended {
        let said = match self.side {
            Side::Accepting => self.say_hello(hello.id),
            Side::Dialling { .. } => Ok(()),
        };
        let said = said.and_then(|()| self.say(Kind::Refused, |out| reason.put(out)));
        match said {
            Ok(()) => Ended::RefusedHere(reason),
            Err(ended) => ended,
        }
    }

    fn say_hello(&mut self, expected: NodeId) -> Result<(), Ended> {
        let hello = self.local.hello(self.purpose, expected);
        self.say(Kind::Hello, |out| hello.put(out))
    }

    fn say(&mut self, kind: Kind, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Ended> {
        let mut frame = Vec::new();
        put_frame(&mut frame, kind, put)?;
        self.channel.seal(&frame, &mut self.out)?;
        Ok(())
    }

    /// Appends to `out` the frames that `put` writes, as they are to travel.
    ///
    /// # Errors
    /// Where they cannot be encrypted: never before 2^64 messages.
    pub fn seal(&mut self, out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Ended> {
        if matches!(self.channel, Channel::Clear) {
            put(out);
            return Ok(());
        }
        self.clear.clear();
        put(&mut self.clear);
        Ok(self.channel.seal(&self.clear, out)?)
    }
}
