//! A disk or image file that is looked at, and opening it for reading.

use super::Disk;
use super::source::Source;
use crate::error::{Error, Result};
use crate::layout::device::{OpenDisk, read_anew};
use crate::layout::gpt;
use crate::layout::inventory::Inventory;
use crate::sys::block;
use crate::sys::sysfs::DeviceNumber;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::rc::Rc;

/// A disk to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The device or image file.
    pub path: PathBuf,
    /// The sector size of an image file; without it that of its table.
    pub sector: Option<u32>,
}

impl<P: Into<PathBuf>> From<P> for Given {
    fn from(path: P) -> Self {
        Self { path: path.into(), sector: None }
    }
}

/// The disk with what is known of it, and its bytes.
pub(super) fn open(given: &Given, machine: &Inventory) -> Result<(Disk, Source)> {
    let path = &given.path;
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("there is no disk at {}", path.display())),
        io::ErrorKind::PermissionDenied => {
            Error::new(crate::ErrorKind::Denied, format!("{} may not be read", path.display())).hint("run as root")
        }
        _ => Error::io("read", path.display(), e),
    };
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|e| failed(e.into()))?;
    let file = File::from(fd);
    let meta = file.metadata().map_err(failed)?;
    let (device, size, sector) = match meta.file_type() {
        kind if kind.is_block_device() => {
            let fd = file.as_fd();
            let size = block::size(fd).map_err(|e| failed(e.into()))?;
            let sector = block::logical_sector(fd).map_err(|e| failed(e.into()))?;
            read_anew(&file);
            (Some(DeviceNumber::from_raw(meta.rdev())), size, Some(sector))
        }
        kind if kind.is_file() => (None, meta.len(), given.sector),
        _ => {
            let text = format!("{} is neither a block device nor a regular file", path.display());
            return Err(Error::invalid(text).fact("code", "F215"));
        }
    };
    let disk = OpenDisk { file, size };
    let sector = match sector {
        Some(sector) => sector,
        None => gpt::detect_sector(&disk).map_err(failed)?.unwrap_or(512),
    };
    if !matches!(sector, 512 | 4096) {
        return Err(Error::unsupported(format!("{} has sectors of {sector} bytes", path.display()))
            .hint("sectors of 512 and 4096 bytes are supported"));
    }
    let size = size / u64::from(sector) * u64::from(sector);
    let hardware = device.and_then(|d| machine.find_node(Some(d), "")).cloned();
    let source: Source = Rc::new(OpenDisk { size, ..disk });
    Ok((Disk { path: path.clone(), device, size, sector, table: None, hardware }, source))
}
