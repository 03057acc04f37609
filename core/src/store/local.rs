//! A store in a local directory.
//!
//! Every object is written under `tmp/`, synced, and renamed or linked to its name, and its directory is synced: a
//! crash leaves either nothing or the whole object. A temporary file is locked by the process that writes it, so that
//! the next writer recognises and removes what a killed one left. Nothing but a regular file is ever opened, links are
//! not followed, and nothing is removed that does not carry a name of ours.

mod operation;
mod temporary;

pub use operation::{Observer, Operation};

use super::blob::{BlobStore, BlobWriter, Meta};
use crate::error::{Error, ErrorKind, Result};
use operation::Files;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use temporary::Temporary;

/// The backend of a directory.
pub struct LocalDir {
    files: Files,
    cleaned: Once,
}

impl LocalDir {
    /// The backend of the directory at `root`, which must exist.
    ///
    /// # Errors
    /// `NotFound` when it is not a directory.
    pub fn open(root: &Path) -> Result<Self> {
        Self::new(root, None)
    }

    /// As [`LocalDir::open`]; `observer` is told of every change.
    ///
    /// # Errors
    /// As [`LocalDir::open`].
    pub fn observed(root: &Path, observer: Observer) -> Result<Self> {
        Self::new(root, Some(observer))
    }

    fn new(root: &Path, observer: Option<Observer>) -> Result<Self> {
        if root.is_dir() {
            return Ok(Self { files: Files::new(root, observer), cleaned: Once::new() });
        }
        Err(Error::not_found(format!("{} is not a directory", root.display())).fact("path", root.display().to_string()))
    }

    /// The backend of a directory for a new store: one that is made here, or is empty.
    pub(super) fn make(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root).map_err(|e| Error::io("create", root.display(), e))?;
        if root.join(super::STORE_FILE).exists() {
            return Err(Error::new(ErrorKind::Conflict, format!("{} is a store already", root.display())));
        }
        let mut entries = std::fs::read_dir(root).map_err(|e| Error::io("list", root.display(), e))?;
        let local = Self::open(root)?;
        // A killed `init` leaves its temporary file, and nothing else.
        let foreign = |name: &std::ffi::OsStr| {
            name != "lost+found" && name != super::replica::MARK && (name != "tmp" || !local.only_temporaries())
        };
        if entries.any(|e| e.is_ok_and(|e| foreign(&e.file_name()))) {
            return Err(
                Error::refused(format!("{} is not empty", root.display())).hint("give a new or an empty directory")
            );
        }
        Ok(local)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.files.path(key)
    }

    fn temporary(&self) -> Result<Temporary> {
        Temporary::new(&self.files, &self.cleaned)
    }

    /// Whether `tmp/` is a directory that holds nothing but what a killed writer leaves.
    fn only_temporaries(&self) -> bool {
        temporary::are_all(&self.files)
    }

    fn open_object(&self, key: &str) -> Result<File> {
        let path = self.path(key);
        // NONBLOCK: opening a FIFO would wait for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&path, flags, Mode::empty());
        let file = opened.map_err(|e| match e {
            Errno::LOOP => no_file(key),
            e => missing_or_io("open", &path, e.into()),
        })?;
        let stat = rustix::fs::fstat(&file).map_err(|e| Error::io("look at", path.display(), e))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(File::from(file)),
            _ => Err(no_file(key)),
        }
    }
}

fn no_file(key: &str) -> Error {
    Error::integrity(format!("{key} is not a file")).fact("object", key)
}

impl BlobStore for LocalDir {
    fn get(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        let file = self.open_object(key)?;
        let mut out = Vec::new();
        let n =
            file.take(limit + 1).read_to_end(&mut out).map_err(|e| Error::io("read", self.path(key).display(), e))?;
        if n as u64 > limit {
            return Err(Error::limit(format!("{key} is longer than {limit} bytes")).fact("object", key));
        }
        Ok(out)
    }

    fn get_range(&self, key: &str, offset: u64, buf: &mut [u8]) -> Result<()> {
        let file = self.open_object(key)?;
        file.read_exact_at(buf, offset).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::integrity(format!("{key} is truncated")).fact("object", key),
            _ => Error::io("read", self.path(key).display(), e).fact("offset", offset),
        })
    }

    fn get_now(&self, key: &str, offset: u64, buf: &mut [u8]) -> bool {
        let Ok(file) = self.open_object(key) else { return false };
        let length = buf.len();
        let read = rustix::io::preadv2(&file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT);
        read == Ok(length)
    }

    fn stat(&self, key: &str) -> Result<Option<Meta>> {
        match std::fs::symlink_metadata(self.path(key)) {
            Ok(m) if m.is_file() => Ok(Some(meta(&m))),
            Ok(_) => Err(no_file(key)),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(Error::io("look at", self.path(key).display(), e)),
        }
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let mut w = self.temporary()?;
        w.append(bytes)?;
        Box::new(w).finish(key)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let mut w = self.temporary()?;
        w.append(bytes)?;
        w.create(key)
    }

    fn writer(&self) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(self.temporary()?))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let dir = self.path(prefix);
        let entries = match std::fs::read_dir(&dir) {
            Ok(d) => d,
            Err(e) if is_absent(&e) => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("list", dir.display(), e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("list", dir.display(), e))?;
            names.extend(entry.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn walk(&self, prefix: &str) -> Result<Vec<(String, Meta)>> {
        let (mut out, mut directories) = (Vec::new(), vec![prefix.to_owned()]);
        while let Some(dir) = directories.pop() {
            for name in self.list(&dir)? {
                let key = format!("{dir}/{name}");
                match std::fs::symlink_metadata(self.path(&key)) {
                    Ok(m) if m.is_dir() => directories.push(key),
                    Ok(m) if m.is_file() => out.push((key, meta(&m))),
                    // What is neither is nothing of ours; what has gone meanwhile is gone.
                    Ok(_) => {}
                    Err(e) if is_absent(&e) => {}
                    Err(e) => return Err(Error::io("look at", self.path(&key).display(), e)),
                }
            }
        }
        out.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(out)
    }

    fn delete_all(&self, keys: &[String]) -> Result<()> {
        let mut directories = BTreeSet::new();
        for path in keys.iter().map(|key| self.path(key)) {
            if self.files.remove(&path)? {
                directories.extend(path.parent().map(Path::to_owned));
            }
        }
        directories.iter().try_for_each(|dir| self.files.sync_directory(dir))
    }

    fn place(&self) -> String {
        self.files.root().display().to_string()
    }

    fn directory(&self) -> Option<&Path> {
        Some(self.files.root())
    }
}

fn meta(m: &std::fs::Metadata) -> Meta {
    // When it got its name, not when its bytes were written: a sync may lie in between.
    let ms = m.ctime().saturating_mul(1000).saturating_add(m.ctime_nsec() / 1_000_000);
    Meta { size: m.len(), modified: u64::try_from(ms).unwrap_or(0) }
}

/// Nothing is there; a file in the place of a directory counts so.
fn is_absent(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn missing_or_io(what: &str, path: &Path, e: std::io::Error) -> Error {
    if is_absent(&e) {
        return Error::not_found(format!("{} does not exist", path.display())).fact("path", path.display().to_string());
    }
    Error::io(what, path.display(), e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_is_a_compare_and_swap() {
        let tmp = tempfile::tempdir().unwrap();
        let s = LocalDir::open(tmp.path()).unwrap();
        s.create("refs/a/1", b"one").unwrap();
        assert_eq!(s.create("refs/a/1", b"two").unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(s.get("refs/a/1", 10).unwrap(), b"one");
        s.put("refs/a/1", b"three").unwrap();
        assert_eq!(s.get("refs/a/1", 10).unwrap(), b"three");
        assert_eq!(s.get("refs/a/1", 2).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(s.get("refs/b/1", 2).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(s.list("refs").unwrap(), ["a"]);
        assert!(s.list("tmp").unwrap().is_empty());
        s.put("refs/b/x/2", b"four").unwrap();
        let keys: Vec<_> = s.walk("refs").unwrap().into_iter().map(|(key, m)| (key, m.size)).collect();
        assert_eq!(keys, [("refs/a/1".to_owned(), 5), ("refs/b/x/2".to_owned(), 4)]);
        assert!(s.walk("images").unwrap().is_empty());
        let written = |key| s.stat(key).unwrap().unwrap().modified;
        assert!(written("refs/a/1") <= written("refs/b/x/2"));
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_a_live_one_kept() {
        let tmp = tempfile::tempdir().unwrap();
        let s = LocalDir::open(tmp.path()).unwrap();
        let live = s.writer().unwrap();
        std::fs::write(tmp.path().join("tmp/1-00000000deadbeef"), "x").unwrap();
        std::fs::write(tmp.path().join("tmp/mine"), "x").unwrap();
        let next = LocalDir::open(tmp.path()).unwrap();
        drop(next.writer().unwrap());
        assert_eq!(s.list("tmp").unwrap().len(), 2);
        live.finish("packs/aa/x").unwrap();
        assert_eq!(s.list("tmp").unwrap(), ["mine"]);
    }

    #[test]
    fn writers_that_begin_together_do_not_clean_each_other_away() {
        let tmp = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for t in 0..8 {
                let root = tmp.path();
                scope.spawn(move || {
                    for n in 0..200 {
                        // Each is a writer of its own, and cleans first.
                        let s = LocalDir::open(root).unwrap();
                        s.put(&format!("packs/{t}/{n}"), b"x").unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn nothing_outside_is_removed_and_a_fifo_does_not_hang() {
        let (tmp, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(other.path().join("1-00000000deadbeef"), "x").unwrap();
        std::os::unix::fs::symlink(other.path(), tmp.path().join("tmp")).unwrap();
        let s = LocalDir::open(tmp.path()).unwrap();
        assert!(s.writer().is_err());
        assert!(other.path().join("1-00000000deadbeef").exists());
        let fifo = tmp.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tmp.path().join("link")).unwrap();
        for key in ["fifo", "link"] {
            assert_eq!(s.get(key, 1 << 20).unwrap_err().kind(), ErrorKind::Integrity);
            assert_eq!(s.size(key).unwrap_err().kind(), ErrorKind::Integrity);
        }
    }
}
