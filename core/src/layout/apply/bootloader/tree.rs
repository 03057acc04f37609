//! Files of the target root or of an ESP: read, compared, and written only where they differ.
//!
//! Paths are relative and confined: links lead as they would in the installed system, never out of it. A file is
//! written under another name and renamed, so that it is whole or not there; what has the right content already is
//! left alone. So a second run changes nothing, and says so.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::confined::{Links, Root, proc_path};
use crate::sys::xattr::{self, Of};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// No file that is read here is larger than this: the largest are initramfs images.
const LIMIT: u64 = 1 << 30;
/// The name under which a file is written.
const FRESH: &str = ".cv-new";
/// The label of SELinux.
const LABEL: &[u8] = b"security.selinux";

/// A directory tree that is configured.
pub(super) struct Tree {
    root: Root,
    place: PathBuf,
    fat: bool,
    changed: RefCell<Vec<String>>,
}

impl Tree {
    /// The root of the installed system.
    pub(super) fn open(place: &Path) -> Result<Self> {
        let root = Root::open(place).map_err(|e| Error::io("open", place.display(), e))?;
        Ok(Self { root, place: place.to_owned(), fat: false, changed: RefCell::default() })
    }

    /// An ESP: it keeps no modes, and what is written is flushed at once.
    pub(super) fn esp(place: &Path) -> Result<Self> {
        Ok(Self { fat: true, ..Self::open(place)? })
    }

    /// Where it is, as seen from this machine.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Paths that were written or removed so far.
    pub(super) fn changed(&self) -> Vec<String> {
        self.changed.borrow().clone()
    }

    /// The content of a file; `None` when there is none.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let failed = |e: std::io::Error| Error::io("read", self.name(path), e);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let fd = match self.root.open_at(path.as_bytes(), flags, Mode::empty(), Links::InRoot) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(e) => return Err(failed(e.into())),
        };
        let file = File::from(fd);
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Ok(None);
        }
        if meta.len() > LIMIT {
            return Err(Error::limit(format!("{} has more than 1 GiB", self.name(path))));
        }
        let mut bytes = Vec::new();
        file.take(LIMIT).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    /// The content of a file as text; what is not UTF-8 is replaced.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>> {
        Ok(self.read(path)?.map(|b| String::from_utf8_lossy(&b).into_owned()))
    }

    /// Whether something is there, links followed.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.root.open_at(path.as_bytes(), OFlags::PATH, Mode::empty(), Links::InRoot).is_ok()
    }

    /// The names in a directory, sorted; none when there is no directory.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(fd) = self.root.open_at(path.as_bytes(), flags, Mode::empty(), Links::InRoot) else { return Vec::new() };
        let Ok(entries) = rustix::fs::Dir::read_from(&fd) else { return Vec::new() };
        let names = entries.flatten().filter_map(|e| e.file_name().to_str().ok().map(ToOwned::to_owned));
        let mut names: Vec<String> = names.filter(|n| n != "." && n != "..").collect();
        names.sort();
        names
    }

    /// The name in `path` that is `name` but for the case of its letters, as FAT compares them.
    pub(super) fn find(&self, path: &str, name: &str) -> Option<String> {
        let names = self.list(path);
        let same = |n: &&String| n.eq_ignore_ascii_case(name);
        names.iter().find(|n| *n == name).or_else(|| names.iter().find(same)).cloned()
    }

    /// Where a symbolic link leads, as it is written.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let (dir, name) = self.root.parent(path.as_bytes(), Links::InRoot).ok()?;
        let target = rustix::fs::readlinkat(&dir, name, Vec::new()).ok()?;
        target.into_string().ok()
    }

    /// The directories below `path`, itself first, and the regular files, as paths from the root of the tree.
    pub(super) fn walk(&self, path: &str) -> (Vec<String>, Vec<String>) {
        let (mut directories, mut files, mut todo) = (Vec::new(), Vec::new(), vec![path.to_owned()]);
        while let Some(at) = todo.pop() {
            for name in self.list(&at).into_iter().rev() {
                let below = if at.is_empty() { name } else { format!("{at}/{name}") };
                match self.root.lstat(below.as_bytes(), Links::InRoot).map(|s| FileType::from_raw_mode(s.st_mode)) {
                    // A tree of an ESP is flat; what is deeper than this is no ESP.
                    Ok(FileType::Directory) if below.matches('/').count() < 16 => todo.push(below),
                    Ok(FileType::RegularFile) => files.push(below),
                    _ => {}
                }
            }
            directories.push(at);
        }
        files.sort();
        (directories, files)
    }

    /// Makes the file have this content; says whether it had not.
    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        self.write_mode(path, bytes, 0o644)
    }

    /// As [`Tree::write`], with a mode of one's own: that of a program, or of what only root may read.
    pub(super) fn write_mode(&self, path: &str, bytes: &[u8], mode: u32) -> Result<bool> {
        if self.is_already(path, bytes, mode)? {
            return Ok(false);
        }
        self.put(path, bytes, mode)?;
        Ok(true)
    }

    /// Writes the file anew although it may have this content: its time counts.
    pub(super) fn put(&self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let failed = |e: std::io::Error| match e.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC) => Error::limit(format!("there is no room for {}", self.name(path))).cause(e),
            _ => Error::io("write", self.name(path), e),
        };
        let (dir, name) = self.make_parent(path)?;
        let fresh = format!("{name}{FRESH}");
        let _ = rustix::fs::unlinkat(&dir, &fresh, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&dir, &fresh, flags, Mode::from_raw_mode(0o600)).map_err(|e| failed(e.into()))?;
        let mut file = File::from(fd);
        let written = file.write_all(bytes).and_then(|()| if self.fat { file.sync_all() } else { Ok(()) });
        let moded = written.and_then(|()| match self.fat {
            true => Ok(()),
            false => Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?),
        });
        self.label(dir.as_fd(), name, &fresh);
        let renamed = moded.and_then(|()| Ok(rustix::fs::renameat(&dir, &fresh, &dir, name)?));
        if let Err(e) = renamed {
            let _ = rustix::fs::unlinkat(&dir, &fresh, AtFlags::empty());
            return Err(failed(e));
        }
        if self.fat {
            self.flush(dir.as_fd());
        }
        self.changed.borrow_mut().push(path.to_owned());
        Ok(())
    }

    /// Makes a symbolic link.
    pub(super) fn symlink(&self, path: &str, target: &str) -> Result<bool> {
        if self.link(path).as_deref() == Some(target) {
            return Ok(false);
        }
        let failed = |e: Errno| Error::io("make", self.name(path), e);
        let (dir, name) = self.make_parent(path)?;
        let fresh = format!("{name}{FRESH}");
        let _ = rustix::fs::unlinkat(&dir, &fresh, AtFlags::empty());
        rustix::fs::symlinkat(target, &dir, &fresh).map_err(failed)?;
        rustix::fs::renameat(&dir, &fresh, &dir, name).map_err(failed)?;
        self.changed.borrow_mut().push(path.to_owned());
        Ok(true)
    }

    /// Removes a file or link, if it is there.
    pub(super) fn remove(&self, path: &str) -> Result<bool> {
        let Ok((dir, name)) = self.root.parent(path.as_bytes(), Links::InRoot) else { return Ok(false) };
        match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) => {
                self.changed.borrow_mut().push(path.to_owned());
                Ok(true)
            }
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(Error::io("remove", self.name(path), e)),
        }
    }

    /// Reads a file that a program made, and takes it away.
    pub(super) fn take(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let bytes = self.read(path)?;
        if let Ok((dir, name)) = self.root.parent(path.as_bytes(), Links::InRoot) {
            let _ = rustix::fs::unlinkat(&dir, name, AtFlags::empty());
        }
        Ok(bytes)
    }

    /// Makes directories that are readable by everybody.
    pub(super) fn make_directory(&self, path: &str) -> Result<()> {
        let failed = |e: Errno| Error::io("make", self.name(path), e);
        let ends = path.match_indices('/').map(|(i, _)| i).chain([path.len()]);
        for end in ends.filter(|e| *e > 0) {
            if self.exists(&path[..end]) {
                continue;
            }
            let (dir, name) = self.root.parent(&path.as_bytes()[..end], Links::InRoot).map_err(failed)?;
            match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    let name = String::from_utf8_lossy(name);
                    self.label(dir.as_fd(), &name, &name);
                }
                Err(Errno::EXIST) => {}
                Err(e) => return Err(failed(e)),
            }
        }
        Ok(())
    }

    /// Gives `fresh` the label of the file that it replaces, else that of its directory, as the kernel would do under a
    /// policy: the machine that deploys often runs none. What cannot be labelled is relabelled by the system itself.
    fn label(&self, dir: std::os::fd::BorrowedFd<'_>, old: &str, fresh: &str) {
        if self.fat {
            return;
        }
        let of = |name: &str| xattr::get(Of::Path(&proc_path(dir, name.as_bytes())), LABEL);
        if let Some(label) = of(old).or_else(|| of(".")) {
            let _ = xattr::set(Of::Path(&proc_path(dir, fresh.as_bytes())), LABEL, &label);
        }
    }

    fn make_parent<'p>(&self, path: &'p str) -> Result<(std::os::fd::OwnedFd, &'p str)> {
        let name = path.rsplit('/').next().unwrap_or(path);
        if name.is_empty() || path.starts_with('/') {
            return Err(Error::new(ErrorKind::Bug, format!("{path:?} is no path of a file")));
        }
        self.make_directory(path[..path.len() - name.len()].trim_end_matches('/'))?;
        let (dir, _) =
            self.root.parent(path.as_bytes(), Links::InRoot).map_err(|e| Error::io("write", self.name(path), e))?;
        Ok((dir, name))
    }

    fn is_already(&self, path: &str, bytes: &[u8], mode: u32) -> Result<bool> {
        let Ok(stat) = self.root.lstat(path.as_bytes(), Links::InRoot) else { return Ok(false) };
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let moded = self.fat || stat.st_mode & 0o7777 == mode;
        let sized = u64::try_from(stat.st_size).is_ok_and(|s| s == bytes.len() as u64);
        Ok(regular && moded && sized && self.read(path)?.is_some_and(|b| b == bytes))
    }

    fn flush(&self, dir: std::os::fd::BorrowedFd<'_>) {
        // `dir` is open as a path only; a directory that cannot be flushed is not a reason to stop.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(fd) = rustix::fs::openat(dir, ".", flags, Mode::empty()) {
            let _ = rustix::fs::fsync(&fd);
        }
    }

    fn name(&self, path: &str) -> String {
        if self.fat { self.root.name_of(path.as_bytes()) } else { format!("/{path}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_target_does_not_lead_out() {
        let tmp = tempfile::tempdir().unwrap();
        let (target, outside) = (tmp.path().join("target"), tmp.path().join("outside"));
        std::fs::create_dir_all(target.join("boot")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, target.join("boot/grub")).unwrap();
        std::fs::write(outside.join("grub.cfg"), "mine").unwrap();
        let tree = Tree::open(&target).unwrap();
        // Within the target the absolute link names a place that does not exist.
        assert!(tree.write("boot/grub/grub.cfg", b"theirs").is_err());
        assert_eq!(tree.read("boot/grub/grub.cfg").unwrap(), None);
        assert_eq!(std::fs::read(outside.join("grub.cfg")).unwrap(), b"mine");
        std::fs::remove_file(target.join("boot/grub")).unwrap();
        assert!(tree.write("boot/grub/i386-pc/x", b"1").unwrap());
        assert!(tree.write("boot/grub/i386-pc/x", b"2").unwrap());
        assert_eq!(std::fs::read(target.join("boot/grub/i386-pc/x")).unwrap(), b"2");
    }

    #[test]
    fn what_is_right_already_is_left_alone() {
        let tmp = tempfile::tempdir().unwrap();
        let tree = Tree::open(tmp.path()).unwrap();
        assert!(tree.write_mode("etc/a", b"1", 0o600).unwrap());
        assert!(!tree.write_mode("etc/a", b"1", 0o600).unwrap());
        assert!(tree.write_mode("etc/a", b"1", 0o755).unwrap());
        // A link gives way: what it leads to belongs to somebody else.
        std::fs::write(tmp.path().join("other"), "2").unwrap();
        std::os::unix::fs::symlink("../other", tmp.path().join("etc/b")).unwrap();
        assert!(tree.write("etc/b", b"2").unwrap());
        assert!(std::fs::symlink_metadata(tmp.path().join("etc/b")).unwrap().is_file());
        assert!(tree.symlink("etc/c", "a").unwrap() && !tree.symlink("etc/c", "a").unwrap());
        assert!(tree.remove("etc/c").unwrap() && !tree.remove("etc/c").unwrap());
        assert_eq!(tree.changed(), ["etc/a", "etc/a", "etc/b", "etc/c", "etc/c"]);
    }
}
