//! Telling the kernel about partitions.

use crate::error::{Error, Result};
use crate::layout::gate::Gate;
use crate::layout::plan::{PlannedDisk, PlannedPartition};
use crate::sys::block;
use crate::sys::sysfs::{DeviceNumber, Kernel};
use rustix::io::Errno;

/// Makes the kernel's partitions those of the plan: what differs is removed, what is missing is added.
///
/// # Errors
/// `Refused` when an old partition is in use; `Io`.
pub fn tell_kernel(gate: &Gate, disk: &PlannedDisk) -> Result<()> {
    let kernel = Kernel::default();
    let known = kernel.partitions(gate.number());
    // What stays is right already, and nobody who uses it notices.
    let own = disk.partitions.iter().map(|p| (p.number, p.start, p.length));
    let wanted: Vec<(u32, u64, u64)> = own.chain(disk.others.iter().map(|p| (p.number, p.start, p.length))).collect();
    let right = |k: &crate::sys::sysfs::KernelPartition| wanted.contains(&(k.number, k.start, k.length));
    for old in known.iter().filter(|k| !right(k)) {
        match block::delete_partition(gate.fd()?, old.number) {
            Ok(()) | Err(Errno::NXIO) => {}
            Err(Errno::BUSY) => {
                return Err(Error::refused(format!("{} is in use", old.name))
                    .fact("code", "F204")
                    .fact("path", format!("/dev/{}", old.name)));
            }
            Err(e) => return Err(Error::io("remove the partition", &old.name, e)),
        }
    }
    for (number, start, length) in wanted.iter().filter(|w| !known.iter().any(|k| right(k) && k.number == w.0)) {
        block::add_partition(gate.fd()?, *number, *start, *length)
            .map_err(|e| Error::io("add the partition", format!("{number} of {}", gate.name()), e))?;
    }
    Ok(())
}

/// Makes the kernel forget the partitions of an image file, so that its loop device can go.
pub fn forget(gate: &Gate) {
    for p in Kernel::default().partitions(gate.number()) {
        if let Ok(fd) = gate.fd() {
            let _ = block::delete_partition(fd, p.number);
        }
    }
}

/// The devices of the partitions, in the order of the plan.
///
/// # Errors
/// `Io` when the kernel does not show a partition as planned.
pub fn numbers(gate: &Gate, disk: &PlannedDisk) -> Result<Vec<DeviceNumber>> {
    let known = Kernel::default().partitions(gate.number());
    let device = |p: &PlannedPartition| {
        let found = known.iter().find(|k| (k.number, k.start, k.length) == (p.number, p.start, p.length));
        found.map(|k| k.device).ok_or_else(|| Error::io("find the partition", &p.key, Errno::NXIO))
    };
    disk.partitions.iter().map(device).collect()
}
