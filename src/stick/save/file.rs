//! Reading saves and journals, block by block.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::KeyShape;
use super::codec::{
    self, FRAME_HEAD_BYTES, Header, Kind, MAX_PAYLOAD_BYTES, PREAMBLE_BYTES, Payload, SavedEntry,
    VERSION,
};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is no {0:?} of tcpffee")]
    Foreign(Kind),
    #[error("it has version {0} of the format, this build reads version {VERSION}")]
    OtherVersion(u32),
    #[error("its keys are {found}, the keys in force are {expected}")]
    OtherShape { found: KeyShape, expected: KeyShape },
    #[error("it is damaged at byte {0}")]
    Damaged(u64),
    #[error("it ends too early, at byte {0}")]
    CutOff(u64),
}

/// An open file whose header is good.
#[derive(Debug)]
pub(super) struct EntryFile {
    frames: Frames,
    header: Header,
}

impl EntryFile {
    /// Opens a file of this kind, whose keys are of this shape.
    pub fn open(path: &Path, kind: Kind, shape: KeyShape) -> Result<EntryFile, Unusable> {
        let mut frames = Frames::open(path)?;
        let mut start = [0; PREAMBLE_BYTES];
        frames.fill(&mut start)?;
        let (magic, version) = start.split_at(8);
        if magic != kind.magic() {
            return Err(Unusable::Foreign(kind));
        }
        let version = version.try_into().map_or(0, u32::from_le_bytes);
        if version != VERSION {
            return Err(Unusable::OtherVersion(version));
        }
        let header = match frames.next()? {
            Some(Payload::Header(header)) => header,
            Some(_) => return Err(Unusable::Damaged(PREAMBLE_BYTES as u64)),
            None => return Err(Unusable::CutOff(PREAMBLE_BYTES as u64)),
        };
        if header.shape != shape {
            return Err(Unusable::OtherShape {
                found: header.shape,
                expected: shape,
            });
        }
        Ok(EntryFile { frames, header })
    }

    pub fn header(&self) -> Header {
        self.header
    }

    /// Hands all entries of a save to `take`. An error means that the file is not whole, though
    /// some of its entries may have been handed over.
    pub fn read_save(&mut self, mut take: impl FnMut(SavedEntry)) -> Result<(), Unusable> {
        let mut entries = 0;
        loop {
            match self.block(&mut take)? {
                Block::Entries(more) => entries += more,
                Block::End(expected) if expected == entries => break,
                Block::End(_) => return Err(Unusable::Damaged(self.frames.frame)),
                Block::FileEnd => return Err(Unusable::CutOff(self.frames.frame)),
            }
        }
        if self.frames.next()?.is_some() {
            return Err(Unusable::Damaged(self.frames.frame));
        }
        Ok(())
    }

    /// Hands the entries of a journal to `take`, up to its end or its first bad byte.
    pub fn read_journal(&mut self, mut take: impl FnMut(SavedEntry)) -> Result<(), Unusable> {
        loop {
            match self.block(&mut take)? {
                Block::Entries(_) => {}
                Block::End(_) => return Err(Unusable::Damaged(self.frames.frame)),
                Block::FileEnd => return Ok(()),
            }
        }
    }

    fn block(&mut self, take: &mut impl FnMut(SavedEntry)) -> Result<Block, Unusable> {
        let shape = self.header.shape;
        match self.frames.next()? {
            None => Ok(Block::FileEnd),
            Some(Payload::End(entries)) => Ok(Block::End(entries)),
            Some(Payload::Header(_)) => Err(Unusable::Damaged(self.frames.frame)),
            Some(Payload::Entries(bytes)) => {
                // All or none: a block is one write.
                let entries: Option<Vec<SavedEntry>> = codec::entries(bytes, shape).collect();
                let entries = entries.ok_or(Unusable::Damaged(self.frames.frame))?;
                let count = entries.len() as u64;
                entries.into_iter().for_each(take);
                Ok(Block::Entries(count))
            }
        }
    }
}

enum Block {
    Entries(u64),
    End(u64),
    FileEnd,
}

/// The frames of a file, one at a time in bounded memory.
#[derive(Debug)]
struct Frames {
    file: BufReader<File>,
    /// Bytes read.
    offset: u64,
    /// Where the latest frame begins.
    frame: u64,
    payload: Vec<u8>,
}

impl Frames {
    fn open(path: &Path) -> Result<Frames, Unusable> {
        Ok(Frames {
            file: BufReader::new(File::open(path)?),
            offset: 0,
            frame: 0,
            payload: Vec::new(),
        })
    }

    /// Reads exactly these bytes.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Unusable> {
        match self.file.read_exact(bytes) {
            Ok(()) => {
                self.offset += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Unusable::CutOff(self.offset))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The next frame; `None` where the file ends before it.
    fn next(&mut self) -> Result<Option<Payload<'_>>, Unusable> {
        self.frame = self.offset;
        let mut first = [0; 1];
        match self.fill(&mut first) {
            Ok(()) => {}
            Err(Unusable::CutOff(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut head = [first[0], 0, 0, 0, 0, 0, 0, 0];
        self.fill(&mut head[1..])?;
        let head = u64::from_le_bytes(head);
        let (length, checksum) = (head as u32 as usize, (head >> 32) as u32);
        const { assert!(FRAME_HEAD_BYTES == size_of::<u64>()) };
        if length > MAX_PAYLOAD_BYTES {
            return Err(Unusable::Damaged(self.frame));
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(length, 0);
        let filled = self.fill(&mut payload);
        self.payload = payload;
        filled?;
        if crc32fast::hash(&self.payload) != checksum {
            return Err(Unusable::Damaged(self.frame));
        }
        codec::payload(&self.payload)
            .map(Some)
            .ok_or(Unusable::Damaged(self.frame))
    }
}
