//! Inode flags (`chattr`) and the umask, which is read and never set.
#![allow(unsafe_code)]

use rustix::io::Errno;
use rustix::ioctl::{self, Setter, Updater};
use std::os::fd::BorrowedFd;

/// Flags that libcv sets and clears; others of the inode stay.
pub const KEPT: u32 = 0x10 | 0x20 | 0x80_0000;

const GET: ioctl::Opcode = ioctl::opcode::read::<libc::c_long>(b'f', 1);
const SET: ioctl::Opcode = ioctl::opcode::write::<libc::c_long>(b'f', 2);

/// The flags of an open file or directory.
///
/// # Errors
/// The errno; `ENOTTY` where the filesystem has none.
pub fn flags(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut flags: u32 = 0;
    // SAFETY: FS_IOC_GETFLAGS writes one int (its number says long, the kernel uses int) into a live u32.
    unsafe { ioctl::ioctl(fd, Updater::<GET, u32>::new(&mut flags)) }?;
    Ok(flags)
}

/// Sets the flags among [`KEPT`] to `wanted`.
///
/// # Errors
/// The errno; `EOPNOTSUPP` where the filesystem does not have one of them.
pub fn set_flags(fd: BorrowedFd<'_>, wanted: u32) -> Result<(), Errno> {
    let old = flags(fd)?;
    let new = (old & !KEPT) | (wanted & KEPT);
    if new == old {
        return Ok(());
    }
    // SAFETY: FS_IOC_SETFLAGS reads one int from a live u32.
    unsafe { ioctl::ioctl(fd, Setter::<SET, u32>::new(new)) }
}

/// Whether something open is on FAT, which is what an EFI system partition has: it keeps neither owner nor mode.
#[must_use]
pub fn is_fat(fd: BorrowedFd<'_>) -> bool {
    const FAT: [rustix::fs::FsWord; 2] = [0x4d44, 0x2011_bab0];
    rustix::fs::fstatfs(fd).is_ok_and(|fs| FAT.contains(&fs.f_type))
}

/// The umask of the process, without changing it, as `umask(2)` would for all threads.
#[must_use]
pub fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("Umask:"));
    // Unknown: assume that every bit would be taken off, so that modes are always set.
    line.and_then(|v| u32::from_str_radix(v.trim(), 8).ok()).unwrap_or(0o7777)
}
