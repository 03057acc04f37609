//! The mounts of the root: first the list, which is a value, then they are made.

use super::Confined;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::confine::Late;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::MountFlags;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Nodes of `/dev`, taken from the host.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links of `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// What of the host's `/etc` its programs need to start.
const SETTINGS: [&str; 3] = ["ld.so.cache", "alternatives", "crypto-policies"];
/// What else they need to reach and to trust others. Certificates only: beside them are keys.
const NETWORK: [&str; 6] = ["resolv.conf", "hosts", "nsswitch.conf", "ssl/certs", "pki/ca-trust", "pki/tls/certs"];
/// Directories that these are in.
const WITHIN: [&str; 3] = ["ssl", "pki", "pki/tls"];
/// Beside `/usr`; links into it, or directories on a host that keeps them apart.
const SYSTEM: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec"];
/// Of the target, with the modes that they have below the mounts: packages change those of the mount, and not of the directory.
const OVER: [(&str, u32); 5] = [("proc", 0o555), ("sys", 0o555), ("dev", 0o755), ("run", 0o755), ("tmp", 0o1777)];
/// Parts of `/proc` that can be read only, and those that are not even that.
const READ_ONLY: [&str; 5] = ["sys", "irq", "bus", "fs", "sysrq-trigger"];
const HIDDEN: [&str; 8] =
    ["kcore", "keys", "key-users", "timer_list", "sched_debug", "kmsg", "kallsyms", "latency_stats"];

const HARDENED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// One step on the way to the root; paths are below it, without a leading slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Directory(PathBuf, u32),
    File(PathBuf, Vec<u8>),
    Link(PathBuf, PathBuf),
    Tmpfs(PathBuf, u32),
    Devpts(PathBuf),
    /// A directory or file of the host, with these flags; the mount point is made.
    Bind(PathBuf, PathBuf, MountFlags),
    /// What is mounted here already, once more and with all that is mounted below.
    Again(PathBuf, PathBuf),
    /// From here on this mount is read-only.
    Seal(PathBuf),
}

/// What a name in the root of the host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Directory,
    Link(PathBuf),
}

/// What [`plan`] has to know of the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub(super) system: Vec<(&'static str, Found)>,
    pub(super) settings: Vec<&'static str>,
    pub(super) network: Vec<&'static str>,
    pub(super) devices: Vec<&'static str>,
}

impl Host {
    pub(super) fn look() -> Self {
        let kind = |name: &&'static str| {
            let path = Path::new("/").join(name);
            match std::fs::read_link(&path) {
                Ok(target) => Some((*name, Found::Link(target))),
                Err(_) => path.is_dir().then_some((*name, Found::Directory)),
            }
        };
        let there = |dir: &'static str| move |name: &&'static str| Path::new(dir).join(name).exists();
        Self {
            system: SYSTEM.iter().filter_map(kind).collect(),
            settings: SETTINGS.into_iter().filter(there("/etc")).collect(),
            network: NETWORK.into_iter().filter(there("/etc")).collect(),
            devices: DEVICES.into_iter().filter(there("/dev")).collect(),
        }
    }
}

/// Everything that leads to the root, in order.
pub(super) fn plan(root: &Confined, host: &Host) -> Vec<Step> {
    let mut out = Vec::new();
    let read_only = HARDENED | MountFlags::RDONLY;
    let path = |name: &str| PathBuf::from(name);
    let directory = |name: &str, mode| Step::Directory(PathBuf::from(name), mode);
    out.push(Step::Bind(path("/usr"), path("usr"), read_only));
    for (name, found) in &host.system {
        out.push(match found {
            Found::Link(target) => Step::Link(target.clone(), path(name)),
            Found::Directory => Step::Bind(Path::new("/").join(name), path(name), read_only),
        });
    }
    out.push(directory("etc", 0o755));
    out.push(Step::File(path("etc/passwd"), b"root:x:0:0:root:/conf:/bin/sh\n".to_vec()));
    out.push(Step::File(path("etc/group"), b"root:x:0:\n".to_vec()));
    if root.net {
        out.extend(WITHIN.iter().map(|name| Step::Directory(Path::new("etc").join(name), 0o755)));
    }
    let network = host.network.iter().filter(|_| root.net);
    for name in host.settings.iter().chain(network) {
        out.push(Step::Bind(Path::new("/etc").join(name), Path::new("etc").join(name), read_only));
    }
    for (name, mode) in [("proc", 0o555), ("sys", 0o555), ("run", 0o755), ("tmp", 0o1777), ("root", 0o700)] {
        out.push(directory(name, mode));
    }
    for (name, mode) in
        [("var", 0o755), ("var/tmp", 0o1777), ("var/cache", 0o755), ("var/lib", 0o755), ("var/log", 0o755)]
    {
        out.push(directory(name, mode));
    }
    out.push(Step::Link(path("../run"), path("var/run")));
    // Nodes are mounts of their own: the tmpfs itself has no devices, so that none that is made there can be opened.
    out.push(Step::Tmpfs(path("dev"), 0o755));
    for name in &host.devices {
        out.push(Step::Bind(Path::new("/dev").join(name), Path::new("dev").join(name), MountFlags::NOSUID));
    }
    out.extend(LINKS.map(|(name, target)| Step::Link(path(target), Path::new("dev").join(name))));
    out.push(directory("dev/shm", 0o1777));
    out.push(Step::Devpts(path("dev/pts")));
    out.push(Step::Tmpfs(path("conf"), 0o755));
    for (name, bytes) in &root.conf {
        out.push(Step::File(Path::new("conf").join(name), bytes.clone()));
    }
    out.push(Step::Seal(path("conf")));
    out.push(directory("dist", 0o755));
    for (name, source) in &root.dist {
        out.push(Step::Bind(source.clone(), Path::new("dist").join(name), read_only | MountFlags::NOEXEC));
    }
    out.push(Step::Bind(root.target.clone(), path("target"), HARDENED));
    out.push(Step::Tmpfs(path("target/sys"), 0o555));
    out.push(Step::Again(path("dev"), path("target/dev")));
    out.push(Step::Tmpfs(path("target/run"), 0o755));
    out.push(Step::Tmpfs(path("target/tmp"), 0o1777));
    if let Some(work) = &root.work {
        out.push(Step::Bind(work.clone(), path("target/run/cv-build"), HARDENED));
    }
    out
}

/// What is left to a member of the process namespace: `/proc`, in both roots.
pub(super) fn late() -> Result<Vec<Late>> {
    let hardened = HARDENED | MountFlags::NOEXEC;
    let proc = Path::new("/proc");
    let mut out = vec![Late::new("proc", proc, hardened)?];
    for name in READ_ONLY {
        let path = proc.join(name);
        out.push(Late::bind(&path, &path)?.optional());
        out.push(Late::change(&path, MountFlags::RDONLY | hardened)?.optional());
    }
    for name in HIDDEN {
        out.push(Late::bind(Path::new("/dev/null"), &proc.join(name))?.optional());
    }
    out.push(Late::bind(proc, Path::new("/target/proc"))?);
    Ok(out)
}

/// Makes the directories of the target that are mounted over, with their final modes.
///
/// A link there would lead out of the target: what is mounted over is a directory of its own.
pub(super) fn prepare(target: &Path) -> Result<()> {
    for (name, mode) in OVER {
        let path = target.join(name);
        match std::fs::symlink_metadata(&path) {
            Ok(m) if m.is_dir() => {}
            Ok(_) => return Err(Error::unsafe_input(format!("/{name} of the new root is not a directory"))),
            Err(_) => directory(&path, mode)?,
        }
    }
    Ok(())
}

/// Makes the root at `place`, in the mount namespace of the calling thread.
pub(super) fn perform(steps: &[Step], place: &Path) -> Result<()> {
    tmpfs(place, 0o755)?;
    steps.iter().try_for_each(|step| one(step, place))
}

fn one(step: &Step, place: &Path) -> Result<()> {
    match step {
        Step::Directory(path, mode) => directory(&place.join(path), *mode),
        Step::File(path, bytes) => {
            std::fs::write(place.join(path), bytes).map_err(|e| Error::io("write", path.display(), e))
        }
        Step::Link(target, path) => {
            std::os::unix::fs::symlink(target, place.join(path)).map_err(|e| Error::io("make", path.display(), e))
        }
        Step::Tmpfs(path, mode) => {
            point(&place.join(path), true)?;
            tmpfs(&place.join(path), *mode)
        }
        Step::Devpts(path) => {
            let at = place.join(path);
            point(&at, true)?;
            let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
            rustix::mount::mount("devpts", &at, "devpts", flags, Some(c"newinstance,ptmxmode=0666,mode=0620,gid=5"))
                .map_err(|e| failed(path, e))
        }
        Step::Bind(source, path, flags) => bind(source, &place.join(path), *flags),
        Step::Again(from, path) => {
            rustix::mount::mount_bind_recursive(place.join(from), place.join(path)).map_err(|e| failed(path, e))
        }
        Step::Seal(path) => {
            let flags = MountFlags::BIND | MountFlags::RDONLY | HARDENED;
            rustix::mount::mount_remount(place.join(path), flags, c"").map_err(|e| failed(path, e))
        }
    }
}

/// Binds one mount of the host and not what is mounted below it. A bind takes no flags: they are set by a second call.
fn bind(source: &Path, at: &Path, flags: MountFlags) -> Result<()> {
    let found = std::fs::metadata(source).map_err(|e| Error::io("look at", source.display(), e))?;
    point(at, found.is_dir())?;
    rustix::mount::mount_bind(source, at).map_err(|e| failed(source, e))?;
    rustix::mount::mount_remount(at, MountFlags::BIND | flags, c"").map_err(|e| failed(source, e))
}

fn tmpfs(at: &Path, mode: u32) -> Result<()> {
    let data = std::ffi::CString::new(format!("mode={mode:04o}")).unwrap_or_default();
    rustix::mount::mount("none", at, "tmpfs", HARDENED, Some(data.as_c_str())).map_err(|e| failed(at, e))
}

/// Makes a mount point where there is none.
fn point(at: &Path, is_directory: bool) -> Result<()> {
    match std::fs::symlink_metadata(at) {
        Ok(m) if m.is_dir() == is_directory => Ok(()),
        Ok(_) => Err(Error::new(ErrorKind::Conflict, format!("{} is in the way of a mount", at.display()))),
        Err(_) if is_directory => directory(at, 0o755),
        Err(_) => std::fs::write(at, "").map_err(|e| Error::io("make", at.display(), e)),
    }
}

/// Makes a directory whose mode is not the matter of the process's umask.
fn directory(path: &Path, mode: u32) -> Result<()> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(mode)).map_err(|e| Error::io("make", path.display(), e))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|e| Error::io("make", path.display(), e))
}

fn failed(at: &Path, e: Errno) -> Error {
    Error::io("mount", at.display(), e).context("the build root")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(steps: &[Step]) -> String {
        let flags = |f: &MountFlags| {
            let names = [(MountFlags::RDONLY, "ro"), (MountFlags::NOSUID, "nosuid"), (MountFlags::NODEV, "nodev")];
            let more = [(MountFlags::NOEXEC, "noexec")];
            let names = names.iter().chain(&more).filter(|(flag, _)| f.contains(*flag));
            names.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
        };
        let line = |step: &Step| match step {
            Step::Directory(path, mode) => format!("dir {} {mode:o}", path.display()),
            Step::File(path, bytes) => format!("file {} {} bytes", path.display(), bytes.len()),
            Step::Link(target, path) => format!("link {} -> {}", path.display(), target.display()),
            Step::Tmpfs(path, mode) => format!("tmpfs {} {mode:o}", path.display()),
            Step::Devpts(path) => format!("devpts {}", path.display()),
            Step::Bind(source, path, f) => format!("bind {} at {} ({})", source.display(), path.display(), flags(f)),
            Step::Again(from, path) => format!("again {} at {}", from.display(), path.display()),
            Step::Seal(path) => format!("seal {}", path.display()),
        };
        steps.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn of_the_host_only_the_target_can_be_written() {
        let root = Confined {
            target: "/scratch/target".into(),
            place: "/scratch/root".into(),
            dist: vec![("BaseOS".into(), "/store/BaseOS".into())],
            conf: vec![("dnf.conf".into(), b"[main]\n".to_vec())],
            work: Some("/scratch/work".into()),
            net: false,
        };
        let host = Host {
            system: vec![("bin", Found::Link("usr/bin".into())), ("lib", Found::Directory)],
            settings: vec!["ld.so.cache"],
            network: vec!["resolv.conf", "ssl/certs"],
            devices: DEVICES.into(),
        };
        let steps = plan(&root, &host);
        for step in &steps {
            if let Step::Bind(source, path, flags) = step {
                let device = source.starts_with("/dev");
                assert!(device || flags.contains(HARDENED), "{source:?}");
                let ours = path.starts_with("target");
                assert!(device || ours || flags.contains(MountFlags::RDONLY), "{source:?}");
            }
        }
        insta::assert_snapshot!(shown(&steps));
        let with = plan(&Confined { net: true, ..root }, &host);
        let more: Vec<_> = with.into_iter().filter(|step| !steps.contains(step)).collect();
        insta::assert_snapshot!("with the network", shown(&more));
    }
}
