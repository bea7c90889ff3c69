//! The explorer of the API: Swagger UI out of its archive, without any change.
//!
//! The archive holds the whole project; four files of it are served, two of them its licence and
//! notice. They are unpacked together at the first request for one of them: a node whose explorer
//! nobody opens spends no memory on it.

use std::borrow::Cow;
use std::io::{self, Cursor, Read};
use std::sync::OnceLock;

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

use super::{CSS, SCRIPT, TEXT};

/// Below `/ui/v1/`: name, type, and where the archive has it.
const FILES: [(&str, &str, &str); 4] = [
    ("swagger-ui.css", CSS, "dist/swagger-ui.css"),
    ("swagger-ui.js", SCRIPT, "dist/swagger-ui-bundle.js"),
    ("swagger-ui-license.txt", TEXT, "LICENSE"),
    ("swagger-ui-notice.txt", TEXT, "NOTICE"),
];

/// Most bytes that one of them may have: the archive is bounded like everything else.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// A file of Swagger UI and its type.
pub fn file(name: &str) -> Option<(&'static str, &'static [u8])> {
    let at = FILES.iter().position(|(known, ..)| *known == name)?;
    let bytes = unpacked().get(at)?;
    Some((FILES[at].1, bytes))
}

fn unpacked() -> &'static [Vec<u8>] {
    static UNPACKED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    UNPACKED.get_or_init(|| unpack().expect("the archive in the binary is whole: a test reads it"))
}

/// The files, in the order of [`FILES`].
fn unpack() -> io::Result<Vec<Vec<u8>>> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    let mut files = Vec::new();
    for (_, _, path) in FILES {
        let mut bytes = Vec::new();
        let entry = archive.by_name(&name_of(&archive, path)?)?;
        entry.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        files.push(bytes);
    }
    Ok(files)
}

/// What the archive calls a file: everything is below one directory, whose name has the version.
fn name_of<R: Read + io::Seek>(archive: &ZipArchive<R>, path: &str) -> io::Result<String> {
    let mut names = archive.file_names().flatten();
    let found =
        names.find(|name| matches!(name.split_once('/'), Some((_, below)) if below == path));
    found
        .map(Cow::into_owned)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{path} in the archive")))
}
