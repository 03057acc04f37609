//! The note of an update at work, in the root of the tree: `/.libcv-updating`.
//!
//! ```text
//!  begin ──> work ──> end: the note goes
//!              └ killed: whoever comes next reads here which images the tree may hold parts of, which names are
//!                temporary, since when content may be half written, and what had changed already
//! ```
//!
//! It is replaced atomically and is on the medium before the first change. It is bound to its directory: a note that
//! came from elsewhere makes nobody's files ours to remove.

use crate::error::{Error, Result};
use crate::image::Hash;
use crate::image::path::UPDATE_MARKER;
use crate::sys::confined::{Links, Root, show};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::fd::AsFd;

const NEXT: &[u8] = b".libcv-updating.new";
/// A tree of a million entries that all change.
const LIMIT: u64 = 256 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    format: u32,
    /// Inode number of the root.
    root: u64,
    /// The images that the tree may hold parts of.
    pub(super) images: Vec<Hash>,
    /// The runs that may have left temporary names.
    pub(super) runs: Vec<u64>,
    /// When the first of them began, as the filesystem tells time.
    pub(super) began: (i64, u32),
    /// Paths whose content was to change, printable: for the verdict of the run that ends it.
    pub(super) changed: Vec<String>,
}

impl Journal {
    /// Begins a run, or goes on with one that did not end. The time is set when it is first stored.
    pub(super) fn new(root: &Root, before: Option<Self>) -> Result<Self> {
        let st = rustix::fs::fstat(root).map_err(|e| io("look at", root, e))?;
        let fresh = Self {
            format: 1,
            root: st.st_ino,
            images: Vec::new(),
            runs: Vec::new(),
            began: NEVER,
            changed: Vec::new(),
        };
        Ok(before.unwrap_or(fresh))
    }

    /// Adds what is not there yet.
    pub(super) fn add(&mut self, images: impl IntoIterator<Item = Hash>, run: u64, changed: Vec<String>) {
        self.images.extend(images);
        self.images.sort_unstable();
        self.images.dedup();
        self.runs.push(run);
        self.changed.extend(changed);
        self.changed.sort_unstable();
        self.changed.dedup();
    }

    /// Puts the note in place, on the medium.
    pub(super) fn store(&mut self, root: &Root) -> Result<()> {
        let failed = |e: Errno| io("write", root, e);
        remove(root, NEXT)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(root, NEXT, flags, Mode::from(0o600)).map_err(failed)?;
        if self.began == NEVER {
            let st = rustix::fs::fstat(&fd).map_err(failed)?;
            self.began = (st.st_ctime, u32::try_from(st.st_ctime_nsec).unwrap_or(0));
        }
        let bytes = serde_json::to_vec(self).map_err(|e| Error::invalid("cannot write the journal").cause(e))?;
        let mut file = std::fs::File::from(fd);
        let written = file.write_all(&bytes).and_then(|()| file.sync_all());
        if let Err(e) = written {
            let _ = remove(root, NEXT);
            return Err(Error::io("write", root.name_of(UPDATE_MARKER), e));
        }
        rustix::fs::renameat(root, NEXT, root, UPDATE_MARKER).map_err(failed)?;
        sync(root)
    }

    /// The note of a run that did not end.
    ///
    /// # Errors
    /// `Integrity` when something of that name is none.
    pub(super) fn find(root: &Root) -> Result<Option<Self>> {
        match rustix::fs::statat(root, UPDATE_MARKER, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(io("look at", root, e)),
            Ok(st) if !FileType::from_raw_mode(st.st_mode).is_file() => return Err(odd(root, "it is no file")),
            Ok(_) => {}
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = root.open_at(UPDATE_MARKER, flags, Mode::empty(), Links::Refuse).map_err(|e| io("open", root, e))?;
        let mut bytes = Vec::new();
        let read = std::fs::File::from(fd).take(LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(|e| Error::io("read", root.name_of(UPDATE_MARKER), e))?;
        if bytes.len() as u64 > LIMIT {
            return Err(odd(root, "it is too long"));
        }
        let journal: Self = serde_json::from_slice(&bytes).map_err(|e| odd(root, &e.to_string()))?;
        if journal.format != 1 {
            return Err(Error::unsupported(format!("a note of an update has format {}", journal.format)));
        }
        let inode = rustix::fs::fstat(root).map_err(|e| io("look at", root, e))?.st_ino;
        if journal.root != inode {
            return Err(odd(root, "it was written for another directory"));
        }
        Ok(Some(journal))
    }

    /// The update has ended.
    pub(super) fn end(root: &Root) -> Result<()> {
        remove(root, NEXT)?;
        remove(root, UPDATE_MARKER)
    }

    /// Whether a name is temporary and of one of the runs.
    pub(super) fn is_temporary(&self, name: &[u8]) -> bool {
        self.runs.iter().any(|run| {
            let front = crate::tree::extract::over::prefix(*run);
            name.strip_prefix(front.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'-'))
        })
    }

    /// Whether content that was written since the first run began may be half on the medium: so it is compared.
    pub(super) fn may_be_half(&self, ctime: (i64, u32)) -> bool {
        ctime >= self.began
    }
}

/// Before there was a time.
const NEVER: (i64, u32) = (i64::MAX, 0);

/// Whether there is a note, whatever it says.
pub(super) fn exists(root: &Root) -> bool {
    rustix::fs::statat(root, UPDATE_MARKER, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn remove(root: &Root, name: &[u8]) -> Result<()> {
    match rustix::fs::unlinkat(root, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(io("remove", root, e)),
    }
}

fn sync(root: &Root) -> Result<()> {
    match rustix::fs::fsync(root.as_fd()) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(e) => Err(io("sync", root, e)),
    }
}

fn io(what: &str, root: &Root, e: Errno) -> Error {
    Error::io(what, root.name_of(UPDATE_MARKER), e)
}

fn odd(root: &Root, why: &str) -> Error {
    let name = root.name_of(UPDATE_MARKER);
    Error::integrity(format!("{name} is not a note of libcv: {why}"))
        .hint("remove it if no update was interrupted here")
        .fact("path", show(name.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_note_is_read_as_it_was_stored_and_only_in_its_own_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::create_dir(&a).unwrap();
        std::fs::create_dir(&b).unwrap();
        let (root, other) = (Root::open(&a).unwrap(), Root::open(&b).unwrap());
        assert!(Journal::find(&root).unwrap().is_none());
        let mut journal = Journal::new(&root, None).unwrap();
        let image = Hash::of(b"image");
        journal.add([image, image], 7, vec!["usr/bin/x".into()]);
        journal.store(&root).unwrap();
        let began = journal.began;
        let mut found = Journal::find(&root).unwrap().unwrap();
        assert_eq!((&found.images, &found.runs, found.began), (&vec![image], &vec![7], began));
        assert!(found.is_temporary(b".cv-0000000000000007-f12") && !found.is_temporary(b".cv-0000000000000008-f12"));
        assert!(!found.is_temporary(b".cv-0000000000000007x") && found.may_be_half(began));
        // The time of the first run stays.
        found.add([Hash::of(b"next")], 8, vec!["etc/y".into()]);
        found.store(&root).unwrap();
        let again = Journal::find(&root).unwrap().unwrap();
        assert_eq!((again.began, again.images.len(), again.runs), (began, 2, vec![7, 8]));
        std::fs::copy(a.join(".libcv-updating"), b.join(".libcv-updating")).unwrap();
        assert_eq!(Journal::find(&other).unwrap_err().kind(), ErrorKind::Integrity);
        Journal::end(&root).unwrap();
        assert!(!exists(&root) && exists(&other));
    }
}
