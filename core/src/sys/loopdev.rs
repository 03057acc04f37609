//! Loop devices: a file becomes a disk with the sector size of one's choice.
//!
//! A device is attached with "autoclear": when the last descriptor of it and of its partitions is closed, the kernel
//! detaches it. So a process that is killed leaves nothing behind.
#![allow(unsafe_code)]

use super::sysfs::DeviceNumber;
use crate::error::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{c_ulong, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const LOOP_SET_FD: c_ulong = 0x4c00;
const LOOP_CLR_FD: c_ulong = 0x4c01;
const LOOP_SET_STATUS64: c_ulong = 0x4c04;
const LOOP_GET_STATUS64: c_ulong = 0x4c05;
const LOOP_SET_BLOCK_SIZE: c_ulong = 0x4c09;
const LOOP_CONFIGURE: c_ulong = 0x4c0a;
const LOOP_CTL_GET_FREE: c_ulong = 0x4c82;
const AUTOCLEAR: u32 = 4;
/// Partitions are allowed on it; without this flag `BLKPG` is refused.
const PARTSCAN: u32 = 8;

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// An attached loop device; dropping it detaches, once its partitions are not mounted any more.
#[derive(Debug)]
pub struct LoopDevice {
    fd: OwnedFd,
    path: PathBuf,
}

impl LoopDevice {
    /// Makes `file`, which is open for reading and writing, a disk with sectors of `sector` bytes.
    ///
    /// # Errors
    /// `Unsupported` when the kernel has no loop devices, `Denied` without privilege, `Busy` when none is free.
    pub fn attach(file: BorrowedFd<'_>, sector: u32) -> Result<Self> {
        // Somebody else may take the free number first; then the next one is asked for.
        for _ in 0..16 {
            let number = free_number()?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let node = DeviceNode::ensure(&path, DeviceNumber { major: 7, minor: number })?;
            let flags = OFlags::RDWR | OFlags::CLOEXEC;
            let fd = match rustix::fs::open(&node.path, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::BUSY) => continue,
                Err(e) => return Err(Error::io("open", path.display(), e)),
            };
            match configure(fd.as_fd(), file, sector) {
                Ok(()) => return Ok(Self { fd, path }),
                Err(Errno::BUSY) => {}
                Err(e) => return Err(Error::io("attach", path.display(), e)),
            }
        }
        Err(Error::new(ErrorKind::Busy, "no loop device is free"))
    }

    /// `/dev/loopN`. On a system without devtmpfs the node need not exist.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for LoopDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Which loop devices this file is behind, by device and inode, such as `["loop3"]`.
#[must_use]
pub fn attached_to(device: u64, inode: u64) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/block") else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|e| e.path().join("loop/backing_file").exists())
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|name| backing(name).is_some_and(|found| found == (device, inode)))
        .collect();
    names.sort();
    names
}

/// Device and inode of the file behind a loop device.
fn backing(name: &str) -> Option<(u64, u64)> {
    let Ok(fd) = rustix::fs::open(format!("/dev/{name}"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
        // Not everybody may ask the device. The path is that of the time when it was attached, and mostly still right.
        let path = std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
        return std::fs::metadata(path.trim_end_matches('\n')).ok().map(|m| (m.dev(), m.ino()));
    };
    let mut info = empty_info();
    // SAFETY: LOOP_GET_STATUS64 fills one loop_info64, which has that layout and is valid for the call.
    unsafe { ioctl(fd.as_fd(), LOOP_GET_STATUS64, (&raw mut info) as c_ulong) }.ok()?;
    // The kernel encodes the device its own way (huge_encode_dev is the same as the modern user encoding).
    Some((info.device, info.inode))
}

/// A device node that is removed again when this made it.
struct DeviceNode {
    path: PathBuf,
    made: bool,
}

impl DeviceNode {
    fn ensure(path: &Path, number: DeviceNumber) -> Result<Self> {
        if path.exists() {
            return Ok(Self { path: path.to_owned(), made: false });
        }
        let path = PathBuf::from(format!("/dev/.cv-loop{}-{}", number.minor, std::process::id()));
        make_node(&path, number)?;
        Ok(Self { path, made: true })
    }
}

impl Drop for DeviceNode {
    fn drop(&mut self) {
        if self.made {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes a node for a block device, readable by root only.
///
/// # Errors
/// `Io`; a node that is there already is replaced.
pub fn make_node(path: &Path, number: DeviceNumber) -> Result<()> {
    let _ = std::fs::remove_file(path);
    let device = rustix::fs::makedev(number.major, number.minor);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::BlockDevice, Mode::RUSR | Mode::WUSR, device)
        .map_err(|e| Error::io("make the device node", path.display(), e))
}

fn free_number() -> Result<u32> {
    let control =
        rustix::fs::open("/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|e| {
            let why = Error::io("open", "/dev/loop-control", e);
            match e {
                Errno::PERM | Errno::ACCESS => {
                    Error::new(ErrorKind::Denied, why.message()).hint("run as root").cause(e)
                }
                _ => Error::unsupported(why.message()).hint("an image file needs loop devices: modprobe loop").cause(e),
            }
        })?;
    // SAFETY: LOOP_CTL_GET_FREE takes no argument and returns a number.
    let number = unsafe { ioctl(control.as_fd(), LOOP_CTL_GET_FREE, 0) };
    number.map(i32::unsigned_abs).map_err(|e| Error::io("find a free", "loop device", e))
}

fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>, sector: u32) -> Result<(), Errno> {
    let mut info = empty_info();
    let number = file.as_raw_fd().unsigned_abs();
    // Configuring a device that somebody else was faster to take would claim it for a moment, which they would notice.
    // SAFETY: LOOP_GET_STATUS64 fills one loop_info64, which has that layout and is valid for the call.
    if unsafe { ioctl(device, LOOP_GET_STATUS64, (&raw mut info) as c_ulong) }.is_ok() {
        return Err(Errno::BUSY);
    }
    info = empty_info();
    info.flags = AUTOCLEAR | PARTSCAN;
    let config = Config { fd: number, block_size: sector, info, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads one loop_config, which has that layout and is valid for the call.
    match unsafe { ioctl(device, LOOP_CONFIGURE, (&raw const config) as c_ulong) } {
        // Before Linux 5.8 it takes three calls.
        Err(Errno::INVAL | Errno::NOTTY) => {}
        done => return done.map(drop),
    }
    // SAFETY: LOOP_SET_FD and LOOP_SET_BLOCK_SIZE take a number, LOOP_SET_STATUS64 reads one loop_info64.
    unsafe {
        ioctl(device, LOOP_SET_FD, c_ulong::from(number))?;
        let rest = ioctl(device, LOOP_SET_BLOCK_SIZE, c_ulong::from(sector))
            .and_then(|_| ioctl(device, LOOP_SET_STATUS64, (&raw const info) as c_ulong));
        if let Err(e) = rest {
            let _ = ioctl(device, LOOP_CLR_FD, 0);
            return Err(e);
        }
    }
    Ok(())
}

const fn empty_info() -> Info {
    Info {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    }
}

/// # Safety
/// `argument` is what `request` expects.
unsafe fn ioctl(fd: BorrowedFd<'_>, request: c_ulong, argument: c_ulong) -> Result<i32, Errno> {
    // SAFETY: the descriptor is open, and the caller vouches for the argument.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument as *mut c_void) };
    if done < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(errno));
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::block;

    #[test]
    fn a_file_becomes_a_disk_and_vanishes_again() {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            eprintln!("skipped: a_file_becomes_a_disk_and_vanishes_again: needs root and loop devices");
            return;
        }
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 << 20).unwrap();
        let meta = file.metadata().unwrap();
        for sector in [512, 4096] {
            let device = LoopDevice::attach(file.as_fd(), sector).unwrap();
            assert_eq!(block::size(device.as_fd()), Ok(8 << 20));
            assert_eq!(block::logical_sector(device.as_fd()), Ok(sector));
            block::add_partition(device.as_fd(), 3, 1 << 20, 2 << 20).unwrap();
            let name = device.path().file_name().unwrap().to_str().unwrap().to_owned();
            assert_eq!(attached_to(meta.dev(), meta.ino()), std::slice::from_ref(&name));
            assert!(Path::new(&format!("/sys/block/{name}/{name}p3")).exists());
            drop(device);
            assert!(attached_to(meta.dev(), meta.ino()).is_empty());
        }
    }
}
