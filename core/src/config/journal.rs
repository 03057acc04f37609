//! The note that makes a set of changes all or nothing, also over a kill or a power cut.
//!
//! ```text
//!  prepare ──> commit ──> done ──> (no journal)
//!     │          │          └ found later: take away the backups
//!     │          └ found later: put every target back, then take away what is left
//!     └ found later: no target was touched; take away temporaries and new directories
//! ```
//!
//! It stands in the root as `/.cv-config.journal` and is replaced atomically. It comes from a root that nobody
//! vouches for, so reading it is as strict as reading any input, and all it can name are entries of that root.

use super::draft::{Change, Node};
use super::{ConfigError, display, failed};
use crate::error::{Error, Result};
use crate::sys::clock;
use crate::sys::confined::{Links, Root};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::fd::AsFd;

/// What the names of everything temporary begin with.
pub(super) const PREFIX: &str = ".cv-";
const NAME: &str = ".cv-config.journal";
const NEXT: &str = ".cv-config.journal.new";
const LIMIT: u64 = 32 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    Prepare,
    Commit,
    Done,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    format: u32,
    pub(super) stage: Stage,
    /// Directories that are made, parents first.
    pub(super) directories: Vec<String>,
    pub(super) swaps: Vec<Swap>,
}

/// A temporary that takes the place of a target.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Swap {
    /// Resolved name in the root.
    pub(super) target: String,
    /// Name of the temporary, beside the target.
    pub(super) new: String,
    /// Name of the backup, beside the target; a target that is new has none.
    pub(super) old: Option<String>,
    /// Inode of the temporary, so that a foreign file is never taken for ours.
    pub(super) inode: u64,
}

impl Swap {
    pub(super) fn path(&self) -> &[u8] {
        self.target.as_bytes()
    }
}

impl Journal {
    /// Everything that is going to happen, before any of it does.
    pub(super) fn plan(changes: &[Change]) -> Result<Self> {
        let run = clock::random_u64();
        let (mut directories, mut swaps) = (Vec::new(), Vec::new());
        for change in changes {
            let text = std::str::from_utf8(&change.path);
            let target = text.map_err(|_| ConfigError::Unsupported {
                what: format!("{}, which is not UTF-8, as a target", display(&change.path)),
            })?;
            if change.after == Node::Directory {
                directories.push(target.to_owned());
                continue;
            }
            let stem = format!("{PREFIX}{run:016x}-{}", swaps.len());
            let old = change.existed.then(|| format!("{stem}.old"));
            swaps.push(Swap { target: target.to_owned(), new: format!("{stem}.new"), old, inode: 0 });
        }
        Ok(Self { format: 1, stage: Stage::Prepare, directories, swaps })
    }

    /// The same journal at another stage.
    pub(super) fn at(&self, stage: Stage) -> Self {
        Self { stage, ..self.clone() }
    }

    /// Replaces the journal in the root. Once the new one is in place it counts, whatever fails afterwards.
    pub(super) fn store(&self, root: &Root) -> Result<()> {
        let io = |e: Errno| failed("write", NAME.as_bytes(), e);
        remove(root, NEXT)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let fd = root.open_at(NEXT.as_bytes(), flags, Mode::RUSR | Mode::WUSR, Links::Refuse).map_err(io)?;
        let mut file = std::fs::File::from(fd);
        let bytes = serde_json::to_vec(self).map_err(|e| Error::invalid("cannot write the journal").cause(e))?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .map_err(|e| Error::io("write", display(NAME.as_bytes()), e))?;
        rustix::fs::renameat(root, NEXT, root, NAME).map_err(io)?;
        sync_root(root)
    }

    /// The journal that an earlier run left.
    pub(super) fn find(root: &Root) -> Result<Option<Self>> {
        let io = |e: Errno| failed("read", NAME.as_bytes(), e);
        remove(root, NEXT)?;
        let odd = |why: &str| {
            Error::integrity(format!("{} is not a journal of libcv: {why}", display(NAME.as_bytes())))
                .hint("remove it if no configuration was interrupted here")
                .fact("path", display(NAME.as_bytes()))
        };
        match rustix::fs::statat(root, NAME, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            Ok(st) if FileType::from_raw_mode(st.st_mode) != FileType::RegularFile => return Err(odd("it is no file")),
            Ok(_) => {}
            Err(e) => return Err(io(e)),
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = root.open_at(NAME.as_bytes(), flags, Mode::empty(), Links::Refuse).map_err(io)?;
        let mut bytes = Vec::new();
        let read = std::fs::File::from(fd).take(LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(|e| Error::io("read", display(NAME.as_bytes()), e))?;
        if bytes.len() as u64 > LIMIT {
            return Err(odd("it is too long"));
        }
        let journal: Self = serde_json::from_slice(&bytes).map_err(|e| odd(&e.to_string()))?;
        let mine = |name: &str| name.starts_with(PREFIX) && !name.contains(['/', '\0']);
        let clean = |path: &str| !path.contains('\0') && path.split('/').all(|c| !matches!(c, "" | "." | ".."));
        if journal.format != 1 {
            return Err(ConfigError::Unsupported { what: format!("a journal of format {}", journal.format) }.into());
        }
        let swaps = journal.swaps.iter().all(|s| clean(&s.target) && mine(&s.new) && s.old.iter().all(|o| mine(o)));
        if !swaps || !journal.directories.iter().all(|d| clean(d)) {
            return Err(odd("it names what no run makes"));
        }
        Ok(Some(journal))
    }

    /// Takes the journal away: the very last step of a run, or of undoing one.
    pub(super) fn remove(root: &Root) -> Result<()> {
        remove(root, NEXT)?;
        remove(root, NAME)?;
        sync_root(root)
    }
}

fn remove(root: &Root, name: &str) -> Result<()> {
    match rustix::fs::unlinkat(root, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(failed("remove", name.as_bytes(), e)),
    }
}

fn sync_root(root: &Root) -> Result<()> {
    match rustix::fs::fsync(root.as_fd()) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(e) => Err(failed("sync", b"", e)),
    }
}
