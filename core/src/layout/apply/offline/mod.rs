//! The devices of a plan in image files, without MD, device mapper or partitions in the kernel.
//!
//! ```text
//! partitions ─ zeros ─ superblocks, labels ─┐
//! Scratch ─ mkfs ─ loop, mount, install ────┼─ pour through Mapped ─> image files
//!              └─ vfat: a tmpfs, mcopy ─────┘  (holes stay zeros)
//! ```
//!
//! Everything that the plan uses is zeros first. So nothing old comes back inside of a new array or volume, copies are
//! equal where nobody wrote, and of a filesystem only what is in it has to be copied. Nothing runs as root unless
//! something is installed, which has to be mounted.

mod fat;
mod mapper;
mod members;
mod scratch;
mod stack;

pub use mapper::{Column, Mapped, Shared, Stretch};
pub use stack::Stack;

use super::backend::Devices;
use super::devices::Nodes;
use super::mount::Workplace;
use super::{erase::Erasure, mkfs, mount, subvolumes};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::layout::device::{ReadAt, WriteAt};
use crate::layout::gate::Gate;
use crate::layout::ondisk::lvm::{self, export::Written};
use crate::layout::place::Place;
use crate::layout::plan::{Device, Layer, Plan, PlannedFilesystem};
use crate::layout::spec::FsType;
use crate::sys::loopdev::LoopDevice;
use crate::sys::program::Program;
use crate::sys::sysfs::DeviceNumber;
use crate::sys::{clock, mount as sys_mount};
use scratch::Scratch;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Checks that a plan can be applied offline, here and by whoever runs this.
///
/// # Errors
/// `Unsupported` (F230) for what is not made, for a program and for a filesystem that is missing; `Denied` when something
/// shall be installed without root.
pub(super) fn require(plan: &Plan, installs: bool) -> Result<()> {
    Stack::of(plan)?;
    if !installs {
        // Nothing but the kernel makes them: mkfs.btrfs does not before 6.12, and then only out of a directory.
        let parts = plan.filesystems().iter().find(|fs| !fs.subvolumes.is_empty());
        return parts.map_or(Ok(()), |fs| {
            Err(Error::unsupported(format!("the subvolumes of filesystems.{} are made by the kernel only", fs.id))
                .hint("use --backend kernel, or install an image in the same run")
                .fact("code", "F230"))
        });
    }
    if !rustix::process::geteuid().is_root() {
        // What mkfs could put in of a tree itself loses owners, attributes or holes.
        return Err(Error::new(ErrorKind::Denied, "an image can be installed by root only: it has to be mounted")
            .hint("run as root, or leave the image out and only make the disks"));
    }
    if plan.mounts().iter().any(|m| m.filesystem.kind == FsType::Vfat && !m.filesystem.kept) {
        Program::Mcopy.find()?;
    }
    let mounted = plan.filesystems().iter().filter(|fs| !fs.kept && fs.mounts().next().is_some());
    let others = mounted.filter(|fs| fs.kind != FsType::Vfat);
    others.into_iter().try_for_each(|fs| sys_mount::require_filesystem(fs.kind.name()))
}

/// What is being made.
pub(super) struct Offline<'a> {
    plan: &'a Plan,
    stack: Stack<'a>,
    /// Where nodes are made, when something is installed.
    nodes: Option<PathBuf>,
    /// Filesystems that are not on the disks yet.
    files: BTreeMap<Device, Scratch>,
    /// They have to end after the mounts.
    loops: Vec<LoopDevice>,
    created: u64,
    task: &'a Task,
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Offline<'a> {
    /// Nothing yet.
    ///
    /// # Errors
    /// As [`Stack::of`].
    pub(super) fn new(
        plan: &'a Plan,
        nodes: Option<PathBuf>,
        task: &'a Task,
        stop: &'a dyn Fn() -> bool,
    ) -> Result<Self> {
        let created = u64::try_from(clock::now().0).unwrap_or(0);
        let stack = Stack::of(plan)?;
        Ok(Self { plan, stack, nodes, files: BTreeMap::new(), loops: Vec::new(), created, task, stop })
    }

    /// Beside the disks, where there must be room for their content anyway; else where the machine wants such files.
    fn directories(&self) -> Vec<PathBuf> {
        let beside = self.plan.disks().iter().filter_map(|d| std::fs::canonicalize(&d.facts.path).ok());
        let beside = beside.filter_map(|path| path.parent().map(Path::to_owned));
        beside.chain([std::env::temp_dir()]).collect()
    }

    /// Nodes for mounting; what is FAT has memory in its place.
    fn nodes(&self) -> Result<Nodes> {
        let directory = self.nodes.as_ref().ok_or_else(|| Error::new(ErrorKind::Bug, "nothing is installed"))?;
        let mut nodes = Nodes::new(directory)?;
        for fs in self.plan.filesystems().iter().filter(|fs| fs.kind == FsType::Vfat && !fs.kept) {
            fs.places().for_each(|(device, _)| nodes.stand_in(device, self.plan.glance(device).size));
        }
        Ok(nodes)
    }

    fn number(device: &LoopDevice) -> Result<DeviceNumber> {
        let stat = rustix::fs::fstat(device).map_err(|e| Error::io("ask", device.path().display(), e))?;
        Ok(DeviceNumber::from_raw(stat.st_rdev))
    }

    fn file(&self, device: Device) -> Result<&Scratch> {
        let bug = || Error::new(ErrorKind::Bug, format!("{device:?} is used before it is made"));
        self.files.get(&device).ok_or_else(bug)
    }
}

/// Writes what makes a device a member or a physical volume.
fn put(device: &dyn WriteAt, pieces: &[(u64, Vec<u8>)], name: &str) -> Result<()> {
    let written = pieces.iter().try_for_each(|(at, bytes)| device.write_at(*at, bytes));
    written.map_err(|e| Error::io("write", name, e))
}

impl Devices for Offline<'_> {
    fn partition(&mut self, disk: usize, gate: &mut Gate, kept: bool) -> Result<()> {
        if kept {
            return Ok(());
        }
        for partition in self.plan.used_partitions(disk) {
            let p = &self.plan.disks()[disk].partitions[partition];
            gate.zero_range(p.start, p.length, self.stop)?;
        }
        Ok(())
    }

    fn make(&mut self, layer: Layer, gates: &[Gate]) -> Result<()> {
        // What is kept is there, and nothing has to be started.
        if self.plan.is_layer_kept(layer) {
            return Ok(());
        }
        let name = |device| self.plan.glance(device).reference;
        let made: Vec<Device> = match layer {
            Layer::Array(i) => {
                let array = &self.plan.arrays()[i];
                let pieces = members::pieces(self.plan, array, self.created)?;
                for (member, pieces) in array.members.iter().zip(&pieces) {
                    let device = self.stack.device(*member, gates)?;
                    put(&device, pieces, &name(*member))?;
                    members::verify(array, &device, &name(*member))?;
                }
                vec![Device::Array(i)]
            }
            Layer::Crypt(i) => return Err(stack::unsupported(&name(Device::Crypt(i)))),
            Layer::Group(i) => {
                let (planned, group) = (&self.plan.groups()[i], self.stack.group(i));
                let written = Written { time: self.created, ..Written::default() };
                for ((pv, _), physical) in planned.pvs.iter().zip(&group.physical) {
                    let device = self.stack.device(*pv, gates)?;
                    put(&device, &lvm::write(group, &physical.name, &written)?, &name(*pv))?;
                    let found = lvm::read(&Place::whole(&device)).map_err(|e| Error::io("read", name(*pv), e))?;
                    if found.as_ref().and_then(|volume| volume.group()) != Some(group) {
                        let text = format!("{} is not the physical volume of {} that was made", name(*pv), group.name);
                        return Err(Error::integrity(text).fact("code", "A408"));
                    }
                }
                (0..planned.volumes.len()).map(|volume| Device::Volume { group: i, volume }).collect()
            }
        };
        for device in made {
            let mapped = self.stack.device(device, gates)?;
            Erasure::whole(mapped.size()).check(&mapped, &name(device))?;
        }
        Ok(())
    }

    fn start(&mut self, _: Layer) -> Result<()> {
        Ok(())
    }

    fn erase(&mut self, device: Device, gates: &[Gate]) -> Result<()> {
        let (mapped, glance) = (self.stack.device(device, gates)?, self.plan.glance(device));
        Erasure::whole(mapped.size()).run(&mapped, glance.sector, &glance.reference)
    }

    fn read<'s>(&'s self, device: Device, gates: &'s [Gate]) -> Result<Box<dyn ReadAt + 's>> {
        Ok(Box::new(self.stack.device(device, gates)?))
    }

    fn format(&mut self, fs: &PlannedFilesystem, device: Device, uuid: &str) -> Result<()> {
        let version = mkfs::version(fs, self.stop)?;
        let file = Scratch::make(&self.directories(), self.plan.glance(device).size)?;
        let path = file.path();
        // It stays when this fails: a full filesystem is to be found full.
        self.files.insert(device, file);
        mkfs::call_for_file(self.plan, fs, device, uuid, &path, version).run(self.stop)?;
        if !fs.subvolumes.is_empty() {
            let directory = self.nodes.as_ref().ok_or_else(|| Error::new(ErrorKind::Bug, "nothing is installed"))?;
            let lent = LoopDevice::attach(self.file(device)?.as_fd(), self.plan.glance(device).sector)?;
            subvolumes::make(fs, lent.path(), &directory.join("subvolumes"), self.stop)?;
        }
        Ok(())
    }

    fn mount(&mut self, target: &Path) -> Result<()> {
        let mut nodes = self.nodes()?;
        let mounted = self.plan.filesystems().iter().filter(|fs| !fs.kept && fs.mounts().next().is_some());
        for fs in mounted.filter(|fs| fs.kind != FsType::Vfat) {
            let glance = self.plan.glance(fs.on);
            let device = LoopDevice::attach(self.file(fs.on)?.as_fd(), glance.sector)?;
            nodes.add(fs.on, &glance.reference, Self::number(&device)?)?;
            self.loops.push(device);
        }
        mount::mount_all(self.plan, &nodes, target)
    }

    fn mount_mirrors(&mut self, directory: &Path) -> Result<Vec<PathBuf>> {
        mount::mount_mirrors(self.plan, &self.nodes()?, directory)
    }

    fn unmount(&mut self, work: &Workplace) -> Result<()> {
        let made = self.plan.mounts().into_iter().filter(|m| !m.filesystem.kept);
        for mounted in made.filter(|m| m.filesystem.kind == FsType::Vfat) {
            let tree = mount::place(&work.target(), &mounted.mount.at);
            // Also without a boot loader, which would have brought the mirrors in step.
            for (device, _) in mounted.filesystem.places() {
                fat::fill(&tree, &self.file(device)?.path(), self.stop)?;
            }
        }
        sys_mount::unmount_all(&work.mirrors())?;
        sys_mount::unmount_all(&work.target())?;
        for device in self.loops.drain(..) {
            rustix::fs::fsync(&device).map_err(|e| Error::io("write", device.path().display(), e))?;
        }
        Ok(())
    }

    fn settle(&mut self, gates: &[Gate]) -> Result<()> {
        self.task.stage("copy", self.files.len() as u64, Unit::Steps);
        // Each ends when it was copied: the room is needed for the next.
        while let Some((device, file)) = self.files.pop_first() {
            self.task.check()?;
            let mapped = self.stack.device(device, gates)?;
            file.pour(&mapped, &self.plan.glance(device).reference, self.stop)?;
            self.task.advance(1);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        // In what is kept nothing is made here but filesystems.
        Ok(())
    }

    fn reaches(&self, device: Device) -> bool {
        self.stack.reaches(device)
    }

    fn finish(&mut self, _: &[Gate], _installed: bool) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self, _: &[Gate]) -> Result<()> {
        self.loops.clear();
        self.files.clear();
        Ok(())
    }
}
