//! What is done to the target itself, before and after apt.

use super::{Bootstrap, Resolved};
use crate::build::deb;
use crate::build::packages::Package;
use crate::error::{Error, Result};
use crate::sys::confined::{Links, Root};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Unpacks archives one after the other. The next ones go over what is there, as `/bin` is a link from the beginning. What the
/// filters of dpkg leave out must not be there before it unpacks.
pub(super) const UNPACK: &str = "set -e; umask 022; for deb; do \
    dpkg-deb --fsys-tarfile \"$deb\" >/tmp/tar; \
    tar -xpf /tmp/tar -C /target --numeric-owner --keep-directory-symlink; done; rm -f /tmp/tar; \
    cd /target/usr/share; rm -rf doc man info lintian locale";

const STATUS: &str = "var/lib/dpkg/status";
const POLICY: &str = "usr/sbin/policy-rc.d";
const DENIED: &[u8] = b"#!/bin/sh\n# No service is started while an image is made.\nexit 101\n";
const SOURCES: &str = "etc/apt/sources.list";

/// Makes the directories that apt works in.
pub(super) fn work(dir: &Path) -> Result<()> {
    for name in ["none", "state/lists/partial", "cache/archives/partial", "log"] {
        let path = dir.join("apt").join(name);
        std::fs::create_dir_all(&path).map_err(|e| Error::io("make", path.display(), e))?;
    }
    let status = dir.join("apt/status");
    std::fs::write(&status, "").map_err(|e| Error::io("write", status.display(), e))
}

/// Whether it has no packages.
pub(super) fn is_empty(target: &Path) -> Result<bool> {
    Ok(read(target, STATUS)?.is_none_or(|bytes| bytes.trim_ascii().is_empty()))
}

/// The packages that are installed.
pub(in crate::build) fn packages(target: &Path) -> Result<Vec<Package>> {
    deb::parse(&read(target, STATUS)?.unwrap_or_default())
}

/// What the suite that is kept says of itself.
pub(super) fn kept(b: &Bootstrap) -> Result<Option<Vec<u8>>> {
    let Some(dir) = &b.kept else { return Ok(None) };
    for name in ["InRelease", "Release"] {
        if let Some(bytes) = read(dir, &format!("dists/{}/{name}", b.suite))? {
            return Ok(Some(bytes));
        }
    }
    Err(Error::not_found(format!("{} has no suite {}", dir.display(), b.suite)))
}

/// Makes what has to be there before the first package.
pub(super) fn begin(target: &Path, arch: &str) -> Result<()> {
    let root = Root::open(target).map_err(|e| Error::io("open", target.display(), e))?;
    let mut links = vec!["bin", "sbin", "lib"];
    if matches!(arch, "amd64" | "ppc64el" | "loong64") {
        links.push("lib64");
    }
    for dir in [
        "usr",
        "etc",
        "var",
        "var/lib",
        "var/lib/dpkg",
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
        "var/lib/dpkg/triggers",
    ] {
        make(&root, dir)?;
    }
    for name in links {
        make(&root, &format!("usr/{name}"))?;
        let failed = |e| Error::io("make", root.name_of(name.as_bytes()), e);
        match rustix::fs::symlinkat(format!("usr/{name}"), &root, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    [STATUS, "var/lib/dpkg/available"].iter().try_for_each(|name| write(&root, name, b"", 0o644))
}

/// The file of a package in apt's cache.
pub(super) fn file_of(r: &Resolved) -> String {
    format!("{}_{}_{}.deb", r.name, r.evr.replace('%', "%25").replace(':', "%3a").replace('_', "%5f"), r.arch)
}

/// While it lives no service is started.
pub(super) struct Quiet {
    root: Root,
    ours: bool,
}

impl Quiet {
    pub(super) fn of(target: &Path) -> Result<Self> {
        let root = Root::open(target).map_err(|e| Error::io("open", target.display(), e))?;
        let there =
            root.open_at(POLICY.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW, Mode::empty(), Links::InRoot).is_ok();
        if !there {
            for dir in ["usr", "usr/sbin"] {
                make(&root, dir)?;
            }
            write(&root, POLICY, DENIED, 0o755)?;
        }
        Ok(Self { root, ours: !there })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.ours
            && let Ok((dir, name)) = self.root.parent(POLICY.as_bytes(), Links::InRoot)
        {
            let _ = rustix::fs::unlinkat(&dir, name, AtFlags::empty());
        }
    }
}

/// Tells apt of the image where its packages came from, unless it knows of other places, or this is one of this machine only.
pub(super) fn sources(b: &Bootstrap) -> Result<()> {
    if !b.mirror.starts_with("http") {
        return Ok(());
    }
    let root = Root::open(&b.target).map_err(|e| Error::io("open", b.target.display(), e))?;
    let there =
        |name: &str| root.open_at(name.as_bytes(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), Links::InRoot);
    if there("etc/apt").is_err() || !read(&b.target, SOURCES)?.is_none_or(|bytes| bytes.trim_ascii().is_empty()) {
        return Ok(());
    }
    let line = format!("deb {} {} {}\n", b.mirror, b.suite, b.components.join(" "));
    write(&root, SOURCES, line.as_bytes(), 0o644)
}

fn make(root: &Root, path: &str) -> Result<()> {
    let failed = |e| Error::io("make", root.name_of(path.as_bytes()), e);
    let (dir, name) = root.parent(path.as_bytes(), Links::InRoot).map_err(failed)?;
    match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => rustix::fs::chmodat(&dir, name, Mode::from_raw_mode(0o755), AtFlags::empty()).map_err(failed),
        Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(failed(e)),
    }
}

fn write(root: &Root, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let failed = |e| Error::io("write", root.name_of(path.as_bytes()), e);
    let (dir, name) = root.parent(path.as_bytes(), Links::InRoot).map_err(failed)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(mode)).map_err(failed)?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).map_err(failed)?;
    File::from(fd).write_all(bytes).map_err(|e| Error::io("write", root.name_of(path.as_bytes()), e))
}

/// A file of the target; `None` where there is none.
fn read(target: &Path, path: &str) -> Result<Option<Vec<u8>>> {
    let root = Root::open(target).map_err(|e| Error::io("open", target.display(), e))?;
    let fd = match root.open_file(path.as_bytes(), OFlags::RDONLY) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        done => done.map_err(|e| Error::io("open", root.name_of(path.as_bytes()), e))?,
    };
    let mut out = Vec::new();
    let read = File::from(fd).take(deb::LIMIT as u64 + 1).read_to_end(&mut out);
    read.map_err(|e| Error::io("read", root.name_of(path.as_bytes()), e)).map(|_| Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::dnflog::Action;

    #[test]
    fn files_are_called_as_apt_calls_them() {
        let of = |name: &str, evr: &str| {
            file_of(&Resolved {
                name: name.into(),
                evr: evr.into(),
                arch: "all".into(),
                repository: String::new(),
                action: Action::Install,
            })
        };
        assert_eq!(of("passwd", "1:4.13+dfsg1-1~x"), "passwd_1%3a4.13+dfsg1-1~x_all.deb");
    }
}
