//! A directory that nothing escapes from: paths are resolved beneath it and never leave it.
//!
//! Linux 5.6 has `openat2` for this. EL8's 4.18 has not; there the path is walked one component at a time with
//! `O_NOFOLLOW`, symbolic links being resolved here as `chroot` would. Both ways give the same answers, and a test
//! runs every case through both.
//!
//! Paths are bytes relative to the root, without a leading slash; the empty path is the root itself. They may be
//! longer than `PATH_MAX`: such a path is opened in pieces.

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::borrow::Cow;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What happens at a symbolic link in the middle of a path or at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Any link is an error (`ELOOP`): for trees that libcv itself lays out, and for hostile ones that are read.
    Refuse,
    /// Links are followed as after `chroot` to the root: for writing configuration into a root of a distribution,
    /// where `/lib` is a link to `/usr/lib`.
    InRoot,
}

/// The longest piece that is handed to the kernel at once; `PATH_MAX` is 4,096 with the end.
const PIECE: usize = 4000;
/// As many links as the kernel follows.
const LINK_LIMIT: usize = 40;

/// A directory that confines every path resolved with it.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    name: PathBuf,
    one_filesystem: bool,
    openat2: AtomicBool,
}

impl Root {
    /// Opens the directory at `path` as a root.
    ///
    /// # Errors
    /// The errno of `open`.
    pub fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { name: path.to_owned(), ..Self::from_fd(fd) })
    }

    /// Takes an open directory as a root.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd, name: PathBuf::new(), one_filesystem: false, openat2: AtomicBool::new(true) }
    }

    /// How a person finds `path` of this root: the name of the root, as far as it is known, and the path, printable.
    #[must_use]
    pub fn name_of(&self, path: &[u8]) -> String {
        let name = show(self.name.as_os_str().as_bytes()).into_owned();
        match path {
            [] if !name.is_empty() => name,
            path => format!("{}/{}", name.trim_end_matches('/'), show(path)),
        }
    }

    /// The same root, but mount points beneath it are not crossed (`EXDEV`).
    #[must_use]
    pub fn one_filesystem(mut self) -> Self {
        self.one_filesystem = true;
        self
    }

    /// The same root, resolving component by component although the kernel has `openat2`: for tests.
    #[must_use]
    pub fn without_openat2(self) -> Self {
        self.openat2.store(false, Ordering::Relaxed);
        self
    }

    /// Opens `path`. `O_CLOEXEC` is always added; with [`Links::Refuse`] a link at the end is not followed either.
    ///
    /// # Errors
    /// The errno: `EXDEV` where the path would leave the root, `ELOOP` at a link that is not allowed.
    pub fn open_at(&self, path: &[u8], flags: OFlags, mode: Mode, links: Links) -> Result<OwnedFd, Errno> {
        if path.first() == Some(&b'/') || path.contains(&0) {
            return Err(Errno::XDEV);
        }
        let flags = flags | OFlags::CLOEXEC | if links == Links::Refuse { OFlags::NOFOLLOW } else { OFlags::empty() };
        if self.openat2.load(Ordering::Relaxed) && path.len() <= PIECE {
            match self.openat2(self.fd.as_fd(), path, flags, mode, links) {
                Err(Errno::NOSYS) => self.openat2.store(false, Ordering::Relaxed),
                done => return done,
            }
        }
        if links == Links::Refuse && self.openat2.load(Ordering::Relaxed) {
            return self.open_in_pieces(path, flags, mode);
        }
        self.walk(path, flags, mode, links)
    }

    /// Opens a regular file, and nothing else: what it is, is seen before it is opened, for opening a device may do something,
    /// and opening a FIFO wait. Links are followed within the root.
    ///
    /// # Errors
    /// As [`Root::open_at`]; `EINVAL` when it is something else.
    pub fn open_file(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let seen = self.open_at(path, OFlags::PATH, Mode::empty(), Links::InRoot)?;
        if !rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&seen)?.st_mode).is_file() {
            return Err(Errno::INVAL);
        }
        let again = proc_path(seen.as_fd(), b"");
        rustix::fs::open(&again, flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// Opens the directory that holds `path`; gives it with the last component, which is not looked at.
    ///
    /// # Errors
    /// As [`Root::open_at`]; `EINVAL` when the last component is empty, `.` or `..`.
    pub fn parent<'p>(&self, path: &'p [u8], links: Links) -> Result<(OwnedFd, &'p [u8]), Errno> {
        let (dir, name) = split(path);
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Errno::INVAL);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Ok((self.open_at(dir, flags, Mode::empty(), links)?, name))
    }

    /// `statx` of `path`, a link at its end not being followed.
    ///
    /// # Errors
    /// As [`Root::open_at`].
    pub fn lstat(&self, path: &[u8], links: Links) -> Result<rustix::fs::Stat, Errno> {
        if path.is_empty() {
            return rustix::fs::fstat(&self.fd);
        }
        let (dir, name) = self.parent(path, links)?;
        rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn openat2(
        &self,
        dir: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        mode: Mode,
        links: Links,
    ) -> Result<OwnedFd, Errno> {
        let mut resolve = match links {
            Links::Refuse => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            Links::InRoot => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        };
        if self.one_filesystem {
            resolve |= ResolveFlags::NO_XDEV;
        }
        let path: &[u8] = if path.is_empty() { b"." } else { path };
        loop {
            // EAGAIN: a rename ran meanwhile and the kernel cannot vouch for "..".
            match rustix::fs::openat2(dir, path, flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                done => return done,
            }
        }
    }

    fn open_in_pieces(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let (mut at, mut rest) = (None::<OwnedFd>, path);
        while rest.len() > PIECE {
            let cut = rest[..PIECE].iter().rposition(|&c| c == b'/').ok_or(Errno::NAMETOOLONG)?;
            let dir = at.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
            let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            at = Some(self.openat2(dir, &rest[..cut], directory, Mode::empty(), Links::Refuse)?);
            rest = &rest[cut + 1..];
        }
        let dir = at.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
        self.openat2(dir, rest, flags, mode, Links::Refuse)
    }

    /// Resolves without `openat2`: a stack of open directories, so that ".." is a pop and can never leave the root.
    fn walk(&self, path: &[u8], flags: OFlags, mode: Mode, links: Links) -> Result<OwnedFd, Errno> {
        let mut todo: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut stack = vec![rustix::io::fcntl_dupfd_cloexec(&self.fd, 3)?];
        let device = if self.one_filesystem { Some(rustix::fs::fstat(&self.fd)?.st_dev) } else { None };
        let directory = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut followed = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                if stack.len() > 1 {
                    stack.pop();
                } else if links == Links::Refuse {
                    return Err(Errno::XDEV);
                }
                continue;
            }
            let at = stack.last().ok_or(Errno::XDEV)?;
            let link = match rustix::fs::statat(at, &name[..], AtFlags::SYMLINK_NOFOLLOW) {
                Ok(st) if rustix::fs::FileType::from_raw_mode(st.st_mode).is_symlink() => true,
                Ok(_) => false,
                Err(Errno::NOENT) if todo.is_empty() && flags.contains(OFlags::CREATE) => false,
                Err(e) => return Err(e),
            };
            if link && !(todo.is_empty() && flags.contains(OFlags::NOFOLLOW) && flags.contains(OFlags::PATH)) {
                if links == Links::Refuse || (todo.is_empty() && flags.contains(OFlags::NOFOLLOW)) {
                    return Err(Errno::LOOP);
                }
                followed += 1;
                if followed > LINK_LIMIT {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(at, &name[..], Vec::new())?;
                if target.as_bytes().first() == Some(&b'/') {
                    stack.truncate(1);
                }
                todo.extend(components(target.as_bytes()).rev().map(<[u8]>::to_vec));
                continue;
            }
            let last = todo.is_empty();
            let how = if last { flags | OFlags::NOFOLLOW } else { directory | OFlags::DIRECTORY };
            let fd = rustix::fs::openat(at, &name[..], how, if last { mode } else { Mode::empty() })?;
            if device.is_some_and(|d| rustix::fs::fstat(&fd).map_or(true, |st| st.st_dev != d)) {
                return Err(Errno::XDEV);
            }
            if last {
                return Ok(fd);
            }
            stack.push(fd);
        }
        // The path ended in a directory that is open already: open it again with the flags that were asked for.
        rustix::fs::openat(stack.last().ok_or(Errno::XDEV)?, ".", flags, mode)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Splits a relative path into directory and last component.
#[must_use]
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|&c| c == b'/').map_or((b"".as_slice(), path), |i| (&path[..i], &path[i + 1..]))
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&c| c == b'/').filter(|c| !c.is_empty() && *c != b".")
}

/// A path through `/proc` that names `name` in an open directory: for calls that take no directory descriptor
/// (extended attributes of links and special files). It works for names beyond `PATH_MAX`, and `l…` calls do not
/// follow the last component.
#[must_use]
pub fn proc_path(dir: BorrowedFd<'_>, name: &[u8]) -> CString {
    use std::os::fd::AsRawFd;
    let mut path = format!("/proc/self/fd/{}", dir.as_raw_fd()).into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend(name.iter().filter(|&&c| c != 0));
    }
    CString::new(path).unwrap_or_default()
}

/// Whether what [`proc_path`] gives can be found: else everything would seem to have vanished.
#[must_use]
pub fn has_proc() -> bool {
    rustix::fs::access("/proc/self/fd", rustix::fs::Access::EXISTS).is_ok()
}

/// Bytes of a path as text: what is not printable UTF-8, and the backslash, is written `\xHH`.
#[must_use]
pub fn show(path: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(path) {
        Ok(s) if !s.chars().any(|c| c.is_control() || c == '\\') => Cow::Borrowed(s),
        _ => {
            let mut out = String::new();
            for chunk in path.utf8_chunks() {
                for c in chunk.valid().chars() {
                    if c.is_control() || c == '\\' {
                        let mut buf = [0; 4];
                        c.encode_utf8(&mut buf).bytes().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
                    } else {
                        out.push(c);
                    }
                }
                chunk.invalid().iter().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
            }
            Cow::Owned(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn roots(dir: &Path) -> [Root; 2] {
        [Root::open(dir).unwrap(), Root::open(dir).unwrap().without_openat2()]
    }

    #[test]
    fn nothing_leaves_the_root_either_way() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tmp.path().join("root/usr/lib")).unwrap();
        std::fs::write(tmp.path().join("secret"), "s").unwrap();
        std::fs::write(tmp.path().join("root/usr/lib/f"), "f").unwrap();
        symlink("usr/lib", tmp.path().join("root/lib")).unwrap();
        symlink("../secret", tmp.path().join("root/up")).unwrap();
        symlink("/usr/lib/f", tmp.path().join("root/abs")).unwrap();
        symlink("loop", tmp.path().join("root/loop")).unwrap();
        for root in roots(&tmp.path().join("root")) {
            let get = |p: &str, l| root.open_at(p.as_bytes(), OFlags::RDONLY, Mode::empty(), l).map(drop);
            assert_eq!(get("../secret", Links::Refuse), Err(Errno::XDEV));
            assert_eq!(get("usr/../../secret", Links::Refuse), Err(Errno::XDEV));
            assert_eq!(get("/usr/lib/f", Links::Refuse), Err(Errno::XDEV));
            assert_eq!(get("lib/f", Links::Refuse), Err(Errno::LOOP));
            assert_eq!(get("up", Links::Refuse), Err(Errno::LOOP));
            assert_eq!(get("lib/f", Links::InRoot), Ok(()));
            assert_eq!(get("abs", Links::InRoot), Ok(()));
            assert_eq!(get("up", Links::InRoot), Err(Errno::NOENT));
            assert_eq!(get("../../usr/lib/f", Links::InRoot), Ok(()));
            assert_eq!(get("loop", Links::InRoot), Err(Errno::LOOP));
            assert_eq!(get("", Links::Refuse), Ok(()));
            assert_eq!(get("usr/lib/nothing", Links::Refuse), Err(Errno::NOENT));
        }
    }

    #[test]
    fn paths_longer_than_path_max_open() {
        let tmp = tempfile::tempdir().unwrap();
        for root in roots(tmp.path()) {
            let name = vec![b'n'; 200];
            let mut path = Vec::new();
            for depth in 0..30 {
                if depth > 0 {
                    path.push(b'/');
                }
                path.extend(&name);
                let (dir, last) = root.parent(&path, Links::Refuse).unwrap();
                match rustix::fs::mkdirat(&dir, last, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            assert!(path.len() > 5000);
            root.open_at(&path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::Refuse).unwrap();
        }
    }

    #[test]
    fn odd_bytes_are_shown_without_loss() {
        assert_eq!(show(b"a\xffb\n\\"), "a\\xffb\\x0a\\x5c");
        assert_eq!(show("größe".as_bytes()), "größe");
    }
}
