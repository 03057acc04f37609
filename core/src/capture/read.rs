//! Reading what has to be read: large files first, small ones by directory, on all cores.

use super::CaptureOptions;
use super::contents::Contents;
use super::plan::Plan;
use super::rules::DROPPED_XATTRS;
use crate::error::{Error, ErrorKind, Result};
use crate::image::block::RAW_LIMIT;
use crate::image::page::NEAR_VALUE;
use crate::image::row::{Value, Xattr, Xattrs};
use crate::image::{ContentBuilder, Item};
use crate::job::{Failure, Task};
use crate::secrets::Scan;
use crate::store::{ChunkWriter, Session};
use crate::sys::confined::{Links, Root, proc_path, show};
use crate::sys::xattr::{self, Of};
use crate::tree::entry::{EMPTIED, IMMUTABLE, LINKED, SPARSE};
use crate::tree::read::{ReadError, Reader};
use crate::tree::{Entry, Tree, walk};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Files from this size on are read first, one at a time.
const LARGE: u64 = 1 << 20;
/// Small files are handed out in runs of about this many bytes, a block, or entries.
const RUN_BYTES: u64 = RAW_LIMIT as u64;
const RUN_ENTRIES: usize = 2048;
/// How often a file that changes while it is read is read again.
const RETRIES: usize = 3;

/// Reads the entries of the plan and stores their chunks.
#[allow(clippy::too_many_arguments)]
pub(super) fn read(
    root: &Root,
    tree: &Tree,
    plan: &Plan,
    session: &Session,
    options: &CaptureOptions,
    threads: usize,
    task: &Task,
) -> Result<Contents> {
    if plan.todo.is_empty() {
        return Ok(Contents::default());
    }
    session.prepare()?;
    let runs = runs(tree, &plan.todo);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Contents::default());
    let failure = Failure::default();
    let work = || -> Result<()> {
        let mut worker = Worker::new(root, tree, session, options, task, &failure)?;
        while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
            for &n in run {
                failure.check(task)?;
                worker.entry(n)?;
            }
        }
        worker.close()?;
        if let Ok(mut all) = done.lock() {
            all.merge(worker.out);
        }
        Ok(())
    };
    failure.on_threads(threads, work)?;
    let mut out = done.into_inner().unwrap_or_default();
    out.sort();
    Ok(out)
}

/// Large files first, the largest at the front, so that no core is left with one at the end; then runs of small ones
/// in path order, which keeps neighbours in one block.
fn runs(tree: &Tree, todo: &[u32]) -> Vec<Vec<u32>> {
    let large = |n: &u32| tree.entry(*n).is_file() && tree.entry(*n).size >= LARGE;
    let mut first: Vec<u32> = todo.iter().copied().filter(large).collect();
    first.sort_by_key(|n| std::cmp::Reverse(tree.entry(*n).size));
    let mut out: Vec<Vec<u32>> = first.into_iter().map(|n| vec![n]).collect();
    let (mut run, mut bytes) = (Vec::new(), 0);
    for &n in todo.iter().filter(|n| !large(n)) {
        let e = tree.entry(n);
        run.push(n);
        bytes += if e.is_file() { e.size } else { 0 };
        if bytes >= RUN_BYTES || run.len() >= RUN_ENTRIES {
            out.push(std::mem::take(&mut run));
            bytes = 0;
        }
    }
    if !run.is_empty() {
        out.push(run);
    }
    out
}

struct Worker<'a> {
    root: &'a Root,
    tree: &'a Tree,
    task: &'a Task,
    failure: &'a Failure,
    exact: bool,
    /// Content and attribute values go into separate blocks from lists, which only large files need.
    chunks: ChunkWriter<'a>,
    lists: ChunkWriter<'a>,
    reader: Reader,
    directory: Option<(u32, OwnedFd)>,
    sets: HashSet<Xattrs>,
    scan: Scan,
    path: Vec<u8>,
    out: Contents,
}

impl<'a> Worker<'a> {
    fn new(
        root: &'a Root,
        tree: &'a Tree,
        session: &'a Session,
        options: &CaptureOptions,
        task: &'a Task,
        failure: &'a Failure,
    ) -> Result<Self> {
        Ok(Self {
            root,
            tree,
            task,
            failure,
            exact: options.exact,
            chunks: ChunkWriter::new(session, options.level)?,
            lists: ChunkWriter::new(session, options.level)?,
            reader: Reader::default(),
            directory: None,
            sets: HashSet::new(),
            scan: Scan::default(),
            path: Vec::new(),
            out: Contents::default(),
        })
    }

    fn close(&mut self) -> Result<()> {
        self.chunks.close()?;
        self.lists.close()
    }

    fn entry(&mut self, n: u32) -> Result<()> {
        let e = *self.tree.entry(n);
        match self.try_entry(n, &e) {
            Ok(()) => Ok(()),
            // Without it there is no tree.
            Err(Problem::Gone) if n == 0 => {
                Err(Error::new(ErrorKind::Conflict, "the root of the tree vanished while it was read"))
            }
            // Its other names were not read.
            Err(Problem::Gone) if e.has(LINKED) => {
                let path = show(&self.tree.path(n)).into_owned();
                let e = Error::new(ErrorKind::Conflict, format!("/{path}, a file with several names, vanished"));
                Err(e.hint("capture again"))
            }
            Err(Problem::Gone) => {
                self.out.vanished.insert(n);
                self.out.notes.push(format!("/{} vanished while the tree was read", show(&self.tree.path(n))));
                Ok(())
            }
            Err(Problem::Errno(e)) => Err(Error::io("read", self.root.name_of(&self.tree.path(n)), e)),
            Err(Problem::Other(e)) => Err(e),
        }
    }

    fn try_entry(&mut self, n: u32, e: &Entry) -> Result<(), Problem> {
        self.open_directory(e.parent)?;
        let name = self.tree.name(n).to_vec();
        let directory = self.directory.as_ref().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
        if e.is_file() {
            let file = open_file(directory, &name)?;
            let attributes = xattr::list(Of::Open(file.as_fd()))?;
            self.attributes(n, attributes)?;
            return if e.has(EMPTIED) { Ok(()) } else { self.file(n, e, file.as_fd()) };
        }
        if e.is_link() {
            let target = rustix::fs::readlinkat(directory, &name[..], Vec::new())?;
            self.out.targets.insert(n, target.into_bytes());
        }
        let path = if n == 0 { proc_path(self.root.as_fd(), b".") } else { proc_path(directory, &name) };
        let attributes = xattr::list(Of::Path(&path))?;
        self.attributes(n, attributes)
    }

    fn open_directory(&mut self, parent: u32) -> Result<(), Problem> {
        if self.directory.as_ref().is_none_or(|(n, _)| *n != parent) {
            let path = self.tree.path(parent);
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            self.directory = Some((parent, self.root.open_at(&path, flags, Mode::empty(), Links::Refuse)?));
        }
        Ok(())
    }

    fn attributes(&mut self, n: u32, list: Vec<xattr::Xattr>) -> Result<(), Problem> {
        if list.is_empty() {
            return Ok(());
        }
        let mut set = Vec::with_capacity(list.len());
        for (name, value) in list {
            let dropped = DROPPED_XATTRS.iter().find(|(front, _)| name.starts_with(front));
            if let Some((_, why)) = dropped.filter(|_| !self.exact) {
                let path = show(&self.tree.path(n)).into_owned();
                self.out.notes.push(format!("/{path}: attribute {} left out: {why}", show(&name)));
                continue;
            }
            let value = if value.len() > NEAR_VALUE {
                Value::Far { length: value.len() as u32, hash: self.chunks.put(&value)? }
            } else {
                Value::Near(value)
            };
            set.push(Xattr { name, value });
        }
        if set.is_empty() {
            return Ok(());
        }
        let set: Xattrs = set.into();
        let shared = self.sets.get(&set).cloned().unwrap_or(set);
        self.sets.insert(shared.clone());
        self.out.xattrs.insert(n, shared);
        Ok(())
    }

    fn file(&mut self, n: u32, e: &Entry, file: BorrowedFd<'_>) -> Result<(), Problem> {
        let mut e = *e;
        for attempt in 0..=RETRIES {
            let before = restat(file)?;
            let changed = !same(&before, &e);
            if changed {
                e = e.restated(&before);
                self.out.fresh.insert(n, e);
            }
            let bytes = self.out.bytes;
            let read = self.content(n, &e, file);
            let after = restat(file)?;
            let quiet = same(&after, &e);
            match read {
                Ok(()) if quiet => {
                    self.secrets(n);
                    return Ok(());
                }
                // The last attempt is kept if it is a whole file of some size.
                Ok(()) if attempt == RETRIES => {
                    self.secrets(n);
                    self.out.torn.insert(n);
                    self.out.torn_paths.push(format!("/{}", show(&self.tree.path(n))));
                    return Ok(());
                }
                Ok(()) | Err(ReadError::Changed) => {}
                Err(ReadError::Errno(e)) => return Err(e.into()),
                Err(ReadError::Sink(e)) => return Err(Problem::Other(e)),
            }
            self.out.take_back(n);
            self.out.bytes = bytes;
            e = e.restated(&after);
            self.out.fresh.insert(n, e);
        }
        let path = show(&self.tree.path(n)).into_owned();
        Err(Problem::Other(
            Error::new(ErrorKind::Conflict, format!("/{path} shrinks whenever it is read"))
                .hint("leave it out with --exclude, or capture while it is quiet"),
        ))
    }

    /// Keeps what was found in the file that was just read.
    fn secrets(&mut self, n: u32) {
        self.out.found.extend(self.scan.end(&self.path).iter().map(|hit| (n, *hit)));
    }

    /// Reads the content once.
    fn content(&mut self, n: u32, e: &Entry, file: BorrowedFd<'_>) -> Result<(), ReadError> {
        let Self { reader, chunks, lists, out, task, failure, scan, path, tree, .. } = self;
        tree.path_into(n, path);
        scan.begin(e.size);
        let mut content = ContentBuilder::default();
        let mut sink = |item: Item, bytes: &[u8]| -> Result<()> {
            if let Item::Chunk { hash, length } = item {
                failure.check(task)?;
                chunks.put_named(hash, bytes)?;
                scan.add(path, bytes);
                out.bytes += u64::from(length);
                task.advance(u64::from(length));
            }
            content.push(item, |list| lists.put(list))
        };
        reader.read(file, e.size, e.has(SPARSE), &mut sink)?;
        let (content, data) = content.finish(|list| lists.put(list)).map_err(ReadError::Sink)?;
        out.keep(n, content, data);
        Ok(())
    }
}

enum Problem {
    Gone,
    Errno(Errno),
    Other(Error),
}

impl From<Errno> for Problem {
    fn from(e: Errno) -> Self {
        match e {
            Errno::NOENT | Errno::STALE | Errno::LOOP | Errno::NOTDIR => Self::Gone,
            e => Self::Errno(e),
        }
    }
}

impl From<Error> for Problem {
    fn from(e: Error) -> Self {
        Self::Other(e)
    }
}

fn open_file(directory: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    // NONBLOCK: what was a file may have become a FIFO.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::openat(directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(directory, name, flags, Mode::empty()),
        done => done,
    }
}

fn restat(file: BorrowedFd<'_>) -> Result<Entry, Problem> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let e = walk::entry(&statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?);
    if e.is_file() { Ok(e) } else { Err(Problem::Gone) }
}

fn same(a: &Entry, b: &Entry) -> bool {
    (a.ino, a.size, a.mtime_s, a.mtime_ns, a.ctime_s, a.ctime_ns, a.mode)
        == (b.ino, b.size, b.mtime_s, b.mtime_ns, b.ctime_s, b.ctime_ns, b.mode)
        && a.has(IMMUTABLE) == b.has(IMMUTABLE)
}
