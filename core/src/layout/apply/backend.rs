//! How devices come to be: by the kernel of this machine, or without it in image files. One run drives both.

use super::mount::Workplace;
use crate::error::Result;
use crate::layout::gate::Gate;
use crate::layout::plan::{Device, Layer, PlannedFilesystem};
use crate::layout::signature::Signature;
use std::path::{Path, PathBuf};

/// Who makes partitions, arrays and volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The kernel, with mdadm, LVM and cryptsetup: on any disk.
    #[default]
    Kernel,
    /// libcv itself, in image files only: needs no MD and no device mapper, and no root where nothing is installed.
    Offline,
}

/// The devices of a plan on their way, from the partitions up.
pub(super) trait Devices {
    /// Makes the partitions of a disk, whose table stands, usable.
    fn partition(&mut self, disk: usize, gate: &mut Gate) -> Result<()>;

    /// Makes an array, an encrypted device, or a group with its volumes.
    fn make(&mut self, layer: Layer, gates: &[Gate]) -> Result<()>;

    /// Makes a filesystem on one of its devices.
    fn format(&mut self, fs: &PlannedFilesystem, device: Device, uuid: &str) -> Result<()>;

    /// Mounts everything that the plan mounts.
    fn mount(&mut self, target: &Path) -> Result<()>;

    /// Mounts the ESPs that are kept in step with the first; gives where, in the order of the plan.
    fn mount_mirrors(&mut self, directory: &Path) -> Result<Vec<PathBuf>>;

    /// Unmounts all of it.
    fn unmount(&mut self, work: &Workplace) -> Result<()>;

    /// Brings to the disks what lies elsewhere until now.
    fn settle(&mut self, gates: &[Gate]) -> Result<()>;

    /// Whether a device is there to be looked at: what is encrypted and kept may stay closed.
    fn reaches(&self, device: Device) -> bool;

    /// What can be recognised on a device.
    fn find(&self, device: Device, gates: &[Gate]) -> Result<Vec<Signature>>;

    /// Ends a run that succeeded; `installed` when there is a system on the disks now.
    fn finish(&mut self, gates: &[Gate], installed: bool) -> Result<()>;

    /// Ends a run that did not: nothing of it stays in the kernel.
    fn stop(&mut self, gates: &[Gate]) -> Result<()>;
}
