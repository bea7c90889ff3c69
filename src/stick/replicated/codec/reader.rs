//! Bytes taken apart and put together. No length is believed before it is compared with what is
//! left.

use bytes::BufMut;

use super::CommandError;
use crate::config::{GroupId, MAX_SLICE_END};
use crate::groups::Status;
use crate::stick::{ClientIp, Key, KeyRef};

type Result<T> = std::result::Result<T, CommandError>;

/// First bytes of an IPv4 address in IPv4-mapped form.
const V4_MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Flags of a key.
const V4: u8 = 1;
const SLICE: u8 = 2;

/// What is left of some bytes.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// Refuses bytes that are left over.
    pub fn finish(self) -> Result<()> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(CommandError::Trailing(left)),
        }
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, left) = self
            .0
            .split_at_checked(count)
            .ok_or(CommandError::Truncated)?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, left) = self.0.split_first_chunk().ok_or(CommandError::Truncated)?;
        self.0 = left;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number in groups of seven bits, the lowest first (LEB128).
    pub fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(CommandError::OutOfRange);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(CommandError::OutOfRange)
    }

    pub fn varint32(&mut self) -> Result<u32> {
        u32::try_from(self.varint()?).map_err(|_| CommandError::OutOfRange)
    }

    /// A count of things of at least one byte each, of which at most `most` are believed.
    pub fn count(&mut self, most: usize) -> Result<usize> {
        let count = self.varint()?;
        if count > most as u64 {
            return Err(CommandError::TooLong(count));
        }
        if count > self.0.len() as u64 {
            return Err(CommandError::Truncated);
        }
        Ok(count as usize)
    }

    /// Nothing, or a group.
    pub fn maybe_group(&mut self) -> Result<Option<GroupId>> {
        match self.flag()? {
            false => Ok(None),
            true => self.group().map(Some),
        }
    }

    pub fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(CommandError::UnknownKind(other)),
        }
    }

    pub fn group(&mut self) -> Result<GroupId> {
        self.varint32().map(GroupId)
    }

    pub fn status(&mut self) -> Result<Status> {
        match self.u8()? {
            0 => Ok(Status::Up),
            1 => Ok(Status::Draining),
            2 => Ok(Status::Disabled),
            other => Err(CommandError::UnknownKind(other)),
        }
    }

    pub fn slice(&mut self) -> Result<Box<[u8]>> {
        let length = self.count(MAX_SLICE_END)?;
        self.take(length).map(Box::from)
    }

    pub fn text(&mut self, most: usize) -> Result<String> {
        let length = self.count(most)?;
        let text = std::str::from_utf8(self.take(length)?);
        text.map(str::to_owned).map_err(|_| CommandError::Text)
    }

    pub fn ip(&mut self) -> Result<ClientIp> {
        match self.key()? {
            Key { ip, slice: None } => Ok(ip),
            Key { .. } => Err(CommandError::UnknownKind(SLICE)),
        }
    }

    pub fn key(&mut self) -> Result<Key> {
        let flags = self.u8()?;
        if flags & !(V4 | SLICE) != 0 {
            return Err(CommandError::UnknownKind(flags));
        }
        let mut octets = [0; 16];
        if flags & V4 != 0 {
            octets[..12].copy_from_slice(&V4_MAPPED);
            octets[12..].copy_from_slice(&self.array::<4>()?);
        } else {
            octets = self.array()?;
        }
        let slice = match flags & SLICE != 0 {
            true => Some(self.slice()?),
            false => None,
        };
        let ip = ClientIp::from_octets(octets);
        Ok(Key { ip, slice })
    }
}

pub(in super::super) fn put_varint(out: &mut impl BufMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

pub(in super::super) fn put_maybe_group(out: &mut impl BufMut, group: Option<GroupId>) {
    out.put_u8(group.is_some().into());
    if let Some(group) = group {
        put_varint(out, group.0.into());
    }
}

pub(in super::super) fn put_bytes(out: &mut impl BufMut, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

pub(in super::super) fn put_key(out: &mut impl BufMut, key: KeyRef<'_>) {
    let octets = key.ip.octets();
    let v4 = octets.strip_prefix(&V4_MAPPED);
    let slice = if key.slice.is_some() { SLICE } else { 0 };
    match v4 {
        Some(v4) => {
            out.put_u8(slice | V4);
            out.put_slice(v4);
        }
        None => {
            out.put_u8(slice);
            out.put_slice(&octets);
        }
    }
    if let Some(slice) = key.slice {
        put_bytes(out, slice);
    }
}

pub(in super::super) fn put_ip(out: &mut impl BufMut, ip: ClientIp) {
    put_key(out, KeyRef { ip, slice: None });
}

/// Cut to so many bytes, at the end of a character.
pub(in super::super) fn put_text(out: &mut impl BufMut, text: &str, most: usize) {
    let mut ends = (0..=most.min(text.len())).rev();
    let end = ends.find(|&end| text.is_char_boundary(end));
    put_bytes(out, &text.as_bytes()[..end.unwrap_or(0)]);
}
