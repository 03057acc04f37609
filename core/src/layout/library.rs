//! Where the documents lie that others extend: beside the document, in directories, or in the hands of the caller.

use super::document::TEXT_LIMIT;
use super::extends::Found;
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Endings of files with documents, in the order in which they are tried.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Where documents are looked for that another one extends.
#[derive(Clone, Debug, Default)]
pub struct LayoutOptions {
    /// Directories, searched in this order when a document is not beside the one that names it.
    pub search: Vec<PathBuf>,
    /// Documents by name that need not be searched for; they go before files.
    pub documents: BTreeMap<String, Vec<u8>>,
}

impl LayoutOptions {
    /// The document of this name, from the directory of the one that names it, or from one to search.
    pub(super) fn find(&self, name: &str, beside: Option<&Path>) -> std::result::Result<Option<Found>, String> {
        if let Some(bytes) = self.documents.get(name) {
            return Ok(Some(Found { name: name.to_owned(), directory: None, bytes: bytes.clone() }));
        }
        for directory in beside.into_iter().chain(self.search.iter().map(PathBuf::as_path)) {
            for ending in ENDINGS {
                let path = directory.join(format!("{name}.{ending}"));
                match read_document(&path) {
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
}

/// A document file, of which no more than the limit is read.
pub(crate) fn read_document(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is no layout at {}", path.display())),
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
