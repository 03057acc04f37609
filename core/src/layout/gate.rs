//! The gate: the only place of libcv that opens a disk for writing.
//!
//! ```text
//! Facts ── inspect ──> findings (plan)          what is refused, before anybody asks to write
//! Facts ── Claim::take ── locked, before anything is stopped for it
//! Claim ── Gate::open ── same disk? in use? ──> Gate ── share ──> Gate
//!                        nothing written yet     exclusive         partitions can be formatted and mounted
//! ```
//!
//! What is kept on a disk ([`Gate::keep`]) is never written: a write that touches it is a mistake of libcv (`Bug`, A415),
//! found here before it can do harm.
//!
//! A disk is checked on the descriptor that will be written, not by its path. While the gate is exclusive nobody can
//! mount a part of the disk; udev is held off by the lock that it documents.

use super::device::{ReadAt, WriteAt};
use super::ranges::Ranges;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::block;
use crate::sys::lock::Lock;
use crate::sys::loopdev::LoopDevice;
use crate::sys::sysfs::DeviceNumber;
use open::reopen;
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

mod inspect;
mod open;
#[cfg(test)]
pub(in crate::layout) mod tap;

pub use inspect::{inspect, inspect_device, inspect_recorded};
pub use open::Claim;

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
