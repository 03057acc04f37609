//! Opening a disk for writing: it is free, nobody else can get it, and it is the one that the facts describe.
//!
//! ```text
//!                  Claim
//! a device      same number? ─ lock │ O_EXCL ─ same number? ┐
//! an image file same inode? ─ lock  │ loop device ─ O_EXCL  ├─ same size, sectors, names, content? ──> Gate
//! a made device                       O_EXCL ─ lock         ┘
//! ```
//!
//! The lock comes first, and before what stands on a disk is stopped: another apply may be making it just now.

use super::{Gate, inspect};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::device::{Contents, Facts, Medium, names};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::ranges::Ranges;
use crate::sys::block;
use crate::sys::lock::Lock;
use crate::sys::loopdev::LoopDevice;
use crate::sys::sysfs::DeviceNumber;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a busy disk is tried again, and how long is waited in between: udev may be looking at it.
const UDEV_PATIENCE: (u32, Duration) = (10, Duration::from_millis(300));
/// Without udev: who looks for a free loop device claims ours for a moment.
const PATIENCE: (u32, Duration) = (5, Duration::from_millis(30));

/// The lock of a disk whose gate is not open yet: nobody else who asks for it works on the disk.
#[derive(Debug)]
pub struct Claim(Lock);

impl Claim {
    /// Locks the disk that these facts describe, whatever stands on it. Nothing is opened for writing but image files.
    ///
    /// # Errors
    /// `Refused`: F204 when another program has the lock, A401 when something else is at its path; what speaks against
    /// writing to an image file.
    pub fn take(facts: &Facts) -> Result<Self> {
        let (major, minor) = match facts.medium {
            Medium::Block { major, minor } => (major, minor),
            Medium::File { device, inode } => {
                inspect(facts, "").first().map_or(Ok(()), |d| Err(refused(d, facts.into())))?;
                return lock_file(facts, device, inode).map(Self);
            }
        };
        // Closing a descriptor that could write makes udev look at the disk anew.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::open(&facts.path, flags, Mode::empty()).map_err(|e| not_opened(facts.into(), e))?;
        same_device(&fd, facts, DeviceNumber { major, minor })?;
        take_lock(fd, facts.into()).map(Self)
    }
}

impl Gate {
    /// Opens the disk that these facts describe, and nobody else's.
    ///
    /// # Errors
    /// `Refused` with a code when it is another disk now, in use, read-only or shared; `Denied` without privilege;
    /// `Unsupported` when an image file needs a loop device and there is none.
    pub fn open(facts: &Facts, Claim(lock): Claim) -> Result<Self> {
        let found = inspect(facts, "");
        if let Some(first) = found.into_iter().next() {
            return Err(refused(&first, facts.into()));
        }
        match facts.medium {
            Medium::Block { major, minor } => Self::open_device(facts, DeviceNumber { major, minor }, lock),
            Medium::File { .. } => Self::open_file(facts, lock),
        }
    }

    /// Opens a device that the plan has made out of the disks it has the gates of: an array, a volume.
    ///
    /// # Errors
    /// `Refused` when it is in use or locked; `Integrity` when it is smaller than planned or has other sectors; `Io`.
    pub fn open_made(path: &Path, number: DeviceNumber, size: u64, sector: u32) -> Result<Self> {
        let place = Place { path, medium: Medium::Block { major: number.major, minor: number.minor } };
        let fd = open_exclusive(path, place)?;
        let failed = |e: Errno| Error::io("ask", path.display(), e);
        let stat = rustix::fs::fstat(&fd).map_err(failed)?;
        if DeviceNumber::from_raw(stat.st_rdev) != number {
            return Err(changed(place, "another device is at its path"));
        }
        let (found, sectors) =
            (block::size(fd.as_fd()).map_err(failed)?, block::logical_sector(fd.as_fd()).map_err(failed)?);
        if found < size || sectors != sector {
            let name = path.display();
            return Err(Error::integrity(format!("{name} is not what was made: {found} bytes, sectors of {sectors}"))
                .fact("code", "A408")
                .fact("expected", format!("{size} bytes, sectors of {sector}")));
        }
        let lock = take_lock(reopen(fd.as_fd()).map_err(failed)?, place)?;
        let name = path.display().to_string();
        let (disk, kept) = (Some(fd.into()), Ranges::new());
        Ok(Self { disk, loop_device: None, is_plain: false, lock, number, name, size: found, sector, kept })
    }

    fn open_device(facts: &Facts, number: DeviceNumber, lock: Lock) -> Result<Self> {
        let fd = open_exclusive(&facts.path, facts.into())?;
        same_device(&fd, facts, number)?;
        Self::new(facts, number, fd, None, lock).verified(facts)
    }

    /// Opens an image file as the file that it is, without a loop device: no privilege is needed, and nobody gets to see
    /// partitions in it.
    ///
    /// # Errors
    /// As [`Gate::open`]; `Unsupported` for a device.
    pub fn open_plain(facts: &Facts, Claim(lock): Claim) -> Result<Self> {
        if let Some(first) = inspect(facts, "").into_iter().next() {
            return Err(refused(&first, facts.into()));
        }
        let Medium::File { .. } = facts.medium else {
            return Err(Error::unsupported(format!("{} is no image file", facts.path.display())).fact("code", "F230"));
        };
        let file = reopen(lock.as_fd()).map_err(|e| not_opened(facts.into(), e))?;
        let number = DeviceNumber { major: 0, minor: 0 };
        Self { is_plain: true, ..Self::new(facts, number, file, None, lock) }.verified(facts)
    }

    fn open_file(facts: &Facts, lock: Lock) -> Result<Self> {
        let attached = LoopDevice::attach(lock.as_fd(), facts.sector)?;
        let stat = rustix::fs::fstat(&attached).map_err(|e| Error::io("ask", attached.path().display(), e))?;
        let number = DeviceNumber::from_raw(stat.st_rdev);
        let path = PathBuf::from(format!("/proc/self/fd/{}", attached.as_fd().as_raw_fd()));
        let disk = open_exclusive(&path, facts.into())?;
        Self::new(facts, number, disk, Some(attached), lock).verified(facts)
    }

    fn new(facts: &Facts, number: DeviceNumber, disk: OwnedFd, loop_device: Option<LoopDevice>, lock: Lock) -> Self {
        let name = facts.path.display().to_string();
        let (size, sector) = (facts.size, facts.sector);
        let (disk, kept) = (Some(disk.into()), Ranges::new());
        Self { disk, loop_device, is_plain: false, lock, number, name, size, sector, kept }
    }

    /// The last look before anything is written: size, sector size, names and content are those of the plan. Two blank
    /// disks that changed places have the same content.
    fn verified(self, facts: &Facts) -> Result<Self> {
        let disk = self.file()?;
        let failed = |e: Errno| Error::io("ask", &self.name, e);
        let (size, sector) = if self.is_plain {
            (disk.metadata().map_err(|e| Error::io("ask", &self.name, e))?.len(), self.sector)
        } else {
            (block::size(disk.as_fd()).map_err(failed)?, block::logical_sector(disk.as_fd()).map_err(failed)?)
        };
        let size = size / u64::from(sector) * u64::from(sector);
        if (size, sector) != (self.size, self.sector) {
            return Err(changed(facts.into(), "its size or sector size is another one"));
        }
        let is_device = matches!(facts.medium, Medium::Block { .. });
        if is_device && names(self.number) != [&facts.model, &facts.serial, &facts.wwid].map(Clone::clone) {
            return Err(changed(facts.into(), "it is another disk by its model, serial number or wwid"));
        }
        let (contents, fingerprint) =
            Contents::look(&self, self.sector).map_err(|e| Error::io("read", &self.name, e))?;
        let fingerprint = if facts.held { contents.outline() } else { fingerprint };
        if fingerprint != facts.fingerprint {
            return Err(changed(facts.into(), "what is on it is something else"));
        }
        Ok(self)
    }
}

/// Another descriptor of the same device, of its own file description and not exclusive.
pub(super) fn reopen(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Whether a descriptor is of this device.
fn same_device(fd: &OwnedFd, facts: &Facts, number: DeviceNumber) -> Result<()> {
    let stat = rustix::fs::fstat(fd).map_err(|e| Error::io("ask", facts.path.display(), e))?;
    let is_block = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_block_device();
    if is_block && DeviceNumber::from_raw(stat.st_rdev) == number {
        return Ok(());
    }
    Err(changed(facts.into(), "another device is at its path"))
}

/// Opens the image file that these facts describe, and locks it.
fn lock_file(facts: &Facts, device: u64, inode: u64) -> Result<Lock> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(&facts.path, flags, Mode::empty()).map_err(|e| not_opened(facts.into(), e))?;
    let stat = rustix::fs::fstat(&file).map_err(|e| Error::io("ask", facts.path.display(), e))?;
    if (stat.st_dev, stat.st_ino) != (device, inode) {
        return Err(changed(facts.into(), "another file is at its path"));
    }
    take_lock(file, facts.into())
}

fn patience() -> (u32, Duration) {
    if Path::new("/run/udev/control").exists() { UDEV_PATIENCE } else { PATIENCE }
}

/// A disk for messages about it.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    medium: Medium,
}

impl<'a> From<&'a Facts> for Place<'a> {
    fn from(facts: &'a Facts) -> Self {
        Self { path: &facts.path, medium: facts.medium }
    }
}

/// Opens a device so that nobody else has it, or can get it, for mounting and the like.
fn open_exclusive(path: &Path, place: Place<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    let (mut tries, pause) = patience();
    loop {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::BUSY) if tries > 1 => {
                tries -= 1;
                std::thread::sleep(pause);
            }
            done => return done.map_err(|e| not_opened(place, e)),
        }
    }
}

fn not_opened(place: Place<'_>, e: Errno) -> Error {
    let name = place.path.display();
    let d = match e {
        Errno::BUSY | Errno::TXTBSY => Diagnostic::error("F204", "", format!("{name} is in use: {}", openers(place)))
            .hint("end that program, or name another disk"),
        Errno::ROFS => Diagnostic::error("F214", "", format!("{name} is read-only")),
        Errno::ACCESS | Errno::PERM => {
            let e = Error::new(ErrorKind::Denied, format!("{name} may not be written")).cause(e);
            return e.hint("run as root").fact("path", place.path.display().to_string());
        }
        e => return Error::io("open", name, e),
    };
    refused(&d, place)
}

/// Who has it open, as far as `/proc` tells.
fn openers(place: Place<'_>) -> String {
    let device = match place.medium {
        Medium::Block { major, minor } => DeviceNumber { major, minor },
        Medium::File { .. } => return "another program holds it".to_owned(),
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes.filter(|p| p.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit())) {
        let fds = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        for fd in fds {
            let target = std::fs::read_link(fd.path()).unwrap_or_default();
            let is_it = target.starts_with("/dev")
                && std::fs::metadata(fd.path()).is_ok_and(|m| DeviceNumber::from_raw(m.rdev()) == device);
            if is_it {
                let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return format!("process {} ({}) holds it", process.file_name().to_string_lossy(), name.trim());
            }
        }
    }
    "another program holds it".to_owned()
}

fn take_lock(mut fd: OwnedFd, place: Place<'_>) -> Result<Lock> {
    let name = place.path.display();
    let (mut tries, pause) = patience();
    loop {
        fd = match Lock::take(fd).map_err(|e| Error::io("lock", &name, e))? {
            Ok(lock) => return Ok(lock),
            Err(fd) => fd,
        };
        if tries == 1 {
            let d = Diagnostic::error("F204", "", format!("{name} is in use: another program has locked it"));
            return Err(refused(&d.hint("wait until it has finished"), place));
        }
        tries -= 1;
        std::thread::sleep(pause);
    }
}

fn changed(place: Place<'_>, what: &str) -> Error {
    let text = format!("{} is not as it was when the plan was made: {what}", place.path.display());
    refused(&Diagnostic::error("A401", "", text).hint("make a new plan"), place)
}

/// A refusal as an error.
fn refused(d: &Diagnostic, place: Place<'_>) -> Error {
    let e = Error::refused(d.message.clone()).fact("code", d.code).fact("path", place.path.display().to_string());
    match &d.hint {
        Some(hint) => e.hint(hint.clone()),
        None => e,
    }
}
