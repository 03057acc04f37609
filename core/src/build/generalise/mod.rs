//! What is of one machine or one moment goes: two builds of the same give the same tree.
//!
//! ```text
//!  table      keys, seeds, caches, histories, locks ──> removed
//!  /var/log   ──> without content
//!  machine-id ──> empty: systemd makes one at the first boot
//!  shadow     days after the epoch ──> that of the epoch
//!  rpm        ──> one file, in the order of its content
//!  times      after the epoch ──> the epoch; older ones are those of the packages
//! ```
//!
//! The root is one that programs of packages have written to: every path is looked for inside it, and no link is followed at its
//! end. What a package makes up by itself cannot be known: two builds are compared, and a role names what differs.

mod accounts;
mod table;
mod walk;

use super::rpmdb;
use crate::error::{Error, Result};
use crate::job::Task;
use crate::sys::confined::{Links, Root, show, split};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use table::{HOSTNAME, RESOLVER, TABLE, What};
use wildmatch::WildMatch;

const MACHINE_ID: &str = "etc/machine-id";
const DBUS_ID: &str = "var/lib/dbus/machine-id";
const SHADOWS: [&str; 2] = ["etc/shadow", "etc/shadow.rpmnew"];
const INITIATOR: &str = "etc/iscsi/initiatorname.iscsi";
const GENERATE: &[u8] = b"GenerateName=yes\n";
const LOGS: &str = "var/log";
const DAY: i64 = 86_400;
/// More of a file of accounts is not read.
const SHADOW_LIMIT: u64 = 64 << 20;

/// What is generalised, beside what always is.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Seconds since 1970: nothing in the tree is younger.
    pub epoch: i64,
    /// Whether `/etc/hostname` is the role's.
    pub keep_hostname: bool,
    /// Whether `/etc/resolv.conf` is the role's.
    pub keep_resolver: bool,
    /// Absolute paths to remove, with all that is in them; the last component may have `*` and `?`.
    pub remove: Vec<String>,
    /// Absolute paths of files to empty, likewise.
    pub truncate: Vec<String>,
}

/// What was done. Paths are absolute in the root, and printable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is gone.
    pub removed: Vec<String>,
    /// What is empty now and was not.
    pub emptied: Vec<String>,
    /// What was rewritten.
    pub changed: Vec<String>,
    /// Entries whose time was after the epoch.
    pub clamped: u64,
}

/// Generalises the root at `path`, in which nothing may run or be mounted.
///
/// # Errors
/// `Invalid` when a rule is no absolute path, `UnsafeInput` when `/etc/machine-id` or a file of accounts is something else, as
/// [`rpmdb::settle`], `Limit`, `Io`, `Cancelled`.
pub fn generalise(path: &Path, rules: &Rules, task: &Task) -> Result<Report> {
    let root = Root::open(path).map_err(|e| Error::io("open", path.display(), e))?.one_filesystem();
    let mut work = Work { root: &root, report: Report::default() };
    rpmdb::settle(path)?;
    for (dir, pattern, what) in TABLE {
        task.check()?;
        work.apply(dir.as_bytes(), pattern, *what)?;
    }
    for (path, kept) in [(HOSTNAME, rules.keep_hostname), (RESOLVER, rules.keep_resolver)] {
        // A link leads to what the running system makes, and is the image's own.
        let link =
            root.lstat(path.as_bytes(), Links::InRoot).is_ok_and(|st| FileType::from_raw_mode(st.st_mode).is_symlink());
        if !kept && !link {
            work.apply_to(path, What::Remove)?;
        }
    }
    for (paths, what) in [(&rules.remove, What::Remove), (&rules.truncate, What::Truncate)] {
        for path in paths {
            work.apply_to(inside(path)?, what)?;
        }
    }
    work.logs()?;
    work.machine_id()?;
    work.initiator()?;
    for path in SHADOWS {
        work.shadow(path, rules.epoch.div_euclid(DAY))?;
    }
    // Last: all of the above changes times.
    task.check()?;
    work.clamp(rules.epoch)?;
    Ok(work.report)
}

/// The path of a rule, relative to the root.
fn inside(path: &str) -> Result<&str> {
    let parts = path
        .strip_prefix('/')
        .filter(|p| !p.is_empty() && !p.split('/').any(|c| c.is_empty() || c == "." || c == ".."));
    parts.ok_or_else(|| Error::invalid(format!("generalise: {path:?} is not the path of something in the image")))
}

struct Work<'a> {
    root: &'a Root,
    report: Report,
}

impl Work<'_> {
    fn apply_to(&mut self, path: &str, what: What) -> Result<()> {
        let (dir, name) = split(path.as_bytes());
        self.apply(dir, &String::from_utf8_lossy(name), what)
    }

    /// Does it to what matches in a directory, if there is one.
    fn apply(&mut self, place: &[u8], pattern: &str, what: What) -> Result<()> {
        let Some(dir) = self.directory(place)? else { return Ok(()) };
        let matching = WildMatch::new(pattern);
        for name in walk::names(&dir).map_err(|e| self.failed("list", place, e))? {
            if matching.matches(&name.to_string_lossy()) {
                let path = joined(place, name.as_bytes());
                match what {
                    What::Remove => self.remove(&dir, &name, &path)?,
                    What::Truncate => self.empty(&dir, &name, &path)?,
                }
            }
        }
        Ok(())
    }

    /// A directory, found as programs in the root would; none where something else is in its place.
    fn directory(&self, place: &[u8]) -> Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match self.root.open_at(place, flags, Mode::empty(), Links::InRoot) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
            Err(e) => Err(self.failed("open", place, e)),
        }
    }

    fn remove(&mut self, dir: &OwnedFd, name: &CString, path: &[u8]) -> Result<()> {
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::ISDIR) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below =
                    rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|e| self.failed("open", path, e))?;
                let below = Root::from_fd(below).one_filesystem();
                walk::each(&below, b"", &mut |dir, name, state, inside| {
                    let directory = FileType::from_raw_mode(state.st_mode).is_dir();
                    let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                    rustix::fs::unlinkat(dir, name, flags).map_err(|e| Error::io("remove", show(inside), e))
                })?;
                rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR).map_err(|e| self.failed("remove", path, e))?;
            }
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(self.failed("remove", path, e)),
        }
        self.report.removed.push(absolute(path));
        Ok(())
    }

    /// Empties a regular file; others stay.
    fn empty(&mut self, dir: &OwnedFd, name: &CString, path: &[u8]) -> Result<()> {
        let state =
            rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| self.failed("look at", path, e))?;
        if !FileType::from_raw_mode(state.st_mode).is_file() || state.st_size == 0 {
            return Ok(());
        }
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|e| self.failed("empty", path, e))?;
        self.report.emptied.push(absolute(path));
        Ok(())
    }

    fn logs(&mut self) -> Result<()> {
        let Some(dir) = self.directory(LOGS.as_bytes())? else { return Ok(()) };
        let below = Root::from_fd(dir).one_filesystem();
        walk::each(&below, b"", &mut |dir, name, _, inside| self.empty(dir, name, &joined(LOGS.as_bytes(), inside)))
    }

    /// Empty, for systemd to fill at the first boot. That of D-Bus is a link to it, or none.
    fn machine_id(&mut self) -> Result<()> {
        let dbus = self.root.lstat(DBUS_ID.as_bytes(), Links::InRoot);
        if dbus.is_ok_and(|st| FileType::from_raw_mode(st.st_mode).is_file()) {
            self.apply_to(DBUS_ID, What::Remove)?;
        }
        let Some(dir) = self.directory(b"etc")? else { return Ok(()) };
        let failed = |e| Error::io("empty", "/etc/machine-id", e);
        let state = match rustix::fs::statat(&dir, "machine-id", AtFlags::SYMLINK_NOFOLLOW) {
            // No systemd: nothing that would want one.
            Err(Errno::NOENT) => return Ok(()),
            state => state.map_err(failed)?,
        };
        if !FileType::from_raw_mode(state.st_mode).is_file() {
            return Err(Error::unsafe_input("/etc/machine-id of the new root is not a file"));
        }
        let name = c"machine-id".to_owned();
        self.empty(&dir, &name, MACHINE_ID.as_bytes())?;
        let mode = Mode::RUSR | Mode::RGRP | Mode::ROTH;
        rustix::fs::chmodat(&dir, &name, mode, AtFlags::empty()).map_err(failed)
    }

    /// The name of iSCSI is made at random when its package is installed. Debian's service makes a new one where the file asks for
    /// it, that of Enterprise Linux where there is none.
    fn initiator(&mut self) -> Result<()> {
        let debian = ["lib/open-iscsi", "usr/lib/open-iscsi"]
            .iter()
            .any(|dir| self.root.open_at(dir.as_bytes(), OFlags::PATH, Mode::empty(), Links::InRoot).is_ok());
        if !debian {
            return self.apply_to(INITIATOR, What::Remove);
        }
        let file = match self.root.open_file(INITIATOR.as_bytes(), OFlags::WRONLY) {
            Ok(file) => std::fs::File::from(file),
            Err(_) => return Ok(()),
        };
        let failed = |e| Error::io("rewrite", format!("/{INITIATOR}"), e);
        file.set_len(0).and_then(|()| (&file).write_all(GENERATE)).map_err(failed)?;
        self.report.changed.push(absolute(INITIATOR.as_bytes()));
        Ok(())
    }

    fn shadow(&mut self, path: &str, day: i64) -> Result<()> {
        let file = match self.root.open_file(path.as_bytes(), OFlags::RDWR) {
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::LOOP | Errno::ISDIR | Errno::INVAL) => {
                return Err(Error::unsafe_input(format!("/{path} of the new root is not a file")));
            }
            file => file.map_err(|e| self.failed("open", path.as_bytes(), e))?,
        };
        if !rustix::fs::fstat(&file).is_ok_and(|st| FileType::from_raw_mode(st.st_mode).is_file()) {
            return Err(Error::unsafe_input(format!("/{path} of the new root is not a file")));
        }
        let mut file = std::fs::File::from(file);
        let mut text = Vec::new();
        let failed = |e| Error::io("rewrite", format!("/{path}"), e);
        (&file).take(SHADOW_LIMIT + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > SHADOW_LIMIT {
            return Err(Error::limit(format!("/{path} is larger than {} MiB", SHADOW_LIMIT >> 20)));
        }
        let new = accounts::clamp_days(&text, day);
        if new != text {
            rustix::fs::ftruncate(&file, 0).map_err(|e| failed(e.into()))?;
            rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).map_err(|e| failed(e.into()))?;
            file.write_all(&new).map_err(failed)?;
            self.report.changed.push(absolute(path.as_bytes()));
        }
        Ok(())
    }

    /// Times after the epoch become it, those of the root's own directory, too. Older ones are not touched, and nothing is
    /// about times of access, which are not in an image.
    fn clamp(&mut self, epoch: i64) -> Result<()> {
        let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        let times = Timestamps { last_access: omit, last_modification: Timespec { tv_sec: epoch, tv_nsec: 0 } };
        let later = |st: &rustix::fs::Stat| (st.st_mtime, i64::try_from(st.st_mtime_nsec).unwrap_or(0)) > (epoch, 0);
        let mut clamped = 0;
        walk::each(self.root, b"", &mut |dir, name, state, path| {
            if later(state) {
                match rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(()) => clamped += 1,
                    // It came with the image that this one is made of, immutable, and stays as it was.
                    Err(Errno::PERM) => {}
                    Err(e) => return Err(Error::io("set the time of", show(path), e)),
                }
            }
            Ok(())
        })?;
        let state = rustix::fs::fstat(self.root).map_err(|e| self.failed("look at", b"", e))?;
        if later(&state) {
            rustix::fs::futimens(self.root, &times).map_err(|e| self.failed("set the time of", b"", e))?;
            clamped += 1;
        }
        self.report.clamped = clamped;
        Ok(())
    }

    fn failed(&self, what: &str, path: &[u8], e: Errno) -> Error {
        Error::io(what, self.root.name_of(path), e)
    }
}

fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

fn absolute(path: &[u8]) -> String {
    format!("/{}", show(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn run(dir: &tempfile::TempDir, rules: &Rules) -> Result<Report> {
        generalise(dir.path(), rules, &Task::quiet())
    }

    #[test]
    fn what_is_of_a_machine_goes_and_the_rest_stays() {
        let dir = root(&[
            ("etc/machine-id", "0123"),
            ("etc/ssh/ssh_host_rsa_key", "k"),
            ("etc/ssh/ssh_host_rsa_key.pub", "k"),
            ("etc/ssh/sshd_config", "c"),
            ("etc/hostname", "h"),
            ("etc/resolv.conf", "r"),
            ("etc/shadow", "a:!:20700:::::\n"),
            ("var/lib/dbus/machine-id", "0123"),
            ("var/log/a.log", "x"),
            ("var/log/deep/er/b.log", "x"),
            ("var/log/empty", ""),
            ("var/log/journal/0123/system.journal", "x"),
            ("var/cache/dnf/x/y/z", "x"),
            ("var/lib/app/seed", "x"),
            ("var/lib/app/notes", "x"),
            ("tmp/left", "x"),
        ]);
        let rules = Rules {
            epoch: 1_000_000_000,
            keep_resolver: true,
            remove: vec!["/var/lib/app/se*".into()],
            truncate: vec!["/var/lib/app/notes".into()],
            ..Rules::default()
        };
        let report = run(&dir, &rules).unwrap();
        let removed = [
            "/etc/ssh/ssh_host_rsa_key",
            "/etc/ssh/ssh_host_rsa_key.pub",
            "/var/cache/dnf/x",
            "/var/log/journal/0123",
            "/tmp/left",
            "/etc/hostname",
            "/var/lib/app/seed",
            "/var/lib/dbus/machine-id",
        ];
        assert_eq!(report.removed, removed);
        let emptied = ["/var/lib/app/notes", "/var/log/a.log", "/var/log/deep/er/b.log", "/etc/machine-id"];
        assert_eq!(report.emptied, emptied);
        assert_eq!(report.changed, ["/etc/shadow"]);
        assert_eq!(std::fs::read_to_string(dir.path().join("etc/shadow")).unwrap(), "a:!:11574:::::\n");
        assert_eq!(std::fs::metadata(dir.path().join("etc/machine-id")).unwrap().mode() & 0o7777, 0o444);
        // All is as old as it may be, and a second time changes nothing.
        for path in ["", "etc", "etc/ssh/sshd_config", "var/log/deep/er/b.log"] {
            assert_eq!(std::fs::metadata(dir.path().join(path)).unwrap().mtime(), 1_000_000_000, "{path}");
        }
        assert_eq!(run(&dir, &rules).unwrap(), Report::default());
    }

    #[test]
    fn older_times_stay_and_links_have_theirs() {
        let dir = root(&[("old", "x"), ("new", "x")]);
        let old = std::fs::File::options().write(true).open(dir.path().join("old")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(500)).unwrap();
        symlink("/nowhere", dir.path().join("link")).unwrap();
        run(&dir, &Rules { epoch: 1000, ..Rules::default() }).unwrap();
        let time = |n: &str| std::fs::symlink_metadata(dir.path().join(n)).unwrap().mtime();
        assert_eq!((time("old"), time("new"), time("link")), (500, 1000, 1000));
    }

    #[test]
    fn nothing_outside_is_touched() {
        let outside = root(&[("machine-id", "0123"), ("ssh_host_a_key", "k"), ("x.log", "x")]);
        let dir = root(&[("etc/passwd", "p"), ("var/x", "")]);
        symlink(outside.path(), dir.path().join("etc/ssh")).unwrap();
        symlink(outside.path(), dir.path().join("var/log")).unwrap();
        symlink(outside.path().join("x.log"), dir.path().join("tmp")).unwrap();
        run(&dir, &Rules { remove: vec!["/etc/ssh/x.log".into()], ..Rules::default() }).unwrap();
        symlink(outside.path().join("machine-id"), dir.path().join("etc/machine-id")).unwrap();
        assert_eq!(run(&dir, &Rules::default()).unwrap_err().kind(), ErrorKind::UnsafeInput);
        std::fs::remove_file(dir.path().join("etc/machine-id")).unwrap();
        symlink(outside.path().join("x.log"), dir.path().join("etc/shadow")).unwrap();
        assert_eq!(run(&dir, &Rules::default()).unwrap_err().kind(), ErrorKind::UnsafeInput);
        for (name, text) in [("machine-id", "0123"), ("ssh_host_a_key", "k"), ("x.log", "x")] {
            assert_eq!(std::fs::read_to_string(outside.path().join(name)).unwrap(), text);
        }
        for path in ["etc", "/", "/a/../b", "/a//b", ""] {
            let e = run(&dir, &Rules { remove: vec![path.into()], ..Rules::default() }).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid, "{path}");
            std::fs::remove_file(dir.path().join("etc/shadow")).unwrap_or_default();
        }
    }
}
