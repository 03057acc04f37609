//! Comparing a tree with an image: every byte, every field, link groups, and what is too much.

use crate::error::{Error, Result};
use crate::image::row::{Group, Kind, Row, Value};
use crate::image::{Content, Hash, Item};
use crate::job::Task;
use crate::store::image::each_item;
use crate::store::{ChunkSource, Image};
use crate::sys::confined::{Links, Root, proc_path, show};
use crate::sys::inode;
use crate::sys::xattr::{self, Of};
use crate::tree::entry::Entry;
use crate::tree::walk::{self, Ask, Choice};
use rustix::fs::{Advice, AtFlags, Mode, OFlags, SeekFrom, StatxFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most differences that are listed.
const LIMIT: usize = 1000;

/// One way in which a tree differs from an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path, printable, relative.
    pub path: String,
    /// The field: `missing extra kind mode owner mtime size content target device attributes flags links`.
    pub field: &'static str,
    /// The two values, for people.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}: {}", self.path, self.what)
    }
}

/// Compares the tree beneath `root` with `image`. With `medium`, pages that the kernel holds are dropped first, so that
/// content comes from the medium.
///
/// # Errors
/// `Io` when the tree cannot be read, `Integrity` when the image cannot; differences are no error.
pub fn compare(
    image: &Image,
    source: &dyn ChunkSource,
    root: &Root,
    medium: bool,
    threads: usize,
    task: &Task,
) -> Result<Vec<Difference>> {
    let found = Mutex::new(Vec::new());
    let groups = Mutex::new(HashMap::new());
    let next = AtomicUsize::new(0);
    // Pages are looked up together once.
    image.expect_pages()?;
    let pages = &image.manifest().pages;
    let work = || -> Result<()> {
        let mut buffer = vec![0; 1 << 20];
        while let Some(page) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut rows = image.open_page(page)?;
            while let Some(row) = rows.read()? {
                task.check()?;
                let mut c = Comparison { row, source, medium, found: &found, groups: &groups, buffer: &mut buffer };
                c.entry(root)?;
            }
        }
        Ok(())
    };
    std::thread::scope(|s| {
        let handles: Vec<_> = (0..threads.max(1)).map(|_| s.spawn(work)).collect();
        let join = |h: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            h.join().unwrap_or_else(|_| Err(Error::new(crate::ErrorKind::Bug, "a comparison panicked")))
        };
        handles.into_iter().map(join).fold(Ok(()), Result::and)
    })?;
    let mut out = found.into_inner().unwrap_or_default();
    extra(image, root, threads, task, &mut out)?;
    out.sort_by(|a: &Difference, b| (&a.path, a.field).cmp(&(&b.path, b.field)));
    Ok(out)
}

/// The field of a [`Difference`] that is a directory which the image has not; what is in it is told by itself.
pub const EXTRA_DIRECTORY: &str = "extra directory";

/// Entries that the tree has and the image has not.
fn extra(image: &Image, root: &Root, threads: usize, task: &Task, out: &mut Vec<Difference>) -> Result<()> {
    let (tree, _) = walk::walk(root, threads, Ask::Stat, &|_, _| Choice::Take, task)?;
    if tree.len() as u64 == image.manifest().totals.rows && !out.iter().any(|d| d.field == "missing") {
        return Ok(());
    }
    let mut known = HashSet::new();
    image.each_row(|row| {
        known.insert(Hash::of(&row.path));
        Ok(())
    })?;
    for n in tree.order() {
        let path = tree.path(n);
        if !known.contains(&Hash::of(&path)) && out.len() < LIMIT {
            let field = if tree.entry(n).is_directory() { EXTRA_DIRECTORY } else { "extra" };
            out.push(Difference { path: show(&path).into_owned(), field, what: "is not in the image".into() });
        }
    }
    Ok(())
}

struct Comparison<'a> {
    row: &'a Row,
    source: &'a dyn ChunkSource,
    medium: bool,
    found: &'a Mutex<Vec<Difference>>,
    groups: &'a Mutex<HashMap<Group, u64>>,
    buffer: &'a mut Vec<u8>,
}

impl Comparison<'_> {
    fn report(&self, field: &'static str, what: String) {
        if let Ok(mut found) = self.found.lock()
            && found.len() < LIMIT
        {
            found.push(Difference { path: show(&self.row.path).into_owned(), field, what });
        }
    }

    fn check<T: PartialEq + fmt::Debug>(&self, field: &'static str, image: &T, tree: &T) {
        if image != tree {
            self.report(field, format!("{field} is {tree:?}, in the image {image:?}"));
        }
    }

    fn failed(&self, e: Errno) -> Error {
        Error::io("read", format!("/{}", show(&self.row.path)), e)
    }

    fn entry(&mut self, root: &Root) -> Result<()> {
        let row = self.row;
        let (dir, name) = crate::sys::confined::split(&row.path);
        let dir = match root.open_at(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), Links::Refuse) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                self.report("missing", "is missing".into());
                return Ok(());
            }
            Err(e) => return Err(self.failed(e)),
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let st = match rustix::fs::statx(&dir, name, flags, StatxFlags::BASIC_STATS) {
            Ok(st) => st,
            Err(Errno::NOENT) => {
                self.report("missing", "is missing".into());
                return Ok(());
            }
            Err(e) => return Err(self.failed(e)),
        };
        let e = walk::entry(&st);
        if e.kind() != row.kind_bits() {
            self.report("kind", format!("has mode {:o}, in the image {:o}", e.mode, row.mode));
            return Ok(());
        }
        self.check("mode", &format!("{:o}", row.mode), &format!("{:o}", e.mode));
        self.check("owner", &(row.uid, row.gid), &(e.uid, e.gid));
        self.check("mtime", &row.mtime, &(e.mtime_s, e.mtime_ns));
        let path = if name.is_empty() { proc_path(dir.as_fd(), b".") } else { proc_path(dir.as_fd(), name) };
        self.attributes(&path)?;
        self.links(&e);
        self.kind(&e, dir.as_fd(), name, st.stx_blocks * 512)
    }

    fn attributes(&self, path: &std::ffi::CStr) -> Result<()> {
        let there = xattr::list(Of::Path(path)).map_err(|e| self.failed(e))?;
        let mut wanted = Vec::new();
        for x in self.row.xattrs.iter() {
            let value = match &x.value {
                Value::Near(v) => v.clone(),
                Value::Far { length, hash } => self.source.chunk(hash, *length)?,
            };
            wanted.push((x.name.clone(), value));
        }
        if there != wanted {
            let names = |l: &[xattr::Xattr]| l.iter().map(|(n, _)| show(n).into_owned()).collect::<Vec<_>>().join(" ");
            self.report("attributes", format!("attributes differ: {}; in the image {}", names(&there), names(&wanted)));
        }
        Ok(())
    }

    /// Names of one group are one inode, and no other entry has that inode.
    fn links(&self, e: &Entry) {
        let Some(group) = self.row.group else {
            if e.has(crate::tree::entry::LINKED) {
                self.report("links", "has another name, in the image none".into());
            }
            return;
        };
        if let Ok(mut groups) = self.groups.lock()
            && *groups.entry(group).or_insert(e.ino) != e.ino
        {
            drop(groups);
            self.report("links", "is not the same file as the other names of its group".into());
        }
    }

    fn kind(&mut self, e: &Entry, dir: BorrowedFd<'_>, name: &[u8], allocated: u64) -> Result<()> {
        match &self.row.kind {
            Kind::Link(target) => {
                let there = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(|e| self.failed(e))?;
                self.check("target", &show(target), &show(there.as_bytes()));
            }
            Kind::Device { major, minor } => self.check("device", &Some((*major, *minor)), &e.device()),
            Kind::Fifo => {}
            Kind::Directory | Kind::File { .. } => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let name = if name.is_empty() { b"." } else { name };
                let fd = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|e| self.failed(e))?;
                if self.row.inode_flags != 0 || e.inode_flags() != 0 {
                    let there = inode::flags(fd.as_fd()).unwrap_or(0) & inode::KEPT;
                    self.check("flags", &self.row.inode_flags, &there);
                }
                if let Kind::File { size, .. } = self.row.kind {
                    self.check("size", &size, &e.size);
                    if size == e.size {
                        self.content(fd.as_fd(), allocated)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn content(&mut self, fd: BorrowedFd<'_>, allocated: u64) -> Result<()> {
        let Kind::File { content, size } = &self.row.kind else { return Ok(()) };
        if self.medium {
            // Everything was synced: clean pages can be dropped, and what is read then comes from the medium.
            let _ = rustix::fs::fadvise(fd, 0, None, Advice::DontNeed);
        }
        let wrong = first_difference(self.source, content, fd, self.buffer)?;
        let mut data = 0;
        each_item(self.source, content, |item| {
            data += if matches!(item, Item::Chunk { .. }) { item.length() } else { 0 };
            Ok(())
        })?;
        if let Some(at) = wrong {
            self.report("content", format!("content differs from offset {at} on"));
        }
        // Holes cost nothing, up to a hundredth and the blocks at the edges.
        let holes = size - data.min(*size);
        if holes > 1 << 20 && allocated > data + data / 100 + (1 << 20) {
            self.report("content", format!("takes {allocated} bytes of the medium for {data} bytes of data"));
        }
        Ok(())
    }
}

/// The offset of the first piece of a file that is not as `content` says. Where there is a hole are zeros.
pub(super) fn first_difference(
    source: &dyn ChunkSource,
    content: &Content,
    fd: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
) -> Result<Option<u64>> {
    let (mut at, mut wrong) = (0u64, None);
    each_item(source, content, |item| {
        let same = wrong.is_some()
            || match item {
                Item::Chunk { length, hash } => {
                    buffer.resize(buffer.len().max(*length as usize), 0);
                    let buf = &mut buffer[..*length as usize];
                    read_exact(fd, at, buf) && Hash::of(buf) == *hash
                }
                Item::Hole(length) => is_zero(fd, at, *length, buffer),
            };
        if !same {
            wrong = Some(at);
        }
        at += item.length();
        Ok(())
    })?;
    Ok(wrong)
}

/// Whether a range holds nothing but zeros; what is a hole there, too, is not read.
fn is_zero(fd: BorrowedFd<'_>, mut at: u64, length: u64, buffer: &mut Vec<u8>) -> bool {
    buffer.resize(buffer.len().max(64 << 10), 0);
    let end = at + length;
    while at < end {
        at = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(data) if data < end => data,
            Ok(_) | Err(Errno::NXIO) => return true,
            Err(_) => at,
        };
        let n = (end - at).min(64 << 10) as usize;
        if !read_exact(fd, at, &mut buffer[..n]) || buffer[..n].iter().any(|&b| b != 0) {
            return false;
        }
        at += n as u64;
    }
    true
}

fn read_exact(fd: BorrowedFd<'_>, mut at: u64, mut buf: &mut [u8]) -> bool {
    while !buf.is_empty() {
        match rustix::io::pread(fd, &mut *buf, at) {
            Ok(0) => return false,
            Ok(n) => {
                at += n as u64;
                buf = &mut buf[n..];
            }
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
