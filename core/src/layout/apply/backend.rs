//! How devices come to be: by the kernel of this machine, or without it in image files. One run drives both.

use super::mount::Workplace;
use crate::error::Result;
use crate::layout::device::ReadAt;
use crate::layout::gate::Gate;
use crate::layout::plan::{Device, Layer, PlannedFilesystem};
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

impl Backend {
    /// Its name, as the command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Offline => "offline",
        }
    }
}

/// The devices of a plan on their way, from the partitions up.
pub(super) trait Devices {
    /// Makes the partitions of a disk, whose table stands, usable. What an earlier run made in them stays where they are
    /// `kept`.
    fn partition(&mut self, disk: usize, gate: &mut Gate, kept: bool) -> Result<()>;

    /// Makes an array, an encrypted device, or a group with its volumes.
    fn make(&mut self, layer: Layer, gates: &[Gate]) -> Result<()>;

    /// Takes over what an earlier run made of a layer.
    fn start(&mut self, layer: Layer) -> Result<()>;

    /// Erases what an earlier run left on a device.
    fn erase(&mut self, device: Device, gates: &[Gate]) -> Result<()>;

    /// A device for reading.
    fn read<'s>(&'s self, device: Device, gates: &'s [Gate]) -> Result<Box<dyn ReadAt + 's>>;

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

    /// Takes the mark off what was made inside of something kept, where no partition carries one.
    fn commit(&mut self) -> Result<()>;

    /// Whether a device is there to be looked at: what is encrypted and kept may stay closed.
    fn reaches(&self, device: Device) -> bool;

    /// Ends a run that succeeded; `installed` when there is a system on the disks now.
    fn finish(&mut self, gates: &[Gate], installed: bool) -> Result<()>;

    /// Ends a run that did not: nothing of it stays in the kernel.
    fn stop(&mut self, gates: &[Gate]) -> Result<()>;
}
