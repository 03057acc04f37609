//! The gate: the only place of libcv that opens a disk for writing.
//!
//! ```text
//! Facts ── inspect ──> findings (plan)          what is refused, before anybody asks to write
//! Facts ── Gate::open ── same disk? in use? ──> Gate ── share ──> Gate
//!                        nothing written yet     exclusive         partitions can be formatted and mounted
//! ```
//!
//! What is kept on a disk ([`Gate::keep`]) is never written: a write that touches it is a mistake of libcv (`Bug`, A415),
//! found here before it can do harm.
//!
//! A disk is checked on the descriptor that will be written, not by its path. While the gate is exclusive nobody can
//! mount a part of the disk; udev is held off by the lock that it documents.

use super::device::{Facts, Medium, ReadAt, WriteAt};
use super::diagnostic::Diagnostic;
use super::ranges::Ranges;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::block;
use crate::sys::lock::Lock;
use crate::sys::loopdev::{self, LoopDevice};
use crate::sys::sysfs::{DeviceNumber, Kernel, Use};
use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(test)]
pub(in crate::layout) mod tap;

/// How often a busy disk is tried again, and how long is waited in between: udev may be looking at it.
const UDEV_PATIENCE: (u32, Duration) = (10, Duration::from_millis(300));
/// Without udev: who looks for a free loop device claims ours for a moment.
const PATIENCE: (u32, Duration) = (5, Duration::from_millis(30));

/// Why a disk is not touched, as far as can be seen without opening it for writing; empty when nothing speaks against it.
#[must_use]
pub fn inspect(facts: &Facts, path: &str) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = read_only(facts, path).into_iter().collect();
    let name = facts.path.display();
    match facts.medium {
        Medium::Block { major, minor } => {
            found.extend(inspect_device(&facts.path, DeviceNumber { major, minor }, path));
        }
        Medium::File { device, inode } => {
            if let Some(first) = loopdev::attached_to(device, inode).first() {
                let d = Diagnostic::error("F204", path, format!("{name} is in use: it is attached to /dev/{first}"));
                found.push(d.hint(format!("wait for whoever works on it; if nobody does: losetup -d /dev/{first}")));
            }
            if Kernel::default().swaps().iter().any(|s| is_file(s, device, inode)) {
                found.push(Diagnostic::error("F204", path, format!("{name} is in use as swap")));
            }
        }
    }
    found.extend(shared(facts, path));
    found
}

/// The same of a disk that was recorded elsewhere: what facts alone say.
#[must_use]
pub fn inspect_recorded(facts: &Facts, path: &str) -> Vec<Diagnostic> {
    read_only(facts, path).into_iter().chain(shared(facts, path)).collect()
}

fn read_only(facts: &Facts, path: &str) -> Option<Diagnostic> {
    let d = || Diagnostic::error("F214", path, format!("{} is read-only", facts.path.display()));
    facts.read_only.then(|| d().hint("make it writable, run as its owner or root, or name another disk"))
}

fn shared(facts: &Facts, path: &str) -> Option<Diagnostic> {
    let shared = facts.contents.shared()?;
    let text = format!("{} carries {shared}, which other machines may be using", facts.path.display());
    let d = Diagnostic::error("F222", path, text);
    Some(d.hint("libcv never writes to shared storage; erase it by hand if it is nobody's"))
}

/// The same of a device that was not opened at all: what the kernel says about its use.
#[must_use]
pub fn inspect_device(device: &Path, number: DeviceNumber, path: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let kernel = Kernel::default();
    if kernel.is_partition(number) {
        let d = Diagnostic::error("F215", path, format!("{} is a partition", device.display()));
        found.push(d.hint("a disk set needs a whole disk"));
    }
    found.extend(kernel.uses(number).into_iter().take(1).map(|u| in_use(path, device, &u)));
    found
}

fn in_use(path: &str, disk: &Path, how: &Use) -> Diagnostic {
    let name = disk.display();
    match how {
        Use::RunningRoot(_) => Diagnostic::error("F205", path, format!("{name} is in use: {how}"))
            .hint("name another disk, or start this machine from the network"),
        Use::Mounted(_, at) => Diagnostic::error("F204", path, format!("{name} is in use: {how}"))
            .hint(format!("unmount it first: umount {}", at.display())),
        Use::Swap(device) => Diagnostic::error("F204", path, format!("{name} is in use: {how}"))
            .hint(format!("switch it off first: swapoff /dev/{device}")),
        Use::Held(_, by) => {
            Diagnostic::error("F204", path, format!("{name} is in use: {how}")).hint(format!("stop {by} first"))
        }
    }
}

fn is_file(path: &Path, device: u64, inode: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == (device, inode))
}

/// A disk that may be written.
#[derive(Debug)]
pub struct Gate {
    /// The whole disk. `None` only while it is opened anew.
    disk: Option<File>,
    /// None of an image file that is written as a file.
    loop_device: Option<LoopDevice>,
    is_plain: bool,
    /// Dropped after the loop device: who gets the lock next finds the file free.
    lock: Lock,
    number: DeviceNumber,
    name: String,
    size: u64,
    sector: u32,
    /// What is never written.
    kept: Ranges,
}

impl Gate {
    /// Opens the disk that these facts describe, and nobody else's.
    ///
    /// # Errors
    /// `Refused` with a code when it is another disk now, in use, read-only or shared; `Denied` without privilege;
    /// `Unsupported` when an image file needs a loop device and there is none.
    pub fn open(facts: &Facts) -> Result<Self> {
        let found = inspect(facts, "");
        if let Some(first) = found.into_iter().next() {
            return Err(refused(&first, facts.into()));
        }
        match facts.medium {
            Medium::Block { major, minor } => Self::open_device(facts, DeviceNumber { major, minor }),
            Medium::File { device, inode } => Self::open_file(facts, device, inode),
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

    /// From now on nothing in these ranges is written through it.
    pub fn keep(&mut self, ranges: Ranges) {
        self.kept = ranges;
    }

    /// Whether these bytes may be written.
    fn allow(&self, offset: u64, length: u64) -> Result<()> {
        let Some((from, end)) = self.kept.touching(offset, length) else { return Ok(()) };
        let text = format!("{length} bytes at {offset} of {} would be written, where something is kept", self.name);
        Err(Error::new(ErrorKind::Bug, text)
            .hint("nothing of it was written; please report it with the plan")
            .fact("code", "A415")
            .fact("kept", [from, end - from].as_slice()))
    }

    fn open_device(facts: &Facts, number: DeviceNumber) -> Result<Self> {
        let fd = open_exclusive(&facts.path, facts.into())?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| Error::io("ask", facts.path.display(), e))?;
        let block = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_block_device();
        if !block || DeviceNumber::from_raw(stat.st_rdev) != number {
            return Err(changed(facts.into(), "another device is at its path"));
        }
        let lock = reopen(fd.as_fd()).map_err(|e| Error::io("open", facts.path.display(), e))?;
        let lock = take_lock(lock, facts.into())?;
        Self::new(facts, number, fd, None, lock).verified(facts)
    }

    /// Opens an image file as the file that it is, without a loop device: no privilege is needed, and nobody gets to see
    /// partitions in it.
    ///
    /// # Errors
    /// As [`Gate::open`]; `Unsupported` for a device.
    pub fn open_plain(facts: &Facts) -> Result<Self> {
        if let Some(first) = inspect(facts, "").into_iter().next() {
            return Err(refused(&first, facts.into()));
        }
        let Medium::File { device, inode } = facts.medium else {
            return Err(Error::unsupported(format!("{} is no image file", facts.path.display())).fact("code", "F230"));
        };
        let lock = lock_file(facts, device, inode)?;
        let file = reopen(lock.as_fd()).map_err(|e| not_opened(facts.into(), e))?;
        let number = DeviceNumber { major: 0, minor: 0 };
        Self { is_plain: true, ..Self::new(facts, number, file, None, lock) }.verified(facts)
    }

    fn open_file(facts: &Facts, device: u64, inode: u64) -> Result<Self> {
        let lock = lock_file(facts, device, inode)?;
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
        if is_device
            && super::device::names(self.number) != [&facts.model, &facts.serial, &facts.wwid].map(Clone::clone)
        {
            return Err(changed(facts.into(), "it is another disk by its model, serial number or wwid"));
        }
        let (contents, fingerprint) =
            super::device::Contents::look(&self, self.sector).map_err(|e| Error::io("read", &self.name, e))?;
        let fingerprint = if facts.held { contents.outline() } else { fingerprint };
        if fingerprint != facts.fingerprint {
            return Err(changed(facts.into(), "what is on it is something else"));
        }
        Ok(self)
    }

    fn file(&self) -> Result<&File> {
        self.disk.as_ref().ok_or_else(|| Error::new(ErrorKind::Bug, "the gate is closed"))
    }

    /// The whole disk, for telling the kernel about partitions.
    ///
    /// # Errors
    /// `Bug` when the gate was closed.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.file().map(AsFd::as_fd)
    }

    /// The number of the device, of an image file that of its loop device; zeros where there is none.
    #[must_use]
    pub fn number(&self) -> DeviceNumber {
        self.number
    }

    /// The disk as it was named.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size of a sector in bytes.
    #[must_use]
    pub fn sector(&self) -> u32 {
        self.sector
    }

    /// Of an image file: whether its filesystem is full. The loop device turns that into an error of the medium.
    #[must_use]
    pub fn is_file_out_of_room(&self) -> bool {
        // Root may use what is kept in reserve.
        let root = rustix::process::geteuid().is_root();
        let room = rustix::fs::fstatvfs(&self.lock);
        // A file in memory alone is in a filesystem without a size.
        let free = |v: &rustix::fs::StatVfs| if root { v.f_bfree } else { v.f_bavail };
        let room = room.map(|v| if v.f_blocks == 0 { u64::MAX } else { free(&v).saturating_mul(v.f_frsize) });
        (self.is_plain || self.loop_device.is_some()) && room.is_ok_and(|bytes| bytes < 1 << 20)
    }

    /// Gives up exclusiveness, so that partitions can be formatted and mounted; the lock stays.
    ///
    /// # Errors
    /// `Io` when the disk cannot be opened anew.
    pub fn share(&mut self) -> Result<()> {
        let shared = match &self.loop_device {
            Some(device) => reopen(device.as_fd()),
            None if self.is_plain => return Ok(()),
            None => reopen(self.lock.as_fd()),
        };
        let shared = shared.map_err(|e| Error::io("open", &self.name, e))?;
        self.disk = Some(shared.into());
        Ok(())
    }

    /// Fills `length` bytes from `offset` on with zeros.
    ///
    /// # Errors
    /// `Io`.
    pub fn zero(&self, offset: u64, length: u64) -> Result<()> {
        self.allow(offset, length)?;
        let zeros = vec![0u8; 1 << 20];
        let mut done = 0;
        while done < length {
            let piece = (length - done).min(zeros.len() as u64);
            let piece_zeros = &zeros[..usize::try_from(piece).unwrap_or(zeros.len())];
            self.write_at(offset + done, piece_zeros).map_err(|e| Error::io("erase", &self.name, e))?;
            done += piece;
        }
        Ok(())
    }

    /// Fills all of it with zeros; `stop` is asked now and then whether to go on.
    ///
    /// # Errors
    /// `Io`; `Cancelled`.
    pub fn zero_all(&self, stop: &dyn Fn() -> bool) -> Result<()> {
        self.zero_range(0, self.size, stop)
    }

    /// Fills a part of it with zeros; of a file it becomes a hole where that is possible.
    ///
    /// # Errors
    /// As [`Gate::zero_all`].
    pub fn zero_range(&self, offset: u64, length: u64, stop: &dyn Fn() -> bool) -> Result<()> {
        const PIECE: u64 = 64 << 20;
        let end = offset.saturating_add(length).min(self.size);
        self.allow(offset, end.saturating_sub(offset))?;
        for from in (offset..end).step_by(PIECE as usize) {
            if stop() {
                return Err(Error::cancelled());
            }
            let length = PIECE.min(end - from);
            #[cfg(test)]
            if tap::write(&self.name, from, tap::Bytes::Zeros(length)).map_err(|e| Error::io("erase", &self.name, e))? {
                tap::silently(|| self.zero(from, length))?;
                continue;
            }
            // A hole in a device reads as zeros, and is refused where it would have to be written.
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if rustix::fs::fallocate(self.file()?, flags, from, length).is_err() {
                self.zero(from, length)?;
            }
        }
        Ok(())
    }

    /// Tells the device that its content is not needed any more, where it understands that.
    pub fn discard(&self) {
        if let Ok(file) = self.file() {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            for (from, end) in [(0, self.size)].into_iter().collect::<Ranges>().without(&self.kept).iter() {
                #[cfg(test)]
                if tap::write(&self.name, from, tap::Bytes::Zeros(end - from)).is_err() {
                    continue;
                }
                // An optimisation: erasing does not rely on it.
                let _ = rustix::fs::fallocate(file, flags, from, end - from);
            }
        }
    }

    /// Everything on the medium, and nothing of it in the cache.
    ///
    /// # Errors
    /// `Io`.
    pub fn flush(&self) -> Result<()> {
        self.sync().map_err(|e| Error::io("write", &self.name, e))?;
        if self.is_plain {
            return Ok(());
        }
        block::flush_buffers(self.fd()?).map_err(|e| Error::io("flush", &self.name, e))
    }
}

impl ReadAt for Gate {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file().map_err(io::Error::other)?.read_exact_at(buffer, offset)
    }
}

impl WriteAt for Gate {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.allow(offset, bytes.len() as u64).map_err(io::Error::other)?;
        #[cfg(test)]
        tap::write(&self.name, offset, tap::Bytes::Data(bytes))?;
        self.file().map_err(io::Error::other)?.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        tap::sync(&self.name)?;
        self.file().map_err(io::Error::other)?.sync_all()
    }
}

/// Another descriptor of the same device, of its own file description and not exclusive.
fn reopen(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
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
