//! A file under `tmp/` that will get its name when it is whole.

use super::operation::{Files, Operation};
use crate::error::{Error, ErrorKind, Result};
use crate::store::blob::BlobWriter;
use crate::sys::clock;
use crate::sys::lock::Lock;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Once;

const DIR: &str = "tmp";

/// A file under `tmp/`, removed when it is dropped without a name.
pub(super) struct Temporary {
    files: Files,
    dir: OwnedFd,
    path: PathBuf,
    file: File,
    named: bool,
}

impl Temporary {
    /// An empty one. The first one of a handle removes what killed writers left.
    pub(super) fn new(files: &Files, cleaned: &Once) -> Result<Self> {
        let tmp = files.path(DIR);
        if !tmp.is_dir() {
            files.make_directories(&tmp)?;
        }
        let dir = open(files).map_err(|e| Error::io("open", tmp.display(), e))?;
        cleaned.call_once(|| clean(files, &dir));
        loop {
            let name = format!("{}-{:016x}", std::process::id(), clock::random_u64());
            let path = tmp.join(&name);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let failed = |e| Error::io("create", path.display(), e);
            let fd = rustix::fs::openat(&dir, &name, flags, Mode::from(0o644)).map_err(failed)?;
            files.tell(|r| Operation::Create(r(&path)));
            // The lock says that somebody is at work here; a filesystem without locks merely is not cleaned. Before it
            // was taken another writer may have cleaned this file away.
            let locked = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive);
            let there = rustix::fs::fstat(&fd).map_err(failed)?.st_nlink > 0;
            if there && locked != Err(Errno::WOULDBLOCK) {
                return Ok(Self { files: files.clone(), dir, path, file: File::from(fd), named: false });
            }
        }
    }

    /// Makes the content durable, and the directory of the name that it will get.
    fn prepare(&self, target: &Path) -> Result<PathBuf> {
        self.files.sync_file(&self.file, &self.path)?;
        let dir = target.parent().unwrap_or(self.files.root()).to_owned();
        self.files.make_directories(&dir)?;
        Ok(dir)
    }

    /// Gives it a name that nothing has yet.
    pub(super) fn create(self, key: &str) -> Result<()> {
        let target = self.files.path(key);
        let dir = self.prepare(&target)?;
        if self.files.link(&self.dir, &self.path, &target)? {
            return self.files.sync_directory(&dir);
        }
        Err(Error::new(ErrorKind::Conflict, format!("{key} exists already")).fact("object", key))
    }
}

impl BlobWriter for Temporary {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.files.append(&mut self.file, &self.path, bytes)
    }

    fn finish(mut self: Box<Self>, key: &str) -> Result<()> {
        let target = self.files.path(key);
        let dir = self.prepare(&target)?;
        self.files.rename(&self.dir, &self.path, &target)?;
        self.named = true;
        self.files.sync_directory(&dir)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.named {
            self.files.remove_at(&self.dir, &self.path);
        }
    }
}

/// Whether `tmp/` is a directory that holds nothing but what a killed writer leaves.
pub(super) fn are_all(files: &Files) -> bool {
    let names = open(files).and_then(|dir| names(&dir));
    names.is_ok_and(|names| names.iter().all(|n| is_temporary(n)))
}

fn open(files: &Files) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(files.path(DIR), flags, Mode::empty())
}

/// Removes what killed writers left in `tmp/`.
fn clean(files: &Files, dir: &OwnedFd) {
    for name in names(dir).unwrap_or_default().iter().filter(|n| is_temporary(n)) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(dir, name, flags, Mode::empty()) else { continue };
        let regular = rustix::fs::fstat(&file).is_ok_and(|s| FileType::from_raw_mode(s.st_mode).is_file());
        if regular && let Ok(Ok(_held)) = Lock::take(file) {
            files.remove_at(dir, &files.path(DIR).join(name));
        }
    }
}

fn names(dir: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut out = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if name != "." && name != ".." {
            out.push(name.into_owned());
        }
    }
    Ok(out)
}

/// Whether this is a name of a temporary file: process and 16 hex digits.
fn is_temporary(name: &str) -> bool {
    name.split_once('-').is_some_and(|(process, random)| {
        !process.is_empty()
            && process.bytes().all(|b| b.is_ascii_digit())
            && random.len() == 16
            && random.bytes().all(|b| b.is_ascii_hexdigit())
    })
}
