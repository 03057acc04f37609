//! Every row of an image beside what stands at its path: the look at a tree on which diff and update rest.
//!
//! ```text
//!  walk (all threads) ──> entries in path order ─┐
//!                                                ├─> page by page, on all threads: which fields differ ──> along: the
//!  pages of the image ───────────────────────────┘                                                         rows in order
//! ```
//!
//! The walk does not enter mount points, stores and what the rules leave out. A row that it did not meet is looked at
//! by itself, so that nothing depends on what was walked.

use super::compare::first_difference;
use super::entry::{EMPTIED, Entry, MOUNT, PLAIN, Tree};
use super::extract::metadata::is_label;
use super::history::{Earlier, Span};
use super::mounts::Mounts;
use super::seen::{Coming, Examined, Fields, Mark, PageMarks};
use super::walk::{self, Ask, Chooser};
use crate::error::{Error, ErrorKind, Result};
use crate::image::manifest::PageRef;
use crate::image::row::{Kind, Row, Value};
use crate::image::{ChunkSet, Hash, path};
use crate::job::{Failure, Task};
use crate::store::{ChunkSource, Field, Image, OPEN_BLOCKS};
use crate::sys::confined::{Links, Root, proc_path, split};
use crate::sys::cwd::Cwd;
use crate::sys::inode;
use crate::sys::xattr::{self, Of, Xattr};
use rustix::fs::{Advice, AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use std::cmp::Ordering;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{self, AtomicUsize};
use std::sync::mpsc::channel;

/// How to look.
pub(super) struct Look<'a> {
    pub(super) image: &'a Image,
    pub(super) source: &'a dyn ChunkSource,
    pub(super) root: &'a Root,
    pub(super) mounts: &'a Mounts,
    /// The images that the tree was made from.
    pub(super) earlier: &'a Earlier,
    /// Whether the content of a file is compared although size and time are equal.
    pub(super) by_content: &'a (dyn Fn(&Entry) -> bool + Sync),
    /// Content comes from the medium, not from what the kernel holds.
    pub(super) medium: bool,
    pub(super) threads: usize,
    pub(super) task: &'a Task,
}

impl Look<'_> {
    /// Looks the pages up; together, which is quicker than one after the other.
    fn expect_pages(&self) -> Result<()> {
        let mut wanted = ChunkSet::default();
        self.image.need_pages(&mut wanted);
        self.earlier.need_pages(&mut wanted);
        self.image.store().expect(&wanted)
    }

    /// Walks the tree; and meanwhile gets the images ready, for which nobody then has to wait.
    ///
    /// # Errors
    /// As [`walk::walk`].
    pub(super) fn walk(&self, choose: Chooser<'_>) -> Result<Tree> {
        let quiet = Task::new(self.task.cancel_token(), None);
        std::thread::scope(|s| {
            s.spawn(|| {
                if self.expect_pages().is_ok() {
                    let images: Vec<_> = std::iter::once(self.image).chain(self.earlier.images()).collect();
                    images.iter().for_each(|image| image.open_first_blocks(OPEN_BLOCKS / images.len()));
                }
            });
            walk::walk(self.root, self.threads, Ask::Attributes, choose, &quiet).map(|(tree, _)| tree)
        })
    }
}

/// Looks at every row of the image, with what the walk met; `along` gets the rows meanwhile.
///
/// # Errors
/// `Io` when the tree cannot be read, `Integrity` when the image cannot; `Cancelled`; what `along` returns.
pub(super) fn examine<T>(
    look: &Look<'_>,
    tree: Tree,
    along: impl FnOnce(&mut Coming<'_>) -> Result<T>,
) -> Result<(Examined, T)> {
    let order = tree.order();
    let pages = &look.image.manifest().pages;
    look.expect_pages()?;
    let (next, failure) = (AtomicUsize::new(0), Failure::default());
    let (to, looked_at) = channel();
    let (walked, sorted, failure) = (&tree, &order, &failure);
    let eyes = move || {
        failure.on_threads(look.threads, || {
            let cwd = Cwd::of_thread();
            let mut eye = Eye { look, tree: walked, order: sorted, directory: None, cwd, buffer: Vec::new() };
            loop {
                let n = next.fetch_add(1, atomic::Ordering::Relaxed);
                let Some(page) = pages.get(n) else { return Ok(()) };
                failure.check(look.task)?;
                let marks = eye.page(page, look.earlier.span(pages, n))?;
                look.task.advance(marks.rows.len() as u64);
                // Nobody takes it any more: whoever went along failed, and says why.
                if to.send((n, marks)).is_err() {
                    return Ok(());
                }
            }
        })
    };
    let (pages, made) = std::thread::scope(|s| -> Result<_> {
        let eyes = s.spawn(eyes);
        let mut coming = Coming::new(walked, looked_at);
        let made = along(&mut coming);
        let pages = if made.is_ok() { coming.rest() } else { Vec::new() };
        drop(coming);
        // When the look failed, whoever went along missed rows: that is not the reason.
        eyes.join().map_err(|_| Error::new(ErrorKind::Bug, "a thread panicked"))??;
        Ok((pages, made?))
    })?;
    Ok((Examined::new(tree, order, pages), made))
}

/// What one thread looks with.
struct Eye<'a> {
    look: &'a Look<'a>,
    tree: &'a Tree,
    order: &'a [u32],
    /// The directory that was used last.
    directory: Option<(Vec<u8>, OwnedFd)>,
    /// For calls that know no directory descriptor.
    cwd: Option<Cwd>,
    buffer: Vec<u8>,
}

impl Eye<'_> {
    fn page(&mut self, page: &PageRef, mut span: Span<'_>) -> Result<PageMarks> {
        let mut rows = self.look.image.open_page(page)?;
        let mut out = PageMarks { rows: Vec::with_capacity(page.rows as usize), ..PageMarks::default() };
        let before = |n: &u32| path::compare(&self.tree.path(*n), &page.first).is_lt();
        let mut at = self.order.partition_point(before);
        let mut here = self.order.get(at).map(|&n| self.tree.path(n)).unwrap_or_default();
        while let Some(row) = rows.read()? {
            // Along with the walk: both are in path order.
            let mut number = None;
            while let Some(&n) = self.order.get(at) {
                match path::compare(&here, &row.path) {
                    Ordering::Greater => break,
                    order => {
                        at += 1;
                        if let Some(&next) = self.order.get(at) {
                            self.tree.path_into(next, &mut here);
                        }
                        if order.is_eq() {
                            number = Some(n);
                            break;
                        }
                    }
                }
            }
            out.met.extend(number);
            let disguised = span.beside(row)?;
            let mark = self.row(row, number, disguised, &mut out.apart)?;
            out.rows.push(mark);
        }
        out.gone = span.finish()?;
        Ok(out)
    }

    /// `disguised`: size and time say nothing about the content.
    fn row(
        &mut self,
        row: &Row,
        number: Option<u32>,
        disguised: bool,
        apart: &mut Vec<(Entry, (u32, u32))>,
    ) -> Result<Mark> {
        let bare = |at| Mark { at, differs: Fields::default() };
        let mounts = self.look.mounts;
        let entry = match number {
            Some(n) => *self.tree.entry(n),
            None if mounts.is_foreign(&row.path) => return Ok(bare(Mark::FOREIGN)),
            None => match self.alone(&row.path)? {
                Some(found) => {
                    apart.push(found);
                    found.0
                }
                None => return Ok(bare(Mark::NOTHING)),
            },
        };
        let at = number.unwrap_or(Mark::APART | (apart.len() as u32).saturating_sub(1));
        // The root of another filesystem has its own owner and mode.
        if entry.has(MOUNT) || mounts.at(&row.path) {
            return Ok(bare(at));
        }
        let differs = self.fields(row, &entry, disguised).map_err(|e| match e {
            Failed::Errno(e) => Error::io("read", self.look.root.name_of(&row.path), e),
            Failed::Error(e) => e,
        })?;
        Ok(Mark { at, differs })
    }

    /// An entry that the walk did not meet.
    fn alone(&mut self, path: &[u8]) -> Result<Option<(Entry, (u32, u32))>> {
        let look = || -> Result<_, Errno> {
            let (dir, name) = self.at(path)?;
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
            rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS)
        };
        match { look }() {
            Ok(st) => Ok(Some((walk::entry(&st), (st.stx_dev_major, st.stx_dev_minor)))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(e) => Err(Error::io("look at", self.look.root.name_of(path), e)),
        }
    }

    /// The directory of an entry, open, and its name; the root is `.` in itself.
    fn at<'p>(&mut self, path: &'p [u8]) -> Result<(BorrowedFd<'_>, &'p [u8]), Errno> {
        let (parent, name) = split(path);
        if self.directory.as_ref().is_none_or(|(open, _)| open != parent) {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            self.directory = None;
            let fd = self.look.root.open_at(parent, flags, Mode::empty(), Links::Refuse)?;
            self.directory = Some((parent.to_vec(), fd));
        }
        let (_, fd) = self.directory.as_ref().ok_or(Errno::BADF)?;
        Ok((fd.as_fd(), if name.is_empty() { b"." } else { name }))
    }

    fn fields(&mut self, row: &Row, e: &Entry, disguised: bool) -> Result<Fields, Failed> {
        let mut out = Fields::default();
        let same_kind = e.kind() == row.kind_bits();
        let fat = self.look.mounts.is_fat(&row.path);
        let emptied = e.has(EMPTIED);
        let mtime = if emptied { (0, 0) } else { (e.mtime_s, e.mtime_ns) };
        let size = if emptied { 0 } else { e.size };
        let late = match fat {
            // FAT counts two seconds.
            true => mtime.0.abs_diff(row.mtime.0) > 2,
            false => mtime != row.mtime,
        };
        let mut note = |differs: bool, field| {
            if differs {
                out.add(field);
            }
        };
        note(!same_kind, Field::Kind);
        note(!fat && u32::from(e.mode) & 0o7777 != row.mode & 0o7777, Field::Mode);
        note(!fat && (e.uid, e.gid) != (row.uid, row.gid), Field::Owner);
        note(late, Field::Mtime);
        match &row.kind {
            _ if !same_kind => {}
            Kind::File { size: wanted, .. } => {
                note(size != *wanted, Field::Size);
                let by_content = late || disguised || (self.look.by_content)(e);
                if size != *wanted || (by_content && *wanted > 0 && !self.same_content(row)?) {
                    out.add(Field::Content);
                }
            }
            Kind::Link(target) => {
                let (dir, name) = self.at(&row.path)?;
                let there = rustix::fs::readlinkat(dir, name, Vec::new())?;
                note(there.as_bytes() != target, Field::Target);
            }
            Kind::Device { major, minor } => note(e.device() != Some((*major, *minor)), Field::Device),
            Kind::Directory | Kind::Fifo => {}
        }
        if !fat {
            let plain = e.has(PLAIN) && row.xattrs.is_empty();
            if !plain && !self.same_attributes(row)? {
                out.add(Field::Xattrs);
            }
            if (row.inode_flags != 0 || e.inode_flags() != 0) && self.flags(&row.path, e)? != row.inode_flags {
                out.add(Field::Flags);
            }
        }
        Ok(out)
    }

    fn same_attributes(&mut self, row: &Row) -> Result<bool, Errno> {
        let cwd = self.cwd.take();
        let there = self.at(&row.path).and_then(|(dir, name)| attributes(cwd.as_ref(), dir, name));
        self.cwd = cwd;
        let there = there?;
        if there.is_empty() && row.xattrs.is_empty() {
            return Ok(true);
        }
        let same = |there: &[u8], wanted: &Value| match wanted {
            Value::Near(v) => v == there,
            Value::Far { length, hash } => *length as usize == there.len() && Hash::of(there) == *hash,
        };
        let wanted = |name: &[u8]| row.xattrs.iter().find(|x| x.name == name);
        let all_there = row.xattrs.iter().all(|x| there.iter().any(|(n, v)| *n == x.name && same(v, &x.value)));
        Ok(all_there && there.iter().all(|(n, _)| wanted(n).is_some() || is_label(n)))
    }

    fn open(&mut self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let (dir, name) = self.at(path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::empty())
    }

    fn flags(&mut self, path: &[u8], e: &Entry) -> Result<u32, Errno> {
        if !e.is_file() && !e.is_directory() {
            return Ok(0);
        }
        Ok(inode::flags(self.open(path)?.as_fd()).unwrap_or(0) & inode::KEPT)
    }

    fn same_content(&mut self, row: &Row) -> Result<bool, Failed> {
        let Kind::File { content, .. } = &row.kind else { return Ok(true) };
        let file = match self.open(&row.path) {
            // Not ours to read: then it is not known to be the same.
            Err(Errno::ACCESS | Errno::PERM) => return Ok(false),
            file => file?,
        };
        if self.look.medium {
            let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        }
        let difference = first_difference(self.look.source, content, file.as_fd(), &mut self.buffer);
        difference.map(|at| at.is_none()).map_err(Failed::Error)
    }
}

fn attributes(cwd: Option<&Cwd>, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<Xattr>, Errno> {
    if let (Some(cwd), Ok(name)) = (cwd, CString::new(name))
        && let Ok(found) = cwd.within(dir, || xattr::list(Of::Path(&name)))
    {
        return found;
    }
    xattr::list(Of::Path(&proc_path(dir, name)))
}

enum Failed {
    Errno(Errno),
    Error(Error),
}

impl From<Errno> for Failed {
    fn from(e: Errno) -> Self {
        Self::Errno(e)
    }
}
