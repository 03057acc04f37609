//! Owner, mode, attributes and times of an entry, one that was just made or one that is there already.
//!
//! The order is what counts: chown takes setuid bits and file capabilities off, so that mode and attributes come after
//! it; an ACL says more than the mode, so that attributes come last of the three.

use super::capability::Lost;
use super::plan::{Meta, Plan};
use super::target::Owner;
use crate::image::row::{KIND_MASK, LINK};
use crate::sys::confined::proc_path;
use crate::sys::inode::is_fat;
use crate::sys::xattr::{self, Of};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// What bears the metadata: something open, or an entry of an open directory, which is then not opened: a link, a
/// device.
#[derive(Clone, Copy)]
pub(in crate::tree) enum Bearer<'a> {
    Open(BorrowedFd<'a>),
    Named(BorrowedFd<'a>, &'a [u8]),
}

/// What it has before, so that nothing is set twice.
pub(in crate::tree) struct Before {
    pub(in crate::tree) owner: Owner,
    /// `None` when it is not known.
    pub(in crate::tree) mode: Option<u32>,
    /// Whether it surely has no attribute of its own.
    pub(in crate::tree) plain: bool,
}

/// What could not be set.
pub(in crate::tree) struct Unset {
    pub(in crate::tree) what: &'static str,
    pub(in crate::tree) errno: Errno,
    pub(in crate::tree) attribute: Option<Vec<u8>>,
}

impl Bearer<'_> {
    fn chown(self, uid: u32, gid: u32) -> Result<(), Errno> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self {
            Self::Open(fd) => rustix::fs::fchown(fd, uid, gid),
            Self::Named(dir, name) => rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    fn chmod(self, mode: u32) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => rustix::fs::fchmod(fd, Mode::from(mode)),
            Self::Named(dir, name) => {
                // By name it would follow a link, which somebody who may write there could put in its place; without
                // following it takes Linux 6.6. What is opened so is opened for nothing, be it a device.
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
                if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode).is_symlink() {
                    return Err(Errno::LOOP);
                }
                rustix::fs::chmod(&*proc_path(fd.as_fd(), b""), Mode::from(mode))
            }
        }
    }

    fn utimens(self, times: &Timestamps) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => rustix::fs::futimens(fd, times),
            Self::Named(dir, name) => rustix::fs::utimensat(dir, name, times, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    /// FAT keeps neither owner nor mode nor attributes, and says so.
    fn tolerate(self, done: Result<(), Errno>) -> Result<(), Errno> {
        let (Self::Open(fd) | Self::Named(fd, _)) = self;
        match done {
            Err(Errno::PERM | Errno::NOTSUP) if is_fat(fd) => Ok(()),
            done => done,
        }
    }
}

/// Gives an entry the metadata of the image.
pub(in crate::tree) fn set(
    bearer: Bearer<'_>,
    before: &Before,
    plan: &Plan,
    meta: &Meta,
    lost: &Lost,
) -> Result<(), Unset> {
    let unset = |what| move |errno| Unset { what, errno, attribute: None };
    if !lost.owner && before.owner != (meta.uid, meta.gid) {
        bearer.tolerate(bearer.chown(meta.uid, meta.gid)).map_err(unset("give an owner to"))?;
    }
    let wanted = if meta.xattrs == 0 { &[][..] } else { plan.xattrs(meta) };
    if !(before.plain && wanted.is_empty()) {
        let path = if let Bearer::Named(dir, name) = bearer { proc_path(dir, name) } else { Default::default() };
        let of = if let Bearer::Open(fd) = bearer { Of::Open(fd) } else { Of::Path(&path) };
        let failed = |name: &[u8], errno| Unset { what: "set an attribute of", errno, attribute: Some(name.to_vec()) };
        // What a directory handed down, and what the entry had: an ACL left here would change the mode.
        if !before.plain {
            for (name, _) in xattr::list(of).map_err(unset("read the attributes of"))? {
                if !is_label(&name) && !wanted.iter().any(|x| x.name == name) {
                    xattr::remove(of, &name).map_err(|e| failed(&name, e))?;
                }
            }
        }
        set_mode(bearer, before, meta, lost).map_err(unset("set the mode of"))?;
        for x in wanted.iter().filter(|x| !lost.xattr(&x.name)) {
            if let crate::image::Value::Near(value) = &x.value {
                bearer.tolerate(xattr::set(of, &x.name, value)).map_err(|e| failed(&x.name, e))?;
            }
        }
    } else {
        set_mode(bearer, before, meta, lost).map_err(unset("set the mode of"))?;
    }
    bearer.utimens(&times(meta)).map_err(unset("set the times of"))
}

fn set_mode(bearer: Bearer<'_>, before: &Before, meta: &Meta, lost: &Lost) -> Result<(), Errno> {
    let mode = meta.mode & 0o7777;
    if lost.owner || meta.mode & KIND_MASK == LINK || before.mode == Some(mode) {
        return Ok(());
    }
    bearer.tolerate(bearer.chmod(mode))
}

/// The access time is not kept in an image: it is left alone.
pub(in crate::tree) fn times(meta: &Meta) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: meta.mtime.0, tv_nsec: meta.mtime.1.into() },
    }
}

/// Whether an attribute is one that a security module gives to every entry: an image without it does not mean that the
/// tree shall have none. A file capability is not of that kind.
pub(in crate::tree) fn is_label(name: &[u8]) -> bool {
    name.starts_with(b"security.") && name != b"security.capability"
}
