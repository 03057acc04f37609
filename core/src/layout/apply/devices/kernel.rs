//! The devices of a plan by the kernel of this machine.

use super::{Nodes, Running, Secrets};
use crate::error::{Error, Result};
use crate::layout::apply::backend::Devices;
use crate::layout::apply::mount::Workplace;
use crate::layout::apply::{mkfs, mount, partitions, subvolumes};
use crate::layout::device::{OpenDisk, ReadAt, WriteAt};
use crate::layout::gate::Gate;
use crate::layout::ondisk::md::older::accepted_by_older;
use crate::layout::place::Place;
use crate::layout::plan::{Device, Layer, Plan, PlannedDisk, PlannedFilesystem};
use crate::sys::mount as sys_mount;
use std::path::{Path, PathBuf};

/// Nodes of what there is, and what was started.
pub(in crate::layout::apply) struct Kernel<'a> {
    plan: &'a Plan,
    secrets: &'a Secrets,
    nodes: Nodes,
    running: Running<'a>,
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Kernel<'a> {
    /// Nothing yet; nodes are made in `directory`. `tpm` is the TPM as `systemd-cryptenroll` takes it.
    ///
    /// # Errors
    /// `Io`.
    pub(in crate::layout::apply) fn new(
        plan: &'a Plan,
        secrets: &'a Secrets,
        tpm: &'a str,
        directory: &Path,
        stop: &'a dyn Fn() -> bool,
    ) -> Result<Self> {
        let nodes = Nodes::new(directory)?;
        let running = Running::new(plan, &nodes, tpm, stop);
        Ok(Self { plan, secrets, nodes, running, stop })
    }

    /// Takes everything out of the kernel again; of image files also the partitions.
    fn end(&mut self, gates: &[Gate]) -> Result<()> {
        let stopped = self.running.stop();
        let files = self.plan.disks().iter().zip(gates).filter(|(d, _)| d.is_file());
        files.for_each(|(_, gate)| partitions::forget(gate));
        stopped
    }
}

impl Kernel<'_> {
    /// The kernel of the image may be older than this one, which made the arrays.
    fn for_older_kernels(&self, gates: &[Gate]) -> Result<()> {
        // Those that are kept started with the kernels that they know.
        for member in self.plan.arrays().iter().filter(|a| !a.kept).flat_map(|a| &a.members) {
            let Device::Partition { disk, partition } = *member else { continue };
            let (gate, p) = (&gates[disk], &self.plan.disks()[disk].partitions[partition]);
            gate.flush()?;
            let changed = accepted_by_older(&Place::new(gate, p.start, p.length));
            let changed = changed.map_err(|e| Error::io("read", gate.name(), e))?;
            if let Some((offset, bytes)) = changed {
                let failed = |e| Error::io("write", gate.name(), e);
                gate.write_at(p.start + offset, &bytes).map_err(failed)?;
                gate.sync().map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl Devices for Kernel<'_> {
    fn partition(&mut self, index: usize, gate: &mut Gate, _kept: bool) -> Result<()> {
        let disk = &self.plan.disks()[index];
        partitions::tell_kernel(gate, disk)?;
        gate.share()?;
        for (partition, number) in partitions::numbers(gate, disk)?.into_iter().enumerate() {
            let reference = format!("{}#{}", disk.partitions[partition].key, disk.index);
            self.nodes.add(Device::Partition { disk: index, partition }, &reference, number)?;
        }
        Ok(())
    }

    fn make(&mut self, layer: Layer, _: &[Gate]) -> Result<()> {
        self.running.make(layer, &mut self.nodes, self.secrets)
    }

    fn start(&mut self, layer: Layer) -> Result<()> {
        self.running.start(layer, &mut self.nodes, self.secrets)
    }

    fn erase(&mut self, device: Device, _: &[Gate]) -> Result<()> {
        self.running.erase(device, &self.nodes)
    }

    fn read<'s>(&'s self, device: Device, gates: &'s [Gate]) -> Result<Box<dyn ReadAt + 's>> {
        if let Device::Partition { disk, partition } = device {
            let p = &self.plan.disks()[disk].partitions[partition];
            return Ok(Box::new(Place::new(&gates[disk], p.start, p.length)));
        }
        let opened = OpenDisk::open(self.nodes.path(device)?);
        let disk = opened.map_err(|e| Error::io("open", self.plan.glance(device).reference, e))?;
        Ok(Box::new(disk))
    }

    fn format(&mut self, fs: &PlannedFilesystem, device: Device, uuid: &str) -> Result<()> {
        let node = self.nodes.path(device)?;
        let version = mkfs::version(fs, self.stop)?;
        mkfs::call(self.plan, fs, device, uuid, node, version).run(self.stop)?;
        if fs.subvolumes.is_empty() {
            return Ok(());
        }
        subvolumes::make(fs, node, &self.nodes.beside("subvolumes"), self.stop)
    }

    fn mount(&mut self, target: &Path) -> Result<()> {
        mount::mount_all(self.plan, &self.nodes, target)
    }

    fn mount_mirrors(&mut self, directory: &Path) -> Result<Vec<PathBuf>> {
        mount::mount_mirrors(self.plan, &self.nodes, directory)
    }

    fn unmount(&mut self, work: &Workplace) -> Result<()> {
        sys_mount::unmount_all(&work.mirrors())?;
        sys_mount::unmount_all(&work.target())
    }

    fn settle(&mut self, _: &[Gate]) -> Result<()> {
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.running.commit()
    }

    fn reaches(&self, device: Device) -> bool {
        matches!(device, Device::Partition { .. }) || self.nodes.path(device).is_ok()
    }

    fn finish(&mut self, gates: &[Gate], installed: bool) -> Result<()> {
        // A system that was installed starts by its own means, from arrays that were stopped and are clean. What is there
        // for data stays up for others to use.
        if !installed && !self.plan.disks().iter().any(PlannedDisk::is_file) {
            self.running.release();
            return Ok(());
        }
        self.end(gates)?;
        self.for_older_kernels(gates)
    }

    fn stop(&mut self, gates: &[Gate]) -> Result<()> {
        self.end(gates)
    }
}
