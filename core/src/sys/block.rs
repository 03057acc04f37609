//! Block devices: what the kernel tells about an open one, and its partitions.
//!
//! Partitions are told to the kernel one by one (`BLKPG`) instead of by re-reading the table: that works on kernels
//! that cannot parse a GPT, and while another partition of the disk is mounted.
#![allow(unsafe_code)]

use rustix::io::Errno;
use std::ffi::{c_int, c_ulong, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};

const BLKROGET: c_ulong = 0x125e;
const BLKFLSBUF: c_ulong = 0x1261;
const BLKSSZGET: c_ulong = 0x1268;
const BLKPG: c_ulong = 0x1269;
const BLKGETSIZE64: c_ulong = 0x8008_1272;
const ADD: c_int = 1;
const DELETE: c_int = 2;

/// `struct blkpg_ioctl_arg` of linux/blkpg.h.
#[repr(C)]
struct BlkpgArgument {
    operation: c_int,
    flags: c_int,
    length: c_int,
    data: *mut c_void,
}

/// `struct blkpg_partition` of linux/blkpg.h.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// The size in bytes.
///
/// # Errors
/// The errno; `ENOTTY` when it is not a block device.
pub fn size(device: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut bytes = 0u64;
    // SAFETY: BLKGETSIZE64 writes one u64 through the pointer, which is valid for the call.
    unsafe { ioctl(device, BLKGETSIZE64, (&raw mut bytes).cast()) }.map(|()| bytes)
}

/// The size in bytes of a logical sector, the unit of partition tables.
///
/// # Errors
/// As [`size`].
pub fn logical_sector(device: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut bytes: c_int = 0;
    // SAFETY: BLKSSZGET writes one int through the pointer, which is valid for the call.
    unsafe { ioctl(device, BLKSSZGET, (&raw mut bytes).cast()) }.map(|()| bytes.unsigned_abs())
}

/// Whether the device cannot be written.
///
/// # Errors
/// As [`size`].
pub fn is_read_only(device: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut flag: c_int = 0;
    // SAFETY: BLKROGET writes one int through the pointer, which is valid for the call.
    unsafe { ioctl(device, BLKROGET, (&raw mut flag).cast()) }.map(|()| flag != 0)
}

/// Writes back and forgets what the kernel has cached of the device, so that the next read comes from the medium.
///
/// # Errors
/// As [`size`].
pub fn flush_buffers(device: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: BLKFLSBUF takes no argument.
    unsafe { ioctl(device, BLKFLSBUF, std::ptr::null_mut()) }
}

/// Tells the kernel of a partition: `start` and `length` in bytes.
///
/// # Errors
/// The errno: `EBUSY` when it overlaps one that the kernel knows.
pub fn add_partition(disk: BorrowedFd<'_>, number: u32, start: u64, length: u64) -> Result<(), Errno> {
    partition(disk, ADD, number, start, length)
}

/// Makes the kernel forget a partition.
///
/// # Errors
/// The errno: `EBUSY` when it is open or mounted, `ENXIO` when there is none.
pub fn delete_partition(disk: BorrowedFd<'_>, number: u32) -> Result<(), Errno> {
    partition(disk, DELETE, number, 0, 0)
}

fn partition(disk: BorrowedFd<'_>, operation: c_int, number: u32, start: u64, length: u64) -> Result<(), Errno> {
    let signed = |n: u64| i64::try_from(n).map_err(|_| Errno::OVERFLOW);
    let mut entry = BlkpgPartition {
        start: signed(start)?,
        length: signed(length)?,
        number: c_int::try_from(number).map_err(|_| Errno::OVERFLOW)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let mut argument = BlkpgArgument {
        operation,
        flags: 0,
        length: c_int::try_from(size_of::<BlkpgPartition>()).map_err(|_| Errno::OVERFLOW)?,
        data: (&raw mut entry).cast(),
    };
    // SAFETY: BLKPG reads both structures, which have the layout of linux/blkpg.h and live until the call returns.
    unsafe { ioctl(disk, BLKPG, (&raw mut argument).cast()) }
}

/// # Safety
/// `argument` is what `request` expects.
unsafe fn ioctl(device: BorrowedFd<'_>, request: c_ulong, argument: *mut c_void) -> Result<(), Errno> {
    // SAFETY: the descriptor is open, and the caller vouches for the argument.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), request as _, argument) };
    if done < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(errno));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_file_is_no_block_device() {
        let f = tempfile::tempfile().unwrap();
        assert_eq!(size(f.as_fd()), Err(Errno::NOTTY));
        assert_eq!(logical_sector(f.as_fd()), Err(Errno::NOTTY));
        assert!(add_partition(f.as_fd(), 1, 0, 512).is_err());
    }
}
