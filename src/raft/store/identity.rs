//! Who a store belongs to and how often it was started: a small file that is replaced whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::error::{Damage, StoreError};
use super::files::{Files, OpenFile};
use super::segment::check_kind;
use crate::codec;
use crate::durable::Identity;
use crate::ids::{ClusterId, NodeId, StoreId};

const MAGIC: &[u8; 8] = b"tcpffWHO";
const VERSION: u16 = 1;

/// More than the file ever has.
const MAX_BYTES: u64 = 128;

const NAME: &str = "identity";
const NEW_NAME: &str = "identity.new";

/// What every file of a store names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    pub(super) node: NodeId,
    pub(super) store: StoreId,
}

/// The identity, with the file that keeps it.
pub struct IdentityFile<F: Files> {
    files: F,
    folder: PathBuf,
    identity: Identity,
    _lock: Arc<F::Lock>,
}

impl<F: Files> IdentityFile<F> {
    /// Reads it; none where there is none.
    pub(super) fn read(
        files: &F,
        folder: &Path,
        node: NodeId,
    ) -> Result<Option<Identity>, StoreError> {
        let path = path(folder);
        let file = match files.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(StoreError::io("open", &path))?,
        };
        let length = file.length().map_err(StoreError::io("read", &path))?;
        let mut bytes = vec![0; length.min(MAX_BYTES) as usize];
        file.read_at(0, &mut bytes)
            .map_err(StoreError::io("read", &path))?;
        decode(&bytes, &path, node).map(Some)
    }

    /// Writes the first identity of a new store, or takes over the one that was read.
    pub(super) fn new(
        files: F,
        folder: PathBuf,
        identity: Identity,
        lock: Arc<F::Lock>,
    ) -> IdentityFile<F> {
        IdentityFile {
            files,
            folder,
            identity,
            _lock: lock,
        }
    }

    /// What it says.
    pub fn get(&self) -> Identity {
        self.identity
    }

    /// Counts a start. To be called once per process, before the node says anything.
    ///
    /// # Errors
    /// Where that cannot be made durable: the node must not run then.
    pub fn begin_life(&mut self) -> Result<Identity, StoreError> {
        self.replace(Identity {
            start: self.identity.start + 1,
            ..self.identity
        })
    }

    /// Notes the cluster that this store belongs to from now on: that it joins, or that goes on
    /// with its log by an operator's order. Whether it may is for forming to know; one that was
    /// noted before, and of which the log holds nothing, does not bind it.
    ///
    /// # Errors
    /// Where that cannot be made durable.
    pub fn belong_to(&mut self, cluster: ClusterId) -> Result<Identity, StoreError> {
        if self.identity.cluster == Some(cluster) {
            return Ok(self.identity);
        }
        self.replace(Identity {
            cluster: Some(cluster),
            ..self.identity
        })
    }

    /// Makes it durable: at every moment of a crash the old or the new one is there, whole.
    pub(super) fn replace(&mut self, identity: Identity) -> Result<Identity, StoreError> {
        let (path, new) = (path(&self.folder), self.folder.join(NEW_NAME));
        let write = || {
            let file = self.files.create(&new)?;
            file.write_at(0, &encode(&identity))?;
            file.sync()?;
            self.files.rename(&new, &path)?;
            self.files.sync_folder(&self.folder)
        };
        write().map_err(StoreError::io("write", &path))?;
        self.identity = identity;
        Ok(identity)
    }
}

/// The file's path, for messages.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

fn encode(identity: &Identity) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_slice(MAGIC);
    out.put_u16_le(VERSION);
    out.put_u64_le(identity.node.0);
    out.put_u128_le(identity.store.0);
    out.put_u64_le(identity.start);
    codec::put_option(&mut out, identity.cluster.as_ref(), |out, cluster| {
        out.put_u128_le(cluster.0);
    });
    let checksum = crc32fast::hash(&out);
    out.put_u32_le(checksum);
    out
}

fn decode(bytes: &[u8], path: &Path, expected: NodeId) -> Result<Identity, StoreError> {
    let damaged = || StoreError::Damaged {
        path: path.to_owned(),
        offset: 0,
        what: Damage::Head,
    };
    let (fields, checksum) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    let whole = crc32fast::hash(fields).to_le_bytes() == *checksum;
    let mut fields = Bytes::copy_from_slice(fields);
    check_kind(&mut fields, MAGIC, VERSION, path)?.ok_or_else(damaged)?;
    if !whole {
        return Err(damaged());
    }
    let read = |fields: &mut Bytes| {
        let identity = Identity {
            node: NodeId(codec::get_u64(fields)?),
            store: StoreId(codec::get_u128(fields)?),
            start: codec::get_u64(fields)?,
            cluster: codec::get_option(fields, |bytes| codec::get_u128(bytes).map(ClusterId))?,
        };
        codec::finished(fields).map(|()| identity)
    };
    let identity = read(&mut fields).map_err(|_| damaged())?;
    if identity.node != expected {
        return Err(StoreError::ForeignNode {
            path: path.to_owned(),
            found: identity.node,
            expected,
        });
    }
    Ok(identity)
}
