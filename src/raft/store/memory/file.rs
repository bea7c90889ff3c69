//! An open file.

use std::io;

use super::content::{Change, FileContent};
use super::{MemoryDisk, Needs};
use crate::store::files::OpenFile;

/// An open file on a [`MemoryDisk`].
pub struct MemoryFile {
    pub(super) disk: MemoryDisk,
    pub(super) node: u64,
    pub(super) epoch: u64,
}

impl MemoryFile {
    fn with<T>(
        &self,
        needs: Needs,
        run: impl FnOnce(&mut FileContent, io::Result<()>, bool) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.epoch != self.epoch {
            return Err(io::Error::other(
                "the process that opened this file is dead",
            ));
        }
        let counted = state.count(needs);
        let skip_sync = state.skip_sync;
        run(state.file(self.node)?, counted, skip_sync)
    }
}

impl OpenFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        self.with(Needs::Nothing, |file, counted, _| {
            counted.map(|()| file.current.len() as u64)
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with(Needs::Nothing, |file, counted, _| {
            counted?;
            let from = usize::try_from(offset).map_err(io::Error::other)?;
            let bytes = from
                .checked_add(buffer.len())
                .and_then(|to| file.current.get(from..to))
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(Needs::Space, |file, counted, _| {
            let written = match counted {
                Ok(()) => bytes,
                Err(_) => &bytes[..bytes.len() / 2],
            };
            file.change(Change::Bytes(offset, written.into()));
            counted
        })
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.with(Needs::Space, |file, counted, _| {
            counted?;
            if file.current.len() < length as usize {
                file.change(Change::Length(length));
            }
            Ok(())
        })
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.with(Needs::Nothing, |file, counted, _| {
            counted?;
            file.change(Change::Length(length));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(Needs::Nothing, |file, counted, skip| {
            match &counted {
                Ok(()) if skip => {}
                Ok(()) => file.sync(),
                Err(_) => file.sync_failed(),
            }
            counted
        })
    }
}
