//! Walking a tree: directories on several threads, by descriptor, never across a mount point.

use super::entry::{APPEND, Entry, IMMUTABLE, LINKED, MOUNT, PLAIN, SPARSE, STORE, Tree};
use super::extract::metadata::is_label;
use crate::error::{Error, ErrorKind, Result};
use crate::image::path::NAME_LIMIT;
use crate::image::row::{BLOCK, CHARACTER, DIRECTORY, KIND_MASK, REGULAR};
use crate::job::Task;
use crate::sys::confined::{Links, Root, show};
use crate::sys::cwd::Cwd;
use crate::sys::xattr::{self, Of};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Most entries of a tree: they are numbered with 32 bits, and so are the bytes of their names.
const ENTRY_LIMIT: usize = 1 << 28;

/// What to do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Take it, and what is in it.
    Take,
    /// Take it as an empty file.
    Empty,
    /// Leave it out, with all that is in it.
    Leave,
}

/// Chooses entries by path and mode; called from several threads.
pub type Chooser<'a> = &'a (dyn Fn(&[u8], u32) -> Choice + Sync);

/// What is asked of each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What `stat` says.
    Stat,
    /// Also whether it has attributes: [`PLAIN`]. While its directory is at hand that is half as dear as later.
    Attributes,
}

/// Something a walk met that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The path, printable.
    pub path: String,
    /// What about it.
    pub what: &'static str,
}

struct Shared {
    tree: Tree,
    todo: Vec<(u32, Vec<u8>)>,
    busy: usize,
    /// Threads that wait for something to do.
    idle: usize,
    notes: Vec<Note>,
    failed: Option<Error>,
}

/// Walks the tree beneath `root` with `threads` threads.
///
/// # Errors
/// `Io` when a directory cannot be read; `Cancelled`.
pub fn walk(root: &Root, threads: usize, ask: Ask, choose: Chooser<'_>, task: &Task) -> Result<(Tree, Vec<Note>)> {
    let st = stat(root.as_fd(), c"").map_err(|e| Error::io("look at", "the root of the tree", e))?;
    let mut tree = Tree::default();
    tree.device = (st.stx_dev_major, st.stx_dev_minor);
    tree.add_root(entry(&st));
    let mount = mount_id(&st);
    let state =
        Mutex::new(Shared { tree, todo: vec![(0, Vec::new())], busy: 0, idle: 0, notes: Vec::new(), failed: None });
    let (state, wake) = (&state, &Condvar::new());
    std::thread::scope(|s| {
        for _ in 0..threads.max(1) {
            s.spawn(move || {
                let cwd = if ask == Ask::Attributes { Cwd::of_thread() } else { None };
                while let Some((number, path)) = take(state, wake) {
                    let list = || task.check().and_then(|()| list(root, &path, mount, choose, cwd.as_ref()));
                    // The others wait for what this one finds, and would wait for ever.
                    let found = catch_unwind(AssertUnwindSafe(list))
                        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Bug, "a thread panicked")));
                    put(state, wake, number, &path, found, task);
                }
            });
        }
    });
    let mut done = lock(state);
    match done.failed.take() {
        Some(e) => Err(e),
        None => Ok((std::mem::take(&mut done.tree), std::mem::take(&mut done.notes))),
    }
}

fn lock(state: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(state: &Mutex<Shared>, wake: &Condvar) -> Option<(u32, Vec<u8>)> {
    let mut s = lock(state);
    loop {
        if s.failed.is_some() {
            return None;
        }
        if let Some(job) = s.todo.pop() {
            s.busy += 1;
            return Some(job);
        }
        if s.busy == 0 {
            return None;
        }
        s.idle += 1;
        s = wake.wait(s).unwrap_or_else(PoisonError::into_inner);
        s.idle -= 1;
    }
}

fn put(state: &Mutex<Shared>, wake: &Condvar, number: u32, path: &[u8], found: Result<Listing>, task: &Task) {
    let mut s = lock(state);
    s.busy -= 1;
    match found {
        Ok(listing) => {
            if s.tree.len() + listing.entries.len() > ENTRY_LIMIT {
                s.failed = Some(Error::limit("the tree has over 2^28 entries"));
            } else {
                let first = s.tree.add_children(number, &listing.entries);
                for (i, (name, e)) in listing.entries.iter().enumerate() {
                    if e.is_directory() && !e.has(MOUNT) {
                        s.todo.push((first + i as u32, join(path, name)));
                    }
                }
                if listing.store {
                    s.tree.set_flag(number, STORE);
                }
                s.notes.extend(listing.notes);
                task.advance(listing.entries.len() as u64);
            }
        }
        Err(e) => s.failed = s.failed.take().or(Some(e)),
    }
    // Waking somebody costs more than listing a small directory.
    let (idle, over) = (s.idle, s.failed.is_some() || (s.busy == 0 && s.todo.is_empty()));
    let wanted = if over { idle } else { idle.min(s.todo.len()) };
    drop(s);
    (0..wanted).for_each(|_| wake.notify_one());
}

#[derive(Default)]
struct Listing {
    entries: Vec<(Vec<u8>, Entry)>,
    /// Whether the directory itself is a store, and was not listed.
    store: bool,
    notes: Vec<Note>,
}

fn list(root: &Root, path: &[u8], mount: (u32, u32, u64), choose: Chooser<'_>, cwd: Option<&Cwd>) -> Result<Listing> {
    let mut out = Listing::default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME;
    let opened = root.open_at(path, flags, Mode::empty(), Links::Refuse);
    // NOATIME is for the owner and root only.
    let opened = if opened.as_ref().err() == Some(&Errno::PERM) {
        root.open_at(path, flags - OFlags::NOATIME, Mode::empty(), Links::Refuse)
    } else {
        opened
    };
    let fd = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) if !path.is_empty() => {
            out.notes.push(Note { path: show(path).into_owned(), what: "vanished while the tree was read" });
            return Ok(out);
        }
        Err(e) => return Err(Error::io("open", root.name_of(path), e)),
    };
    let mut names = names(fd.as_fd()).map_err(|e| Error::io("list", root.name_of(path), e))?;
    if !path.is_empty() && is_store(fd.as_fd(), &names) {
        out.store = true;
        out.notes.push(Note { path: show(path).into_owned(), what: "is a store of images: its content is left out" });
        return Ok(out);
    }
    // In inode order the inode tables are read from front to back.
    names.sort_unstable_by_key(|(ino, _)| *ino);
    out.entries.reserve(names.len());
    let mut whole = join(path, b"");
    let front = whole.len();
    for (_, name) in names {
        whole.truncate(front);
        whole.extend_from_slice(name.as_bytes());
        let st = match stat(fd.as_fd(), &name) {
            Ok(st) => st,
            Err(Errno::NOENT) => continue,
            Err(e) => return Err(Error::io("look at", root.name_of(&whole), e)),
        };
        let mut e = entry(&st);
        match choose(&whole, u32::from(e.mode)) {
            Choice::Take => {}
            Choice::Empty => e.flags |= super::entry::EMPTIED,
            Choice::Leave => continue,
        }
        if !matches!(e.kind(), REGULAR | DIRECTORY | 0o120_000 | CHARACTER | BLOCK | 0o010_000) {
            out.notes.push(Note { path: show(&whole).into_owned(), what: "is a socket: left out" });
            continue;
        }
        if crate::image::path::check(&whole).is_err() {
            return Err(Error::new(ErrorKind::Limit, format!("the path of /{} is over the limits", show(&whole)))
                .hint("leave the directory out with --exclude"));
        }
        if mount_id(&st) != mount {
            out.notes.push(Note { path: show(&whole).into_owned(), what: "is a mount point: its content is left out" });
            e.flags |= MOUNT;
        }
        out.entries.push((name.into_bytes(), e));
    }
    if let Some(cwd) = cwd {
        // What cannot be asked is not plain; whoever has to know asks again.
        let _ = cwd.within(fd.as_fd(), || out.entries.iter_mut().for_each(|(name, e)| mark_plain(name, e)));
    }
    out.entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

/// Marks an entry of the working directory that has no attribute.
fn mark_plain(name: &[u8], e: &mut Entry) {
    let mut buf = [0; NAME_LIMIT + 1];
    let Some(front) = buf.get_mut(..name.len()) else { return };
    front.copy_from_slice(name);
    let Ok(name) = CStr::from_bytes_until_nul(&buf) else { return };
    if !e.has(MOUNT) && xattr::has_any(Of::Path(name), |name| !is_label(name)) == Ok(false) {
        e.flags |= PLAIN;
    }
}

pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 1 + name.len());
    out.extend_from_slice(path);
    if !path.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(name);
    out
}

fn names(fd: BorrowedFd<'_>) -> Result<Vec<(u64, CString)>, Errno> {
    let mut buf = [const { MaybeUninit::<u8>::uninit() }; 32 << 10];
    let mut out = Vec::new();
    let mut dir = RawDir::new(fd, &mut buf);
    while let Some(e) = dir.next() {
        let e = e?;
        let name = e.file_name();
        if name != c"." && name != c".." {
            out.push((e.ino(), name.to_owned()));
        }
    }
    Ok(out)
}

/// Whether a directory is a store: it looks like one, or has just been made one and says so.
fn is_store(dir: BorrowedFd<'_>, names: &[(u64, CString)]) -> bool {
    let has = |n: &std::ffi::CStr| names.iter().any(|(_, m)| m.as_c_str() == n);
    if !has(c"store.json") {
        return false;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let read = || {
        let fd = rustix::fs::openat(dir, c"store.json", flags, Mode::empty()).ok()?;
        let mut text = [0; 4096];
        let n = rustix::io::read(&fd, &mut text).ok()?;
        Some(crate::store::is_store_file(&text[..n]))
    };
    (has(c"packs") && has(c"refs")) || read() == Some(true)
}

fn stat(dir: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)
}

/// Device and, where the kernel tells it, mount: a bind mount of the same filesystem is another mount.
pub(super) fn mount_id(st: &Statx) -> (u32, u32, u64) {
    let has = StatxFlags::from_bits_retain(st.stx_mask).contains(StatxFlags::MNT_ID);
    (st.stx_dev_major, st.stx_dev_minor, if has { st.stx_mnt_id } else { 0 })
}

pub(crate) fn entry(st: &Statx) -> Entry {
    let mode = u32::from(st.stx_mode);
    let kind = mode & KIND_MASK;
    let device = u64::from(st.stx_rdev_major) << 32 | u64::from(st.stx_rdev_minor);
    let attributes = StatxAttributes::from_bits_retain(st.stx_attributes.bits());
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    let regular = kind == REGULAR;
    Entry {
        ino: st.stx_ino,
        size: if regular {
            st.stx_size
        } else if matches!(kind, CHARACTER | BLOCK) {
            device
        } else {
            0
        },
        mtime_s: st.stx_mtime.tv_sec,
        ctime_s: st.stx_ctime.tv_sec,
        mtime_ns: st.stx_mtime.tv_nsec,
        ctime_ns: st.stx_ctime.tv_nsec,
        uid: st.stx_uid,
        gid: st.stx_gid,
        parent: 0,
        name_at: 0,
        mode: st.stx_mode,
        name_len: 0,
        flags: flag(regular && st.stx_blocks * 512 < st.stx_size, SPARSE)
            | flag(attributes.contains(StatxAttributes::IMMUTABLE), IMMUTABLE)
            | flag(attributes.contains(StatxAttributes::APPEND), APPEND)
            | flag(kind != DIRECTORY && st.stx_nlink > 1, LINKED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_the_walk_and_not_the_program() {
        let tmp = tempfile::tempdir().unwrap();
        (0..40).for_each(|n| std::fs::create_dir(tmp.path().join(n.to_string())).unwrap());
        let root = Root::open(tmp.path()).unwrap();
        let choose = |p: &[u8], _| if p == b"7" { panic!("on purpose") } else { Choice::Take };
        let e = walk(&root, 3, Ask::Stat, &choose, &Task::quiet()).err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Bug);
    }

    #[test]
    fn a_tree_is_walked_in_image_order() {
        let tmp = tempfile::tempdir().unwrap();
        for d in ["a/b", "a.c", "z"] {
            std::fs::create_dir_all(tmp.path().join(d)).unwrap();
        }
        for f in ["a/b/f", "a/x", "a.c/y", "top"] {
            std::fs::write(tmp.path().join(f), f).unwrap();
        }
        std::fs::hard_link(tmp.path().join("a/x"), tmp.path().join("z/x")).unwrap();
        let root = Root::open(tmp.path()).unwrap();
        let choose = |p: &[u8], _| if p == b"top" { Choice::Leave } else { Choice::Take };
        let (tree, notes) = walk(&root, 2, Ask::Attributes, &choose, &Task::quiet()).unwrap();
        let paths: Vec<String> = tree.order().into_iter().map(|n| String::from_utf8(tree.path(n)).unwrap()).collect();
        assert_eq!(paths, ["", "a", "a/b", "a/b/f", "a/x", "a.c", "a.c/y", "z", "z/x"]);
        assert!(notes.is_empty());
        // The root is not asked for its attributes.
        assert!(tree.order().into_iter().skip(1).all(|n| tree.entry(n).has(PLAIN)));
        let linked = tree.order().into_iter().filter(|&n| tree.entry(n).has(LINKED)).count();
        assert_eq!(linked, 2);
        assert_eq!(std::mem::size_of::<Entry>(), 64);
    }
}
