//! Mounting and unmounting, and which filesystems the kernel can mount.
//!
//! Call these inside [`super::namespace::in_private_mounts`], so that nothing is left behind.

use crate::error::{Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountFlags, UnmountFlags};
use std::ffi::CString;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a busy filesystem is tried again. Another thread of the process may have forked, for a second apply, say: until
/// its child runs another program, that has our descriptors open, and on a machine with much to do the child has to wait
/// for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(25);

/// Mounts the block device `source` at `target`; `options` are those of the filesystem, such as `umask=0077`.
///
/// # Errors
/// `Unsupported` when the kernel has no such filesystem; `Denied` without privilege; else `Io` with the errno.
pub fn device(source: &Path, target: &Path, fstype: &str, options: &[String]) -> Result<()> {
    let (flags, rest) = split_options(options);
    let data = c_string(&rest.join(","))?;
    rustix::mount::mount(source, target, fstype, flags, Some(data.as_c_str())).map_err(|e| match e {
        Errno::NODEV => no_filesystem(fstype),
        e => failed("mount", source, e),
    })
}

/// Mounts an empty tmpfs at `target`, with `data` such as `mode=0700`.
///
/// # Errors
/// As [`device`].
pub fn tmpfs(target: &Path, data: &str) -> Result<()> {
    let data = c_string(data)?;
    rustix::mount::mount("none", target, "tmpfs", MountFlags::NOSUID, Some(data.as_c_str()))
        .map_err(|e| failed("mount a tmpfs at", target, e))
}

/// The devices that programs in a root get: no disk is among them.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Gives a root what programs in it expect: a `/dev` with [`DEVICES`], fresh `/proc` and `/sys`, an empty `/run`.
///
/// The `/dev` of the host would give the root's programs its disks, and its `/run` its udev and systemd.
///
/// # Errors
/// As [`device`]; the four directories are made where they are missing.
pub fn system_directories(root: &Path) -> Result<()> {
    let at = |name: &str| -> Result<std::path::PathBuf> {
        let path = root.join(name);
        // A link here could lead out of the root: what is mounted over must be a directory of its own.
        match std::fs::symlink_metadata(&path) {
            Ok(m) if m.is_dir() => {}
            Ok(_) => return Err(Error::unsafe_input(format!("/{name} of the image is not a directory"))),
            Err(_) => std::fs::create_dir(&path).map_err(|e| Error::io("make", path.display(), e))?,
        }
        Ok(path)
    };
    let hardened = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let dev = at("dev")?;
    tmpfs(&dev, "mode=0755")?;
    for name in DEVICES {
        let (from, to) = (Path::new("/dev").join(name), dev.join(name));
        std::fs::File::create_new(&to).map_err(|e| Error::io("make", to.display(), e))?;
        rustix::mount::mount_bind(&from, &to).map_err(|e| failed("bind", &from, e))?;
    }
    for (name, fstype) in [("proc", "proc"), ("sys", "sysfs")] {
        let path = at(name)?;
        rustix::mount::mount(fstype, &path, fstype, hardened, None).map_err(|e| failed("mount", &path, e))?;
    }
    tmpfs(&at("run")?, "mode=0755")
}

/// Unmounts what is mounted at `target`, once.
///
/// # Errors
/// `Io`; `Busy` when something in it is open.
pub fn unmount(target: &Path) -> Result<()> {
    unmount_until(target, Instant::now() + PATIENCE)
}

fn unmount_until(target: &Path, end: Instant) -> Result<()> {
    loop {
        match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
            Err(Errno::BUSY) if Instant::now() < end => std::thread::sleep(PAUSE),
            done => return done.map_err(|e| failed("unmount", target, e)),
        }
    }
}

/// Unmounts `target` with everything mounted beneath it, deepest first.
///
/// # Errors
/// As [`unmount`], the first one; it goes on to unmount what it can.
pub fn unmount_all(target: &Path) -> Result<()> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo")
        .map_err(|e| Error::io("read", "/proc/thread-self/mountinfo", e))?;
    let mounts = super::sysfs::parse_mountinfo(&text);
    let (mut result, end) = (Ok(()), Instant::now() + PATIENCE);
    for m in mounts.iter().rev().filter(|m| m.target.starts_with(target)) {
        let done = unmount_until(&m.target, end);
        if result.is_ok() {
            result = done;
        }
    }
    result
}

/// Whether the kernel can mount this filesystem, loading its module where that is possible.
///
/// # Errors
/// `Unsupported` when it cannot.
pub fn require_filesystem(fstype: &str) -> Result<()> {
    let listed = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if listed.lines().any(|l| l.split_whitespace().last() == Some(fstype)) {
        return Ok(());
    }
    // `fsopen` loads the module and mounts nothing. Kernels before 5.2 have no fsopen; there the list of modules tells.
    match rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => Ok(()),
        Err(Errno::NOSYS) if module_exists(fstype) => Ok(()),
        Err(Errno::PERM) => Err(Error::new(ErrorKind::Denied, "mounting needs root (CAP_SYS_ADMIN)")),
        Err(_) => Err(no_filesystem(fstype)),
    }
}

fn module_exists(fstype: &str) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = std::fs::read_to_string(format!("/lib/modules/{release}/modules.dep")).unwrap_or_default();
    modules.lines().any(|l| l.split(".ko").next().is_some_and(|p| p.ends_with(&format!("/{fstype}"))))
}

fn no_filesystem(fstype: &str) -> Error {
    Error::unsupported(format!("this kernel cannot mount {fstype}"))
        .hint(format!("load the module {fstype}, or leave the mount point out of the layout"))
        .fact("code", "F230")
        .fact("filesystem", fstype)
}

fn failed(what: &str, at: &Path, e: Errno) -> Error {
    let error = Error::io(what, at.display(), e);
    let as_kind = |kind| Error::new(kind, error.message()).fact("path", at.display().to_string());
    match e {
        Errno::PERM => as_kind(ErrorKind::Denied).hint("mounting needs root (CAP_SYS_ADMIN)").cause(e),
        Errno::BUSY => as_kind(ErrorKind::Busy).cause(e),
        _ => error,
    }
}

/// Splits fstab options into those of the kernel's mount call and those of the filesystem; what only `mount(8)`,
/// systemd and fstab understand is left out.
fn split_options(options: &[String]) -> (MountFlags, Vec<&str>) {
    let (mut flags, mut rest) = (MountFlags::empty(), Vec::new());
    for option in options {
        match option.as_str() {
            "nodev" => flags |= MountFlags::NODEV,
            "nosuid" => flags |= MountFlags::NOSUID,
            "noatime" => flags |= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            // A tree has to be written and programs run while it is deployed, whatever holds later.
            "ro" | "noexec" | "rw" | "exec" | "dev" | "suid" | "defaults" | "auto" | "noauto" | "nofail" | "user"
            | "users" | "nouser" | "group" | "owner" | "_netdev" | "sync" | "async" | "dirsync" | "lazytime"
            | "nolazytime" | "strictatime" | "atime" | "diratime" | "norelatime" | "nostrictatime" | "silent"
            | "loud" => {}
            o if o.starts_with("x-") || o.starts_with("X-") || o.starts_with("comment=") => {}
            o => rest.push(o),
        }
    }
    (flags, rest)
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid("a mount option contains a zero byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_go_where_they_belong() {
        let options = ["noatime", "nofail", "x-systemd.device-timeout=60s", "umask=0077", "ro"].map(String::from);
        let (flags, rest) = split_options(&options);
        assert_eq!((flags, rest), (MountFlags::NOATIME, vec!["umask=0077"]));
    }

    #[test]
    fn an_unknown_filesystem_is_unsupported() {
        let e = require_filesystem("no-such-fs").unwrap_err();
        assert!(matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::Denied));
    }

    /// A child between fork and exec has every descriptor of the process, however long that takes.
    #[test]
    fn what_is_open_in_a_mount_for_a_while_is_waited_for() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: what_is_open_in_a_mount_for_a_while_is_waited_for: it needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        super::super::namespace::in_private_mounts(|| {
            tmpfs(dir.path(), "mode=0700")?;
            let open = std::fs::File::create(dir.path().join("file")).unwrap();
            let holder = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(1500));
                drop(open);
            });
            let done = unmount_all(dir.path());
            holder.join().unwrap();
            done
        })
        .unwrap();
    }

    #[test]
    fn programs_of_a_root_see_no_disk_and_nothing_of_the_host() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: programs_of_a_root_see_no_disk_and_nothing_of_the_host: it needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("dev")).unwrap();
        // As an image could have it.
        std::fs::write(dir.path().join("dev/sda"), "").unwrap();
        super::super::namespace::in_private_mounts(|| {
            system_directories(dir.path())?;
            let names = |d: &str| {
                let names = std::fs::read_dir(dir.path().join(d)).unwrap();
                names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(names("dev"), DEVICES.map(String::from).into());
            assert_eq!(std::fs::read(dir.path().join("dev/null")).unwrap(), b"");
            assert!(names("run").is_empty() && names("proc").contains("self") && names("sys").contains("block"));
            unmount_all(dir.path())
        })
        .unwrap();
        assert!(std::fs::read_dir(dir.path().join("run")).unwrap().next().is_none());
        let link = dir.path().join("link");
        std::fs::create_dir(&link).unwrap();
        std::os::unix::fs::symlink("/dev", link.join("dev")).unwrap();
        let e = super::super::namespace::in_private_mounts(|| system_directories(&link)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::UnsafeInput);
    }
}
