//! A distribution as files in a directory, for programs that read `file://`.
//!
//! ```text
//!  Metadata ──> dir/tree/BaseOS/repodata/…   dir/keys/FINGERPRINT.asc      a few MB: enough to resolve
//!  Packages ──> dir/tree/BaseOS/Packages/…   those that were resolved
//! ```
//!
//! A build lays out the metadata, lets the package manager resolve, and lays out the packages that it wants: a DVD has
//! 10 GB, a node takes half of one.

use super::Distro;
#[cfg(doc)]
use super::Repository;
use super::files::join;
use super::stored::Stored;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::{ChunkSet, Content, Item, path};
use crate::job::{Failure, Task};
use crate::store::ChunkSource;
use crate::sys::confined::{Links, Root, show};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Files that a thread takes at once: neighbours lie in the same blocks.
const RUN: usize = 16;

/// What is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// `repodata` of each repository, and the keys.
    Metadata,
    /// These files, by their paths in the tree: [`Repository::place_of`] a package.
    Files(Vec<String>),
    /// All of it.
    All,
}

/// Where things are.
#[derive(Clone, Debug)]
pub struct LaidOut {
    /// Id and directory of each repository.
    pub repositories: Vec<(String, PathBuf)>,
    /// A file for each key.
    pub keys: Vec<PathBuf>,
    /// Files that were written.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Distro {
    /// Lays files of the distribution out beneath `dir`, which is there and belongs to the caller. A file that is there
    /// already stays; it may be called again with another selection.
    ///
    /// # Errors
    /// `NotFound` when the distribution has no such file; `Integrity` when it is damaged; `Limit` when there is no room;
    /// `Cancelled`.
    pub fn lay_out(&self, dir: &Path, selection: &Selection, threads: usize, task: &Task) -> Result<LaidOut> {
        let stored = Stored::of(self.image())?;
        let wanted = wanted(self, &stored, selection)?;
        let bytes = wanted.iter().map(|(_, size, _)| size).sum();
        task.stage("lay out", bytes, Unit::Bytes);
        let mut chunks = ChunkSet::default();
        for (_, _, content) in &wanted {
            if let Content::Near(items) = content {
                items.iter().for_each(|i| {
                    if let Item::Chunk { hash, length } = i {
                        chunks.insert(*hash, *length);
                    }
                });
            }
        }
        self.image().store().expect(&chunks)?;
        let root = Root::open(dir).map_err(|e| Error::io("open", dir.display(), e))?;
        directories(&root, wanted.iter().map(|(p, ..)| *p))?;
        let (failure, next) = (Failure::default(), AtomicUsize::new(0));
        failure.on_threads(crate::job::threads(threads), || {
            loop {
                let from = next.fetch_add(RUN, Ordering::Relaxed);
                let Some(run) = wanted.get(from..).filter(|r| !r.is_empty()) else { return Ok(()) };
                for (path, _, content) in run.iter().take(RUN) {
                    failure.check(task)?;
                    write(&root, &stored, path, content, task)?;
                }
            }
        })?;
        let keys = keys(self, &root, dir)?;
        let repositories = self.document().repositories.iter().map(|r| (r.id.clone(), dir.join("tree").join(&r.path)));
        Ok(LaidOut { repositories: repositories.collect(), keys, files: wanted.len() as u64, bytes })
    }
}

type Wanted<'s> = (&'s [u8], u64, &'s Content);

fn wanted<'s>(distro: &Distro, stored: &'s Stored, selection: &Selection) -> Result<Vec<Wanted<'s>>> {
    let all = || stored.files.iter().map(|(p, (size, content))| (p.as_slice(), *size, content));
    match selection {
        Selection::All => Ok(all().collect()),
        // Of a mirror nothing else is kept.
        Selection::Metadata if distro.document().is_mirror() => Ok(all().collect()),
        Selection::Metadata => {
            let fronts: Vec<_> = distro.document().repositories.iter().map(|r| join(&r.path, "repodata/")).collect();
            Ok(all().filter(|(p, ..)| fronts.iter().any(|f| p.starts_with(f.as_bytes()))).collect())
        }
        Selection::Files(paths) => {
            let find = |p: &String| {
                let found = stored.files.get_key_value(p.as_bytes());
                let missing = || Error::not_found(format!("{} has no file /{}", distro.name(), show(p.as_bytes())));
                found.map(|(p, (size, content))| (p.as_slice(), *size, content)).ok_or_else(missing)
            };
            let mut out: Vec<_> = paths.iter().map(find).collect::<Result<_>>()?;
            out.sort_by_key(|(p, ..)| *p);
            out.dedup_by_key(|(p, ..)| *p);
            Ok(out)
        }
    }
}

/// Makes the directories of these paths, which are sorted.
fn directories<'p>(root: &Root, paths: impl Iterator<Item = &'p [u8]>) -> Result<()> {
    let mut made = std::collections::BTreeSet::from([Vec::new()]);
    for path in paths {
        let full = [b"tree/", path].concat();
        let mut missing = Vec::new();
        let mut at = path::parent(&full);
        while !made.contains(at) {
            missing.push(at.to_vec());
            at = path::parent(at);
        }
        for dir in missing.into_iter().rev() {
            make(root, &dir)?;
            made.insert(dir);
        }
    }
    make(root, b"tree")?;
    make(root, b"keys")
}

fn make(root: &Root, dir: &[u8]) -> Result<()> {
    let failed = |e| Error::io("make", root.name_of(dir), e);
    let (above, name) = root.parent(dir, Links::Refuse).map_err(failed)?;
    match rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(failed(e)),
    }
}

/// Creates a file; `None` when it is there.
fn create(root: &Root, path: &[u8]) -> Result<Option<File>> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    match root.open_at(path, flags, Mode::from_raw_mode(0o644), Links::Refuse) {
        Ok(fd) => Ok(Some(File::from(fd))),
        Err(Errno::EXIST) => Ok(None),
        Err(e) => Err(Error::io("create", root.name_of(path), e)),
    }
}

fn write(root: &Root, stored: &Stored, path: &[u8], content: &Content, task: &Task) -> Result<()> {
    let full = [b"tree/", path].concat();
    let Some(mut file) = create(root, &full)? else { return Ok(()) };
    let done = stored.parts(content, |bytes| {
        task.check()?;
        task.advance(bytes.len() as u64);
        file.write_all(bytes).map_err(|e| Error::io("write", root.name_of(&full), e))
    });
    if done.is_err() {
        // A part of a file must not be taken for it by the next call.
        let gone = root
            .parent(&full, Links::Refuse)
            .and_then(|(dir, name)| rustix::fs::unlinkat(&dir, name, rustix::fs::AtFlags::empty()));
        let gone = gone.map_err(|e| Error::io("remove", root.name_of(&full), e));
        return done.map_err(|e| e.with_failed_undo(gone));
    }
    done
}

fn keys(distro: &Distro, root: &Root, dir: &Path) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for key in &distro.document().keys {
        // It becomes a part of a path, and stands in a document.
        if !key.info.fingerprint.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::new(ErrorKind::Integrity, "a key of the distribution has a fingerprint that is none"));
        }
        let path = format!("keys/{}.asc", key.info.fingerprint);
        if let Some(mut file) = create(root, path.as_bytes())? {
            let failed = |e| Error::io("write", root.name_of(path.as_bytes()), e);
            file.write_all(key.text.as_bytes()).map_err(failed)?;
        }
        out.push(dir.join(path));
    }
    Ok(out)
}
