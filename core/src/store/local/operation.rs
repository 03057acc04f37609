//! What a store does to its directory, one operation after the other: everything that changes something goes through
//! here, so that a test can record it, and build the states in which a crash may leave the disk.

use crate::error::{Error, Result};
use rustix::fs::{AtFlags, CWD};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A change of a directory tree. Paths are relative to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An empty file was made.
    Create(PathBuf),
    /// Bytes were appended to a file.
    Append(PathBuf, Vec<u8>),
    /// A file's content was made durable.
    SyncFile(PathBuf),
    /// A file got another name, in the place of whatever had it.
    Rename(PathBuf, PathBuf),
    /// A file got one more name.
    Link(PathBuf, PathBuf),
    /// A name was removed.
    Remove(PathBuf),
    /// A directory was made.
    MakeDirectory(PathBuf),
    /// The names of a directory were made durable.
    SyncDirectory(PathBuf),
}

/// Called after each operation has succeeded.
pub type Observer = Arc<dyn Fn(Operation) + Send + Sync>;

/// The directory of a store.
#[derive(Clone)]
pub(super) struct Files(Arc<Inner>);

struct Inner {
    root: PathBuf,
    observer: Option<Observer>,
    /// Directories whose own names are known to be durable. That one is there says nothing: whoever made it may have been
    /// killed before.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Files {
    pub(super) fn new(root: &Path, observer: Option<Observer>) -> Self {
        Self(Arc::new(Inner { root: root.to_owned(), observer, durable: Mutex::default() }))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0.root
    }

    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.0.root.join(key)
    }

    /// Tells of an operation; `make` is called only when somebody listens.
    pub(super) fn tell(&self, make: impl FnOnce(&dyn Fn(&Path) -> PathBuf) -> Operation) {
        if let Some(observer) = &self.0.observer {
            observer(make(&|p| p.strip_prefix(&self.0.root).unwrap_or(p).to_owned()));
        }
    }

    pub(super) fn append(&self, file: &mut File, path: &Path, bytes: &[u8]) -> Result<()> {
        file.write_all(bytes).map_err(|e| Error::io("write", path.display(), e))?;
        self.tell(|r| Operation::Append(r(path), bytes.to_vec()));
        Ok(())
    }

    pub(super) fn sync_file(&self, file: &File, path: &Path) -> Result<()> {
        file.sync_all().map_err(|e| Error::io("sync", path.display(), e))?;
        self.tell(|r| Operation::SyncFile(r(path)));
        Ok(())
    }

    /// Names the file `from` of the open directory `dir`.
    pub(super) fn rename(&self, dir: &OwnedFd, from: &Path, to: &Path) -> Result<()> {
        rustix::fs::renameat(dir, name(from), CWD, to).map_err(|e| Error::io("name", to.display(), e))?;
        self.tell(|r| Operation::Rename(r(from), r(to)));
        Ok(())
    }

    /// Gives the file `from` of the open directory `dir` one more name; false when the name is taken.
    pub(super) fn link(&self, dir: &OwnedFd, from: &Path, to: &Path) -> Result<bool> {
        match rustix::fs::linkat(dir, name(from), CWD, to, AtFlags::empty()) {
            Ok(()) => self.tell(|r| Operation::Link(r(from), r(to))),
            Err(rustix::io::Errno::EXIST) => return Ok(false),
            Err(e) => return Err(Error::io("name", to.display(), e)),
        }
        Ok(true)
    }

    /// Removes the file `path` of the open directory `dir`.
    pub(super) fn remove_at(&self, dir: &OwnedFd, path: &Path) {
        if rustix::fs::unlinkat(dir, name(path), AtFlags::empty()).is_ok() {
            self.tell(|r| Operation::Remove(r(path)));
        }
    }

    /// Removes a name; false when there was none.
    pub(super) fn remove(&self, path: &Path) -> Result<bool> {
        match std::fs::remove_file(path) {
            Ok(()) => self.tell(|r| Operation::Remove(r(path))),
            Err(e) if super::is_absent(&e) => return Ok(false),
            Err(e) => return Err(Error::io("remove", path.display(), e)),
        }
        Ok(true)
    }

    /// Makes `dir` and what is missing above it, each durably.
    pub(super) fn make_directories(&self, dir: &Path) -> Result<()> {
        let durable = || self.0.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if dir == self.root() || (durable().contains(dir) && dir.is_dir()) {
            return Ok(());
        }
        let parent = dir.parent().unwrap_or(self.root());
        self.make_directories(parent)?;
        match std::fs::create_dir(dir) {
            Ok(()) => self.tell(|r| Operation::MakeDirectory(r(dir))),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io("create", dir.display(), e)),
        }
        self.sync_directory(parent)?;
        durable().insert(dir.to_owned());
        Ok(())
    }

    pub(super) fn sync_directory(&self, dir: &Path) -> Result<()> {
        let synced = File::open(dir).and_then(|f| f.sync_all());
        synced.map_err(|e| Error::io("sync", dir.display(), e))?;
        self.tell(|r| Operation::SyncDirectory(r(dir)));
        Ok(())
    }
}

fn name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}
