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
use super::digest::{Digest, Sum};
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
    /// The same, each with what its bytes have to give; a file that is there already is not compared. dnf is told that they do,
    /// and need not read them to see it.
    Checked(Vec<(String, Digest)>),
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
        let bytes = wanted.iter().map(|w| w.size).sum();
        task.stage("lay out", bytes, Unit::Bytes);
        let mut chunks = ChunkSet::default();
        for w in &wanted {
            if let Content::Near(items) = w.content {
                items.iter().for_each(|i| {
                    if let Item::Chunk { hash, length } = i {
                        chunks.insert(*hash, *length);
                    }
                });
            }
        }
        self.image().store().expect(&chunks)?;
        let root = Root::open(dir).map_err(|e| Error::io("open", dir.display(), e))?;
        directories(&root, wanted.iter().map(|w| w.path))?;
        let (failure, next) = (Failure::default(), AtomicUsize::new(0));
        failure.on_threads(crate::job::threads(threads), || {
            loop {
                let from = next.fetch_add(RUN, Ordering::Relaxed);
                let Some(run) = wanted.get(from..).filter(|r| !r.is_empty()) else { return Ok(()) };
                for w in run.iter().take(RUN) {
                    failure.check(task)?;
                    write(&root, &stored, w, task)?;
                }
            }
        })?;
        let keys = keys(self, &root, dir)?;
        let repositories = self.document().repositories.iter().map(|r| (r.id.clone(), dir.join("tree").join(&r.path)));
        Ok(LaidOut { repositories: repositories.collect(), keys, files: wanted.len() as u64, bytes })
    }
}

/// A file of the tree that is laid out.
struct Wanted<'s> {
    path: &'s [u8],
    size: u64,
    content: &'s Content,
    digest: Option<&'s Digest>,
}

fn wanted<'s>(distro: &Distro, stored: &'s Stored, selection: &'s Selection) -> Result<Vec<Wanted<'s>>> {
    let all = || {
        let files = stored.files.iter();
        files.map(|(path, (size, content))| Wanted { path, size: *size, content, digest: None })
    };
    let named = |all: &mut dyn Iterator<Item = (&String, Option<&'s Digest>)>| {
        let find = |(path, digest): (&String, _)| {
            let found = stored.files.get_key_value(path.as_bytes());
            let missing = || Error::not_found(format!("{} has no file /{}", distro.name(), show(path.as_bytes())));
            let (path, (size, content)) = found.ok_or_else(missing)?;
            Ok(Wanted { path, size: *size, content, digest })
        };
        let mut out: Vec<_> = all.map(find).collect::<Result<_>>()?;
        out.sort_by_key(|w| w.path);
        out.dedup_by_key(|w| w.path);
        Ok(out)
    };
    match selection {
        Selection::All => Ok(all().collect()),
        // Of a mirror nothing else is kept.
        Selection::Metadata if distro.document().is_mirror() => Ok(all().collect()),
        Selection::Metadata => {
            let fronts: Vec<_> = distro.document().repositories.iter().map(|r| join(&r.path, "repodata/")).collect();
            Ok(all().filter(|w| fronts.iter().any(|f| w.path.starts_with(f.as_bytes()))).collect())
        }
        Selection::Files(paths) => named(&mut paths.iter().map(|p| (p, None))),
        Selection::Checked(files) => named(&mut files.iter().map(|(p, digest)| (p, Some(digest)))),
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

fn write(root: &Root, stored: &Stored, wanted: &Wanted<'_>, task: &Task) -> Result<()> {
    let full = [b"tree/", wanted.path].concat();
    let Some(mut file) = create(root, &full)? else { return Ok(()) };
    let mut sum = wanted.digest.map(Digest::begin);
    let done = stored.parts(wanted.content, |bytes| {
        task.check()?;
        task.advance(bytes.len() as u64);
        sum.iter_mut().for_each(|sum| sum.add(bytes));
        file.write_all(bytes).map_err(|e| Error::io("write", root.name_of(&full), e))
    });
    let done = done.and_then(|()| match sum.map(Sum::finish).zip(wanted.digest) {
        Some((hex, digest)) if hex != digest.hex => {
            let path = show(wanted.path);
            Err(Error::integrity(format!("/{path} does not have the checksum {digest}")).fact("path", path))
        }
        Some((_, digest)) => {
            mark(&file, digest);
            Ok(())
        }
        None => Ok(()),
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

/// Notes the checksum of a file as librepo does itself for what it read once: it is good for as long as the file has this time.
/// Where that cannot be noted, dnf reads the file. librepo writes its name in small letters since 1.19.
fn mark(file: &File, digest: &Digest) {
    let Ok(status) = rustix::fs::fstat(file) else { return };
    let time = i128::from(status.st_mtime) * 1_000_000_000 + i128::from(status.st_mtime_nsec);
    for front in ["user.Librepo", "user.librepo"] {
        let algorithm = digest.algorithm.to_string();
        for (what, value) in [(algorithm.as_str(), &digest.hex), ("mtime", &time.to_string())] {
            let name = format!("{front}.checksum.{what}");
            let _ = rustix::fs::fsetxattr(file, &name, value.as_bytes(), rustix::fs::XattrFlags::empty());
        }
    }
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
