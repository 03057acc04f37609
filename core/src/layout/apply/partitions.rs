//! Telling the kernel about partitions, and nodes for them that do not depend on udev.

use crate::error::{Error, Result};
use crate::layout::gate::Gate;
use crate::layout::plan::PlannedDisk;
use crate::sys::block;
use crate::sys::loopdev::make_node;
use crate::sys::sysfs::Kernel;
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Makes the kernel's partitions those of the plan: what differs is removed, what is missing is added.
///
/// # Errors
/// `Refused` when an old partition is in use; `Io`.
pub fn tell_kernel(gate: &Gate, disk: &PlannedDisk) -> Result<()> {
    let kernel = Kernel::default();
    let known = kernel.partitions(gate.number());
    let right = |k: &crate::sys::sysfs::KernelPartition| {
        disk.partitions.iter().any(|p| (p.number, p.start, p.length) == (k.number, k.start, k.length))
    };
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
    for p in disk.partitions.iter().filter(|p| !known.iter().any(|k| right(k) && k.number == p.number)) {
        block::add_partition(gate.fd()?, p.number, p.start, p.length)
            .map_err(|e| Error::io("add the partition", &p.key, e))?;
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

/// Makes a node for each partition in `directory`; the answer is in the order of the plan.
///
/// # Errors
/// `Io` when the kernel does not show a partition as planned, or a node cannot be made.
pub fn make_nodes(gate: &Gate, disk: &PlannedDisk, directory: &Path) -> Result<Vec<PathBuf>> {
    let known = Kernel::default().partitions(gate.number());
    disk.partitions
        .iter()
        .map(|p| {
            let found = known.iter().find(|k| (k.number, k.start, k.length) == (p.number, p.start, p.length));
            let found = found.ok_or_else(|| Error::io("find the partition", &p.key, Errno::NXIO))?;
            let node = directory.join(format!("{}-{}", p.key.set, p.key.name));
            make_node(&node, found.device)?;
            Ok(node)
        })
        .collect()
}
