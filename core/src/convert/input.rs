//! What is imported, told by content and never by name.

use super::bring::{ImportOptions, Imported};
use super::oci::layout::Layout;
use super::{oci, squashfs, tar};
use crate::error::{Error, Result};
use crate::job::Task;
use crate::store::Store;
use std::fs::File;
use std::io::{Cursor, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Imports what is at `path` as the next generation of `name`: a tar archive (plain, gzip, zstd), an OCI image layout
/// (a directory, or one in a plain tar archive), an archive of `docker save`, or a squashfs. The tree stands for the
/// root: nothing is generalised. A tar archive may come through a pipe.
///
/// # Errors
/// `NotFound`; `Integrity` for a wrong digest, or what is truncated or cannot be parsed; `UnsafeInput` when something
/// breaks a rule; `Limit` when it is too large; `Unsupported` for what is not read, or when a program is missing;
/// `Cancelled`. Nothing is then published.
pub fn import(
    store: &Store,
    path: impl AsRef<Path>,
    name: &str,
    options: &ImportOptions,
    task: &Task,
) -> Result<Imported> {
    let path = path.as_ref();
    super::bring::check(store, name, options)?;
    let file = File::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is nothing at {}", path.display())),
        _ => Error::io("open", path.display(), e),
    })?;
    let kind = file.metadata().map_err(|e| Error::io("look at", path.display(), e))?.file_type();
    if kind.is_dir() {
        return oci::import::import(store, &Layout::directory(path)?, name, options, task);
    }
    let mut front = [0; 4];
    if !kind.is_file() {
        return piped(store, file, name, options, task);
    }
    let n = file.read_at(&mut front, 0).map_err(|e| Error::io("read", path.display(), e))?;
    if &front[..n] == squashfs::MAGIC {
        // Of stdin, where it really is.
        let path = path.canonicalize().map_err(|e| Error::io("find", path.display(), e))?;
        return squashfs::import(store, &path, name, options, task);
    }
    match Layout::archive(&file)? {
        Some(layout) => oci::import::import(store, &layout, name, options, task),
        None => tar::import(store, file, name, options, task),
    }
}

/// What cannot be read twice.
fn piped(store: &Store, mut file: File, name: &str, options: &ImportOptions, task: &Task) -> Result<Imported> {
    let mut front = Vec::new();
    let read = (&mut file).take(squashfs::MAGIC.len() as u64).read_to_end(&mut front);
    read.map_err(|e| Error::io("read", "the archive", e))?;
    if front == squashfs::MAGIC {
        return Err(Error::unsupported("a squashfs is not read from a pipe").hint("give it as a file"));
    }
    tar::import(store, Cursor::new(front).chain(file), name, options, task)
}
