//! Files of a tree by their paths, wherever they are: on a medium, in a directory, in the store.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::confined::show;

/// Files of a tree.
pub(super) trait Files {
    /// Tells all paths, in the order of their bytes.
    fn each(&self, each: &mut dyn FnMut(&[u8]));

    /// The size of a file; `None` where there is none.
    fn size(&self, path: &str) -> Option<u64>;

    /// The content of a file that is there.
    fn content(&self, path: &str) -> Result<Vec<u8>>;

    /// The content of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// `NotFound`; `Limit` when it is longer.
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>> {
        match self.size(path) {
            None => Err(Error::not_found(format!("/{} is not there", show(path.as_bytes())))),
            Some(n) if n > limit => {
                Err(Error::limit(format!("/{} has {n} bytes, more than {limit}", show(path.as_bytes()))))
            }
            Some(_) => self.content(path),
        }
    }

    /// As [`Files::read`], `None` where there is no such file.
    fn read_if(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.read(path, limit) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            done => done.map(Some),
        }
    }
}

/// Joins two relative paths of which the first may be empty.
pub(super) fn join(directory: &str, path: &str) -> String {
    if directory.is_empty() { path.to_owned() } else { format!("{directory}/{path}") }
}
