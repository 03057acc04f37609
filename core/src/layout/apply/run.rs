//! One application of a plan, from the open gates to the commit.

use super::bootloader::{self, BootSector, Prepared, nvram};
use super::devices::{Nodes, Running, Secrets};
use super::gpt::{self, BootCode};
use super::{Applied, Payload, erase, mkfs, mount, partitions};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::layout::device::WriteAt;
use crate::layout::gate::Gate;
use crate::layout::ondisk::md::older::accepted_by_older;
use crate::layout::place::Place;
use crate::layout::plan::{Device, Plan, PlannedFilesystem};
use crate::layout::ranges::Ranges;
use crate::layout::signature;
use crate::layout::spec::Wipe;
use crate::sys::mount as sys_mount;

/// A plan on its way to the disks.
pub(super) struct Run<'a> {
    plan: &'a Plan,
    source: Option<&'a dyn Payload>,
    secrets: &'a Secrets,
    task: &'a Task,
    work: mount::Workplace,
    gates: Vec<Gate>,
    nodes: Nodes,
}

impl<'a> Run<'a> {
    /// Opens all disks: every gate is open before the first of them writes.
    pub(super) fn new(
        plan: &'a Plan,
        source: Option<&'a dyn Payload>,
        secrets: &'a Secrets,
        task: &'a Task,
    ) -> Result<Self> {
        let work = mount::Workplace::make()?;
        let nodes = Nodes::new(&work.nodes())?;
        let gates = plan.disks.iter().map(|d| Gate::open(&d.facts)).collect::<Result<Vec<_>>>()?;
        Ok(Self { plan, source, secrets, task, work, gates, nodes })
    }

    /// Does everything; what it started and mounted is stopped and unmounted, whatever comes.
    pub(super) fn to_the_end(mut self) -> Result<Applied> {
        self.task.check()?;
        let token = self.task.cancel_token();
        let stop = || token.is_cancelled();
        let plan = self.plan;
        let mut running = Running::new(plan, &self.nodes, &stop);
        let made = self.make(&mut running, &stop);
        // What is there for data stays up for others to use. A system that was installed starts by its own means, from
        // arrays that were stopped and are clean.
        let stays = self.source.is_none() && !plan.disks.iter().any(|d| d.is_file());
        match made {
            Ok(applied) if stays => {
                running.release();
                Ok(applied)
            }
            Ok(applied) => {
                running.stop()?;
                self.for_older_kernels()?;
                self.forget();
                Ok(applied)
            }
            Err(e) => {
                let mirrors = sys_mount::unmount_all(&self.work.mirrors());
                let undone = mirrors.and(sys_mount::unmount_all(&self.work.target())).and(running.stop());
                self.forget();
                Err(self.explain(e).with_failed_undo(undone))
            }
        }
    }

    /// The kernel of the image may be older than this one, which made the arrays.
    fn for_older_kernels(&self) -> Result<()> {
        for member in self.plan.arrays.iter().flat_map(|a| &a.members) {
            let Device::Partition { disk, partition } = *member else { continue };
            let (gate, p) = (&self.gates[disk], &self.plan.disks[disk].partitions[partition]);
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

    /// Partitions of an image file end with the run.
    fn forget(&self) {
        self.plan.disks.iter().zip(&self.gates).filter(|(d, _)| d.is_file()).for_each(|(_, g)| partitions::forget(g));
    }

    /// A loop device turns a full filesystem beneath it into an error of the medium.
    fn explain(&self, e: Error) -> Error {
        let full = self.gates.iter().find(|g| g.is_file_out_of_room()).map(Gate::name);
        match (e.kind(), full) {
            (ErrorKind::Io | ErrorKind::Integrity, Some(name)) => {
                Error::limit(format!("the filesystem that holds {name} is full"))
                    .hint("make room there, and apply again")
                    .cause(e)
            }
            _ => e,
        }
    }

    fn make(&mut self, running: &mut Running<'_>, stop: &dyn Fn() -> bool) -> Result<Applied> {
        self.partition()?;
        self.devices(running)?;
        self.format(stop)?;
        let prepared = self.install(stop)?;
        self.verify()?;
        self.commit(prepared.as_ref().map(|p| &p.sector))?;
        if let Some(prepared) = &prepared {
            self.register(prepared, stop);
            prepared.warnings.iter().for_each(|w| self.task.warn(w.to_string()));
        }
        Ok(self.plan.applied(prepared.map(|p| p.sector.kernels).unwrap_or_default(), self.task))
    }

    fn partition(&mut self) -> Result<()> {
        let plan = self.plan;
        self.task.stage("partition", plan.disks.len() as u64, Unit::Steps);
        for (index, (disk, gate)) in plan.disks.iter().zip(&mut self.gates).enumerate() {
            self.task.check()?;
            match disk.wipe {
                Wipe::Discard => gate.discard(),
                Wipe::Zero => gate.zero_all(&|| self.task.cancel_token().is_cancelled()).map_err(in_step("erase"))?,
                Wipe::None | Wipe::Table | Wipe::Signatures | Wipe::All => {}
            }
            let keep = Ranges::new();
            erase::erase(gate, disk, &plan.used_partitions(index), &keep).map_err(in_step("erase"))?;
            let table = disk.table(true);
            gpt::write(gate, &table, BootCode::Erase).map_err(in_step("table"))?;
            gate.flush()?;
            gpt::verify(gate, &table).map_err(in_step("table"))?;
            erase::check(gate, disk, &keep).map_err(in_step("table"))?;
            partitions::tell_kernel(gate, disk).map_err(in_step("table"))?;
            gate.share()?;
            for (partition, number) in partitions::numbers(gate, disk)?.into_iter().enumerate() {
                let reference = format!("{}#{}", disk.partitions[partition].key, disk.index);
                self.nodes.add(Device::Partition { disk: index, partition }, &reference, number)?;
            }
            self.task.advance(1);
        }
        Ok(())
    }

    fn devices(&mut self, running: &mut Running<'_>) -> Result<()> {
        self.task.stage("devices", self.plan.layers.len() as u64, Unit::Steps);
        for layer in &self.plan.layers {
            self.task.check()?;
            let made = running.make(*layer, &mut self.nodes, self.secrets);
            made.map_err(in_step(&self.plan.layer_id(*layer)))?;
            self.task.advance(1);
        }
        Ok(())
    }

    fn format(&self, stop: &dyn Fn() -> bool) -> Result<()> {
        self.task.stage("format", self.plan.filesystems.len() as u64, Unit::Steps);
        for fs in &self.plan.filesystems {
            self.task.check()?;
            for (device, uuid) in fs.places() {
                let call = mkfs::call(self.plan, fs, device, uuid, self.nodes.path(device)?);
                call.run(stop).map_err(in_step(&format!("mkfs:{}", fs.id)))?;
            }
            self.task.advance(1);
        }
        Ok(())
    }

    fn install(&self, stop: &dyn Fn() -> bool) -> Result<Option<Prepared>> {
        let Some(source) = self.source else { return Ok(None) };
        let target = self.work.target();
        mount::mount_all(self.plan, &self.nodes, &target)?;
        source.install(&target, self.task).map_err(in_step("install"))?;
        self.task.check()?;
        let mut prepared = None;
        if let Some(planned) = &self.plan.boot {
            self.task.stage("bootloader", 0, Unit::Steps);
            sys_mount::system_directories(&target)?;
            let mirrors = mount::mount_mirrors(self.plan, &self.nodes, &self.work.mirrors())?;
            let facts = bootloader::planned::facts(self.plan, planned, &target, &mirrors);
            prepared = Some(bootloader::prepare(&facts, &target, stop).map_err(in_step("bootloader"))?);
        }
        sys_mount::unmount_all(&self.work.mirrors()).map_err(in_step("unmount"))?;
        sys_mount::unmount_all(&target).map_err(in_step("unmount"))?;
        Ok(prepared)
    }

    /// Tells the firmware of this machine where its system is now; what it does not take is a warning.
    fn register(&self, prepared: &Prepared, stop: &dyn Fn() -> bool) {
        let Some(boot) = self.plan.boot.as_ref().filter(|b| b.nvram.update) else { return };
        let machine = self.plan.disks.iter().all(|d| !d.is_file());
        if prepared.entries.is_empty() || !machine || !nvram::is_there() {
            return;
        }
        let mut present = nvram::present();
        present.extend(self.plan.disks.iter().flat_map(|d| d.partitions.iter().map(|p| p.uuid)));
        for warning in nvram::register(&prepared.entries, &present, boot.nvram.keep_pxe_first, stop) {
            self.task.warn(warning.to_string());
        }
    }

    /// Reads the superblocks back from the disks.
    fn verify(&self) -> Result<()> {
        self.task.stage("verify", self.plan.filesystems.len() as u64, Unit::Steps);
        self.gates.iter().try_for_each(Gate::flush)?;
        for fs in &self.plan.filesystems {
            for (device, uuid) in fs.places() {
                self.verify_filesystem(fs, device, uuid).map_err(in_step("verify"))?;
            }
            self.task.advance(1);
        }
        Ok(())
    }

    fn verify_filesystem(&self, fs: &PlannedFilesystem, device: Device, uuid: &str) -> Result<()> {
        let glance = self.plan.glance(device);
        let found = match device {
            Device::Partition { disk, partition } => {
                let p = &self.plan.disks[disk].partitions[partition];
                signature::find(&self.gates[disk], p.start, p.length)
            }
            _ => crate::layout::device::OpenDisk::open(self.nodes.path(device)?)
                .and_then(|disk| signature::find(&disk, 0, glance.size)),
        };
        let found = found.map_err(|e| Error::io("read", &glance.reference, e))?;
        let same = |s: &signature::Signature| s.kind == fs.kind.name() && s.uuid.as_deref() == Some(uuid);
        if found.len() == 1 && found.iter().any(same) {
            return Ok(());
        }
        let seen = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Err(Error::integrity(format!("{} on {} is not what was made", fs.id, glance.reference))
            .fact("code", "A405")
            .fact("expected", format!("{} {uuid}", fs.kind.name()))
            .fact("actual", seen))
    }

    /// Takes the mark off the names, and writes last of all what makes a disk start.
    fn commit(&self, boot: Option<&BootSector>) -> Result<()> {
        self.task.stage("commit", self.gates.len() as u64, Unit::Steps);
        for (index, (disk, gate)) in self.plan.disks.iter().zip(&self.gates).enumerate() {
            let boots = self.plan.boot.as_ref().is_some_and(|b| b.disks.contains(&index));
            let code = match boot.filter(|b| boots && b.core().is_some()) {
                Some(b) => Some(b.write_core(gate, disk).map_err(in_step("bootloader"))?),
                None => None,
            };
            let table = disk.table(false);
            gpt::write(gate, &table, BootCode::Keep).map_err(in_step("commit"))?;
            if let Some(code) = code {
                BootSector::commit(&code, gate).map_err(in_step("commit"))?;
            }
            gate.flush()?;
            gpt::verify(gate, &table).map_err(in_step("commit"))?;
            self.task.advance(1);
        }
        Ok(())
    }
}

fn in_step(step: &str) -> impl FnOnce(Error) -> Error {
    let step = step.to_owned();
    move |e| e.fact("step", step)
}
