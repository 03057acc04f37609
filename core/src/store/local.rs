//! A store in a local directory.
//!
//! Every object is written under `tmp/`, synced, and renamed or linked to its name, and its directory is synced: a
//! crash leaves either nothing or the whole object. A temporary file is locked by the process that writes it, so that
//! the next writer recognises and removes what a killed one left.

use super::blob::{BlobStore, BlobWriter};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::clock;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The backend of a directory.
pub struct LocalDir {
    root: PathBuf,
}

impl LocalDir {
    /// The backend of the directory at `root`, which must exist.
    ///
    /// # Errors
    /// `NotFound` when it is not a directory.
    pub fn open(root: &Path) -> Result<Self> {
        if root.is_dir() {
            return Ok(Self { root: root.to_owned() });
        }
        Err(Error::not_found(format!("{} is not a directory", root.display())).fact("path", root.display().to_string()))
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    fn temporary(&self) -> Result<Temporary> {
        let dir = self.root.join("tmp");
        if !dir.is_dir() {
            make_directories(&self.root, &dir)?;
        }
        let path = dir.join(format!("{}-{:016x}", std::process::id(), clock::random_u64()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd =
            rustix::fs::open(&path, flags, Mode::from(0o644)).map_err(|e| Error::io("create", path.display(), e))?;
        // The lock says that somebody is at work here; where the filesystem has none, the file is merely not cleaned.
        let _ = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive);
        Ok(Temporary { root: self.root.clone(), path, file: File::from(fd), named: false })
    }

    /// Removes what killed writers left in `tmp/`.
    pub fn clean(&self) {
        let Ok(dir) = std::fs::read_dir(self.root.join("tmp")) else { return };
        for entry in dir.flatten() {
            let Ok(file) = File::open(entry.path()) else { continue };
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn open_object(&self, key: &str) -> Result<File> {
        let path = self.path(key);
        File::open(&path).map_err(|e| missing_or_io("open", &path, e))
    }
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

    fn size(&self, key: &str) -> Result<Option<u64>> {
        match std::fs::metadata(self.path(key)) {
            Ok(m) => Ok(Some(m.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
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
        w.sync()?;
        let target = self.path(key);
        let dir = w.directory_of(&target)?;
        let linked = rustix::fs::linkat(rustix::fs::CWD, &w.path, rustix::fs::CWD, &target, AtFlags::empty());
        match linked {
            Ok(()) => sync_directory(&dir),
            Err(rustix::io::Errno::EXIST) => {
                Err(Error::new(ErrorKind::Conflict, format!("{key} exists already")).fact("object", key))
            }
            Err(e) => Err(Error::io("name", target.display(), e)),
        }
    }

    fn writer(&self) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(self.temporary()?))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let dir = self.path(prefix);
        let entries = match std::fs::read_dir(&dir) {
            Ok(d) => d,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
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

    fn delete(&self, key: &str) -> Result<()> {
        match std::fs::remove_file(self.path(key)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", self.path(key).display(), e)),
            _ => Ok(()),
        }
    }

    fn place(&self) -> String {
        self.root.display().to_string()
    }
}

/// A file under `tmp/`, removed when it is dropped without a name.
struct Temporary {
    root: PathBuf,
    path: PathBuf,
    file: File,
    named: bool,
}

impl Temporary {
    fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::io("sync", self.path.display(), e))
    }

    fn directory_of(&self, target: &Path) -> Result<PathBuf> {
        let dir = target.parent().unwrap_or(&self.root).to_owned();
        if !dir.is_dir() {
            make_directories(&self.root, &dir)?;
        }
        Ok(dir)
    }
}

impl BlobWriter for Temporary {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Error::io("write", self.path.display(), e))
    }

    fn finish(mut self: Box<Self>, key: &str) -> Result<()> {
        self.sync()?;
        let target = self.root.join(key);
        let dir = self.directory_of(&target)?;
        std::fs::rename(&self.path, &target).map_err(|e| Error::io("name", target.display(), e))?;
        self.named = true;
        sync_directory(&dir)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.named {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes `dir` and what is missing above it beneath `root`, each durably.
fn make_directories(root: &Path, dir: &Path) -> Result<()> {
    let parent = dir.parent().unwrap_or(root);
    if parent != root && !parent.is_dir() {
        make_directories(root, parent)?;
    }
    match std::fs::create_dir(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::io("create", dir.display(), e)),
        _ => sync_directory(parent),
    }
}

fn sync_directory(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|f| f.sync_all());
    synced.map_err(|e| Error::io("sync", dir.display(), e))
}

fn missing_or_io(what: &str, path: &Path, e: std::io::Error) -> Error {
    if e.kind() == std::io::ErrorKind::NotFound {
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
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_a_live_one_kept() {
        let tmp = tempfile::tempdir().unwrap();
        let s = LocalDir::open(tmp.path()).unwrap();
        let live = s.writer().unwrap();
        std::fs::write(tmp.path().join("tmp/1-dead"), "x").unwrap();
        s.clean();
        assert_eq!(s.list("tmp").unwrap().len(), 1);
        live.finish("packs/aa/x").unwrap();
        assert!(s.list("tmp").unwrap().is_empty());
    }
}
