//! Looking what disks carry. They are opened for reading, and only if they are still the devices that were listed.

use super::content::Content;
use super::disk::{Disk, Transport};
use crate::layout::device::{Contents, OpenDisk};
use crate::sys::block;
use crate::sys::sysfs::DeviceNumber;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Disks that are read at once: heads of different disks move at the same time, and a machine may have hundreds.
const THREADS: usize = 8;

pub(super) fn look(disks: &mut [Disk]) {
    let next = AtomicUsize::new(0);
    let slots: Vec<std::sync::Mutex<&mut Disk>> = disks.iter_mut().map(std::sync::Mutex::new).collect();
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(slots.len()) {
            scope.spawn(|| {
                while let Some(slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Ok(mut disk) = slot.lock() {
                        look_at(&mut disk);
                    }
                }
            });
        }
    });
}

fn look_at(disk: &mut Disk) {
    // A drive without a medium would be asked in vain, and a path without its map may stand still for minutes.
    let is_skipped = matches!(disk.transport, Transport::Optical | Transport::Floppy | Transport::Ram | Transport::Dm);
    if disk.size == 0 || disk.lacks_a_map() || (is_skipped && disk.multipath.is_none()) {
        return;
    }
    match read(disk) {
        Ok((contents, fingerprint)) => disk.content = Some(Content::new(&contents, &fingerprint)),
        Err(e) => disk.unreadable = Some(e.to_string()),
    }
}

fn read(disk: &Disk) -> io::Result<(Contents, String)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(disk.node(), flags, Mode::empty())?);
    let meta = file.metadata()?;
    if !meta.file_type().is_block_device() || DeviceNumber::from_raw(meta.rdev()) != disk.number {
        return Err(io::Error::other("another device is at its place"));
    }
    let (size, sector) = (block::size(file.as_fd())?, block::logical_sector(file.as_fd())?);
    if !matches!(sector, 512 | 4096) {
        return Err(io::Error::other(format!("sectors of {sector} bytes are not supported")));
    }
    let open = OpenDisk { file, size: size / u64::from(sector) * u64::from(sector) };
    Contents::look(&open, sector)
}
