//! Files, from blocks in any order. Four system calls make the ordinary small file: open, write, utimens, close.

mod base;

use super::directories::Directories;
use super::metadata::{self, Bearer, Before};
use super::plan::{File, Meta, Other, Pieced, Place, What};
use super::queue::Queue;
use super::{Extraction, finish};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{BlockFeed, BlockReader, ChunkSource};
use crate::sys::confined::show;
use crate::sys::inode;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Makes everything but further names: files with content as their blocks come, in between and then what has no content.
pub(in crate::tree) fn write(run: &Extraction<'_>, source: &dyn ChunkSource) -> Result<()> {
    let plan = run.plan;
    let directories: Vec<_> = (0..plan.directories.len() as u32).collect();
    let empty: Vec<_> = plan.files.pieced().iter().filter(|p| p.left.load(Ordering::Relaxed) == 0).collect();
    let others: Vec<_> = plan.others.iter().filter(|o| !matches!(o.what, What::Name(_))).collect();
    let shared = Shared {
        run,
        open: Mutex::default(),
        umask: inode::umask(),
        directories: Queue::new(&directories),
        empty: Queue::new(&empty),
        others: Queue::new(&others),
    };
    let rest = if run.over.is_some() && !plan.chunks.is_empty() { Some(base::reuse(&shared)?) } else { None };
    let wanted = rest.as_ref().unwrap_or(&plan.chunks);
    let feed = if wanted.is_empty() { None } else { Some(source.feed(wanted)?) };
    let work = || -> Result<()> {
        let mut worker = Worker::new(&shared);
        if let Some(feed) = &feed {
            worker.blocks(feed.as_ref())?;
        }
        while worker.contentless()? {}
        Ok(())
    };
    run.failure.on_threads(run.threads, work)?;
    // Somebody may have given blocks that are whole, and not those that were asked for.
    let mut worker = Worker::new(&shared);
    for (n, (hash, length)) in (0..).zip(plan.chunks.chunks()).filter(|(n, _)| !plan.has_come(*n)) {
        let bytes = source.chunk(hash, *length)?;
        worker.chunk(n, &bytes)?;
    }
    match plan.files.pieced().iter().find(|p| p.left.load(Ordering::Relaxed) != 0) {
        Some(p) => {
            Err(Error::integrity(format!("not all chunks of /{} came", show(&plan.path(plan.files.get(p.file))))))
        }
        None => Ok(()),
    }
}

struct Shared<'a> {
    run: &'a Extraction<'a>,
    open: Mutex<Begun>,
    umask: u32,
    directories: Queue<'a, u32>,
    empty: Queue<'a, &'a Pieced>,
    others: Queue<'a, &'a Other>,
}

/// Files of several chunks that were begun. Some of them are open; when those are too many, one is closed, and opened
/// again when its next chunk comes.
#[derive(Default)]
struct Begun {
    files: HashSet<u32>,
    open: HashMap<u32, Arc<OwnedFd>>,
}

impl Shared<'_> {
    fn open(&self) -> MutexGuard<'_, Begun> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker<'a> {
    shared: &'a Shared<'a>,
    directories: Directories<'a>,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared<'a>) -> Self {
        Self { shared, directories: Directories::new(shared.run) }
    }

    fn failed(&self, what: &str, file: File<'_>, e: Errno) -> Error {
        let run = self.shared.run;
        run.failed(what, &run.plan.path(file), e)
    }

    /// Opens one block after the other.
    fn blocks(&mut self, feed: &dyn BlockFeed) -> Result<()> {
        let (plan, task) = (self.shared.run.plan, self.shared.run.task);
        let mut reader = BlockReader::new(feed)?;
        loop {
            self.shared.run.failure.check(task)?;
            let block = reader.next(task, |hash, bytes| match plan.chunks.position(&hash) {
                Some(chunk) => self.chunk(chunk, bytes),
                None => Ok(()),
            });
            if block?.is_none() {
                return Ok(());
            }
            // In between: two threads that did only this would wait for each other, mostly in one directory.
            self.contentless()?;
        }
    }

    /// Makes a run of what has no content; whether there was one.
    fn contentless(&mut self) -> Result<bool> {
        let Shared { run, directories, empty, others, .. } = self.shared;
        Ok(directories.next(run, |&n| self.directories.ensure(n))?
            || empty.next(run, |p| self.whole(p.file, p.size, &[]))?
            || others.next(run, |other| finish::make(other, &mut self.directories, run))?)
    }

    /// Writes a verified chunk wherever it belongs.
    fn chunk(&mut self, chunk: u32, bytes: &[u8]) -> Result<()> {
        let plan = self.shared.run.plan;
        // A chunk may be in two of the blocks: two writers stored it at the same time.
        if !plan.first_time(chunk) {
            return Ok(());
        }
        for place in plan.places.of(chunk) {
            match place {
                Place::Whole(file) => self.whole(file, bytes.len() as u64, bytes)?,
                Place::Piece { file, offset } => self.piece(file, offset, bytes)?,
            }
            self.shared.run.task.advance(bytes.len() as u64);
        }
        Ok(())
    }

    /// A file of one chunk, or of none.
    fn whole(&mut self, number: u32, size: u64, bytes: &[u8]) -> Result<()> {
        let file = self.shared.run.plan.files.get(number);
        let mode = self.creation_mode(file.meta);
        let fd = self.create(file, mode).map_err(|e| self.failed("create", file, e))?;
        if bytes.is_empty() && size > 0 {
            rustix::fs::ftruncate(&fd, size).map_err(|e| self.failed("write", file, e))?;
        }
        write_all(fd.as_fd(), 0, bytes).map_err(|e| self.failed("write", file, e))?;
        self.finish(file, fd.as_fd(), mode)
    }

    /// A part of a file; whoever writes the last one finishes the file.
    fn piece(&mut self, number: u32, offset: u64, bytes: &[u8]) -> Result<()> {
        let files = &self.shared.run.plan.files;
        let bug = || Error::new(ErrorKind::Bug, "a piece is of a file that has none");
        let (file, pieces) = (files.get(number), files.pieces(number).ok_or_else(bug)?);
        let fd = self.begun(file, pieces.size)?;
        write_all(fd.as_fd(), offset, bytes).map_err(|e| self.failed("write", file, e))?;
        if pieces.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut begun = self.shared.open();
            begun.open.remove(&number);
            begun.files.remove(&number);
            drop(begun);
            self.finish(file, fd.as_fd(), 0o600)?;
        }
        Ok(())
    }

    fn begun(&mut self, file: File<'_>, size: u64) -> Result<Arc<OwnedFd>> {
        let shared = self.shared;
        let mut begun = shared.open();
        if let Some(fd) = begun.open.get(&file.number) {
            return Ok(fd.clone());
        }
        let fd = if begun.files.insert(file.number) {
            self.create(file, 0o600).and_then(|fd| rustix::fs::ftruncate(&fd, size).map(|()| fd))
        } else {
            let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            self.directories
                .get(file.directory)
                .and_then(|d| rustix::fs::openat(d, &*working_name(shared.run, file), flags, Mode::empty()))
        };
        let fd = Arc::new(fd.map_err(|e| self.failed("create", file, e))?);
        if begun.open.len() >= shared.run.open_limits.0
            && let Some(any) = begun.open.keys().next().copied()
        {
            begun.open.remove(&any);
        }
        begun.open.insert(file.number, fd.clone());
        Ok(fd)
    }

    fn create(&mut self, file: File<'_>, mode: u32) -> Result<OwnedFd, Errno> {
        let name = working_name(self.shared.run, file);
        let directory = self.directories.get(file.directory)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(directory, &*name, flags, Mode::from(mode))
    }

    /// The final mode where creation can give it, else one that only the owner can use until it is finished.
    fn creation_mode(&self, meta: &Meta) -> u32 {
        let plain = meta.mode & 0o7777;
        let own = (meta.uid, meta.gid) == self.shared.run.owner;
        if own && plain & self.shared.umask == 0 && plain & 0o7000 == 0 { plain } else { 0o600 }
    }

    /// Gives a file that has its content its metadata, and its place.
    fn finish(&mut self, file: File<'_>, fd: BorrowedFd<'_>, created: u32) -> Result<()> {
        let run = self.shared.run;
        let mut before = Before { owner: run.owner, mode: Some(created & !self.shared.umask), plain: true };
        if run.over.is_some() {
            // Made in a directory that may hand down a group and an ACL.
            let st = rustix::fs::fstat(fd).map_err(|e| self.failed("look at", file, e))?;
            before = Before { owner: (st.st_uid, st.st_gid), mode: None, plain: false };
        }
        metadata::set(Bearer::Open(fd), &before, run.plan, file.meta, run.lost)
            .map_err(|u| run.unset(&run.plan.path(file), u))?;
        let Some(over) = run.over else { return Ok(()) };
        let name = working_name(run, file);
        let placed = self.directories.get(file.directory).and_then(|d| over.place(d, &name, file.name));
        placed.map_err(|e| self.failed("replace", file, e))
    }
}

/// The name under which a file is made.
fn working_name<'a>(run: &Extraction<'_>, file: File<'a>) -> Cow<'a, [u8]> {
    match run.over {
        None => Cow::Borrowed(file.name),
        Some(over) => Cow::Owned(over.file(file.number)),
    }
}

fn write_all(fd: BorrowedFd<'_>, mut at: u64, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(fd, bytes, at) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(n) => {
                at += n as u64;
                bytes = &bytes[n..];
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
