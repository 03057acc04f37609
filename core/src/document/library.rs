//! Where the documents lie that others extend: beside the document, in directories, or in the hands of the caller.

use super::extends::Found;
use super::node::TEXT_LIMIT;
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Endings of files with documents, in the order in which they are tried.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The document of this name: out of those that are given, from the directory of the one that names it, or from one to
/// search.
pub(crate) fn find(
    name: &str,
    beside: Option<&Path>,
    given: &BTreeMap<String, Vec<u8>>,
    search: &[PathBuf],
) -> std::result::Result<Option<Found>, String> {
    if let Some(bytes) = given.get(name) {
        return Ok(Some(Found { name: name.to_owned(), directory: None, bytes: bytes.clone() }));
    }
    for directory in beside.into_iter().chain(search.iter().map(PathBuf::as_path)) {
        for ending in ENDINGS {
            let path = directory.join(format!("{name}.{ending}"));
            match read_document(&path, "document") {
                Ok(bytes) => {
                    let (name, directory) = (path.display().to_string(), Some(directory.to_owned()));
                    return Ok(Some(Found { name, directory, bytes }));
                }
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e.message().to_owned()),
            }
        }
    }
    Ok(None)
}

/// A document file, of which no more than the limit is read; `what` it is, for the message.
pub(crate) fn read_document(path: &Path, what: &str) -> Result<Vec<u8>> {
    use std::io::Read;
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is no {what} at {}", path.display())),
        _ => Error::io("read", path.display(), e),
    };
    // NONBLOCK: a FIFO that nobody writes to would be waited for.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|e| failed(e.into()))?;
    let file = std::fs::File::from(fd);
    let mut bytes = Vec::new();
    file.take(TEXT_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
