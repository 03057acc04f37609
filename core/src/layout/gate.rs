//! The gate: the only place of libcv that opens a disk for writing.
//!
//! ```text
//! Facts ── inspect ──> findings (plan)          what is refused, before anybody asks to write
//! Facts ── Gate::open ── same disk? in use? ──> Gate ── share ──> Gate
//!                        nothing written yet     exclusive         partitions can be formatted and mounted
//! ```
//!
//! A disk is checked on the descriptor that will be written, not by its path. While the gate is exclusive nobody can
//! mount a part of the disk; udev is held off by the lock that it documents.

use super::device::{Facts, Medium, ReadAt, WriteAt};
use super::diagnostic::Diagnostic;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::block;
use crate::sys::lock::Lock;
use crate::sys::loopdev::{self, LoopDevice};
use crate::sys::sysfs::{DeviceNumber, Kernel, Use};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a busy disk is tried again, and how long is waited in between: udev may be looking at it.
const UDEV_PATIENCE: (u32, Duration) = (10, Duration::from_millis(300));
/// Without udev: who looks for a free loop device claims ours for a moment.
const PATIENCE: (u32, Duration) = (5, Duration::from_millis(30));

/// Why a disk is not touched, as far as can be seen without opening it for writing; empty when nothing speaks against it.
#[must_use]
pub fn inspect(facts: &Facts, path: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let name = facts.path.display();
    if facts.read_only {
        let d = Diagnostic::error("F214", path, format!("{name} is read-only"));
        found.push(d.hint("make it writable, run as its owner or root, or name another disk"));
    }
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
    if let Some(shared) = facts.contents.shared() {
        let text = format!("{name} carries {shared}, which other machines may be using");
        let d = Diagnostic::error("F222", path, text);
        found.push(d.hint("libcv never writes to shared storage; erase it by hand if it is nobody's"));
    }
    found
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
    loop_device: Option<LoopDevice>,
    /// Dropped after the loop device: who gets the lock next finds the file free.
    lock: Lock,
    number: DeviceNumber,
    name: String,
    size: u64,
    sector: u32,
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
            return Err(refused(&first, facts));
        }
        match facts.medium {
            Medium::Block { major, minor } => Self::open_device(facts, DeviceNumber { major, minor }),
            Medium::File { device, inode } => Self::open_file(facts, device, inode),
        }
    }

    fn open_device(facts: &Facts, number: DeviceNumber) -> Result<Self> {
        let fd = open_exclusive(&facts.path, facts)?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| Error::io("ask", facts.path.display(), e))?;
        let block = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_block_device();
        if !block || DeviceNumber::from_raw(stat.st_rdev) != number {
            return Err(changed(facts, "another device is at its path"));
        }
        let lock = reopen(fd.as_fd()).map_err(|e| Error::io("open", facts.path.display(), e))?;
        let lock = take_lock(lock, facts)?;
        Self::new(facts, number, fd, None, lock).verified(facts)
    }

    fn open_file(facts: &Facts, device: u64, inode: u64) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::open(&facts.path, flags, Mode::empty()).map_err(|e| not_opened(facts, e))?;
        let stat = rustix::fs::fstat(&file).map_err(|e| Error::io("ask", facts.path.display(), e))?;
        if (stat.st_dev, stat.st_ino) != (device, inode) {
            return Err(changed(facts, "another file is at its path"));
        }
        let lock = take_lock(file, facts)?;
        let attached = LoopDevice::attach(lock.as_fd(), facts.sector)?;
        let stat = rustix::fs::fstat(&attached).map_err(|e| Error::io("ask", attached.path().display(), e))?;
        let number = DeviceNumber::from_raw(stat.st_rdev);
        let path = PathBuf::from(format!("/proc/self/fd/{}", attached.as_fd().as_raw_fd()));
        let disk = open_exclusive(&path, facts)?;
        Self::new(facts, number, disk, Some(attached), lock).verified(facts)
    }

    fn new(facts: &Facts, number: DeviceNumber, disk: OwnedFd, loop_device: Option<LoopDevice>, lock: Lock) -> Self {
        let name = facts.path.display().to_string();
        Self { disk: Some(disk.into()), loop_device, lock, number, name, size: facts.size, sector: facts.sector }
    }

    /// The last look before anything is written: size, sector size and content are those of the plan.
    fn verified(self, facts: &Facts) -> Result<Self> {
        let disk = self.file()?;
        let failed = |e: Errno| Error::io("ask", &self.name, e);
        let sector = block::logical_sector(disk.as_fd()).map_err(failed)?;
        let size = block::size(disk.as_fd()).map_err(failed)? / u64::from(sector) * u64::from(sector);
        if (size, sector) != (self.size, self.sector) {
            return Err(changed(facts, "its size or sector size is another one"));
        }
        let (_, fingerprint) =
            super::device::Contents::look(&self, self.sector).map_err(|e| Error::io("read", &self.name, e))?;
        if fingerprint != facts.fingerprint {
            return Err(changed(facts, "what is on it is something else"));
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

    /// The number of the device, of an image file that of its loop device.
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
        // Only root writes disks, and root may use what is kept in reserve.
        let room = rustix::fs::fstatvfs(&self.lock).map(|v| v.f_bfree.saturating_mul(v.f_frsize));
        self.loop_device.is_some() && room.is_ok_and(|bytes| bytes < 1 << 20)
    }

    /// Gives up exclusiveness, so that partitions can be formatted and mounted; the lock stays.
    ///
    /// # Errors
    /// `Io` when the disk cannot be opened anew.
    pub fn share(&mut self) -> Result<()> {
        let shared = match &self.loop_device {
            Some(device) => reopen(device.as_fd()),
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

    /// Tells the device that its content is not needed any more, where it understands that.
    pub fn discard(&self) {
        use rustix::fs::FallocateFlags;
        if let Ok(file) = self.file() {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // An optimisation: erasing does not rely on it.
            let _ = rustix::fs::fallocate(file, flags, 0, self.size);
        }
    }

    /// Everything on the medium, and nothing of it in the cache.
    ///
    /// # Errors
    /// `Io`.
    pub fn flush(&self) -> Result<()> {
        self.sync().map_err(|e| Error::io("write", &self.name, e))?;
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
        self.file().map_err(io::Error::other)?.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file().map_err(io::Error::other)?.sync_all()
    }
}

/// Another descriptor of the same device, of its own file description and not exclusive.
fn reopen(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

fn patience() -> (u32, Duration) {
    if Path::new("/run/udev/control").exists() { UDEV_PATIENCE } else { PATIENCE }
}

/// Opens a device so that nobody else has it, or can get it, for mounting and the like.
fn open_exclusive(path: &Path, facts: &Facts) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    let (mut tries, pause) = patience();
    loop {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::BUSY) if tries > 1 => {
                tries -= 1;
                std::thread::sleep(pause);
            }
            done => return done.map_err(|e| not_opened(facts, e)),
        }
    }
}

fn not_opened(facts: &Facts, e: Errno) -> Error {
    let name = facts.path.display();
    let d = match e {
        Errno::BUSY | Errno::TXTBSY => Diagnostic::error("F204", "", format!("{name} is in use: {}", openers(facts)))
            .hint("end that program, or name another disk"),
        Errno::ROFS => Diagnostic::error("F214", "", format!("{name} is read-only")),
        Errno::ACCESS | Errno::PERM => {
            let e = Error::new(ErrorKind::Denied, format!("{name} may not be written")).cause(e);
            return e.hint("run as root").fact("path", facts.path.display().to_string());
        }
        e => return Error::io("open", name, e),
    };
    refused(&d, facts)
}

/// Who has it open, as far as `/proc` tells.
fn openers(facts: &Facts) -> String {
    let device = match facts.medium {
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

fn take_lock(mut fd: OwnedFd, facts: &Facts) -> Result<Lock> {
    let name = facts.path.display();
    let (mut tries, pause) = patience();
    loop {
        fd = match Lock::take(fd).map_err(|e| Error::io("lock", &name, e))? {
            Ok(lock) => return Ok(lock),
            Err(fd) => fd,
        };
        if tries == 1 {
            let d = Diagnostic::error("F204", "", format!("{name} is in use: another program has locked it"));
            return Err(refused(&d.hint("wait until it has finished"), facts));
        }
        tries -= 1;
        std::thread::sleep(pause);
    }
}

fn changed(facts: &Facts, what: &str) -> Error {
    let text = format!("{} is not as it was when the plan was made: {what}", facts.path.display());
    refused(&Diagnostic::error("A401", "", text).hint("make a new plan"), facts)
}

/// A refusal as an error.
fn refused(d: &Diagnostic, facts: &Facts) -> Error {
    let e = Error::refused(d.message.clone()).fact("code", d.code).fact("path", facts.path.display().to_string());
    match &d.hint {
        Some(hint) => e.hint(hint.clone()),
        None => e,
    }
}
