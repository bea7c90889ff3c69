//! An operator's order to go on with a log as another cluster: whether it was carried out whole.
//!
//! The store takes the new cluster's id first, so that the old one is not split, and the entry
//! that cuts the membership down next. Where the node dies in between, the log of the old cluster
//! stands under the new id. What was ordered is noted before both, so that a start can tell.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes};

use crate::codec::{self, Malformed};
use crate::ids::{ClusterId, Index};
use crate::store::files::{Files, OpenFile};

const NAME: &str = "order";
const NEW_NAME: &str = "order.new";

/// Bytes of the note: cluster, index, checksum.
const BYTES: usize = 28;

/// Notes durably that the log is about to go on as this cluster, with an entry at `index`.
pub(super) fn note<F: Files>(
    files: &F,
    folder: &Path,
    cluster: ClusterId,
    index: Index,
) -> Result<(), String> {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.put_u128_le(cluster.0);
    bytes.put_u64_le(index.0);
    let checksum = crc32fast::hash(&bytes);
    bytes.put_u32_le(checksum);
    let (path, new) = (folder.join(NAME), folder.join(NEW_NAME));
    let write = || {
        let file = files.create(&new)?;
        file.write_at(0, &bytes)?;
        file.sync()?;
        files.rename(&new, &path)?;
        files.sync_folder(folder)
    };
    write().map_err(|error: io::Error| format!("cannot write {}: {error}", path.display()))
}

/// Whether the store of this cluster, whose log ends here, lacks the entry that was ordered.
pub(super) fn is_unfinished<F: Files>(
    files: &F,
    folder: &Path,
    cluster: ClusterId,
    last: Index,
) -> Result<bool, (PathBuf, io::Error)> {
    let path = folder.join(NAME);
    let read = || -> io::Result<_> {
        let mut bytes = [0; BYTES];
        files.open(&path)?.read_at(0, &mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err((path, error)),
        Ok(bytes) => {
            let noted = decode(&bytes);
            // An order for another cluster was not begun, or is long past.
            Ok(noted.is_ok_and(|(ordered, index)| ordered == cluster && last < index))
        }
    }
}

fn decode(bytes: &[u8; BYTES]) -> Result<(ClusterId, Index), Malformed> {
    let (fields, checksum) = bytes.split_at(BYTES - 4);
    if crc32fast::hash(fields).to_le_bytes() != checksum {
        return Err(Malformed::Truncated);
    }
    let mut fields = Bytes::copy_from_slice(fields);
    let cluster = ClusterId(codec::get_u128(&mut fields)?);
    Ok((cluster, Index(codec::get_u64(&mut fields)?)))
}
